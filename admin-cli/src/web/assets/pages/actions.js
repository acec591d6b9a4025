// What an operator can do to a topic or a channel: pause, unpause, empty, delete.
//
// Knows the words of the questions, which name what will be lost by figures asked for at that moment. What
// is done is the API's.

import * as api from '../api.js';
import { counted } from '../figures.js';
import { heldBy, lossOfTopic, toldLoss } from '../health.js';
import { h } from '../tree.js';

/** The buttons for a topic, or a channel of it. `thing` is its statistics; `gone` is where to go after. */
export function actions(context, { topic, channel, thing, gone }) {
  if (!context.settings.is_admin) {
    return h('p', { class: 'quiet readonly', key: 'actions' },
      'You may look, but not change anything: ', h('code', null, context.settings.acl_http_header),
      ' names no admin user.');
  }
  const kind = channel === undefined ? 'topic' : 'channel';
  const run = (action) => () => perform(context, { action, kind, topic, channel, gone });
  const pausing = thing.paused ? ['unpause', 'Unpause'] : ['pause', 'Pause'];
  return h('div', { class: 'actions', key: 'actions', role: 'group', 'aria-label': `Change this ${kind}` },
    [pausing, ['empty', 'Empty'], ['delete', 'Delete']].map(([action, label]) => h('button', {
      type: 'button', key: action, name: action, class: action.startsWith('un') || action === 'pause' ? 'plain' : 'danger-plain',
      onclick: run(action),
    }, `${label} ${kind}`)));
}

async function perform(context, { action, kind, topic, channel, gone }) {
  const name = channel === undefined ? topic : `${topic}/${channel}`;
  let told = null;
  if (action !== 'pause' && action !== 'unpause') {
    // The figures on the screen may be old; what is lost is asked for now. Whoever cannot be told may
    // still delete: it may be the only way to be rid of it.
    told = await (channel === undefined ? api.topic(topic) : api.channel(topic, channel)).catch(() => null);
  }
  // Of a channel that only silent nodes have there is nothing but who they are.
  const thing = told?.depth === undefined ? null : told;
  const question = kind === 'topic' ? topicQuestion(action, name, thing) : channelQuestion(action, name, thing);
  if (!await context.ask(withSilent(question, api.warnings(told?.message), channel ?? topic))) {
    return;
  }
  const [doing, done] = {
    pause: [`Pausing ${name}`, `${name} is paused`],
    unpause: [`Unpausing ${name}`, `${name} is unpaused`],
    empty: [`Emptying ${name}`, `${name} is emptied`],
    delete: [`Deleting ${name}`, `${name} is deleted`],
  }[action];
  const worked = await context.change(doing, done, () => (
    action === 'delete' ? api.remove(topic, channel) : api.act(action, topic, channel)
  ));
  if (worked && action === 'delete') {
    context.go(gone);
  } else {
    context.refresh();
  }
}

/**
 * A question that says whose messages were not counted. Where something is deleted its name has to be typed
 * then, too: they may be lost as well.
 */
export function withSilent(question, silent, last) {
  if (silent.length === 0) {
    return question;
  }
  const typed = question.confirm.startsWith('Delete') ? { typed: last } : {};
  return { ...question, ...typed, loss: `${question.loss} Not counted: ${silent.join('; ')}.` };
}

function unknown(thing, words) {
  return thing === null ? 'How many messages that are could not be found out.' : words();
}

function topicQuestion(action, name, thing) {
  switch (action) {
    case 'pause':
      return {
        title: `Pause ${name}?`, confirm: 'Pause topic', lines: [
          'New messages wait in the topic, and no channel gets them until it is unpaused.',
          'Channels go on with what they have. Nothing is lost.'],
      };
    case 'unpause':
      return {
        title: `Unpause ${name}?`, confirm: 'Unpause topic',
        lines: ['All that waits in the topic goes to its channels at once.'],
      };
    case 'empty':
      return {
        title: `Empty ${name}?`, confirm: 'Empty topic', danger: true,
        loss: unknown(thing, () => (thing.depth === 0
          ? 'No message waits in the topic itself.'
          : `${counted(thing.depth, 'message')} in ${name} will be lost.`)),
        lines: ['What its channels have got stays: each of them is emptied on its own page.'],
      };
    default: {
      const loss = thing && lossOfTopic(thing);
      const channels = (thing?.channels ?? []).length;
      return {
        title: `Delete ${name}?`, confirm: 'Delete topic', danger: true,
        typed: loss === null || 0 < loss.messages ? name : undefined,
        loss: unknown(thing, () => (loss.messages === 0 ? toldLoss(loss) : `${toldLoss(loss)} will be lost.`)),
        lines: [0 < channels
          ? `The topic and its ${counted(channels, 'channel')} go from every node; consumers are disconnected.`
          : 'The topic goes from every node.', 'A publisher that goes on makes it anew.'],
      };
    }
  }
}

function channelQuestion(action, name, thing) {
  const held = thing === null ? NaN : heldBy(thing);
  const parts = thing && [[thing.depth, 'waiting'], [thing.in_flight_count, 'in flight'], [thing.deferred_count, 'deferred']]
    .filter(([some]) => 0 < some);
  const detail = parts && 1 < parts.length ? ` (${parts.map(([some, word]) => `${some.toLocaleString('en-US')} ${word}`).join(', ')})` : '';
  const loss = unknown(thing, () => (held === 0
    ? 'It holds no message now.' : `${counted(held, 'message')} in ${name}${detail} will be lost.`));
  switch (action) {
    case 'pause':
      return {
        title: `Pause ${name}?`, confirm: 'Pause channel',
        lines: ['Its consumers get no more messages until it is unpaused; they stay connected.', 'Messages gather in it. Nothing is lost.'],
      };
    case 'unpause':
      return { title: `Unpause ${name}?`, confirm: 'Unpause channel', lines: ['Its consumers get messages again at once.'] };
    case 'empty':
      return { title: `Empty ${name}?`, confirm: 'Empty channel', danger: true, loss, lines: ['Its consumers stay connected.'] };
    default:
      return {
        title: `Delete ${name}?`, confirm: 'Delete channel', danger: true, loss,
        typed: held === 0 ? undefined : name.split('/')[1],
        lines: [thing && 0 < thing.client_count
          ? `${counted(thing.client_count, 'consumer')} will be disconnected; one that comes back makes the channel anew, without these messages.`
          : 'A consumer that subscribes later makes it anew, without these messages.'],
      };
  }
}
