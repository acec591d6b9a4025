// What can be done with the keyboard alone, beyond Tab and Enter.
//
// Knows which key means what. A key that somebody types into a field is theirs, and so is one with Ctrl,
// Alt or Meta.

/** A second key comes within so many milliseconds of `g`. */
const SEQUENCE_MS = 1500;

/** Key, what it does, and the word for it, in the order of the list under `?`. */
export const KEYS = [
  ['/', 'search in this page', 'search'],
  ['g t', 'go to the topics', 'topics'],
  ['g c', 'go to all channels', 'channels'],
  ['g n', 'go to the nodes', 'nodes'],
  ['g u', 'go to the counter', 'counter'],
  ['g l', 'go to the lookup', 'lookup'],
  ['r', 'ask again now', 'refresh'],
  ['p', 'stop and go on asking', 'pause'],
  ['[', 'the page of the table before', 'previous'],
  [']', 'the next page of the table', 'next'],
  ['d', 'light, dark, or as the system says', 'theme'],
  ['?', 'this list', 'keys'],
];

/** Turns key events into the words of `KEYS`; `null` while nothing is meant. */
export class Keyboard {
  #before = null;

  /** `typing` is true when the key goes into a field; `at` is in milliseconds. */
  word({ key, typing, modified }, at) {
    if (typing || modified) {
      this.#before = null;
      return null;
    }
    const before = this.#before !== null && at - this.#before.at <= SEQUENCE_MS ? this.#before.key : null;
    this.#before = { key, at };
    const sequence = before === null ? key : `${before} ${key}`;
    const found = KEYS.find(([keys]) => keys === sequence) ?? KEYS.find(([keys]) => keys === key);
    return found ? found[2] : null;
  }
}

/** True when what is typed goes into this element. */
export function isField(element) {
  return Boolean(element?.closest?.('input, textarea, select, [contenteditable]'));
}
