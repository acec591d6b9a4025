// The page's pure modules, without a browser: routes, figures, series, judgements, tables, bodies, keys.

import assert from 'node:assert/strict';
import { test } from 'node:test';

const assets = new URL('../../admin-cli/src/web/assets/', import.meta.url);
const [route, figures, series, health, table, body, keys, settings, chart, api, graphite, tree, topics] = await Promise.all(
  ['route', 'figures', 'series', 'health', 'table', 'body', 'keys', 'settings', 'chart', 'api', 'pages/graphite', 'tree', 'pages/topics']
    .map((name) => import(new URL(`${name}.js`, assets))),
);

test('an address means one page, below the base path alone', () => {
  for (const [path, base, expected] of [
    ['/', '', { page: 'topics' }],
    ['/topics', '', { page: 'topics' }],
    ['/topics/a.b', '', { page: 'topic', topic: 'a.b' }],
    ['/topics/a/b%23ephemeral', '', { page: 'channel', topic: 'a', channel: 'b#ephemeral' }],
    ['/nodes/10.0.0.1:4151', '', { page: 'node', node: '10.0.0.1:4151' }],
    ['/nodes', '/admin', null],
    ['/admin', '/admin', { page: 'topics' }],
    ['/admin/counter', '/admin', { page: 'counter' }],
    ['/administrator', '/admin', null],
    ['/lookup/more', '', null],
    ['/topics/a/b/c', '', null],
    ['/topics/%zz', '', null],
  ]) {
    assert.deepEqual(route.parse(path, base), expected, `${path} below ${base}`);
  }
});

test('the path of a name comes back as that name', () => {
  for (const name of ['a', 'a#ephemeral', 'ü/?&=', '..', 'a b']) {
    const path = route.path('/x', 'topics', name);
    assert.deepEqual(route.parse(path, '/x'), { page: 'topic', topic: name });
  }
  assert.equal(route.query({ q: 'a b', page: '', sort: null, order: 'desc' }), '?q=a+b&order=desc');
  assert.equal(route.query({ q: '' }), '');
});

test('figures are exact where they are compared and short where they are glanced at', () => {
  for (const [told, expected] of [
    [figures.count(1204), '1,204'],
    [figures.count(12345678901), '12,345,678,901'],
    [figures.count(NaN), '–'],
    [figures.counted(1, 'message'), '1 message'],
    [figures.counted(0, 'message'), '0 messages'],
    [figures.rate(0), '0'],
    [figures.rate(0.04), '<0.1'],
    [figures.rate(0.44), '0.4'],
    [figures.rate(9.96), '10.0'],
    [figures.rate(12040.4), '12,040'],
    [figures.rate(NaN), '–'],
    [figures.perSecond(35), '35/s'],
    [figures.perSecond(NaN), '–'],
    [figures.short(950), '950'],
    [figures.short(12345), '12.3k'],
    [figures.short(2.5e6), '2.5M'],
    [figures.nanoseconds(820), '820 ns'],
    [figures.nanoseconds(1400000), '1.4 ms'],
    [figures.nanoseconds(2500), '2.5 µs'],
    [figures.nanoseconds(3.2e9), '3.2 s'],
    [figures.nanoseconds(130e9), '2 m 10 s'],
    [figures.seconds(0), '0 s'],
    [figures.seconds(59.4), '59 s'],
    [figures.seconds(3600), '1 h'],
    [figures.seconds(7800), '2 h 10 m'],
    [figures.seconds(90061), '1 d 1 h'],
    [figures.bytes(812), '812 B'],
    [figures.bytes(1536), '1.5 KiB'],
    [figures.bytes(0), '0 B'],
    [figures.quantile(0.99), '99th'],
    [figures.quantile(0.5), '50th'],
    [figures.quantile(0.11), '11th'],
    [figures.quantile(0.42), '42nd'],
    [figures.quantile(0.999), '99.9th'],
    [figures.quantile(1), 'max'],
  ]) {
    assert.equal(told, expected);
  }
});

const line = (...values) => values.map((value, index) => ({ at: index * 2000, value }));

test('growth is told by the last twenty seconds alone', () => {
  const slowThenFast = line(...Array(20).fill(0), ...Array.from({ length: 11 }, (_, index) => index * 10));
  assert.equal(series.growth(slowThenFast), 5);
  assert.equal(series.growth(line(100, 60)), -20);
  assert.ok(Number.isNaN(series.growth(line(7))));
  assert.ok(Number.isNaN(series.growth([])));
});

test('a counter that began anew makes no rate below zero', () => {
  assert.deepEqual(series.rates(line(10, 30, 0, 8)), [{ at: 2000, value: 10 }, { at: 6000, value: 4 }]);
});

test('what is handled is what came less what stayed', () => {
  const incoming = [{ at: 2000, value: 10 }, { at: 4000, value: 10 }, { at: 6000, value: 0 }];
  const waiting = line(100, 110, 110, 60);
  assert.deepEqual(series.handled(incoming, waiting), [
    { at: 2000, value: 5 }, { at: 4000, value: 10 }, { at: 6000, value: 25 },
  ]);
});

test('moments of which nothing is known are left out', () => {
  assert.deepEqual(series.zip([1, 2, 3], [5, null, 0]), [{ at: 1, value: 5 }, { at: 3, value: 0 }]);
  assert.deepEqual(series.zip([1], undefined), []);
});

test('a channel is judged by what waits, who takes it, and whether it grows', () => {
  const usual = { depth: 0, clients: 1, held: 0, paused: false, growth: 0 };
  for (const [difference, level, word] of [
    [{}, 0, 'ok'],
    [{ depth: 500 }, 0, 'ok'],
    [{ depth: 500, growth: -20 }, 0, 'ok'],
    [{ depth: 500, growth: NaN }, 0, 'ok'],
    [{ depth: 500, clients: 0 }, 3, 'no consumer'],
    [{ clients: 0 }, 0, 'ok'],
    [{ clients: 0, held: 3 }, 1, 'no consumer'],
    [{ depth: 500, growth: 20 }, 2, 'growing'],
    [{ depth: 500, growth: 0.2 }, 0, 'ok'],
    [{ depth: 1e6, growth: 20 }, 0, 'ok'],
    [{ depth: 500, paused: true }, 1, 'paused'],
    [{ depth: 500, paused: true, clients: 0, growth: 9 }, 2, 'paused'],
  ]) {
    const found = health.ofChannel({ ...usual, ...difference });
    assert.deepEqual([found.level, found.word], [level, word], JSON.stringify(difference));
  }
  const stuck = health.ofChannel({ ...usual, depth: 1204, clients: 0, growth: 35 });
  assert.equal(stuck.why, '1,204 messages and nobody to take them, 35 more every second');
});

test('a topic is judged by what waits in itself', () => {
  for (const [topic, level, word] of [
    [{ depth: 0, channels: 0, paused: false }, 0, 'ok'],
    [{ depth: 5, channels: 0, paused: false }, 2, 'no channel'],
    [{ depth: 0, channels: 2, paused: true }, 1, 'paused'],
    [{ depth: 9, channels: 2, paused: true }, 2, 'paused'],
  ]) {
    const found = health.ofTopic(topic);
    assert.deepEqual([found.level, found.word], [level, word], JSON.stringify(topic));
  }
});

test('what will be lost is named with its place', () => {
  const channel = (name, depth, flight = 0) => ({
    channel_name: name, depth, in_flight_count: flight, deferred_count: 0,
  });
  const told = (depth, ...channels) => health.toldLoss(health.lossOfTopic({ topic_name: 'orders', depth, channels }));
  assert.equal(told(0, channel('email', 1200, 4)), '1,204 messages in orders/email');
  assert.equal(told(1, channel('email', 2)), '2 messages in orders/email and 1 message in orders itself');
  assert.equal(told(0, channel('a', 5), channel('b', 4), channel('c', 3), channel('d', 2), channel('e', 1)),
    '5 messages in orders/a, 4 messages in orders/b, 3 messages in orders/c and 3 in 2 more channels');
  assert.equal(told(0, channel('email', 0)), 'No message is lost.');
  assert.equal(health.emptyIn(100, -0.5), 'empty in 3 m 20 s');
  assert.equal(health.emptyIn(100, 1), '');
});

test('what is stuck is listed the worst first, and then the longest', () => {
  const channel = (name, depth, clients, ...line) => ({
    topic: 't', channel: name, depth, clients, in_flight: 0, deferred: 0, paused: false,
    lines: { depth: line.map((value, index) => ({ at: index * 2000, value })), rate: [] },
  });
  const topic = { topic: 'alone', depth: 9, channels: 0, paused: false };
  const channels = [channel('fine', 900, 1, 900, 900), channel('grows', 50, 1, 10, 50), channel('left', 5, 0), channel('lost', 7, 0)];
  const found = topics.troublesOf(channels, [topic], [{ address: '10.0.0.9:4151', reason: 'connection refused' }]);
  assert.deepEqual(found.map(({ name, judgement }) => `${name}: ${judgement.word}`), [
    '10.0.0.9:4151: no answer', 't/lost: no consumer', 't/left: no consumer', 't/grows: growing', 'alone: no channel',
  ]);
});

test('a queue that is judged twice is listed once, and what was not judged is said', () => {
  const row = { topic: 't', channel: 'c', depth: 7, clients: 0, in_flight: 0, deferred: 0, paused: false, lines: { depth: [], rate: [] } };
  assert.equal(topics.troublesOf([row, { ...row }], [], []).length, 1);
  for (const [channels, unread, told] of [
    [200, 200, ''],
    [201, 0, 'Looked at: the 200 longest of 201 queues, and those without a consumer.'],
    [10000, 201, 'Looked at: the 200 longest of 10,000 queues, and the 200 longest of the 201 without a consumer.'],
  ]) {
    assert.equal(topics.boundOf(channels, unread), told);
  }
});

const byName = { key: 'name', value: (row) => row.name };
const bySize = { key: 'size', value: (row) => row.size, numeric: true };

test('rows are found by all words that are sought, and sorted by one column', () => {
  assert.ok(table.matches('orders/email', 'EMAIL ord'));
  assert.ok(!table.matches('orders/email', 'email x'));
  assert.ok(table.matches('anything', ''));
  const rows = [{ name: 'b', size: 2 }, { name: 'a', size: 2 }, { name: 'c', size: 10 }, { name: 'd', size: NaN }];
  const names = (column, descending) => table.sorted(rows, column, descending, byName.value).map(({ name }) => name).join('');
  assert.equal(names(bySize, true), 'cabd');
  assert.equal(names(bySize, false), 'dabc');
  assert.equal(names(byName, true), 'dcba');
});

test('a table shows a hundred rows, and the last page when it has become shorter', () => {
  const rows = Array.from({ length: 250 }, (_, size) => ({ name: String(size), size }));
  const state = { sort: 'size', descending: false, page: 3 };
  const shown = table.arranged({ rows, columns: [byName, bySize], state, name: byName.value });
  assert.deepEqual([shown.rows.length, shown.rows[0].size, shown.page, shown.pages], [50, 200, 3, 3]);
  const shorter = table.arranged({ rows: rows.slice(0, 20), columns: [bySize], state, name: byName.value });
  assert.deepEqual([shorter.rows.length, shorter.page, shorter.pages], [20, 1, 1]);
  const cut = table.arranged({ rows: rows.slice(0, 100), total: 10000, columns: [], state, name: byName.value });
  assert.deepEqual([cut.rows.length, cut.page, cut.pages, cut.total], [100, 3, 100, 10000]);
});

const bytes = (text) => new TextEncoder().encode(text);

test('a body is shown in the form in which it reads best', () => {
  for (const [content, form] of [
    [bytes('{"a":1}'), 'json'],
    [bytes('[]'), 'json'],
    [bytes('17'), 'text'],
    [bytes('hello\nthere'), 'text'],
    [bytes(''), 'text'],
    [Uint8Array.of(0xff, 0xfe), 'hex'],
    [bytes('a\u0000b'), 'hex'],
  ]) {
    assert.equal(body.bestForm(content), form, String(content));
  }
  assert.equal(body.shown(bytes('{"a":[1]}'), 'json'), '{\n  "a": [\n    1\n  ]\n}');
  assert.equal(body.shown(bytes('no json'), 'json'), 'no json');
  assert.equal(body.shown(bytes('<b>'), 'text'), '<b>');
  assert.equal(body.hex(bytes('0123456789abcdef!')),
    '00000000  30 31 32 33 34 35 36 37  38 39 61 62 63 64 65 66  0123456789abcdef\n'
    + `00000010  21${' '.repeat(46)}  !`);
  const large = new Uint8Array(body.SHOWN_BYTES_MAX + 1000).fill(0x61);
  assert.ok(body.shown(large, 'text').endsWith('a\n… 1,000 bytes more'));
  assert.deepEqual(body.fromBase64('aGk='), bytes('hi'));
});

test('a key means something unless it goes into a field', () => {
  const keyboard = new keys.Keyboard();
  const press = (key, at, more = {}) => keyboard.word({ key, typing: false, modified: false, ...more }, at);
  assert.equal(press('/', 0), 'search');
  assert.equal(press('/', 0, { typing: true }), null);
  assert.equal(press('r', 0, { modified: true }), null);
  assert.equal(press('g', 1000), null);
  assert.equal(press('n', 1500), 'nodes');
  assert.equal(press('g', 2000), null);
  assert.equal(press('n', 9000), null, 'the second key came too late');
  assert.equal(press('?', 10000), 'keys');
});

test('what the shell does not say is as it usually is', () => {
  const told = settings.read('{"base_path":"/admin/","is_admin":false,"nsqlookupd":null}');
  assert.deepEqual([told.base_path, told.is_admin, told.nsqlookupd], ['/admin', false, []]);
  assert.equal(settings.read('{{settings}}').base_path, '');
  assert.equal(settings.read(undefined).statsd_prefix, 'nsq.%s');
});

test('points lie between the ends of their box', () => {
  assert.deepEqual(chart.points(line(0, 5, 10), { width: 100, height: 22 }, 0, 4000, 10), [[0, 21], [50, 11], [100, 1]]);
  assert.equal(chart.top(0), 1);
  assert.equal(chart.top(7), 10);
  assert.equal(chart.top(230), 250);
  assert.equal(chart.top(1000), 1000);
  const broken = [...line(1, 2), { at: 60000, value: 3 }];
  assert.deepEqual(chart.stretches(broken).map((stretch) => stretch.length), [2, 1]);
  assert.equal(chart.nearest(line(1, 2, 3), 3100).value, 3);
});

test('what failed upstream is told sentence by sentence', () => {
  assert.deepEqual(api.warnings('WARNING: a: refused; b: late'), ['a: refused', 'b: late']);
  assert.deepEqual(api.warnings('UPSTREAM_ERROR: gone'), ['gone']);
  assert.deepEqual(api.warnings(''), []);
  assert.deepEqual(api.warnings(
    'WARNING: Get "http://10.0.0.1:4151/stats?format=json": dial tcp 10.0.0.1:4151: connect: connection refused; '
    + 'Post "http://n:1/x": context deadline exceeded (Client.Timeout exceeded while awaiting headers)',
  ), ['10.0.0.1:4151 does not answer: connection refused', 'n:1 does not answer in time']);
});

test('graphite is asked by the keys under which nsqd reports', () => {
  const told = settings.read('{}');
  assert.deepEqual(graphite.target('10.0.0.1:4151', 'a/b c', undefined, 'depth', told),
    { series: 'sumSeries(stats.gauges.nsq.10_0_0_1_4151.topic.a-b_c.depth)', counts: false });
  assert.deepEqual(graphite.target('*', 't', 'c#ephemeral', 'message_count', told),
    { series: 'sumSeries(stats.counters.nsq.*.topic.t.channel.cephemeral.message_count.count)', counts: true });
  assert.deepEqual(graphite.latencyTargets('t', 'c', [{ quantile: 0.99 }], told),
    [{ series: 'scale(averageSeries(stats.gauges.nsq.*.topic.t.channel.c.e2e_processing_latency_99),0.000001)', counts: false }]);
  const targetOf = (counts, small) => {
    const address = graphite.picture([{ series: 'x', counts }], '2h', { width: 10, height: 5, small }, { ...told, base_path: '/admin', statsd_interval: 10 });
    assert.ok(address.startsWith('/admin/render?width=10&height=5&from=-2h'), address);
    return new URLSearchParams(address.split('?')[1]).get('target');
  };
  assert.equal(targetOf(false, false), 'summarize(x,"10sec","avg")');
  assert.equal(targetOf(true, true), 'summarize(x,"10sec","avg")');
  assert.equal(targetOf(true, false), 'summarize(scale(x,0.1),"10sec","avg")');
});

test('a description keeps texts apart from elements', () => {
  const described = tree.h('p', null, '<b>', null, false, ['x', [7]]);
  assert.deepEqual(described.children, ['<b>', 'x', '7']);
});
