// One channel: what waits in it, who takes it, and on which nodes.

import * as api from '../api.js';
import * as live from '../live.js';
import { counted } from '../figures.js';
import { emptyIn, ofCounted } from '../health.js';
import { growth } from '../series.js';
import { matches } from '../table.js';
import { h } from '../tree.js';
import { actions } from './actions.js';
import { clientsTable } from './clients.js';
import { graphiteView, latencyTargets, target } from './graphite.js';
import { percentiles } from './latency.js';
import { charts, nodesTable, paceText, pointing } from './queue.js';
import { partialView, stateMark } from './state.js';

export function channelPage(outer, { topic, channel: name }) {
  const context = pointing(outer);
  let channel = null;
  let row = null;

  return {
    title: () => `${topic}/${name}`,
    async load(signal) {
      [channel, row] = await Promise.all([api.channel(topic, name, signal), live.channel(topic, name, signal)]);
    },
    onfailure: () => h('p', null, 'A channel that is on no node cannot be shown: see ',
      h('a', { href: context.to('topics', topic) }, topic), ' and ', h('a', { href: context.to('lookup') }, 'Lookup'), '.'),
    view: () => channel !== null && view(context, channel, row, topic, name),
  };
}

function view(context, channel, row, topic, name) {
  const judgement = ofCounted(channel, row);
  const soon = row ? emptyIn(channel.depth, growth(row.lines.depth)) : '';
  return [
    h('nav', { class: 'path', key: 'path', 'aria-label': 'Where this is' },
      h('a', { href: context.to('topics') }, 'Topics'), ' / ', h('a', { href: context.to('topics', topic) }, topic), ' /'),
    h('div', { class: 'title', key: 'title' },
      h('h1', null, name), stateMark(judgement),
      h('span', { class: 'quiet' }, [paceText(row, true), soon].filter(Boolean).join(', ')),
      actions(context, { topic, channel: name, thing: channel, gone: context.to('topics', topic) })),
    judgement.why && h('p', { class: 'reason', key: 'reason' }, `${judgement.why}.`),
    partialView(api.warnings(channel.message)),
    charts(context, row, true),
    nodesTable(context, channel, 'channel'),
    clientsSection(context, channel),
    graphiteView(context, [
      ...['depth', 'in_flight_count', 'deferred_count', 'requeue_count', 'timeout_count', 'message_count', 'clients']
        .map((figure) => [figure.replaceAll('_', ' '), [target('*', topic, name, figure)]]),
      ['End-to-end latency', latencyTargets(topic, name, percentiles(channel))],
    ]),
  ];
}

function clientsSection(context, channel) {
  const { query } = context;
  const clients = channel.clients ?? [];
  const shown = clients.filter((row) => matches([row.hostname, row.client_id, row.user_agent, row.remote_address, row.node].join(' '), query.q ?? ''));
  return h('section', { key: 'clients', 'aria-labelledby': 'clients-title' },
    h('div', { class: 'bar' },
      h('h2', { id: 'clients-title' }, counted(clients.length, 'consumer')),
      0 < clients.length && h('label', { class: 'search' },
        h('span', { class: 'unseen' }, 'Search consumers'),
        h('input', {
          type: 'search', placeholder: 'Search  ( / )', value: query.q ?? '', autocomplete: 'off', spellcheck: 'false',
          oninput: (event) => context.setQuery({ q: event.currentTarget.value, page: '' }),
        }))),
    clients.length > 0 && shown.length === 0
      ? h('p', { class: 'empty' }, 'No consumer is called so.')
      : clientsTable(context, shown, {
        state: { sort: query.sort ?? 'client', descending: query.order === 'desc', page: Number(query.page ?? 1) },
        onstate: ({ sort = query.sort, descending = query.order === 'desc', page }) => context.setQuery({
          sort, order: descending ? 'desc' : '', page: page === 1 ? '' : page,
        }),
      }));
}
