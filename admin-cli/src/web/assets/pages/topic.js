// One topic: what waits in it, its channels, the nodes that have it, its newest messages.
//
// Knows how a topic is shown and which questions its buttons ask; what is the same for a channel is in
// queue.js and actions.js.

import * as api from '../api.js';
import * as live from '../live.js';
import { spark } from '../chart.js';
import { count, rate } from '../figures.js';
import { emptyIn, LEVELS, ofCounted, ofTopic, worst } from '../health.js';
import { growth, lately } from '../series.js';
import { table } from '../table.js';
import { h } from '../tree.js';
import { actions } from './actions.js';
import { graphiteView, latencyTargets, target } from './graphite.js';
import { latencyColumns, percentiles } from './latency.js';
import { peek } from './peek.js';
import { charts, memoryAndDisk, nodesTable, paceText, pointing } from './queue.js';
import { partialView, stateMark } from './state.js';
import { askTombstone } from './tombstone.js';

export function topicPage(outer, { topic: name }) {
  const context = pointing(outer);
  context.tombstone = (node, topic) => askTombstone(outer, node, topic);
  const messages = peek(outer, name);
  let topic = null;
  let lines = null;

  return {
    title: () => name,
    async load(signal) {
      [topic, lines] = await Promise.all([api.topic(name, signal), live.topic(name, signal)]);
    },
    onfailure: (error) => error.status === 502 && h('p', null,
      'A topic that no node has is only known to nsqlookupd: see ', h('a', { href: context.to('lookup') }, 'Lookup'), '.'),
    view: () => topic !== null && view(context, topic, lines, messages),
  };
}

function view(context, topic, lines, messages) {
  const name = topic.topic_name;
  const channels = topic.channels ?? [];
  const judgement = worst([
    ofTopic({ ...topic, channels: channels.length }),
    ...channels.map((channel) => ofCounted(channel, lines.channels.get(channel.channel_name))),
  ]);
  return [
    h('nav', { class: 'path', key: 'path', 'aria-label': 'Where this is' }, h('a', { href: context.to('topics') }, 'Topics'), ' /'),
    h('div', { class: 'title', key: 'title' },
      h('h1', null, name), stateMark(judgement),
      h('span', { class: 'quiet' }, paceText(lines.topic, false)),
      actions(context, { topic: name, thing: topic, gone: context.to('topics') })),
    partialView(api.warnings(topic.message)),
    charts(context, lines.topic, false),
    channelsTable(context, topic, lines.channels),
    nodesTable(context, topic, 'topic'),
    messages.view(),
    graphiteView(context, [
      ['Depth', [target('*', name, undefined, 'depth')]],
      ['Messages', [target('*', name, undefined, 'message_count')]],
      ['End-to-end latency', latencyTargets(name, undefined, percentiles(topic))],
    ]),
  ];
}

function channelsTable(context, topic, lines) {
  const { query } = context;
  const rows = topic.channels ?? [];
  const number = (key, label, wide) => ({ key, label, numeric: true, wide, value: (row) => row[key], cell: (row) => count(row[key]) });
  const line = (row, which) => lines.get(row.channel_name)?.lines[which] ?? [];
  const judged = (row) => ofCounted(row, lines.get(row.channel_name));
  const columns = [
    {
      key: 'name', label: 'Channel', value: (row) => row.channel_name,
      cell: (row) => h('a', { href: context.to('topics', topic.topic_name, row.channel_name) }, row.channel_name),
    },
    { key: 'state', label: 'State', value: (row) => judged(row).level * 1e15 + row.depth, cell: (row) => stateMark(judged(row)) },
    {
      key: 'depth', label: 'Depth', numeric: true, value: (row) => row.depth,
      cell: (row) => h('span', { class: 'depth', title: emptyIn(row.depth, growth(line(row, 'depth'))) || null },
        spark(line(row, 'depth').slice(-30), judged(row).level < 2 ? 'depth' : LEVELS[judged(row).level]), h('span', null, count(row.depth))),
    },
    { key: 'memory', label: 'Memory + disk', numeric: true, wide: true, cell: memoryAndDisk },
    number('in_flight_count', 'In flight'),
    number('deferred_count', 'Deferred', true),
    number('requeue_count', 'Requeued', true),
    number('timeout_count', 'Timed out', true),
    number('message_count', 'Messages', true),
    {
      key: 'in', label: 'In/s', numeric: true, value: (row) => lately(line(row, 'rate')),
      cell: (row) => rate(lately(line(row, 'rate'))),
    },
    number('client_count', 'Consumers'),
    ...latencyColumns(rows),
  ];
  const state = { sort: query.sort ?? 'state', descending: query.sort === undefined || query.order === 'desc', page: Number(query.page ?? 1) };
  return h('section', { key: 'channels', 'aria-labelledby': 'channels-title' },
    h('h2', { id: 'channels-title' }, `Channels (${count(rows.length)})`),
    table({
      id: 'channels', caption: `Channels of ${topic.topic_name}`, columns, rows,
      keyOf: (row) => row.channel_name,
      tone: (row) => `tone-${LEVELS[judged(row).level]}`,
      state,
      onstate: ({ sort = state.sort, descending = state.descending, page }) => context.setQuery({
        sort, order: descending ? 'desc' : 'asc', page: page === 1 ? '' : page,
      }),
      empty: ['No channel takes messages from this topic, so they wait in it. ',
        'A consumer that subscribes makes one; or create one under ', h('a', { href: context.to('lookup') }, 'Lookup'), '.'],
    }));
}
