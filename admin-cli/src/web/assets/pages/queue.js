// What a topic's and a channel's pages have in common: the charts of one queue, and the table of the nodes
// that have a part of it.
//
// Knows NSQ's statistics of topics and channels, in which the node `*` is all nodes together.

import { chart } from '../chart.js';
import { count, perSecond } from '../figures.js';
import { handled, lately } from '../series.js';
import { table } from '../table.js';
import { h } from '../tree.js';
import { latencyColumns } from './latency.js';

/** The two charts of a queue from its lines: what waits, and what comes and goes. */
export function charts(context, row, isChannel) {
  const { depth, rate: incoming } = row?.lines ?? { depth: [], rate: [] };
  const moving = [{ label: isChannel ? 'in' : 'published', tone: 'rate', unit: '/s', series: incoming }];
  if (isChannel) {
    moving.push({ label: 'done', tone: 'done', unit: '/s', series: handled(incoming, depth) });
  }
  const moment = { pointed: context.pointed, onpoint: context.point };
  return h('div', { class: 'charts', key: 'charts' },
    chart(isChannel ? 'Messages waiting' : 'Messages waiting, channels included', [{ label: 'depth', tone: 'depth', unit: '', series: depth }], { ...moment, id: 'waiting' }),
    chart('Messages in a second', moving, { ...moment, id: 'moving' }));
}

/** How fast it moves, beside a name: `35/s in, 40/s done`. */
export function paceText(row, isChannel) {
  const incoming = row ? lately(row.lines.rate) : NaN;
  if (Number.isNaN(incoming)) {
    return '';
  }
  if (!isChannel) {
    return `${perSecond(incoming)} published`;
  }
  return `${perSecond(incoming)} in, ${perSecond(lately(handled(row.lines.rate, row.lines.depth)))} done`;
}

/** Which moment of a chart is pointed at, for a page that draws some. */
export function pointing(context) {
  let pointed = null;
  return {
    ...context,
    get query() {
      return context.query;
    },
    get pointed() {
      return pointed;
    },
    point(next) {
      pointed = next;
      context.redraw();
    },
  };
}

/** A topic's or channel's part on each node, and all of it together. */
export function nodesTable(context, thing, kind) {
  const nodes = thing.nodes ?? [];
  const isChannel = kind === 'channel';
  const number = (key, label, wide, of = (row) => row[key]) => ({ key, label, numeric: true, wide, cell: (row) => count(of(row)), of });
  const columns = [
    { key: 'node', label: 'Node', cell: (row) => nodeCell(context, thing, row, kind) },
    number('depth', 'Depth'),
    { key: 'memory', label: 'Memory + disk', numeric: true, wide: true, cell: memoryAndDisk },
    ...(isChannel ? [
      number('in_flight_count', 'In flight'),
      number('deferred_count', 'Deferred', true),
      number('requeue_count', 'Requeued', true),
      number('timeout_count', 'Timed out', true),
    ] : []),
    number('message_count', 'Messages'),
    ...(isChannel ? [number('client_count', 'Consumers')]
      : [number('channels', 'Channels', false, (row) => (row.channels ?? []).length)]),
    ...(isChannel && nodes.some(({ delivery_msg_count: some }) => 0 < some)
      ? [{ key: 'delivery', label: 'Delivery', cell: deliveryCell, wide: true }] : []),
    ...latencyColumns([...nodes, thing]),
  ];
  const footer = Object.fromEntries(columns.map((column) => [column.key, column.cell(thing)]));
  footer.node = 'All nodes';
  return h('section', { key: 'nodes', 'aria-labelledby': 'nodes-title' },
    h('h2', { id: 'nodes-title' }, 'Nodes'),
    table({
      id: 'nodes', caption: `Nodes that have this ${kind}`, columns, rows: nodes,
      keyOf: ({ node }) => node, state: {}, footer: 1 < nodes.length ? footer : undefined,
      empty: ['No node has this ', kind, ' now. ', h('a', { href: context.to('lookup') }, 'Lookup'),
        ' shows what is known of it.'],
    }));
}

export function memoryAndDisk({ memory_depth: memory, backend_depth: disk }) {
  return `${count(memory)} + ${count(disk)}`;
}

function nodeCell(context, thing, row, kind) {
  const [, port] = /:(\d+)$/.exec(row.node) ?? [];
  const name = row.hostname ? `${row.hostname}:${port}` : row.node;
  return [
    h('a', { href: context.to('nodes', row.node) }, name),
    name !== row.node && [' ', h('span', { class: 'quiet address' }, row.node)],
    row.paused && [' ', h('span', { class: 'state note' }, 'paused')],
    kind === 'topic' && context.settings.is_admin && 0 < context.settings.nsqlookupd.length && [' ', h('button', {
      type: 'button', class: 'small plain', 'aria-label': `Tombstone ${thing.topic_name} on ${row.node}`,
      title: 'Take this topic off this node', onclick: () => context.tombstone(row.node, thing.topic_name),
    }, 'Tombstone')],
  ];
}

/** Where a channel's deliveries went, as far as the nodes tell zones apart. */
function deliveryCell(row) {
  const all = row.delivery_msg_count;
  if (!(0 < all)) {
    return '–';
  }
  const share = (key) => Math.round((row[key] ?? 0) / all * 1000) / 10;
  const parts = [['same zone', 'zone_local_msg_count'], ['same region', 'region_local_msg_count'], ['elsewhere', 'global_msg_count']];
  return h('ul', { class: 'shares' }, parts.filter(([, key]) => 0 < (row[key] ?? 0)).map(([label, key]) => (
    h('li', null, `${share(key)} % ${label}`))));
}
