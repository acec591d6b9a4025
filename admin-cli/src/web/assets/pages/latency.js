// End-to-end latency, as nsqd measures it where it is told to: a column for each percentile.
//
// Knows the shape of NSQ's `e2e_processing_latency`, of one node and merged.

import { nanoseconds, quantile } from '../figures.js';
import { h } from '../tree.js';

/** Columns for the percentiles that any of the rows has. */
export function latencyColumns(rows) {
  const quantiles = [...new Set(rows.flatMap((row) => percentiles(row).map((one) => one.quantile)))];
  return quantiles.sort((a, b) => b - a).map((wanted) => {
    const find = (row) => percentiles(row).find((one) => one.quantile === wanted);
    return {
      key: `e2e-${wanted}`,
      label: `E2E ${quantile(wanted)}`,
      title: `End-to-end latency: ${quantile(wanted)} percentile`,
      numeric: true,
      wide: true,
      value: (row) => average(find(row)),
      cell: (row) => latencyCell(find(row)),
    };
  });
}

/** What a row tells of each percentile; nothing where nsqd was not told to measure. */
export function percentiles(row) {
  return row.e2e_processing_latency?.percentiles ?? [];
}

/** Merged ones have an average; those of one node a value. */
function average(one) {
  return one === undefined ? NaN : one.average || one.value || 0;
}

function latencyCell(one) {
  if (one === undefined || average(one) === 0) {
    return '–';
  }
  const title = one.max > 0 ? `min ${nanoseconds(one.min)}, max ${nanoseconds(one.max)}` : null;
  return h('span', { title }, nanoseconds(average(one)));
}
