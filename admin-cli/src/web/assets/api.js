// The JSON API of nsqadmin, route by route.
//
// Knows methods, paths, bodies, and how a failure is told. Returns what the server says as it says it;
// what that means is told in the pages. Names are encoded here and nowhere else.

import { path, query } from './route.js';
import { settings } from './settings.js';

/** A request that has no answer by then is given up: the server itself gives up earlier. */
const ANSWER_MS_MAX = 30_000;

/** Why there is no answer: `status` is 0 when there was none at all. */
export class Failure extends Error {
  constructor(status, message) {
    super(message);
    this.name = 'Failure';
    this.status = status;
  }
}

async function request(method, parts, { search = {}, body, signal } = {}) {
  const address = path(settings.base_path, 'api', ...parts) + query(search);
  const limit = AbortSignal.timeout(ANSWER_MS_MAX);
  let answer;
  let text;
  try {
    answer = await fetch(address, {
      method,
      // A page of another site cannot send this header, and so cannot change anything in our reader's name.
      headers: { Accept: 'application/json', 'X-Requested-With': 'nsqadmin' },
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: signal ? AbortSignal.any([signal, limit]) : limit,
    });
    text = await answer.text();
  } catch (error) {
    if (signal?.aborted) {
      throw error;
    }
    throw new Failure(0, limit.aborted ? 'nsqadmin took too long to answer' : 'nsqadmin does not answer');
  }
  const value = parsed(text);
  if (!answer.ok) {
    throw new Failure(answer.status, value?.message || text.trim() || answer.statusText);
  }
  if (value === undefined) {
    throw new Failure(answer.status, 'nsqadmin said something that is no JSON');
  }
  return value;
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

const get = (parts, search, signal) => request('GET', parts, { search, signal });

export const inactiveTopics = (signal) => get(['topics'], { inactive: true }, signal);
export const topic = (name, signal) => get(['topics', name], {}, signal);
export const channel = (name, of, signal) => get(['topics', name, of], {}, signal);
export const nodes = (signal) => get(['nodes'], {}, signal);
export const node = (name, signal) => get(['nodes', name], {}, signal);
export const counter = (signal) => get(['counter'], {}, signal);

/** What NSQ's nsqadmin has not; live.js knows what is answered. */
export const live = (parts, search, signal) => get(['live', ...parts], search, signal);

/** Creates a topic, and a channel where it is named. */
export const create = (topicName, channelName) => (
  request('POST', ['topics'], { body: { topic: topicName, channel: channelName } })
);
/** `action` is `pause`, `unpause` or `empty`; without `of` it is the topic's. */
export const act = (action, name, of) => (
  request('POST', of === undefined ? ['topics', name] : ['topics', name, of], { body: { action } })
);
export const remove = (name, of) => request('DELETE', of === undefined ? ['topics', name] : ['topics', name, of]);
/** Hides a topic's producer from consumers for a while, and deletes the topic there. */
export const tombstone = (nodeName, topicName) => (
  request('DELETE', ['nodes', nodeName], { body: { topic: topicName } })
);

/** What failed upstream, one sentence each, of the `message` that comes with every answer. */
export function warnings(message) {
  const text = (message ?? '').replace(/^(WARNING|UPSTREAM_ERROR): /, '');
  return text.split('; ').map((part) => sentence(part.trim())).filter((part) => part !== '');
}

/** A failure in the words of an HTTP client, as the address and the reason. */
function sentence(text) {
  const [, address, reason] = /^(?:Get|Post) "https?:\/\/([^/"]+)[^"]*": (.*)$/.exec(text) ?? [];
  if (address === undefined) {
    return text;
  }
  if (/deadline exceeded|timeout/i.test(reason)) {
    return `${address} does not answer in time`;
  }
  return `${address} does not answer: ${reason.replace(/^dial tcp [^ ]+: (connect: )?/, '')}`;
}
