// One nsqd: its topics, their channels, and who is connected.

import * as api from '../api.js';
import { count, counted } from '../figures.js';
import { LEVELS, ofCounted, ofTopic, worst } from '../health.js';
import { matches, table } from '../table.js';
import { h } from '../tree.js';
import { clientsTable } from './clients.js';
import { graphiteView, memoryTarget } from './graphite.js';
import { memoryAndDisk } from './queue.js';
import { partialView, stateMark } from './state.js';
import { askTombstone } from './tombstone.js';

/** Topics whose channels can be seen at once; a search finds the others. */
const TOPICS_MAX = 50;

export function nodePage(context, { node: name }) {
  let node = null;

  return {
    title: () => name,
    async load(signal) {
      node = await api.node(name, signal);
    },
    onfailure: (error) => error.status === 404 && h('p', null, 'Nobody knows a node of this name any more: see ',
      h('a', { href: context.to('nodes') }, 'Nodes'), '.'),
    view: () => node !== null && view(context, node),
  };
}

function view(context, node) {
  const { query } = context;
  const topics = [...(node.topics ?? [])].sort((a, b) => (a.topic_name < b.topic_name ? -1 : 1));
  const shown = topics.filter((topic) => matches([topic.topic_name, ...(topic.channels ?? []).map((channel) => channel.channel_name)].join(' '), query.q ?? ''));
  const channels = topics.flatMap((topic) => topic.channels ?? []);
  const waiting = topics.reduce((all, topic) => all + topic.depth, 0) + channels.reduce((all, channel) => all + channel.depth, 0);
  return [
    h('nav', { class: 'path', key: 'path', 'aria-label': 'Where this is' }, h('a', { href: context.to('nodes') }, 'Nodes'), ' /'),
    h('div', { class: 'title', key: 'title' }, h('h1', null, node.node)),
    partialView(api.warnings(node.message)),
    h('dl', { class: 'strip', key: 'strip' }, [
      ['Waiting', waiting], ['Messages', node.total_messages], ['Clients', node.total_clients],
      ['Topics', topics.length], ['Channels', channels.length],
    ].map(([label, figure]) => h('div', null, h('dt', null, label), h('dd', null, count(figure))))),
    graphiteView(context, [
      ['Heap', [memoryTarget(node.node, '*_bytes')]],
      ['Heap objects', [memoryTarget(node.node, 'heap_objects')]],
      ['Collection pauses', [memoryTarget(node.node, 'gc_pause_*')]],
    ]),
    h('div', { class: 'bar', key: 'bar', role: 'search' }, h('label', { class: 'search' },
      h('span', { class: 'unseen' }, 'Search topics and channels'),
      h('input', {
        type: 'search', placeholder: 'Search  ( / )', value: query.q ?? '', autocomplete: 'off', spellcheck: 'false',
        oninput: (event) => context.setQuery({ q: event.currentTarget.value }),
      })), TOPICS_MAX < shown.length && h('span', { class: 'quiet' }, `${TOPICS_MAX} of ${counted(shown.length, 'topic')}; search for the others`)),
    topics.length === 0
      ? h('p', { class: 'empty', key: 'empty' }, 'This node has no topic. The first message that is published to it makes one.')
      : shown.length === 0 ? h('p', { class: 'empty', key: 'empty' }, `Nothing here is called “${query.q}”.`)
        : shown.slice(0, TOPICS_MAX).map((topic) => topicSection(context, node.node, topic)),
  ];
}

function topicSection(context, node, topic) {
  const channels = topic.channels ?? [];
  const judged = (channel) => ofCounted(channel);
  const judgement = worst([ofTopic({ ...topic, channels: channels.length }), ...channels.map(judged)]);
  const id = `topic-${topic.topic_name}`;
  const number = (name, label, wide) => ({ key: name, label, numeric: true, wide, cell: (row) => count(row[name]) });
  return h('section', { class: 'on-node', key: id, 'aria-labelledby': id },
    h('div', { class: 'title' },
      h('h2', { id }, h('a', { href: context.to('topics', topic.topic_name) }, topic.topic_name)),
      stateMark(judgement),
      h('span', { class: 'quiet' }, `depth ${count(topic.depth)} (${memoryAndDisk(topic)}), ${counted(topic.message_count, 'message')}`),
      context.settings.is_admin && 0 < context.settings.nsqlookupd.length && h('button', {
        type: 'button', class: 'small plain', 'aria-label': `Tombstone ${topic.topic_name} on ${node}`,
        title: 'Take this topic off this node', onclick: () => askTombstone(context, node, topic.topic_name),
      }, 'Tombstone')),
    table({
      id: `channels-${topic.topic_name}`, caption: `Channels of ${topic.topic_name} on ${node}`, rows: channels,
      keyOf: ({ channel_name: name }) => name,
      tone: (channel) => `tone-${LEVELS[judged(channel).level]}`,
      columns: [
        {
          key: 'name', label: 'Channel',
          cell: (channel) => h('a', { href: context.to('topics', topic.topic_name, channel.channel_name) }, channel.channel_name),
        },
        { key: 'state', label: 'State', cell: (channel) => stateMark(judged(channel)) },
        number('depth', 'Depth'),
        { key: 'memory', label: 'Memory + disk', numeric: true, wide: true, cell: memoryAndDisk },
        number('in_flight_count', 'In flight'), number('deferred_count', 'Deferred', true),
        number('requeue_count', 'Requeued', true), number('timeout_count', 'Timed out', true),
        number('message_count', 'Messages'), number('client_count', 'Consumers'),
      ],
      empty: 'No channel yet: what is published waits in the topic.',
    }),
    channels.filter(({ clients }) => 0 < (clients ?? []).length).map((channel) => h('details', { key: `clients-${channel.channel_name}` },
      h('summary', null, `${counted(channel.clients.length, 'consumer')} of ${channel.channel_name}`),
      clientsTable(context, channel.clients, {
        id: `clients-${topic.topic_name}-${channel.channel_name}`, node: false, caption: `Consumers of ${topic.topic_name}/${channel.channel_name} on ${node}`,
      }))));
}
