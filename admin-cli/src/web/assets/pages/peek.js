// A look at the newest messages of a topic. Nothing changes by it: no consumer misses what is seen here.
//
// Knows how messages are listed and in which form a body reads best. They are asked for when the reader
// says so and not again by themselves, so that what is being read stays.

import * as live from '../live.js';
import { bestForm, fromBase64, shown } from '../body.js';
import { bytes as size, counted } from '../figures.js';
import { h } from '../tree.js';

const COUNTS = [10, 25, 100];
const FORMS = [['best', 'best form'], ['json', 'JSON'], ['text', 'text'], ['hex', 'hex']];

export function peek(context, topic) {
  if (!context.settings.is_admin) {
    return {
      view: () => h('section', { key: 'peek', 'aria-labelledby': 'peek-title', class: 'peek' },
        h('h2', { id: 'peek-title' }, 'Newest messages'),
        h('p', { class: 'quiet readonly' }, 'What is in messages is shown to admin users only.')),
    };
  }
  let wanted = COUNTS[0];
  let form = 'best';
  let found = null;
  let failure = null;
  let isAsking = false;

  async function look() {
    isAsking = true;
    context.redraw();
    try {
      found = await live.peek(topic, wanted);
      failure = null;
    } catch (error) {
      failure = error;
    }
    isAsking = false;
    context.redraw();
  }

  return {
    view: () => h('section', { key: 'peek', 'aria-labelledby': 'peek-title', class: 'peek' },
      h('div', { class: 'bar' },
        h('h2', { id: 'peek-title' }, 'Newest messages'),
        h('label', null, 'The last ', h('select', {
          name: 'count', value: String(wanted), onchange: (event) => {
            wanted = Number(event.currentTarget.value);
          },
        }, COUNTS.map((some) => h('option', { value: String(some) }, String(some))))),
        h('label', null, 'as ', h('select', {
          name: 'form', value: form, onchange: (event) => {
            form = event.currentTarget.value;
            context.redraw();
          },
        }, FORMS.map(([value, label]) => h('option', { value }, label)))),
        h('button', { type: 'button', class: 'plain', name: 'look', onclick: look, disabled: isAsking },
          found === null ? 'Look' : 'Look again'),
        h('span', { class: 'quiet' }, 'Read only: nothing is taken from any channel.')),
      failure && h('div', { class: 'banner bad', role: 'alert' }, h('strong', null, 'The messages cannot be shown'),
        h('p', null, String(failure.message))),
      found !== null && list(found, form)),
  };
}

function list({ messages, isCut, failures }, form) {
  return [
    failures.length > 0 && h('div', { class: 'banner bad' },
      h('strong', null, messages.length === 0 ? 'No node shows messages' : 'Some nodes show no messages'),
      h('ul', null, failures.map((why) => h('li', null, why)))),
    messages.length === 0
      ? failures.length === 0 && h('p', { class: 'empty' }, 'No message is kept of this topic now. What is published next can be seen here.')
      : h('ol', { class: 'messages' }, messages.map((message) => item(message, form))),
    isCut && h('p', { class: 'quiet' }, 'Older ones are left out: together they are too large to be shown.'),
  ];
}

function item(message, form) {
  const body = fromBase64(message.body);
  const used = form === 'best' ? bestForm(body) : form;
  const whole = message.size ?? body.length;
  const cut = body.length < whole ? `\n… ${counted(whole - body.length, 'byte')} more` : '';
  const moment = new Date(message.timestamp / 1e6);
  return h('li', { key: `${message.node} ${message.id}` },
    h('div', { class: 'facts' },
      h('time', { datetime: moment.toISOString() }, moment.toLocaleString()),
      h('span', null, size(whole)),
      message.attempts > 0 && h('span', null, counted(message.attempts, 'attempt')),
      message.deferred_until && h('span', null, `deferred until ${new Date(message.deferred_until / 1e6).toLocaleTimeString()}`),
      message.node && h('span', null, message.node),
      h('code', null, message.id)),
    body.length === 0
      ? h('p', { class: 'quiet' }, 'empty body')
      : h('pre', { class: `body ${used}`, tabindex: '0', 'aria-label': `Body of message ${message.id}` }, shown(body, used) + cut));
}
