// What was counted a while ago, and what follows from it: growth, what is handled, when a queue is empty.
//
// Knows lists of `{ at, value }`, the oldest first, `at` in milliseconds. Where nothing was known at a
// moment, the moment is not in the list. Reads no clock.

/** Growth is of so many milliseconds back: long enough to be calm, short enough to show a change. */
const GROWTH_MS = 20_000;

/** The values of some moments, without those that are not known. */
export function zip(times, values) {
  return times
    .map((at, index) => ({ at, value: values?.[index] ?? null }))
    .filter(({ value }) => value !== null);
}

/** By how much it grew in a second, over the last while; NaN where that is not known. */
export function growth(series) {
  const last = series.at(-1);
  const first = series.find(({ at }) => last.at - at <= GROWTH_MS);
  return last === undefined || first === last ? NaN : (last.value - first.value) / ((last.at - first.at) / 1000);
}

/** How much a counter counted in a second, step by step. A step back is a counter that began anew. */
export function rates(series) {
  const found = [];
  for (let index = 1; index < series.length; index += 1) {
    const [before, after] = [series[index - 1], series[index]];
    const value = (after.value - before.value) / ((after.at - before.at) / 1000);
    if (0 <= value) {
      found.push({ at: after.at, value });
    }
  }
  return found;
}

/** What was handled in a second: what came in less what it made the queue grow. Never below zero. */
export function handled(incoming, waiting) {
  const found = [];
  let index = 0;
  for (const { at, value } of incoming) {
    while (index < waiting.length && waiting[index].at < at) {
      index += 1;
    }
    const [before, after] = [waiting[index - 1], waiting[index]];
    if (before !== undefined && after?.at === at) {
      const grown = (after.value - before.value) / ((at - before.at) / 1000);
      found.push({ at, value: Math.max(0, value - grown) });
    }
  }
  return found;
}

/** The mean of the last values, which is calmer than the last one: NaN of none. */
export function lately(series) {
  const last = series.at(-1);
  const recent = series.filter(({ at }) => last.at - at <= GROWTH_MS / 2);
  return recent.length === 0 ? NaN : recent.reduce((all, { value }) => all + value, 0) / recent.length;
}
