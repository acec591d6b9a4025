// Questions before something is changed, and the list of keys: what covers the page until it is answered.
//
// Knows `<dialog>`, which keeps the focus inside, gives it back, and ends with Escape. What is asked, and
// what follows, is the caller's.

import { draw, h } from './tree.js';

/**
 * Asks, and resolves to true when it was confirmed. `lines` say what will happen; `loss`, what is lost.
 * Where `typed` is given, that text has to be typed first.
 */
export function ask({ title, lines, loss, confirm, typed, danger = false }) {
  return new Promise((resolve) => {
    let text = '';
    const show = () => draw(dialog, h('form', {
      method: 'dialog',
      onsubmit: (event) => {
        event.preventDefault();
        dialog.close(typed === undefined || text === typed ? 'yes' : '');
      },
    },
    h('h2', { id: 'dialog-title' }, title),
    h('div', { id: 'dialog-text' },
      loss && h('p', { class: 'loss' }, loss),
      lines.map((line) => h('p', null, line))),
    typed !== undefined && h('label', null,
      h('span', null, 'Type ', h('kbd', null, typed), ' to confirm'),
      h('input', {
        type: 'text', name: 'typed', autocomplete: 'off', autocapitalize: 'off', spellcheck: 'false',
        oninput: (event) => {
          text = event.currentTarget.value;
          show();
        },
      })),
    h('div', { class: 'choices' },
      h('button', { type: 'button', class: 'plain', name: 'cancel', onclick: () => dialog.close('') }, 'Cancel'),
      h('button', {
        type: 'submit', name: 'confirm', class: danger ? 'danger' : 'primary',
        disabled: typed !== undefined && text !== typed,
      }, confirm))));
    const dialog = opened('dialog-title', 'dialog-text', () => resolve(dialog.returnValue === 'yes'));
    show();
    dialog.showModal();
    // What cannot be undone is not one Enter away: the focus begins at the safe choice.
    dialog.querySelector(typed === undefined ? '[name=cancel]' : 'input').focus();
  });
}

/** Shows rows of a key and what it does, until closed. */
export function showKeys(keys) {
  const dialog = opened('keys-title', null, () => {});
  draw(dialog, h('form', { method: 'dialog' },
    h('h2', { id: 'keys-title' }, 'Keys'),
    h('dl', { class: 'keys' }, keys.flatMap(([key, does]) => [
      h('dt', null, key.split(' ').flatMap((part, index) => [0 < index && ' ', h('kbd', null, part)])),
      h('dd', null, does),
    ])),
    h('div', { class: 'choices' }, h('button', { type: 'submit', class: 'plain' }, 'Close'))));
  dialog.showModal();
}

function opened(title, text, onclose) {
  const dialog = document.createElement('dialog');
  dialog.setAttribute('aria-labelledby', title);
  if (text) {
    dialog.setAttribute('aria-describedby', text);
  }
  dialog.addEventListener('close', () => {
    dialog.remove();
    onclose();
  });
  document.body.append(dialog);
  return dialog;
}
