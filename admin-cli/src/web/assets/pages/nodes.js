// Every nsqd that is known: where it is, which version, who knows of it, what it has, and whether it answers.

import * as api from '../api.js';
import * as live from '../live.js';
import { count } from '../figures.js';
import { matches, table } from '../table.js';
import { h } from '../tree.js';
import { partialView, stateMark } from './state.js';

/** Topics of a node that are named; its own page has all. */
const TOPICS_MAX = 12;

export function nodesPage(context) {
  let told = null;
  let errors = new Map();

  return {
    title: () => 'Nodes',
    async load(signal) {
      const [nodes, sampled] = await Promise.all([api.nodes(signal), live.nodes(signal)]);
      told = nodes;
      errors = new Map(sampled.filter(({ error }) => error).map(({ node, error }) => [node, error]));
    },
    view: () => told !== null && view(context, told, errors),
  };
}

/** The name by which routes know a node. */
function nameOf(node) {
  return `${node.broadcast_address}:${node.http_port}`;
}

function view(context, told, errors) {
  const { query } = context;
  const known = told.nodes ?? [];
  const names = new Set(known.map(nameOf));
  // A node that does not answer is not in NSQ's list where nsqds are named themselves; it is missed most.
  const silent = [...errors].filter(([name]) => !names.has(name)).map(([name]) => {
    const [, address, port] = /^(.*):(\d+)$/.exec(name) ?? [null, name, ''];
    return { hostname: '', broadcast_address: address, http_port: Number(port), topics: [], remote_addresses: null };
  });
  const all = [...known, ...silent];
  const shown = all.filter((node) => matches([node.hostname, nameOf(node), node.version, node.topology_zone, node.topology_region,
    ...(node.topics ?? []).map(({ topic }) => topic)].join(' '), query.q ?? ''));
  const lookups = context.settings.nsqlookupd.length;
  const errorOf = (node) => errors.get(nameOf(node));
  const state = { sort: query.sort ?? 'state', descending: query.sort === undefined || query.order === 'desc', page: Number(query.page ?? 1) };
  return [
    h('h1', { key: 'title' }, `Nodes (${count(all.length)})`),
    partialView(api.warnings(told.message)),
    h('div', { class: 'bar', key: 'bar', role: 'search' }, h('label', { class: 'search' },
      h('span', { class: 'unseen' }, 'Search nodes'),
      h('input', {
        type: 'search', placeholder: 'Search  ( / )', value: query.q ?? '', autocomplete: 'off', spellcheck: 'false',
        oninput: (event) => context.setQuery({ q: event.currentTarget.value, page: '' }),
      }))),
    table({
      id: 'all-nodes',
      caption: 'All nodes',
      columns: columns(context, lookups, errorOf, all),
      rows: shown,
      keyOf: nameOf,
      name: (node) => `${node.hostname} ${nameOf(node)}`,
      tone: (node) => (errorOf(node) ? 'tone-bad' : node.out_of_date ? 'tone-warn' : undefined),
      state,
      onstate: ({ sort = state.sort, descending = state.descending, page }) => context.setQuery({
        sort, order: descending ? 'desc' : 'asc', page: page === 1 ? '' : page,
      }),
      empty: 0 < all.length ? `No node is called “${query.q}”.`
        : ['No nsqd is known. Start one that registers here: ', h('code', null, 'nsqd --lookupd-tcp-address=HOST:4160'), '.'],
    }),
  ];
}

function columns(context, lookups, errorOf, all) {
  const text = (key, label, wide) => ({ key, label, wide, value: (node) => node[key] ?? '', cell: (node) => node[key] || '–' });
  const has = (key) => all.some((node) => node[key]);
  return [
    {
      key: 'node', label: 'Node', value: nameOf,
      cell: (node) => [h('a', { href: context.to('nodes', nameOf(node)) }, nameOf(node)),
        node.hostname && node.hostname !== node.broadcast_address && [' ', h('span', { class: 'quiet address' }, node.hostname)]],
    },
    {
      key: 'state', label: 'State',
      value: (node) => (errorOf(node) ? 2 : node.out_of_date ? 1 : 0),
      cell: (node) => [
        errorOf(node) ? stateMark({ level: 3, word: 'no answer', why: errorOf(node) })
          : node.out_of_date ? stateMark({ level: 2, word: 'out of date', why: 'Another node has a newer version' }) : stateMark({ level: 0, word: 'ok', why: '' }),
        errorOf(node) && h('span', { class: 'why' }, errorOf(node))],
    },
    { key: 'tcp', label: 'TCP', numeric: true, wide: true, value: (node) => node.tcp_port, cell: (node) => node.tcp_port ?? '–' },
    { key: 'http', label: 'HTTP', numeric: true, wide: true, value: (node) => node.http_port, cell: (node) => node.http_port },
    text('version', 'Version'),
    ...(has('topology_region') ? [text('topology_region', 'Region', true)] : []),
    ...(has('topology_zone') ? [text('topology_zone', 'Zone', true)] : []),
    ...(0 < lookups ? [{
      key: 'lookups', label: 'Lookupds', numeric: true, value: (node) => (node.remote_addresses ?? []).length,
      cell: (node) => lookupCell(node, lookups),
    }] : []),
    { key: 'topics', label: 'Topics', value: (node) => -(node.topics ?? []).length, cell: (node) => topicsCell(context, node) },
  ];
}

/** How many nsqlookupds know it, and by which addresses. All of them should. */
function lookupCell(node, lookups) {
  const addresses = node.remote_addresses ?? [];
  const text = `${addresses.length} of ${lookups}`;
  return addresses.length === 0 ? text : h('details', { class: 'lookups' },
    h('summary', { class: addresses.length === lookups ? null : 'warn-text' }, text),
    h('ul', null, addresses.map((address) => h('li', null, address))));
}

function topicsCell(context, node) {
  const topics = node.topics ?? [];
  if (topics.length === 0) {
    return h('span', { class: 'quiet' }, 'none');
  }
  return h('span', { class: 'marks' },
    topics.slice(0, TOPICS_MAX).map(({ topic, tombstoned }) => h('a', {
      class: tombstoned ? 'mark gone' : 'mark', href: context.to('topics', topic),
      title: tombstoned ? 'Tombstoned: hidden from consumers on this node' : null,
    }, topic, tombstoned && ' (tombstoned)')),
    TOPICS_MAX < topics.length && h('a', { href: context.to('nodes', nameOf(node)) }, `and ${count(topics.length - TOPICS_MAX)} more`));
}
