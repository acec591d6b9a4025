// Tables that can be searched, sorted and turned like pages.
//
// Knows rows, columns and a state of three: what is sought, what is sorted by, which page is shown. Only
// the rows of one page become elements, so ten thousand cost what a hundred cost. What a row means is the
// columns' business.

import { count } from './figures.js';
import { h } from './tree.js';

/** Rows on a page: more than anybody reads at once, few enough to be drawn in a frame. */
export const ROWS_MAX = 100;

/** True when every word of `sought` is somewhere in `text`, whatever the case. */
export function matches(text, sought) {
  const low = text.toLowerCase();
  return sought.toLowerCase().split(/\s+/).every((word) => low.includes(word));
}

/** Rows by a column's value; what is the same stays in the order of `then` (by name). */
export function sorted(rows, column, descending, then) {
  const way = descending ? -1 : 1;
  return rows
    .map((row) => ({ row, value: column.value(row), name: then(row) }))
    .sort((a, b) => way * compare(a.value, b.value) || compare(a.name, b.name))
    .map(({ row }) => row);
}

/** Numbers by size, texts by letters; what is not known (NaN) is the least. */
function compare(a, b) {
  if (typeof a === 'number' && typeof b === 'number') {
    const [x, y] = [a, b].map((value) => (Number.isNaN(value) ? -Infinity : value));
    return x === y ? 0 : (x < y ? -1 : 1);
  }
  const [x, y] = [String(a), String(b)];
  return x === y ? 0 : (x < y ? -1 : 1);
}

/**
 * What to show: the rows of the page, which page that is, and of how many. A page that is not there any
 * more is the last one. Where `total` says how many there are, the server has sorted and cut already.
 */
export function arranged({ rows, total, columns, state, name }) {
  const pages = Math.max(1, Math.ceil((total ?? rows.length) / ROWS_MAX));
  const page = Math.min(Math.max(1, state.page || 1), pages);
  if (total !== undefined) {
    return { rows, page, pages, total };
  }
  const column = columns.find(({ key, value }) => key === state.sort && value);
  const all = column ? sorted(rows, column, state.descending, name) : rows;
  return { rows: all.slice((page - 1) * ROWS_MAX, page * ROWS_MAX), page, pages, total: rows.length };
}

/**
 * Describes a table. Columns are `{ key, label, value, cell, numeric, title, wide }`: `value` is sorted by
 * (without it, only one that `isSortable` can be, by the server), `cell` is shown, `wide` columns are left
 * out where a row would not fit (a phone has room again: there, rows are cards). `onstate` is told what of the state should change. `footer` is a row of cells by key.
 */
export function table({
  id, caption, columns, rows, total, keyOf, name = keyOf, state = {}, onstate, footer, tone, empty,
}) {
  if (rows.length === 0) {
    return h('p', { class: 'empty', key: id }, empty);
  }
  const shown = arranged({ rows, total, columns, state, name });
  const heads = columns.map((column) => head(column, state, onstate));
  const body = shown.rows.map((row) => h('tr', { key: keyOf(row), class: tone?.(row), role: 'row' },
    columns.map((column, index) => cell(column, index === 0, column.cell(row)))));
  const foot = footer && h('tfoot', { role: 'rowgroup' }, h('tr', { role: 'row' },
    columns.map((column, index) => cell(column, index === 0, footer[column.key] ?? ''))));
  return h('div', { class: 'sheet', key: id },
    h('div', { class: 'scroll' },
      h('table', { id, role: 'table', 'aria-rowcount': shown.total + 1 },
        h('caption', { class: 'unseen' }, caption),
        h('thead', { role: 'rowgroup' }, h('tr', { role: 'row' }, heads)),
        h('tbody', { role: 'rowgroup' }, body),
        foot)),
    1 < shown.pages && pager(id, shown, onstate));
}

function head(column, state, onstate) {
  const here = state.sort === column.key;
  const order = here ? (state.descending ? 'descending' : 'ascending') : undefined;
  const properties = {
    scope: 'col', role: 'columnheader', class: classes(column), 'aria-sort': order, title: column.title,
  };
  if (!(column.value || column.isSortable) || !onstate) {
    return h('th', properties, column.label);
  }
  // Numbers are asked for from the largest, names from the first letter.
  const descending = here ? !state.descending : Boolean(column.numeric);
  return h('th', properties,
    h('button', { type: 'button', class: 'sort', onclick: () => onstate({ sort: column.key, descending, page: 1 }) },
      h('span', null, column.label), here && h('span', { class: 'order', 'aria-hidden': 'true' }, state.descending ? '▼' : '▲')));
}

function cell(column, first, content) {
  const kind = first ? { scope: 'row', role: 'rowheader' } : { role: 'cell' };
  return h(first ? 'th' : 'td', { ...kind, class: classes(column), 'data-label': first ? null : column.label }, content);
}

function classes({ numeric, wide, key }) {
  return [`column-${key}`, numeric && 'numeric', wide && 'wide'].filter(Boolean).join(' ');
}

function pager(id, { page, pages, total }, onstate) {
  const first = (page - 1) * ROWS_MAX + 1;
  const last = Math.min(total, page * ROWS_MAX);
  const turn = (to, label, mark, key) => h('button', {
    type: 'button', class: 'plain', 'data-turn': key, disabled: to < 1 || pages < to,
    onclick: () => onstate({ page: to }),
  }, mark === '‹' ? `‹ ${label}` : `${label} ›`);
  return h('nav', { class: 'pager', 'aria-label': 'Pages of the table' },
    turn(page - 1, 'Previous', '‹', 'previous'),
    h('span', null, `${count(first)}–${count(last)} of ${count(total)}`),
    turn(page + 1, 'Next', '›', 'next'));
}
