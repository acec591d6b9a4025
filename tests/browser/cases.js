// What is done in the browser, case by case; `tests/tests/page.rs` makes the cluster of each and says which.
//
//     node cases.js CASE
//
// From the environment: ADMIN, where nsqadmin is; NSQD, the HTTP addresses of the nsqds with commas
// between; MODULES, where playwright-core and axe-core are; SCREENSHOTS, where pictures go.

import assert from 'node:assert/strict';
import { withPage } from './page.js';

const address = process.env.ADMIN;
const nsqds = (process.env.NSQD ?? '').split(',').filter((nsqd) => nsqd !== '');

/** What an nsqd itself says of a topic. */
async function topicAt(nsqd, name) {
  const answer = await fetch(`http://${nsqd}/stats?format=json&topic=${encodeURIComponent(name)}`);
  return ((await answer.json()).topics ?? []).find((topic) => topic.topic_name === name) ?? null;
}

async function channelAt(nsqd, topic, name) {
  return ((await topicAt(nsqd, topic))?.channels ?? []).find((channel) => channel.channel_name === name) ?? null;
}

/** Asks for every picture that a picture of Graphite's leads to. */
async function largerOf(page) {
  const links = await page.inner.locator('a[href*="/render?"]').evaluateAll((all) => all.map((one) => one.href));
  for (const link of links) {
    assert.equal((await fetch(link)).status, 200, link);
  }
}

const PATHS = (nsqd) => [
  ['topics', '/'], ['channels', '/topics?view=channels'], ['topic', '/topics/orders'],
  ['channel', '/topics/orders/email'], ['nodes', '/nodes'], ['node', `/nodes/${nsqd}`],
  ['counter', '/counter'], ['lookup', '/lookup'],
];

const cases = {
  async pages(page) {
    await page.open('/');
    await page.says('What is stuck');
    await page.says('1,204 messages and nobody to take them');
    await page.rowBecomes('topics', 'orders', { Waiting: '1,204', State: '■ no consumer', Channels: '2', Consumers: '1' });
    await page.rowBecomes('topics', 'quiet', { Waiting: '0', State: 'ok' });
    await page.assertGood('topics');
    await page.photograph('topics');

    // A channel's name is looked for among topics, and then where it is.
    const search = page.inner.locator('input[type=search]');
    await search.fill('orders/em');
    await page.says('Nothing is called “orders/em”.');
    await page.press('button', 'Search the channels');
    await page.rowBecomes('channels', 'orders/email', { Depth: '1,204' });
    await page.says('1 of 3');
    await search.fill('');

    await page.press('button', /^Channels/);
    await page.rowBecomes('channels', 'orders/email', { Depth: '1,204', State: '■ no consumer', Consumers: '0' });
    await page.rowBecomes('channels', 'orders/audit', { Depth: '0', State: 'ok', Consumers: '1' });
    await page.assertGood('channels');
    await page.photograph('channels');

    await page.press('link', 'email');
    await page.rowBecomes('nodes', nsqds[0], { Depth: '1,204', Messages: '1,204', Consumers: '0' });
    await page.says('No consumer is connected.');
    await page.assertGood('channel');
    await page.photograph('channel');

    await page.press('link', 'orders');
    await page.rowBecomes('channels', 'email', { Depth: '1,204', 'In flight': '0', Consumers: '0' });
    await page.rowBecomes('channels', 'audit', { Depth: '0', Consumers: '1' });
    await page.rowBecomes('nodes', nsqds[0], { Messages: '1,204', Channels: '2' });
    await page.assertGood('topic');
    await page.photograph('topic');

    await page.open('/topics/orders/audit');
    await page.rowBecomes('clients', 'reader.example', { 'User agent': 'test/1', Ready: '0', Node: nsqds[0] });
    await page.assertGood('channel with a consumer');
    await page.photograph('channel-with-a-consumer');

    await page.open('/nodes');
    for (const nsqd of nsqds) {
      await page.rowBecomes('all-nodes', nsqd, { State: 'ok', Lookupds: '1 of 1' });
    }
    assert.match((await page.row('all-nodes', nsqds[0])).Topics, /orders/);
    await page.assertGood('nodes');
    await page.photograph('nodes');

    await page.press('link', nsqds[0]);
    await page.says('1 consumer of audit');
    await page.rowBecomes('channels-orders', 'email', { Depth: '1,204', Consumers: '0' });
    await page.assertGood('node');
    await page.photograph('node');

    await page.open('/counter');
    await page.becomes('the total', async () => page.inner.locator('#total').innerText(), '2,408');
    await page.assertGood('counter');
    await page.photograph('counter');

    await page.open('/lookup');
    await page.says('Inactive topics (1)');
    await page.says('retired');
    await page.assertGood('lookup');
    await page.photograph('lookup');
  },

  async actions(page) {
    const [nsqd] = nsqds;
    // Create.
    await page.open('/lookup');
    await page.says('None: every topic');
    await page.inner.locator('[name=topic]').fill('made');
    await page.inner.locator('[name=channel]').fill('here');
    await page.press('button', 'Create');
    await page.says('made/here is created');
    await page.says('Inactive topics (1)');
    // Forget.
    await page.press('button', 'Delete made/here');
    assert.deepEqual(await page.question(), {
      title: 'Delete made/here?', text: 'No node has it, so no message is lost. nsqlookupd forgets the channel.',
    });
    await page.confirm();
    await page.says('made/here is deleted');
    await page.press('button', 'Delete made');
    await page.confirm();
    await page.says('None: every topic');
    // A refusal is shown.
    page.expect('400');
    await page.inner.locator('form').evaluate((form) => form.setAttribute('novalidate', ''));
    await page.inner.locator('[name=topic]').fill('no good');
    await page.press('button', 'Create');
    await page.says('INVALID_TOPIC');
    await page.photograph('refused');

    // Pause and unpause a topic.
    await page.open('/topics/orders');
    await page.press('button', 'Pause topic');
    assert.equal((await page.question()).title, 'Pause orders?');
    await page.confirm();
    await page.says('orders is paused');
    assert.equal((await topicAt(nsqd, 'orders')).paused, true);
    await page.press('button', 'Unpause topic');
    await page.confirm();
    await page.says('orders is unpaused');
    assert.equal((await topicAt(nsqd, 'orders')).paused, false);

    // Pause and unpause a channel.
    await page.open('/topics/orders/email');
    await page.press('button', 'Pause channel');
    await page.confirm();
    await page.says('orders/email is paused');
    await page.says('paused with 1,204 messages');
    assert.equal((await channelAt(nsqd, 'orders', 'email')).paused, true);
    await page.press('button', 'Unpause channel');
    await page.confirm();
    await page.says('orders/email is unpaused');
    assert.equal((await channelAt(nsqd, 'orders', 'email')).paused, false);

    // Whoever cancels has changed nothing.
    await page.press('button', 'Empty channel');
    assert.deepEqual(await page.question(), {
      title: 'Empty orders/email?',
      text: '1,204 messages in orders/email will be lost. Its consumers stay connected.',
    });
    await page.photograph('question', { whole: false });
    await page.assertGood('the question');
    await page.inner.keyboard.press('Escape');
    await page.inner.locator('dialog').waitFor({ state: 'detached' });
    assert.equal((await channelAt(nsqd, 'orders', 'email')).depth, 1204);
    await page.becomes('the focus', async () => page.inner.evaluate(() => document.activeElement.name), 'empty');

    await page.press('button', 'Empty channel');
    await page.confirm();
    await page.says('orders/email is emptied');
    assert.equal((await channelAt(nsqd, 'orders', 'email')).depth, 0);
    await page.rowBecomes('nodes', nsqd, { Depth: '0' });

    // A channel that holds nothing goes at a second click, one that does after its name is typed.
    await page.press('button', 'Delete channel');
    assert.match((await page.question()).text, /^It holds no message now\./);
    await page.confirm();
    await page.says('orders/email is deleted');
    await page.becomes('the address', async () => new URL(page.inner.url()).pathname, '/topics/orders');
    assert.equal(await channelAt(nsqd, 'orders', 'email'), null);
    await page.open('/topics/orders/audit');
    await page.press('button', 'Delete channel');
    assert.match((await page.question()).text, /1,204 messages in orders\/audit will be lost\./);
    await page.confirm('audit');
    await page.says('orders/audit is deleted');

    // A topic: its own queue, a node of it, and all of it.
    await page.open('/topics/waiting');
    await page.press('button', 'Empty topic');
    assert.match((await page.question()).text, /^3 messages in waiting will be lost\./);
    await page.confirm();
    await page.says('waiting is emptied');
    assert.equal((await topicAt(nsqd, 'waiting')).depth, 0);

    await page.open('/topics/both');
    await page.press('button', `Tombstone both on ${nsqds[1]}`);
    assert.match((await page.question()).text, new RegExp(`^2 messages in both itself will be lost on ${nsqds[1]}\\.`));
    await page.confirm('both');
    await page.says(`both is tombstoned on ${nsqds[1]}`);
    assert.equal(await topicAt(nsqds[1], 'both'), null);
    assert.equal((await topicAt(nsqd, 'both')).depth, 2);
    await page.press('button', 'Delete topic');
    assert.match((await page.question()).text, /^2 messages in both itself will be lost\. The topic goes from every node\./);
    await page.confirm('both');
    await page.says('both is deleted');
    await page.becomes('the address', async () => new URL(page.inner.url()).pathname, '/topics');
    assert.equal(await topicAt(nsqd, 'both'), null);
  },

  async hostile(page) {
    const markup = '<img src=x onerror=alert(1)>';
    page.inner.on('dialog', () => assert.fail('a script of a name has run'));
    await page.open('/topics/orders/email');
    await page.says(markup);
    assert.equal(await page.inner.locator('main img').count(), 0);
    await page.open(`/nodes/${nsqds[0]}`);
    await page.inner.locator('summary').first().click();
    await page.says(markup);
    assert.equal(await page.inner.locator('main img').count(), 0);
    // An address that holds markup is a name like others.
    page.expect('404');
    page.expect('502');
    await page.inner.goto(`${address}/topics/${encodeURIComponent(markup)}`);
    await page.says(markup);
    assert.equal(await page.inner.locator('main img').count(), 0);
  },

  async messages(page) {
    await page.open('/topics/orders');
    await page.press('button', 'Look');
    const bodies = page.inner.locator('.messages pre');
    await bodies.first().waitFor();
    const texts = await bodies.allInnerTexts();
    // The newest first.
    assert.deepEqual(texts, [
      '00000000  00 ff 41                                          ..A',
      '<img src=x onerror=alert(1)>',
      '{\n  "id": 7,\n  "to": [\n    "ann"\n  ]\n}',
    ]);
    assert.equal(await page.inner.locator('main img').count(), 0);
    await page.assertGood('messages');
    await page.photograph('messages');
    await page.inner.locator('[name=form]').selectOption('hex');
    await page.becomes('the second body', async () => (await bodies.allInnerTexts())[1].split('\n')[0],
      '00000000  3c 69 6d 67 20 73 72 63  3d 78 20 6f 6e 65 72 72  <img src=x onerr');
    await page.inner.locator('[name=form]').selectOption('text');
    await page.becomes('the third body', async () => (await bodies.allInnerTexts())[2], '{"id":7,"to":["ann"]}');
    assert.equal((await channelAt(nsqds[0], 'orders', 'email')).depth, 3, 'a look takes nothing');
  },

  async deadNode(page) {
    await page.open('/');
    await page.says('all figures are without it');
    await page.says('1 of 2');
    await page.rowBecomes('topics', 'orders', { Waiting: '1,204' });
    await page.assertGood('topics with a dead node');
    await page.photograph('dead-node');
    await page.open('/nodes');
    await page.rowBecomes('all-nodes', nsqds[0], { State: 'ok' });
    await page.becomes('the dead node', async () => (await page.row('all-nodes', nsqds[1])).State.slice(0, 11), '■ no answer');
    await page.assertGood('nodes with a dead one');
    await page.photograph('nodes-with-a-dead-one');
    await page.open('/topics/orders');
    await page.says('One answer is missing');
    await page.says(`${nsqds[1]} does not answer in time`);
    await page.rowBecomes('channels', 'email', { Depth: '1,204' });
    await page.photograph('topic-with-a-dead-node');
    // What the dead one holds is not known, so neither is what is lost.
    const uncounted = `Not counted: ${nsqds[1]} does not answer in time.`;
    await page.open('/topics/orders/audit');
    await page.press('button', 'Delete channel');
    const { text } = await page.question();
    assert.ok(text.startsWith(`It holds no message now. ${uncounted}`), text);
    assert.equal(await page.inner.locator('dialog[open] label').innerText(), 'Type audit to confirm');
    await page.inner.keyboard.press('Escape');
    await page.open('/topics/orders/email');
    await page.press('button', 'Empty channel');
    assert.equal((await page.question()).text,
      `1,204 messages in orders/email will be lost. ${uncounted} Its consumers stay connected.`);
    await page.inner.keyboard.press('Escape');
  },

  async silence(page) {
    await page.open('/topics/orders');
    await page.rowBecomes('channels', 'email', { Depth: '1,204' });
    page.expect('net::ERR_');
    await page.inner.route('**/api/**', (route) => route.abort());
    await page.inner.keyboard.press('r');
    await page.says('nsqadmin does not answer');
    await page.says('What is below is from');
    await page.rowBecomes('channels', 'email', { Depth: '1,204' });
    await page.assertGood('silence');
    await page.photograph('silence');
    await page.inner.unroute('**/api/**');
    await page.inner.keyboard.press('r');
    await page.inner.getByText('nsqadmin does not answer').waitFor({ state: 'detached' });
    // What never was there says so, too, and where to look.
    page.expect('404');
    page.expect('502');
    await page.open('/topics/unheard-of');
    await page.says('This cannot be shown');
    await page.assertGood('a topic that is not there');
    await page.open('/nodes/nowhere:1');
    await page.says('NODE_NOT_FOUND');
    await page.says('Nobody knows a node of this name');
  },

  async keyboard(page) {
    const { keyboard } = page.inner;
    const path = async () => new URL(page.inner.url()).pathname + new URL(page.inner.url()).search;
    await page.open('/');
    await keyboard.press('Tab');
    const active = (key) => () => page.inner.evaluate((name) => document.activeElement[name], key);
    await page.becomes('the first stop', active('innerText'), 'Skip to the content');
    await keyboard.press('Enter');
    await page.becomes('where it leads', active('id'), 'content');
    await keyboard.press('/');
    await page.becomes('where one types', active('type'), 'search');
    await keyboard.type('order');
    await page.becomes('the address', path, '/?q=order');
    await page.becomes('the rows', async () => page.inner.locator('#topics tbody tr').count(), 1);
    await keyboard.press('Escape');
    for (const [keys, expected] of [['gn', '/nodes'], ['gu', '/counter'], ['gl', '/lookup'], ['gc', '/topics?view=channels'], ['gt', '/topics']]) {
      for (const key of keys) {
        await keyboard.press(key);
      }
      await page.becomes('the address', path, expected);
    }
    await page.loaded();
    await keyboard.press('?');
    const list = page.inner.locator('dialog[open]');
    await list.getByText('search in this page').waitFor();
    await page.assertGood('the list of keys');
    await page.photograph('keys', { whole: false });
    await keyboard.press('n');
    await keyboard.press('Escape');
    await list.waitFor({ state: 'detached' });
    await page.becomes('the address', path, '/topics');

    // Follow a row, and delete what it is, without a mouse.
    await page.inner.locator('#topics tbody a').first().focus();
    await keyboard.press('Enter');
    await page.becomes('the address', path, '/topics/orders');
    await page.find('button', 'Delete topic').focus();
    await keyboard.press('Enter');
    await page.inner.locator('dialog[open]').waitFor();
    await page.becomes('where one types', active('name'), 'typed');
    await keyboard.type('order');
    await keyboard.press('Enter');
    assert.ok(await page.inner.locator('dialog[open]').isVisible(), 'what is half typed confirms nothing');
    for (let step = 0; step < 6; step += 1) {
      await keyboard.press('Tab');
      const where = await page.inner.evaluate(() => document.activeElement.closest('dialog') !== null || document.activeElement === document.body);
      assert.ok(where, 'the focus has left the question');
    }
    await page.inner.locator('[name=typed]').focus();
    await keyboard.press('End');
    await keyboard.type('s');
    await keyboard.press('Enter');
    await page.says('orders is deleted');
    assert.equal(await topicAt(nsqds[0], 'orders'), null);
    // The page is drawn anew in the next frame.
    const pace = () => page.inner.locator('[name=pace]').inputValue();
    await keyboard.press('p');
    await page.becomes('the pace', pace, '0');
    await keyboard.press('p');
    await page.becomes('the pace', pace, '5');
  },

  async phone(page) {
    await page.inner.setViewportSize({ width: 360, height: 740 });
    for (const [name, path] of PATHS(nsqds[0])) {
      await page.open(path);
      await page.inner.waitForTimeout(300);
      await page.assertGood(`${name} on a phone`);
      await page.photograph(`phone-${name}`);
    }
    await page.open('/topics/orders/email');
    await page.press('button', 'Empty channel');
    await page.question();
    await page.assertGood('a question on a phone');
    await page.photograph('phone-question', { whole: false });
  },

  async themes(page) {
    const ground = () => page.inner.evaluate(() => getComputedStyle(document.body).backgroundColor);
    const [light, dark] = ['rgb(255, 255, 255)', 'rgb(16, 21, 28)'];
    await page.inner.emulateMedia({ colorScheme: 'dark' });
    for (const [name, path] of PATHS(nsqds[0])) {
      await page.open(path);
      assert.equal(await ground(), dark);
      await page.assertGood(`${name} in the dark`);
      await page.photograph(`dark-${name}`);
    }
    // From what the system says to light, whatever it says, and so after a reload.
    await page.inner.locator('[name=theme]').click();
    await page.becomes('the ground', ground, light);
    await page.open('/');
    assert.equal(await ground(), light);
    await page.inner.emulateMedia({ colorScheme: 'light' });
    await page.inner.keyboard.press('d');
    await page.becomes('the ground', ground, dark);
    await page.inner.keyboard.press('d');
    await page.becomes('the ground', ground, light);
    const theme = () => page.inner.locator('[name=theme]').innerText();
    await page.becomes('the theme', theme, '◐ Auto');
  },

  async large(page) {
    const started = Date.now();
    await page.open('/topics?view=channels');
    await page.says('1–100 of 10,000');
    const first = Date.now() - started;
    const again = Date.now();
    await page.open('/topics?view=channels');
    await page.says('1–100 of 10,000');
    console.log(`10,000 channels on 100 nodes: the page is there after ${first} ms, and again after ${Date.now() - again} ms`);
    await page.becomes('the rows', async () => page.inner.locator('#channels tbody tr').count(), 100);
    await page.says('Looked at: the 200 longest of 10,000 queues, and the 200 longest of the ');
    await page.assertGood('10,000 channels');
    await page.photograph('ten-thousand', { whole: false });
    await page.inner.keyboard.press(']');
    await page.says('101–200 of 10,000');
    await page.inner.keyboard.press('/');
    await page.inner.keyboard.type('channel-19');
    await page.says('1–100 of 500');
    await page.inner.locator('#channels th.column-channel button').click();
    const names = page.inner.locator('#channels tbody th');
    await page.becomes('the first row', async () => names.first().innerText(), 'topic-000/channel-19');
    // The longest time in which the page answered nothing while it was drawn anew.
    const held = await page.inner.evaluate(async () => {
      let longest = 0;
      let before = performance.now();
      const end = before + 6000;
      while (performance.now() < end) {
        await new Promise((resolve) => setTimeout(resolve, 5));
        longest = Math.max(longest, performance.now() - before - 5);
        before = performance.now();
      }
      return Math.round(longest);
    });
    console.log(`the longest pause in six seconds of it is ${held} ms`);
    await page.open('/nodes');
    await page.says('Nodes (100)');
    await page.open('/topics/topic-000');
    await page.says('Channels (20)');
    await page.open('/counter');
    await page.becomes('the total', async () => page.inner.locator('#total').innerText(), '2,000,000');
  },

  async readOnly(page) {
    const { locator } = { locator: (text) => page.inner.locator(text) };
    for (const path of ['/topics/orders', '/topics/orders/email', '/lookup', `/nodes/${nsqds[0]}`]) {
      await page.open(path);
      await page.says('X-Known-User');
      for (const name of ['pause', 'empty', 'delete']) {
        assert.equal(await locator(`button[name=${name}]`).count(), 0, `${name} in ${path}`);
      }
      assert.equal(await locator('main form').count(), 0);
      assert.equal(await page.inner.getByRole('button', { name: /Tombstone|Delete/ }).count(), 0);
      await page.assertGood(`${path}, read only`);
    }
    await page.photograph('read-only');
    // A proxy that names the user opens the doors.
    await page.inner.setExtraHTTPHeaders({ 'X-Known-User': 'ann' });
    await page.open('/topics/orders/email');
    await page.press('button', 'Pause channel');
    await page.confirm();
    await page.says('orders/email is paused');
    // When the page was opened as somebody, and is somebody else's by now, it is told why.
    page.expect('403');
    await page.inner.setExtraHTTPHeaders({ 'X-Known-User': 'eve' });
    await page.press('button', 'Unpause channel');
    await page.confirm();
    await page.says('You may not change anything here');
    assert.equal((await channelAt(nsqds[0], 'orders', 'email')).paused, true);
  },

  async basePath(page) {
    await page.open('');
    await page.rowBecomes('topics', 'orders', { Waiting: '1,204' });
    await page.press('link', 'orders');
    await page.becomes('the address', async () => page.inner.url(), `${address}/topics/orders`);
    await page.rowBecomes('channels', 'email', { Depth: '1,204' });
    await page.inner.reload();
    await page.rowBecomes('channels', 'email', { Depth: '1,204' });
    await page.press('link', 'Nodes');
    await page.rowBecomes('all-nodes', nsqds[0], { State: 'ok' });
    await page.inner.goBack();
    await page.rowBecomes('channels', 'email', { Depth: '1,204' });
  },

  // Pages of which each has pictures that Graphite draws: those are seen, and larger ones behind them.
  async graphite(page) {
    page.expect('it asked for http'); // Graphite is not nsqadmin.
    for (const [path, pictures] of [['/topics/orders', 3], ['/topics/orders/email', 8], [`/nodes/${nsqds[0]}`, 3], ['/counter', 1]]) {
      await page.open(path);
      const images = page.inner.locator('.pictures img');
      await page.becomes(`the pictures of ${path}`, async () => images.count(), pictures);
      for (const image of await images.all()) {
        await image.scrollIntoViewIfNeeded();
        await page.becomes(`the picture ${await image.getAttribute('alt')}`, async () => image.evaluate((one) => one.complete && one.naturalWidth), 1);
      }
      await page.assertGood(`${path} with Graphite`);
      await page.photograph(`graphite-${path.split('/')[1]}-${path.split('/').length}`);
      await largerOf(page);
    }
    // Another span is remembered, and none shows nothing.
    await page.inner.locator('[name=span]').selectOption('48h');
    await page.becomes('the span', async () => page.inner.locator('.pictures img[src*="from=-48h"]').count(), 1);
    await page.open('/topics/orders');
    await page.becomes('the span', async () => page.inner.locator('.pictures img[src*="from=-48h"]').count(), 3);
    await page.inner.locator('[name=span]').selectOption('off');
    await page.becomes('the pictures', async () => page.inner.locator('.pictures img').count(), 0);
  },

  // NSQ's own page, which is only made to ask.
  async graphiteOfNsq(page) {
    page.expect('');
    for (const path of ['/topics/orders', '/topics/orders/email', `/nodes/${nsqds[0]}`, '/counter']) {
      await page.inner.goto(address + path);
      await page.inner.locator('img[src*="/render?"]').first().waitFor({ state: 'attached' });
      await largerOf(page);
    }
  },

  async empty(page) {
    await page.open('/');
    await page.says('There is no topic yet.');
    await page.says('Nothing is stuck.');
    await page.assertGood('an empty cluster');
    await page.photograph('empty');
    await page.press('button', /^Channels/);
    await page.says('There is no channel yet.');
    await page.open('/lookup');
    await page.says('None: every topic');
    await page.open(`/nodes/${nsqds[0]}`);
    await page.says('This node has no topic.');
  },

  async direct(page) {
    await page.open('/lookup');
    await page.says('--lookupd-http-address=HOST:4161');
    await page.assertGood('lookup without a directory');
    await page.inner.locator('[name=topic]').fill('made');
    await page.press('button', 'Create');
    await page.says('made is created');
    assert.notEqual(await topicAt(nsqds[0], 'made'), null);
    await page.open('/');
    await page.rowBecomes('topics', 'orders', { Waiting: '1,204' });
    await page.open('/nodes');
    await page.rowBecomes('all-nodes', nsqds[0], { State: 'ok' });
    await page.open('/topics/orders');
    await page.rowBecomes('nodes', nsqds[0], { Messages: '1,204' });
    assert.equal(await page.inner.getByRole('button', { name: /Tombstone/ }).count(), 0, 'there is nothing to tell it to');
  },
};

const [, , name] = process.argv;
await withPage(address, cases[name]);
