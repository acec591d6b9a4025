// Which page an address means, and the address of a page.
//
// Knows NSQ's routes and the base path under which all of them live. Reads no window and draws nothing.

/**
 * The page of a path: `{ page, topic, channel, node }`, or `null` where there is none. Topics and
 * channels are decoded; an address that cannot be decoded leads nowhere.
 */
export function parse(path, base = '') {
  if (path !== base && !path.startsWith(`${base}/`)) {
    return null;
  }
  let parts;
  try {
    parts = path.slice(base.length).split('/').filter((part) => part !== '').map(decodeURIComponent);
  } catch {
    return null;
  }
  const [first, second, third] = parts;
  switch (`${first ?? ''} ${parts.length}`) {
    case ' 0':
    case 'topics 1':
      return { page: 'topics' };
    case 'topics 2':
      return { page: 'topic', topic: second };
    case 'topics 3':
      return { page: 'channel', topic: second, channel: third };
    case 'nodes 1':
      return { page: 'nodes' };
    case 'nodes 2':
      return { page: 'node', node: second };
    case 'counter 1':
    case 'lookup 1':
      return { page: first };
    default:
      return null;
  }
}

/** The path of parts below the base path: `path('/admin', 'topics', 'a#ephemeral')`. */
export function path(base, ...parts) {
  return `${base}/${parts.map(encodeURIComponent).join('/')}`;
}

/** A query as text, without what is empty: `?q=a&sort=depth`, or ``. */
export function query(values) {
  const kept = Object.entries(values).filter(([, value]) => value !== '' && value !== null && value !== undefined);
  const text = new URLSearchParams(kept.map(([key, value]) => [key, String(value)])).toString();
  return text === '' ? '' : `?${text}`;
}
