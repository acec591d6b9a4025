// What nsqlookupd knows and no node has; and making topics and channels before anybody uses them.

import * as api from '../api.js';
import { counted } from '../figures.js';
import { matches } from '../table.js';
import { h } from '../tree.js';
import { partialView } from './state.js';

/** What NSQ allows as a name, as a browser checks it. */
const NAME = '[.a-zA-Z0-9_\\-]{1,64}|[.a-zA-Z0-9_\\-]{1,54}#ephemeral';

export function lookupPage(context) {
  let told = null;
  return {
    title: () => 'Lookup',
    async load(signal) {
      told = context.settings.nsqlookupd.length === 0 ? { topics: {}, message: '' } : await api.inactiveTopics(signal);
    },
    view: () => told !== null && view(context, told),
  };
}

function view(context, told) {
  const { settings } = context;
  if (settings.nsqlookupd.length === 0) {
    return [
      h('h1', { key: 'title' }, 'Lookup'),
      h('p', { class: 'empty', key: 'none' }, 'This nsqadmin asks nsqds directly, so there is nothing to look up. Start it with ',
        h('code', null, '--lookupd-http-address=HOST:4161'), ' to see and change what nsqlookupd knows.'),
      createForm(context),
    ];
  }
  return [
    h('h1', { key: 'title' }, 'Lookup'),
    partialView(api.warnings(told.message)),
    h('section', { key: 'lookupds', 'aria-labelledby': 'lookupds-title' },
      h('h2', { id: 'lookupds-title' }, counted(settings.nsqlookupd.length, 'nsqlookupd')),
      h('ul', { class: 'plain-list' }, settings.nsqlookupd.map((address) => h('li', null, h('code', null, address))))),
    createForm(context),
    inactive(context, told.topics ?? {}),
  ];
}

function createForm(context) {
  if (!context.settings.is_admin) {
    return h('p', { class: 'quiet readonly', key: 'create' }, 'You may look, but not create anything: ',
      h('code', null, context.settings.acl_http_header), ' names no admin user.');
  }
  return h('section', { key: 'create', 'aria-labelledby': 'create-title' },
    h('h2', { id: 'create-title' }, 'Create a topic or channel'),
    h('p', { class: 'quiet' }, 'So that a channel gets every message, create it before the first is published. Without a channel only the topic is created.'),
    h('form', { class: 'bar', onsubmit: (event) => submit(context, event) },
      field('topic', 'Topic', true), field('channel', 'Channel (optional)', false),
      h('button', { type: 'submit', class: 'primary' }, 'Create')));
}

function field(name, label, required) {
  return h('label', { class: 'field' }, h('span', null, label), h('input', {
    type: 'text', name, required, pattern: NAME, maxlength: 64, autocomplete: 'off', autocapitalize: 'off', spellcheck: 'false',
    title: 'Letters, digits, and . _ - ; at most 64; may end with #ephemeral',
  }));
}

async function submit(context, event) {
  event.preventDefault();
  const form = event.currentTarget;
  const { topic, channel } = Object.fromEntries(new FormData(form));
  const name = channel === '' ? topic : `${topic}/${channel}`;
  if (await context.change(`Creating ${name}`, `${name} is created`, () => api.create(topic, channel))) {
    form.reset();
    context.refresh();
  }
}

function inactive(context, topics) {
  const { query, settings } = context;
  const names = Object.keys(topics).sort();
  const shown = names.filter((name) => matches([name, ...(topics[name] ?? [])].join(' '), query.q ?? ''));
  return h('section', { key: 'inactive', 'aria-labelledby': 'inactive-title' },
    h('div', { class: 'bar' },
      h('h2', { id: 'inactive-title' }, `Inactive topics (${names.length})`),
      0 < names.length && h('label', { class: 'search' }, h('span', { class: 'unseen' }, 'Search inactive topics'),
        h('input', {
          type: 'search', placeholder: 'Search  ( / )', value: query.q ?? '', autocomplete: 'off', spellcheck: 'false',
          oninput: (event) => context.setQuery({ q: event.currentTarget.value }),
        }))),
    names.length === 0
      ? h('p', { class: 'empty' }, 'None: every topic that nsqlookupd knows is on some node.')
      : [
        h('p', { class: 'quiet' }, 'nsqlookupd knows these, and no node has them. They are harmless: a node that gets one of them makes its channels, too. Deleting forgets them; no message is lost.'),
        h('ul', { class: 'inactive' }, shown.map((name) => h('li', { key: name },
          h('div', null, h('span', { class: 'name' }, name), settings.is_admin && forget(context, name)),
          (topics[name] ?? []).length > 0 && h('ul', null, [...topics[name]].sort().map((channel) => h('li', { key: channel },
            h('div', null, h('span', { class: 'name' }, channel), settings.is_admin && forget(context, name, channel)))))))),
      ]);
}

function forget(context, topic, channel) {
  const name = channel === undefined ? topic : `${topic}/${channel}`;
  return h('button', {
    type: 'button', class: 'small danger-plain', 'aria-label': `Delete ${name}`, onclick: async () => {
      const sure = await context.ask({
        title: `Delete ${name}?`, confirm: channel === undefined ? 'Delete topic' : 'Delete channel', danger: true,
        loss: 'No node has it, so no message is lost.',
        lines: [channel === undefined ? 'nsqlookupd forgets the topic and its channels.' : 'nsqlookupd forgets the channel.'],
      });
      if (sure && await context.change(`Deleting ${name}`, `${name} is deleted`, () => api.remove(topic, channel))) {
        context.refresh();
      }
    },
  }, 'Delete');
}
