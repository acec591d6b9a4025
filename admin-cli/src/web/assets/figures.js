// Numbers, rates, times and sizes as people read them.
//
// Knows units and rounding. Exact where an operator compares (counts), short where they glance (rates).

const COUNT = new Intl.NumberFormat('en-US', { maximumFractionDigits: 0 });

/** A count with all its digits: `1,204`. What is no number is a dash. */
export function count(value) {
  return Number.isFinite(value) ? COUNT.format(value) : '–';
}

/** A count and its noun: `1 message`, `1,204 messages`. */
export function counted(value, one, many = `${one}s`) {
  return `${count(value)} ${value === 1 ? one : many}`;
}

/** So much in a second: `0`, `0.4`, `35`, `12,040`; a dash where it is not known yet. */
export function rate(value) {
  if (!Number.isFinite(value)) {
    return '–';
  }
  const size = Math.abs(value);
  return size === 0 || 10 <= size ? count(value) : (size < 0.05 ? '<0.1' : value.toFixed(1));
}

/** A rate with its unit, `35/s`. */
export function perSecond(value) {
  return Number.isFinite(value) ? `${rate(value)}/s` : '–';
}

/** A count in little room: `950`, `12.3k`, `4.1M`. For axes, where the exact number stands beside. */
export function short(value) {
  for (const [unit, size] of [['G', 1e9], ['M', 1e6], ['k', 1e3]]) {
    if (size <= Math.abs(value)) {
      return `${Number((value / size).toPrecision(3))}${unit}`;
    }
  }
  return String(Number(value.toPrecision(3)));
}

/** Nanoseconds, as latencies are told: `820 ns`, `1.4 ms`, `3.2 s`, `2 m 10 s`. */
export function nanoseconds(value) {
  if (!Number.isFinite(value)) {
    return '–';
  }
  for (const [unit, size] of [['ms', 1e6], ['µs', 1e3]]) {
    if (size <= value && value < size * 1000) {
      return `${Number((value / size).toPrecision(3))} ${unit}`;
    }
  }
  if (value < 1e3) {
    return `${Math.round(value)} ns`;
  }
  return value < 60e9 ? `${Number((value / 1e9).toPrecision(3))} s` : seconds(value / 1e9);
}

/** Seconds, as ages are told, in at most two units: `12 s`, `3 m 5 s`, `2 h 10 m`, `4 d 1 h`. */
export function seconds(value) {
  if (!Number.isFinite(value)) {
    return '–';
  }
  let rest = Math.max(0, Math.round(value));
  const parts = [];
  for (const [unit, size] of [['d', 86400], ['h', 3600], ['m', 60], ['s', 1]]) {
    const whole = Math.floor(rest / size);
    rest -= whole * size;
    if (0 < whole || parts.length === 1) {
      parts.push([whole, unit]);
    }
    if (parts.length === 2) {
      break;
    }
  }
  const told = parts.filter(([whole]) => 0 < whole).map(([whole, unit]) => `${whole} ${unit}`);
  return told.join(' ') || '0 s';
}

/** Bytes: `812 B`, `1.5 KiB`, `3 MiB`. */
export function bytes(value) {
  if (!Number.isFinite(value)) {
    return '–';
  }
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  const power = value < 1 ? 0 : Math.min(units.length - 1, Math.floor(Math.log2(value) / 10));
  return `${Number((value / 1024 ** power).toPrecision(3))} ${units[power]}`;
}

/** A quantile by its place: 0.99 is `99th`, 1 is `max`. */
export function quantile(value) {
  if (value === 1) {
    return 'max';
  }
  const place = Number((value * 100).toFixed(4));
  const last = Math.floor(place) % 10;
  const teen = Math.floor(place / 10) % 10 === 1;
  const ending = teen ? 'th' : { 1: 'st', 2: 'nd', 3: 'rd' }[last] ?? 'th';
  return `${place}${Number.isInteger(place) ? ending : 'th'}`;
}
