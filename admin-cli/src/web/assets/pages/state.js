// The state of a queue as a mark: a word with a colour and a shape, and why on a longer look.
//
// Knows judgements (health.js) and how they are shown.

import { h } from '../tree.js';
import { LEVELS } from '../health.js';

/** Shapes, so that nothing depends on telling colours apart. */
const SHAPES = ['', '○', '▲', '■'];

export function stateMark(judgement) {
  const tone = LEVELS[judgement.level];
  return h('span', { class: `state ${tone}`, title: judgement.why || null },
    SHAPES[judgement.level] && h('span', { class: 'shape', 'aria-hidden': 'true' }, SHAPES[judgement.level]),
    judgement.word);
}

/** What failed, one sentence each, above data that are not complete because of it. */
export function partialView(failures) {
  return failures.length > 0 && h('section', { class: 'banner bad', key: 'partial' },
    h('strong', null, failures.length === 1 ? 'One answer is missing' : `${failures.length} answers are missing`),
    h('p', null, 'The figures below are without what these would have said:'),
    h('ul', null, failures.map((failure) => h('li', null, failure))));
}
