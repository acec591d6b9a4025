// What the whole cluster has at this moment, and what it had the minutes before: `/api/live`, which NSQ's
// nsqadmin lacks.
//
// Knows those routes and what they answer. Rows come searched, sorted and cut by the server, so that ten
// thousand channels cost the page what a hundred do.

import * as api from './api.js';
import { zip } from './series.js';

/** Moments in a line of a table, and in a chart: one and ten minutes. */
const SPARK_POINTS = 30;
const CHART_POINTS = 300;

/** The cluster in a few numbers: `lines` has `depth` and `rate`. */
export async function summary(signal) {
  return withLines(await api.live(['summary'], { points: CHART_POINTS }, signal), (told) => [told]);
}

/**
 * Rows of a `kind` (`topics`, `channels`), as `{ rows, total, matching, offset, failures }`. Each has its
 * `lines`. `search`, `sort`, `order`, `offset` and `limit` are the server's.
 */
export async function list(kind, search, signal) {
  return withLines(await api.live([kind], { points: SPARK_POINTS, ...search }, signal), (told) => told.rows);
}

/** Every node and why it does not answer, if it does not. */
export async function nodes(signal) {
  return (await api.live(['nodes'], { points: 0, limit: 1000 }, signal)).rows;
}

/** A topic, and its channels by name, with the lines of the last minutes; nothing where it is new. */
export async function topic(name, signal) {
  const told = await api.live(['topics', name], { points: CHART_POINTS }, signal).catch(ifKnown);
  if (told === null) {
    return { topic: null, channels: new Map() };
  }
  withLines(told, ({ topic: one, channels }) => [one, ...channels]);
  return { topic: told.topic, channels: new Map(told.channels.map((channel) => [channel.channel, channel])) };
}

/** A channel with the lines of the last minutes, or `null` where it is new. */
export async function channel(topicName, name, signal) {
  const told = await api.live(['topics', topicName, name], { points: CHART_POINTS }, signal).catch(ifKnown);
  return told === null ? null : withLines(told, ({ channel: one }) => [one]).channel;
}

/** What is not there yet is no failure: it comes with the next round. */
function ifKnown(error) {
  if (error.status === 404) {
    return null;
  }
  throw error;
}

/**
 * The newest messages of a topic, the newest first, in whole or as far as they are not too large, and
 * which nodes showed none: `{ messages, isCut, failures }`.
 */
export async function peek(topicName, count) {
  const told = await api.live(['peek', topicName], { n: count });
  const failures = told.nodes.filter(({ error }) => error).map(({ node, error }) => `${node}: ${error}`);
  return { messages: [...told.messages].reverse(), isCut: told.is_cut, failures };
}

/** Puts `lines` beside each row: its series, with their moments. */
function withLines(told, rowsOf) {
  for (const row of rowsOf(told)) {
    row.lines = {
      depth: zip(told.times, row.series?.depth),
      rate: zip(told.times, row.series?.rate),
    };
  }
  return told;
}
