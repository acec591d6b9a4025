// Taking a topic off one node: consumers are no longer sent there, and the topic is deleted on it.
//
// Knows the question, which names what is lost on that node.

import * as api from '../api.js';
import { lossOfTopic, toldLoss } from '../health.js';

export async function askTombstone(context, node, topicName) {
  const topics = await api.node(node).then(({ topics: all }) => all ?? [], () => null);
  const topic = topics?.find(({ topic_name: name }) => name === topicName);
  const loss = topic && lossOfTopic(topic);
  const sentence = topics === null ? 'How many messages that are could not be found out.'
    : (!loss || loss.messages === 0 ? 'No message is lost.' : `${toldLoss(loss)} will be lost on ${node}.`);
  const sure = await context.ask({
    title: `Tombstone ${topicName} on ${node}?`, confirm: 'Tombstone', danger: true,
    typed: topics === null || (loss && 0 < loss.messages) ? topicName : undefined,
    loss: sentence,
    lines: ['nsqlookupd no longer names this node to consumers of the topic for a while, and the topic is deleted on it.',
      'Publishers should have left the node before: what they publish there makes the topic anew.'],
  });
  if (!sure) {
    return;
  }
  await context.change(`Tombstoning ${topicName} on ${node}`, `${topicName} is tombstoned on ${node}`, () => api.tombstone(node, topicName));
  context.refresh();
}
