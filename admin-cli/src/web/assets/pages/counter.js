// How many messages all channels have had, going up as one looks.
//
// Knows the counters of every channel on every node. The number goes up to what is known by and by, and at
// once for those who want no motion.

import * as api from '../api.js';
import { chart } from '../chart.js';
import { count, rate } from '../figures.js';
import { growth, rates } from '../series.js';
import { h } from '../tree.js';
import { counterTarget, graphiteView } from './graphite.js';
import { pointing } from './queue.js';
import { partialView } from './state.js';

/** Samples that are kept: ten minutes at five seconds. */
const SAMPLES_MAX = 120;

/** As long as there usually is between two answers. */
const CATCH_UP_SECONDS = 5;

export function counterPage(outer) {
  const context = pointing(outer);
  const samples = [];
  const motion = globalThis.matchMedia?.('(prefers-reduced-motion: reduce)').matches !== true;
  let told = null;
  let shown = 0;
  let known = 0;
  let speed = 0;
  let last = 0;
  let frame = 0;

  function total({ stats }) {
    return Object.values(stats ?? {}).reduce((all, { message_count: some }) => all + some, 0);
  }

  function step(now) {
    const seconds = Math.min(0.25, (now - last) / 1000);
    last = now;
    shown = Math.min(known, shown + speed * seconds);
    const place = document.getElementById('total');
    if (place?.firstChild) {
      place.firstChild.data = count(Math.floor(shown));
    }
    frame = shown < known ? requestAnimationFrame(step) : 0;
  }

  return {
    title: () => 'Counter',
    async load(signal) {
      const before = known;
      told = await api.counter(signal);
      known = total(told);
      samples.push({ at: Date.now(), value: known });
      samples.splice(0, samples.length - SAMPLES_MAX);
      if (before === 0 || known < shown || !motion) {
        shown = known;
      }
      // So fast that it has caught up by the next answer.
      speed = Math.max(1, (known - shown) / CATCH_UP_SECONDS);
      cancelAnimationFrame(frame);
      last = performance.now();
      frame = requestAnimationFrame(step);
    },
    leave: () => cancelAnimationFrame(frame),
    onfailure: (error) => error.status === 502 && h('p', null, 'No node could be asked: see ', h('a', { href: context.to('nodes') }, 'Nodes'), '.'),
    view: () => told !== null && [
      h('h1', { key: 'title' }, 'Counter'),
      partialView(api.warnings(told.message)),
      h('div', { class: 'counter', key: 'counter' },
        h('p', { id: 'total', 'aria-live': 'off' }, count(Math.floor(shown))),
        h('p', { class: 'quiet' }, 'messages have come into all channels since the nodes started',
          1 < samples.length && [', ', h('b', null, rate(Math.max(0, growth(samples)))), ' every second'])),
      chart('Messages in a second', [{ label: 'all channels', tone: 'rate', unit: '/s', series: rates(samples) }],
        { id: 'counter', pointed: context.pointed, onpoint: context.point }),
      graphiteView(context, [['Messages', [counterTarget()]]]),
    ],
  };
}
