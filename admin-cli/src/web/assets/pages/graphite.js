// Graphite's charts, where nsqadmin was told of a Graphite.
//
// Knows the keys under which nsqd's figures arrive there (NSQ behaviour) and Graphite's `/render`. Shown
// are links and pictures; the pages' own charts need none of this.

import { settings } from '../settings.js';
import { h } from '../tree.js';

/** Time spans that can be chosen, as Graphite writes them. */
const SPANS = ['1h', '2h', '12h', '24h', '48h', '168h', 'off'];

const COUNTERS = ['requeue_count', 'timeout_count', 'message_count', 'gc_runs'];

/** A name as statsd servers make it: blanks and slashes go, and all else that is no part of a key. */
function clean(name) {
  return name.replaceAll(' ', '_').replaceAll('/', '-').replaceAll(/[^A-Za-z0-9-_.]/g, '');
}

function key(node, parts, figure, told) {
  const prefix = told.statsd_prefix.replaceAll('%s', node.replaceAll(/[.:]/g, '_'));
  const whole = [prefix, ...parts, figure].join('.');
  const format = COUNTERS.includes(figure) ? told.statsd_counter_format : told.statsd_gauge_format;
  return format.includes('%s') ? format.replaceAll('%s', whole) : whole;
}

/**
 * A topic's or channel's figure over one node, or all (`*`): its series, and whether that counts what came in
 * an interval.
 */
export function target(node, topic, channel, figure, told = settings) {
  const series = `sumSeries(${key(node, partsOf(topic, channel), figure, told)})`;
  return { series, counts: COUNTERS.includes(figure) };
}

function partsOf(topic, channel) {
  return ['topic', clean(topic), ...(channel === undefined ? [] : ['channel', clean(channel)])];
}

/** The milliseconds from a publish to the end of each percentile, as nsqd was told to report them. */
export function latencyTargets(topic, channel, percentiles, told = settings) {
  return percentiles.map(({ quantile }) => {
    const figure = `e2e_processing_latency_${Math.round(quantile * 100)}`;
    return { series: `scale(averageSeries(${key('*', partsOf(topic, channel), figure, told)}),0.000001)`, counts: false };
  });
}

/** A node's memory figures: `figure` may stand for several. */
export function memoryTarget(node, figure, told = settings) {
  return { series: key(node, ['mem'], figure, told), counts: false };
}

/** The messages of all channels. */
export function counterTarget(told = settings) {
  return { series: `sumSeries(${key('*', ['topic', '*', 'channel', '*'], 'message_count', told)})`, counts: true };
}

/** The address of a picture. A large one has an axis, on which counts are by second. */
export function picture(targets, span, { width, height, small }, told = settings) {
  const search = new URLSearchParams({
    width, height, from: `-${span}`, until: '-1min', bgcolor: 'ff000000', fgcolor: '888888', yMin: 0,
    lineMode: 'connected', colorList: 'blue,red,green,purple',
    ...(small ? { hideGrid: true, hideLegend: true, hideAxes: true, margin: 0, drawNullAsZero: false } : {}),
  });
  for (const { series, counts } of targets) {
    const shown = counts && !small ? `scale(${series},${1 / told.statsd_interval})` : series;
    search.append('target', `summarize(${shown},"${told.statsd_interval}sec","avg")`);
  }
  return `${told.graphite_url || told.base_path}/render?${search}`;
}

/** The chosen span: of the address, else of last time, else two hours. */
export function chosen(query) {
  let stored = null;
  try {
    stored = localStorage.getItem('graph_interval');
  } catch {
    // Nothing was chosen before.
  }
  return [query.t, stored].find((span) => SPANS.includes(span)) ?? '2h';
}

/** Pictures with their captions: `charts` are pairs of a caption and targets, of which there may be none. */
export function graphiteView(context, charts) {
  if (!settings.graph_enabled) {
    return null;
  }
  const span = chosen(context.query);
  return h('section', { key: 'graphite', 'aria-labelledby': 'graphite-title' },
    h('div', { class: 'bar' },
      h('h2', { id: 'graphite-title' }, 'Graphite'),
      h('label', null, 'Last ', h('select', {
        name: 'span', value: span, onchange: (event) => {
          try {
            localStorage.setItem('graph_interval', event.currentTarget.value);
          } catch {
            // It is in the address all the same.
          }
          context.setQuery({ t: event.currentTarget.value });
        },
      }, SPANS.map((one) => h('option', { value: one }, one))))),
    span !== 'off' && h('div', { class: 'pictures' }, charts.filter(([, targets]) => 0 < targets.length).map(([caption, targets]) => h('figure', { key: caption },
      h('figcaption', null, caption),
      h('a', { href: picture(targets, span, { width: 800, height: 450 }) },
        h('img', { src: picture(targets, span, { width: 240, height: 60, small: true }), width: 240, height: 60, loading: 'lazy', alt: `${caption} over the last ${span}` }))))));
}
