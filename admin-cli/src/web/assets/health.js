// What is wrong with a topic or a channel, in a word, and how bad it is.
//
// Knows the counters of NSQ's statistics and how fast they change. One list, the worst first; the pages
// sort, colour and count by it. Whether a node answers is not told here.

import { count, counted, rate, seconds } from './figures.js';
import { growth } from './series.js';

/** How bad: what is lost sight of at 0, and wakes somebody at 3. */
export const LEVELS = ['good', 'note', 'warn', 'bad'];

const GOOD = Object.freeze({ level: 0, word: 'ok', why: '' });

/** A queue grows when it is this much longer every second, and no less than a part of itself. */
const GROWTH_MIN = 0.5;
const GROWTH_PART_MIN = 0.0005;

/**
 * Judges a channel by what waits, who takes it, and by how much what waits grows in a second (NaN where
 * that is not known): `{ depth, clients, held, paused, growth }`, where `held` is in flight or deferred.
 */
export function ofChannel({ depth, clients, held, paused, growth }) {
  const grows = GROWTH_MIN <= growth && depth * GROWTH_PART_MIN <= growth;
  const waiting = counted(depth, 'message');
  const growing = grows ? `, ${rate(growth)} more every second` : '';
  if (paused) {
    const level = grows ? 2 : 1;
    return { level, word: 'paused', why: depth === 0 ? 'paused' : `paused with ${waiting}${growing}` };
  }
  if (0 < depth && clients === 0) {
    return { level: 3, word: 'no consumer', why: `${waiting} and nobody to take them${growing}` };
  }
  if (0 < depth && grows) {
    const takers = counted(clients, 'consumer');
    return { level: 2, word: 'growing', why: `${waiting}${growing}, with ${takers}` };
  }
  if (clients === 0 && 0 < held) {
    return { level: 1, word: 'no consumer', why: `${counted(held, 'message')} in flight or deferred, and no consumer` };
  }
  return GOOD;
}

/** Judges a topic's own queue, `channels` being their number: what each is like is told of each. */
export function ofTopic({ depth, channels, paused }) {
  const waiting = counted(depth, 'message');
  if (paused) {
    return { level: 0 < depth ? 2 : 1, word: 'paused', why: depth === 0 ? 'paused' : `paused; ${waiting} wait in the topic` };
  }
  if (0 < depth && channels === 0) {
    return { level: 2, word: 'no channel', why: `${waiting} wait for the first channel` };
  }
  return GOOD;
}

/** The judgement of a row of `/api/live/channels`. */
export function ofLiveChannel(row) {
  return ofChannel({ ...row, held: row.in_flight + row.deferred, growth: growth(row.lines.depth) });
}

/** The judgement of a channel in NSQ's statistics, and of its row in `/api/live`, if there is one. */
export function ofCounted(channel, row) {
  return ofChannel({
    depth: channel.depth,
    clients: channel.client_count,
    held: channel.in_flight_count + channel.deferred_count,
    paused: channel.paused,
    growth: row ? growth(row.lines.depth) : NaN,
  });
}

/** The worst of several. */
export function worst(judgements) {
  return judgements.reduce((found, next) => (found.level < next.level ? next : found), GOOD);
}

/** When a queue that shrinks by `-change` in a second will be empty: `empty in 3 m`, or ``. */
export function emptyIn(depth, change) {
  return 0 < depth && change <= -0.1 ? `empty in ${seconds(depth / -change)}` : '';
}

/** What is lost when a topic goes: the sentence, and how many messages. */
export function lossOfTopic(topic) {
  const channels = topic.channels ?? [];
  const places = [
    ...(0 < topic.depth ? [{ place: `${topic.topic_name} itself`, messages: topic.depth }] : []),
    ...channels
      .map((channel) => ({ place: `${topic.topic_name}/${channel.channel_name}`, messages: heldBy(channel) }))
      .filter(({ messages }) => 0 < messages),
  ].sort((a, b) => b.messages - a.messages);
  return { messages: places.reduce((total, { messages }) => total + messages, 0), places };
}

/** Messages that go when a channel is emptied or deleted: waiting, in flight and deferred. */
export function heldBy(channel) {
  return channel.depth + channel.in_flight_count + channel.deferred_count;
}

/** `1,204 messages in orders/email`, the first few places by name, the rest by number. */
export function toldLoss({ messages, places }) {
  if (messages === 0) {
    return 'No message is lost.';
  }
  const named = places.slice(0, 3).map(({ place, messages: some }) => `${counted(some, 'message')} in ${place}`);
  const rest = places.slice(3);
  const others = rest.reduce((total, place) => total + place.messages, 0);
  if (0 < rest.length) {
    named.push(`${count(others)} in ${counted(rest.length, 'more channel')}`);
  }
  const last = named.pop();
  return named.length === 0 ? last : `${named.join(', ')} and ${last}`;
}
