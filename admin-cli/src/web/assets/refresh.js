// When a page is asked for again, and how old what it shows is.
//
// Knows one task that asks, waits and asks again; it rests while the page cannot be seen or the reader
// wants it to. Time and waiting come in from outside, so that tests need no clock.

/** Seconds between two askings that can be chosen; 0 is never. */
export const PACES = [2, 5, 15, 60, 0];

/** What is this many intervals old, and no less than ten seconds, is said to be old. */
const STALE_INTERVALS = 3;
const STALE_MS_MIN = 10_000;

export class Refresh {
  #ask;
  #changed;
  #now;
  #timer;
  #asking;
  /** Seconds. */
  #pace;
  /** When the last good answer came, and since when there has been none. */
  fresh = NaN;
  failing = null;

  /**
   * `ask` is given a signal that ends it, and rejects when there is no answer; `changed` is told that there
   * is something new to show, be it an answer or a failure.
   */
  constructor({ ask, changed, pace, now = Date.now }) {
    this.#ask = ask;
    this.#changed = changed;
    this.#pace = pace;
    this.#now = now;
  }

  get pace() {
    return this.#pace;
  }

  set pace(seconds) {
    this.#pace = seconds;
    this.#schedule();
  }

  /** Asks now, in place of whatever is under way. */
  async soon() {
    this.stop();
    const asking = new AbortController();
    this.#asking = asking;
    try {
      await this.#ask(asking.signal);
      if (asking.signal.aborted) {
        return;
      }
      this.fresh = this.#now();
      this.failing = null;
    } catch (error) {
      if (asking.signal.aborted) {
        return;
      }
      this.failing = { since: this.failing?.since ?? this.#now(), error };
    }
    this.#asking = undefined;
    this.#changed();
    this.#schedule();
  }

  stop() {
    clearTimeout(this.#timer);
    this.#asking?.abort();
    this.#asking = undefined;
  }

  #schedule() {
    clearTimeout(this.#timer);
    if (0 < this.#pace && this.#asking === undefined) {
      this.#timer = setTimeout(() => (document.hidden ? this.#schedule() : this.soon()), this.#pace * 1000);
    }
  }

  /** True when what is shown is so old that it should be said. */
  isStale() {
    const age = this.#now() - this.fresh;
    return 0 < this.#pace && Math.max(STALE_MS_MIN, STALE_INTERVALS * this.#pace * 1000) < age;
  }
}
