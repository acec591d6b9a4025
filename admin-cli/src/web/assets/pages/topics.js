// Every topic, or every channel: what is stuck, first of all.
//
// Knows the cluster as a whole (live.js), what is wrong with each queue (health.js), and which of them the
// reader wants to see. The server searches, sorts and cuts.

import * as live from '../live.js';
import { spark } from '../chart.js';
import { count, counted, perSecond, rate } from '../figures.js';
import { emptyIn, LEVELS, ofLiveChannel, ofTopic } from '../health.js';
import { growth, lately } from '../series.js';
import { ROWS_MAX, table } from '../table.js';
import { h } from '../tree.js';
import { stateMark } from './state.js';

/** Queues that are judged, the longest first, and as many again of those that nobody reads, which may be short. */
const JUDGED_MAX = 200;

/** Troubles that are listed before the reader wants all. */
const TROUBLES_MAX = 8;

export function topicsPage(context) {
  let told = null;
  let isOpen = false;

  return {
    title: () => (isByChannel(context) ? 'Channels' : 'Topics'),
    async load(signal) {
      const judged = { sort: 'depth', order: 'desc', limit: JUDGED_MAX };
      const [summary, list, longest, unread, full] = await Promise.all([
        live.summary(signal),
        live.list(isByChannel(context) ? 'channels' : 'topics', searchOf(context.query), signal),
        live.list('channels', judged, signal),
        live.list('channels', { ...judged, unread: true }, signal),
        live.list('topics', { ...judged, points: 0 }, signal),
      ]);
      told = {
        summary, list, kind: isByChannel(context) ? 'channels' : 'topics',
        troubles: troublesOf([...longest.rows, ...unread.rows], full.rows, summary.failures),
        bound: boundOf(longest.total, unread.total),
      };
    },
    view: () => told !== null && view(context, told, isOpen, () => {
      isOpen = !isOpen;
      context.redraw();
    }),
  };
}

function isByChannel(context) {
  return context.query.view === 'channels';
}

/** The table's state as the address has it. The longest queue comes first. */
function stateOf(query) {
  return {
    sort: query.sort ?? (query.view === 'channels' ? 'depth' : 'backlog'),
    descending: query.sort === undefined || query.order === 'desc',
    page: Math.max(1, Number(query.page) || 1),
  };
}

function searchOf(query) {
  const { sort, descending, page } = stateOf(query);
  return { search: query.q, sort, order: descending ? 'desc' : 'asc', offset: (page - 1) * ROWS_MAX, limit: ROWS_MAX };
}

/** What was not looked at, of so many channels and so many that nobody reads: a sentence, or `` when all was. */
export function boundOf(channels, unread) {
  if (channels <= JUDGED_MAX) {
    return '';
  }
  const others = unread <= JUDGED_MAX ? 'those without a consumer' : `the ${count(JUDGED_MAX)} longest of the ${count(unread)} without a consumer`;
  return `Looked at: the ${count(JUDGED_MAX)} longest of ${count(channels)} queues, and ${others}.`;
}

/**
 * What needs somebody: who does not answer, then the worst, and of these the longest. A channel may be among
 * `channels` twice.
 */
export function troublesOf(channels, topics, failures) {
  const silent = failures.map(({ address, reason }) => ({
    row: { node: address },
    name: address,
    judgement: { level: 3, word: 'no answer', why: `${reason}; all figures are without it` },
  }));
  const each = new Map(channels.map((row) => [`${row.topic}/${row.channel}`, row]));
  const found = [
    ...[...each.values()].map((row) => ({ row, name: `${row.topic}/${row.channel}`, depth: row.depth, judgement: ofLiveChannel(row) })),
    ...topics.map((row) => ({ row, name: row.topic, depth: row.depth, judgement: ofTopic(row) })),
  ];
  return [...silent, ...found
    .filter(({ judgement }) => 2 <= judgement.level)
    .sort((a, b) => b.judgement.level - a.judgement.level || b.depth - a.depth || (a.name < b.name ? -1 : 1))];
}

function view(context, told, isOpen, toggle) {
  const { query } = context;
  const byChannel = isByChannel(context);
  const { summary, list } = told;
  const state = stateOf(query);
  // Right after the other list was chosen, what is known is of the one before.
  const judged = judge(told.troubles);
  const isHere = told.kind === (byChannel ? 'channels' : 'topics');
  return [
    h('h1', { key: 'title' }, byChannel ? 'Channels' : 'Topics'),
    strip(summary),
    troubleList(context, told, isOpen, toggle),
    controls(context, byChannel, summary, list),
    isHere && table({
      id: told.kind,
      caption: byChannel ? 'All channels' : 'All topics',
      columns: byChannel ? channelColumns(context, judged) : topicColumns(context, judged),
      rows: list.rows,
      total: list.matching,
      keyOf: ({ topic, channel = '' }) => `${topic} ${channel}`,
      tone: (row) => `tone-${LEVELS[judged(row).level]}`,
      state,
      onstate: ({ sort = state.sort, descending = state.descending, page }) => {
        context.setQuery({ sort, order: descending ? 'desc' : 'asc', page: page === 1 ? '' : page });
        context.refresh();
      },
      empty: emptyText(context, list.total, query),
    }),
  ];
}

/** A topic is as bad as the worst of it, which its own row does not tell: the troubles do. */
function judge(troubles) {
  const worstOf = new Map();
  for (const { row, judgement } of troubles) {
    // They come the worst first.
    if (!worstOf.has(row.topic)) {
      worstOf.set(row.topic, row.channel === undefined ? judgement : { ...judgement, why: `${row.channel}: ${judgement.why}` });
    }
  }
  return (row) => (row.channel === undefined ? worstOf.get(row.topic) ?? ofTopic(row) : ofLiveChannel(row));
}

function emptyText(context, total, { q, view: kind }) {
  if (0 < total) {
    // A channel's name has its topic in front, and a topic's has no slash.
    const isChannel = kind !== 'channels' && (q ?? '').includes('/');
    return [`Nothing is called “${q}”. `, isChannel && [h('button', {
      type: 'button', class: 'plain', onclick: () => {
        context.setQuery({ view: 'channels', sort: '', order: '', page: '' });
        context.refresh();
      },
    }, 'Search the channels'), ' '], h('button', {
      type: 'button', class: 'plain', onclick: () => {
        context.setQuery({ q: '', page: '' });
        context.refresh();
      },
    }, 'Show all')];
  }
  return kind === 'channels'
    ? ['There is no channel yet. A consumer that subscribes to a topic makes one.']
    : ['There is no topic yet. The first message that is published makes one: ',
      h('code', null, "curl -d hello 'http://NSQD:4151/pub?topic=test'"), '; or create one under ',
      h('a', { href: context.to('lookup') }, 'Lookup'), '.'];
}

/** The figures of the cluster in one line. */
function strip(summary) {
  const { nodes, failed_nodes: failed } = summary;
  const figures = [
    ['Waiting', count(summary.depth), spark(summary.lines.depth, 'depth')],
    ['In flight', count(summary.in_flight)],
    ['Deferred', count(summary.deferred)],
    ['Published', perSecond(lately(summary.lines.rate)), spark(summary.lines.rate, 'rate')],
    ['Consumers', count(summary.clients)],
    ['Nodes', failed === 0 ? count(nodes) : `${count(nodes - failed)} of ${count(nodes)}`, null, 0 < failed],
  ];
  return h('dl', { class: 'strip', key: 'strip' }, figures.map(([label, figure, line, bad]) => h('div', { class: bad ? 'bad' : null },
    h('dt', null, label), h('dd', null, h('span', null, figure), line))));
}

function troubleList(context, { troubles, bound }, isOpen, toggle) {
  if (troubles.length === 0) {
    return h('p', { class: 'calm', key: 'calm' }, h('span', { 'aria-hidden': 'true' }, '✓ '), 'Nothing is stuck.',
      bound !== '' && h('span', { class: 'quiet' }, ` ${bound}`));
  }
  const rest = troubles.length - TROUBLES_MAX;
  return h('section', { class: 'troubles', key: 'troubles', 'aria-labelledby': 'troubles-title' },
    h('h2', { id: 'troubles-title' }, `What is stuck (${count(troubles.length)})`),
    h('ul', null, troubles.slice(0, isOpen ? troubles.length : TROUBLES_MAX).map(({ row, name, judgement }) => h('li', { key: name },
      stateMark(judgement),
      h('a', { href: addressOf(context, row) }, name),
      h('span', { class: 'why' }, judgement.why)))),
    0 < rest && h('button', { type: 'button', class: 'plain', 'aria-expanded': String(isOpen), onclick: toggle },
      isOpen ? 'Only the worst' : `and ${counted(rest, 'more', 'more')}`),
    bound !== '' && h('p', { class: 'quiet bound' }, bound));
}

function addressOf(context, { node, topic, channel }) {
  if (node !== undefined) {
    return context.to('nodes');
  }
  return channel === undefined ? context.to('topics', topic) : context.to('topics', topic, channel);
}

function controls(context, byChannel, summary, list) {
  const { query } = context;
  const pick = (label, kind, current) => h('button', {
    type: 'button', class: 'plain', 'aria-pressed': String(current), onclick: () => {
      context.setQuery({ view: kind, sort: '', order: '', page: '' });
      context.refresh();
    },
  }, label);
  return h('div', { class: 'bar', key: 'bar', role: 'search' },
    h('label', { class: 'search' },
      h('span', { class: 'unseen' }, byChannel ? 'Search channels' : 'Search topics'),
      h('input', {
        type: 'search', placeholder: 'Search  ( / )', value: query.q ?? '', autocomplete: 'off', spellcheck: 'false',
        oninput: (event) => {
          context.setQuery({ q: event.currentTarget.value, page: '' });
          context.refresh();
        },
      })),
    h('div', { class: 'choice', role: 'group', 'aria-label': 'What is listed' },
      pick(`Topics ${count(summary.topics)}`, '', !byChannel),
      pick(`Channels ${count(summary.channels)}`, 'channels', byChannel)),
    list.matching !== list.total && h('span', { class: 'quiet' }, `${count(list.matching)} of ${count(list.total)}`));
}

/** A number of messages with its line, and when it will be gone. */
function depthCell(depth, row, { level }) {
  return h('span', { class: 'depth', title: emptyIn(depth, growth(row.lines.depth)) || null },
    spark(row.lines.depth, level < 2 ? 'depth' : LEVELS[level]), h('span', null, count(depth)));
}

/** A column whose key is the server's. */
function number(key, label, { wide, title, shown = count } = {}) {
  return { key, label, numeric: true, wide, title, isSortable: true, cell: (row) => shown(row[key] ?? NaN) };
}

function topicColumns(context, judged) {
  return [
    { key: 'topic', label: 'Topic', isSortable: true, cell: ({ topic }) => h('a', { href: context.to('topics', topic) }, topic) },
    { key: 'state', label: 'State', cell: (row) => stateMark(judged(row)) },
    {
      ...number('backlog', 'Waiting', { title: 'Messages that wait in the topic and in its channels' }),
      cell: (row) => depthCell(row.backlog, row, judged(row)),
    },
    number('in_flight', 'In flight'),
    number('deferred', 'Deferred', { wide: true }),
    number('rate', 'Published/s', { shown: rate }),
    number('messages', 'Messages', { wide: true, title: 'Published since the nodes started' }),
    number('channels', 'Channels'),
    number('clients', 'Consumers'),
    number('nodes', 'Nodes', { wide: true }),
  ];
}

function channelColumns(context, judged) {
  return [
    {
      key: 'channel', label: 'Channel', isSortable: true, cell: ({ topic, channel }) => [
        h('a', { class: 'of', href: context.to('topics', topic) }, topic), '/',
        h('a', { href: context.to('topics', topic, channel) }, channel)],
    },
    { key: 'state', label: 'State', cell: (row) => stateMark(judged(row)) },
    { ...number('depth', 'Depth'), cell: (row) => depthCell(row.depth, row, judged(row)) },
    number('in_flight', 'In flight'),
    number('deferred', 'Deferred', { wide: true }),
    number('rate', 'In/s', { title: 'Messages that came, in a second', shown: rate }),
    number('finish_rate', 'Done/s', { title: 'Messages that were finished, in a second', shown: rate }),
    number('requeued', 'Requeued', { wide: true }),
    number('timed_out', 'Timed out', { wide: true }),
    number('clients', 'Consumers'),
  ];
}
