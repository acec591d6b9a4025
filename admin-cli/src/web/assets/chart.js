// Lines over time, drawn as SVG by hand: small ones in tables, large ones with figures around them.
//
// Knows series of `{ at, value }` and pixels. Colours are in style.css. What a chart shows also stands
// beside it as text, so the drawing itself is hidden from those who listen.

import { count, rate, seconds, short } from './figures.js';
import { h } from './tree.js';

const SMALL = { width: 88, height: 18 };
const LARGE = { width: 600, height: 150 };

/** The points of a series in a box, from `from` to `to` (milliseconds) and from 0 to `most`. */
export function points(series, { width, height }, from, to, most) {
  const across = to === from ? 0 : width / (to - from);
  const up = most === 0 ? 0 : (height - 2) / most;
  return series.map(({ at, value }) => [round((at - from) * across), round(height - 1 - value * up)]);
}

function round(value) {
  return Math.round(value * 10) / 10;
}

/** A longer time without a sample is a gap in the line: nobody looked, so nobody counted. */
const GAP_MS = 20_000;

/** The stretches of a series in which there is no gap. */
export function stretches(series) {
  const found = [];
  for (const sample of series) {
    const last = found.at(-1);
    if (last === undefined || GAP_MS < sample.at - last.at(-1).at) {
      found.push([sample]);
    } else {
      last.push(sample);
    }
  }
  return found;
}

function line(found) {
  return found.map(([x, y], index) => `${index === 0 ? 'M' : 'L'}${x} ${y}`).join('');
}

/** The line of a series and the ground below it. */
function drawn(series, box, from, to, most) {
  const all = stretches(series).map((stretch) => points(stretch, box, from, to, most));
  const area = all.map((found) => `${line(found)}L${found.at(-1)[0]} ${box.height}L${found[0][0]} ${box.height}Z`);
  return [
    h('path', { class: 'area', d: area.join('') }),
    h('path', { class: 'line', d: all.map(line).join('') }),
  ];
}

/** The next round number that is not less: the top of an axis. */
export function top(value) {
  if (value <= 0) {
    return 1;
  }
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 2.5, 5, 10].map((step) => step * power).find((step) => value <= step * (1 + 1e-9));
}

/** A line in a table. `tone` colours it; empty where there are not two points. */
export function spark(series, tone = 'plain') {
  if (series.length < 2) {
    return h('svg', { class: 'spark', 'aria-hidden': 'true', width: SMALL.width, height: SMALL.height });
  }
  const most = Math.max(...series.map(({ value }) => value));
  return h('svg', {
    class: `spark ${tone}`, 'aria-hidden': 'true', width: SMALL.width, height: SMALL.height,
    viewBox: `0 0 ${SMALL.width} ${SMALL.height}`,
  },
  drawn(series, SMALL, series[0].at, series.at(-1).at, most));
}

/**
 * A chart with its figures. `lines` are `{ label, tone, series, unit }`, where `unit` is `''` for counts and
 * `/s` for rates. Pointing at it shows the figures of that moment instead of the newest.
 */
export function chart(title, lines, { id, pointed, onpoint }) {
  const known = lines.filter(({ series }) => 2 <= series.length);
  if (known.length === 0) {
    return h('figure', { class: 'chart', key: id },
      h('figcaption', null, h('strong', null, title)),
      h('p', { class: 'quiet waiting' }, 'The line begins with the next samples.'));
  }
  const from = Math.min(...known.map(({ series }) => series[0].at));
  const to = Math.max(...known.map(({ series }) => series.at(-1).at));
  const most = top(Math.max(...known.flatMap(({ series }) => series.map(({ value }) => value))));
  const moment = pointed?.id === id ? from + (to - from) * pointed.part : to;
  const x = to === from ? 0 : (moment - from) / (to - from) * LARGE.width;
  return h('figure', { class: 'chart', key: id },
    h('figcaption', null,
      h('strong', null, title),
      lines.map(({ label, tone, series, unit }) => h('span', { class: `legend ${tone}` },
        label, ' ', h('b', null, `${(unit === '' ? count : rate)(nearest(series, moment)?.value)}${unit}`))),
      moment !== to && h('span', { class: 'quiet when' }, `${seconds((to - moment) / 1000)} ago`)),
    h('div', { class: 'plot' },
      h('svg', {
        'aria-hidden': 'true', viewBox: `0 0 ${LARGE.width} ${LARGE.height}`, preserveAspectRatio: 'none',
        onpointermove: (event) => {
          const box = event.currentTarget.getBoundingClientRect();
          onpoint({ id, part: Math.min(1, Math.max(0, (event.clientX - box.left) / box.width)) });
        },
        onpointerleave: () => onpoint(null),
      },
      [0.25, 0.5, 0.75].map((part) => h('path', { class: 'grid', d: `M0 ${LARGE.height * part}H${LARGE.width}` })),
      known.map(({ tone, series }) => h('g', { class: tone }, drawn(series, LARGE, from, to, most))),
      pointed?.id === id && h('path', { class: 'cursor', d: `M${round(x)} 0V${LARGE.height}` })),
      h('span', { class: 'axis top', 'aria-hidden': 'true' }, short(most)),
      h('span', { class: 'axis bottom', 'aria-hidden': 'true' }, '0'),
      h('span', { class: 'axis from', 'aria-hidden': 'true' }, `${seconds((to - from) / 1000)} ago`),
      h('span', { class: 'axis to', 'aria-hidden': 'true' }, 'now')));
}

/** The sample that is nearest to a moment. */
export function nearest(series, moment) {
  return series.reduce((found, next) => (
    found === undefined || Math.abs(next.at - moment) < Math.abs(found.at - moment) ? next : found
  ), undefined);
}
