// The consumers of a channel, one row each.
//
// Knows NSQ's client statistics and how they are told. What a client says of itself is text, and its link is
// followed only where it is one of the web.

import { count, nanoseconds } from '../figures.js';
import { table } from '../table.js';
import { h } from '../tree.js';

/** `node` is false where all are on one node. */
export function clientsTable(context, clients, { id = 'clients', node = true, state = {}, onstate, caption }) {
  const number = (key, label, wide) => ({ key, label, numeric: true, wide, value: (row) => row[key], cell: (row) => count(row[key]) });
  const columns = [
    { key: 'client', label: 'Client', value: hostOf, cell: clientCell },
    { key: 'agent', label: 'User agent', wide: true, value: (row) => row.user_agent, cell: (row) => row.user_agent || '–' },
    { key: 'attributes', label: 'Attributes', cell: attributes },
    ...(node ? [{ key: 'node', label: 'Node', wide: true, value: (row) => row.node, cell: (row) => h('a', { href: context.to('nodes', row.node) }, row.node) }] : []),
    number('in_flight_count', 'In flight'),
    number('ready_count', 'Ready'),
    number('finish_count', 'Finished'),
    number('requeue_count', 'Requeued', true),
    number('message_count', 'Messages', true),
    { key: 'connected', label: 'Connected', numeric: true, value: connected, cell: (row) => nanoseconds(connected(row)) },
  ];
  return table({
    id, caption: caption ?? 'Consumers', columns, rows: clients, state, onstate,
    keyOf: (row) => `${row.node} ${row.remote_address}`, name: hostOf,
    tone: (row) => near(row),
    empty: 'No consumer is connected. One that subscribes to this channel is seen here.',
  });
}

/** Nanoseconds since it connected: nsqadmin says them, and nsqd says when it was. */
function connected(row) {
  return row.connected > 0 ? row.connected : (Date.now() / 1000 - row.connect_ts) * 1e9;
}

function hostOf(row) {
  const port = /:(\d+)$/.exec(row.remote_address ?? '')?.[1];
  return port ? `${row.hostname}:${port}` : row.hostname || row.remote_address;
}

function clientCell(row) {
  const own = (row.hostname ?? '').split('.')[0];
  return h('span', { title: row.remote_address }, hostOf(row),
    row.client_id && row.client_id !== own && row.client_id !== row.hostname && h('span', { class: 'quiet' }, ` ${row.client_id}`));
}

/** `zone` or `region` when the client is in the same as its node. */
function near(row) {
  if (row.node_topology_zone && row.topology_zone === row.node_topology_zone) {
    return 'zone';
  }
  return row.node_topology_region && row.topology_region === row.node_topology_region ? 'region' : undefined;
}

function attributes(row) {
  const tls = [row.tls_version, row.tls_cipher_suite, row.tls_negotiated_protocol].filter(Boolean).join(' ');
  const mutual = row.tls_negotiated_protocol_is_mutual ? ', protocol agreed by both' : '';
  const marks = [
    row.sample_rate > 0 && mark(`sampled ${row.sample_rate} %`),
    row.tls && mark('TLS', tls + mutual),
    row.deflate && mark('Deflate'),
    row.snappy && mark('Snappy'),
    row.authed && identity(row),
    row.topology_region && mark(row.topology_region, 'region'),
    row.topology_zone && mark(row.topology_zone, 'zone'),
    near(row) && mark(`same ${near(row)}`),
  ].filter(Boolean);
  return marks.length === 0 ? '–' : h('span', { class: 'marks' }, marks);
}

function mark(text, title) {
  return h('span', { class: 'mark', title: title || null }, text);
}

function identity(row) {
  const name = row.auth_identity ? `authorized: ${row.auth_identity}` : 'authorized';
  // An address comes from an authorization server, but what it begins with decides what a click does.
  const safe = /^https?:\/\//i.test(row.auth_identity_url ?? '');
  return mark(safe ? h('a', { href: row.auth_identity_url, rel: 'noreferrer' }, name) : name);
}
