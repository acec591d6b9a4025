// The page as a whole: what stands around every page, which page is shown, and what drives it.
//
// Knows the address bar, the header, the keys and the task that asks again. What a page shows is in pages/.
// Everything on the screen is drawn from here, by `redraw`.

import * as api from './api.js';
import { ask, showKeys } from './dialog.js';
import { seconds } from './figures.js';
import { isField, Keyboard, KEYS } from './keys.js';
import { channelPage } from './pages/channel.js';
import { counterPage } from './pages/counter.js';
import { lookupPage } from './pages/lookup.js';
import { nodePage } from './pages/node.js';
import { nodesPage } from './pages/nodes.js';
import { topicPage } from './pages/topic.js';
import { topicsPage } from './pages/topics.js';
import { PACES, Refresh } from './refresh.js';
import { parse, path, query } from './route.js';
import { settings } from './settings.js';
import { draw, h } from './tree.js';

const PAGES = {
  topics: topicsPage,
  topic: topicPage,
  channel: channelPage,
  nodes: nodesPage,
  node: nodePage,
  counter: counterPage,
  lookup: lookupPage,
};

const application = document.getElementById('application');
const keyboard = new Keyboard();
const theme = window.nsqadminTheme;

let page;
let route;
let refresh;
/** What was done last, or why it could not be. */
let notice = null;
let paceBefore = 5;

/** Where links and texts lead. */
const to = (...parts) => path(settings.base_path, ...parts);

/** What a page may know and do. */
const context = {
  settings,
  to,
  ask,
  redraw,
  /** The query as an object of texts. */
  get query() {
    return Object.fromEntries(new URLSearchParams(location.search));
  },
  /** Changes some of the query in the address bar, without leaving the page. */
  setQuery(changes) {
    const values = { ...context.query, ...changes };
    history.replaceState(history.state, '', location.pathname + query(values));
    redraw();
  },
  refresh: () => refresh.soon(),
  go,
  /** Carries out a change, tells how it ended, and shows what is so now. */
  async change(doing, done, then) {
    notice = { tone: 'busy', text: `${doing} …` };
    redraw();
    try {
      const answer = await then();
      const failed = api.warnings(answer.message);
      notice = failed.length === 0
        ? { tone: 'good', text: done }
        : { tone: 'bad', text: `${done}, but not everywhere`, details: failed };
    } catch (error) {
      notice = { tone: 'bad', text: `${doing} failed`, details: whyOf(error) };
      redraw();
      return false;
    }
    redraw();
    return true;
  },
};

/** Why something failed, as sentences. */
function whyOf(error) {
  if (!(error instanceof api.Failure)) {
    console.error(error);
    return [String(error.message)];
  }
  if (error.status === 403) {
    return [`You may not change anything here: ${settings.acl_http_header} has to name an admin user.`];
  }
  const why = api.warnings(error.message);
  return why.length === 0 ? [error.message] : why;
}

/** Shows another page, as a link would. */
function go(address) {
  history.pushState(null, '', address);
  show();
  scrollTo(0, 0);
}

/** Makes the page that the address means. */
function show() {
  refresh?.stop();
  page?.leave?.();
  route = parse(location.pathname, settings.base_path);
  page = route === null ? nowhere() : PAGES[route.page](context, route);
  const current = page;
  refresh = new Refresh({
    ask: (signal) => current.load(signal),
    changed: redraw,
    pace: chosenPace(),
  });
  redraw();
  refresh.soon();
}

function nowhere() {
  return {
    title: () => 'Not found',
    load: async () => {},
    view: () => [h('h1', { key: 'title' }, 'Not found'),
      h('p', { class: 'empty', key: 'none' }, 'There is no such page. ', h('a', { href: to() }, 'All topics'))],
  };
}

function chosenPace() {
  const stored = Number(storage('nsqadmin.pace') ?? 5);
  return PACES.includes(stored) ? stored : 5;
}

function storage(key, value) {
  try {
    if (value !== undefined) {
      localStorage.setItem(key, value);
    }
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}

function setPace(pace) {
  storage('nsqadmin.pace', String(pace));
  refresh.pace = pace;
  if (0 < pace) {
    refresh.soon();
  }
  redraw();
}

let isWanted = false;

/** Draws everything anew, once before the next frame, however often it is asked for. */
function redraw() {
  if (isWanted) {
    return;
  }
  isWanted = true;
  // A hidden page has no frames, and is drawn for nobody; it is when it is seen again.
  requestAnimationFrame(() => {
    isWanted = false;
    document.title = `${page.title()} · nsqadmin`;
    draw(application, shell());
  });
}

function shell() {
  const { failing } = refresh;
  const loaded = !Number.isNaN(refresh.fresh);
  return [
    h('a', { class: 'skip', href: '#content', onclick: skip }, 'Skip to the content'),
    header(),
    h('main', { id: 'content', tabindex: '-1', 'aria-busy': loaded || failing ? null : 'true' },
      h('div', { class: 'notices', role: 'status', 'aria-live': 'polite' }, notice && noticeView()),
      failing && failureView(failing, loaded),
      loaded ? page.view() : [
        h('h1', { key: 'title' }, page.title()),
        !failing && h('p', { class: 'empty quiet', key: 'asking' }, 'Asking the cluster …')]),
    h('footer', null,
      h('span', null, 'nsqadmin v', settings.version),
      h('a', { href: 'https://nsq.io/' }, 'Documentation'),
      h('a', { href: 'https://github.com/nsqio/nsq' }, 'NSQ'),
      !settings.is_admin && h('span', null, 'Read only: ', h('code', null, settings.acl_http_header), ' names no admin user')),
  ];
}

function header() {
  const links = [['Topics', ['topics'], ['topics', 'topic', 'channel']], ['Nodes', ['nodes'], ['nodes', 'node']],
    ['Counter', ['counter'], ['counter']], ['Lookup', ['lookup'], ['lookup']]];
  return h('header', null,
    h('a', { class: 'brand', href: to() }, 'nsqadmin'),
    h('nav', { 'aria-label': 'Pages' }, links.map(([label, parts, pages]) => h('a', {
      href: to(...parts), 'aria-current': pages.includes(route?.page) ? 'page' : null,
    }, label))),
    h('div', { class: 'controls' },
      h('span', { class: `pulse ${pulse()}`, 'aria-hidden': 'true' }),
      h('label', null,
        h('span', { class: 'unseen' }, 'Ask again'),
        h('select', { name: 'pace', value: String(refresh.pace), onchange: (event) => setPace(Number(event.currentTarget.value)) },
          PACES.map((pace) => h('option', { value: String(pace) }, pace === 0 ? 'paused' : `every ${seconds(pace)}`)))),
      h('button', { type: 'button', class: 'plain', name: 'theme', onclick: turnTheme, title: 'Light, dark, or as the system says' },
        { auto: '◐ Auto', light: '○ Light', dark: '● Dark' }[theme.choice()]),
      h('button', { type: 'button', class: 'plain', name: 'keys', onclick: () => showKeys(KEYS), 'aria-label': 'Keys' }, '?')));
}

function pulse() {
  if (refresh.failing || refresh.isStale()) {
    return 'bad';
  }
  return refresh.pace === 0 ? 'off' : 'good';
}

function noticeView() {
  return h('div', { class: `banner ${notice.tone}` },
    h('strong', null, notice.text),
    notice.details && h('ul', null, notice.details.map((detail) => h('li', null, detail))),
    notice.tone !== 'busy' && h('button', {
      type: 'button', class: 'plain', 'aria-label': 'Close this note', onclick: () => {
        notice = null;
        redraw();
      },
    }, '×'));
}

function failureView({ since, error }, loaded) {
  const clock = (at) => new Date(at).toLocaleTimeString();
  return h('div', { class: 'banner bad', role: 'alert' },
    h('strong', null, loaded ? `No answer since ${clock(since)}` : 'This cannot be shown'),
    h('ul', null, whyOf(error).map((why) => h('li', null, why))),
    loaded && h('p', null, `What is below is from ${clock(refresh.fresh)}.`),
    page.onfailure?.(error));
}

function skip(event) {
  event.preventDefault();
  document.getElementById('content').focus();
}

function turnTheme() {
  theme.next();
  redraw();
}

/** Links to pages of ours are followed without loading anything but their figures. */
document.addEventListener('click', (event) => {
  const link = event.target.closest?.('a[href]');
  const plain = event.button === 0 && !event.ctrlKey && !event.metaKey && !event.shiftKey && !event.altKey;
  if (!link || !plain || event.defaultPrevented || link.target || link.origin !== location.origin) {
    return;
  }
  if (parse(link.pathname, settings.base_path) !== null) {
    event.preventDefault();
    notice = null;
    go(link.pathname + link.search);
    document.getElementById('content')?.focus({ preventScroll: true });
  }
});

document.addEventListener('keydown', (event) => {
  if (document.querySelector('dialog[open]')) {
    return;
  }
  const word = keyboard.word({
    key: event.key,
    typing: isField(event.target),
    modified: event.ctrlKey || event.altKey || event.metaKey,
  }, event.timeStamp);
  if (event.key === 'Escape' && isField(event.target)) {
    event.target.blur();
  }
  if (word === null) {
    return;
  }
  event.preventDefault();
  press(word);
});

function press(word) {
  switch (word) {
    case 'search': {
      const field = document.querySelector('input[type=search]');
      field?.focus();
      field?.select();
      return;
    }
    case 'refresh':
      refresh.soon();
      return;
    case 'pause':
      if (0 < refresh.pace) {
        paceBefore = refresh.pace;
      }
      setPace(refresh.pace === 0 ? paceBefore : 0);
      return;
    case 'theme':
      turnTheme();
      return;
    case 'keys':
      showKeys(KEYS);
      return;
    case 'previous':
    case 'next':
      document.querySelector(`[data-turn=${word}]:not(:disabled)`)?.click();
      return;
    case 'channels':
      go(to('topics') + query({ view: 'channels' }));
      return;
    default:
      go(to(word));
  }
}

addEventListener('popstate', show);
document.addEventListener('visibilitychange', () => {
  if (!document.hidden && 0 < refresh.pace) {
    refresh.soon();
  }
});
// What is old has to be said even when nothing comes.
setInterval(() => {
  if (!document.hidden) {
    redraw();
  }
}, 5000);

show();
