// The bytes of a message as something to read: JSON with indents, text, or hex.
//
// Knows encodings. What it returns is text, to be shown as text and never as markup.

/** Bytes of a body that are shown at most; the rest is counted. A screen holds no more. */
export const SHOWN_BYTES_MAX = 65536;

/** The bytes of base64. */
export function fromBase64(text) {
  return Uint8Array.from(atob(text), (character) => character.codePointAt(0));
}

/** How a body reads best: `json`, `text` or `hex`. */
export function bestForm(bytes) {
  const text = decoded(bytes);
  if (text === null || /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f]/.test(text)) {
    return 'hex';
  }
  return parsed(text) === undefined ? 'text' : 'json';
}

/** The body in a form. Where it is not JSON or not UTF-8 it is shown as near to it as can be. */
export function shown(bytes, form) {
  const part = bytes.subarray(0, SHOWN_BYTES_MAX);
  const rest = bytes.length - part.length;
  const more = 0 < rest ? `\n… ${rest.toLocaleString('en-US')} bytes more` : '';
  if (form === 'hex') {
    return hex(part) + more;
  }
  if (form === 'json' && rest === 0) {
    const value = parsed(decoded(bytes) ?? '');
    if (value !== undefined) {
      return JSON.stringify(value, null, 2);
    }
  }
  return new TextDecoder().decode(part) + more;
}

/** Sixteen bytes a line: offset, bytes in hex, and what is printable of them. */
export function hex(bytes) {
  const lines = [];
  for (let at = 0; at < bytes.length; at += 16) {
    const line = [...bytes.subarray(at, at + 16)];
    const pairs = line.map((byte) => byte.toString(16).padStart(2, '0'));
    const halves = [pairs.slice(0, 8).join(' '), pairs.slice(8).join(' ')].join('  ').padEnd(48);
    const marks = line.map((byte) => (0x20 <= byte && byte < 0x7f ? String.fromCharCode(byte) : '.')).join('');
    lines.push(`${at.toString(16).padStart(8, '0')}  ${halves}  ${marks}`);
  }
  return lines.join('\n');
}

function decoded(bytes) {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    return null;
  }
}

/** The object or list in a text; a bare number or word reads better as it stands. */
function parsed(text) {
  try {
    const value = JSON.parse(text);
    return value !== null && typeof value === 'object' ? value : undefined;
  } catch {
    return undefined;
  }
}
