// What the server told the page when it served it.
//
// Knows the names of the settings, which are those of NSQ's page in lower case, and what each is where
// it is missing. Knows no route and asks for nothing.

const DEFAULTS = {
  /** What the server calls itself, such as `1.3.0`. */
  version: '',
  /** Where the page lives: `` or `/admin`. */
  base_path: '',
  /** False when the server would refuse every change by this reader. */
  is_admin: true,
  /** The header in which a proxy names the reader, for the word why a change is refused. */
  acl_http_header: 'X-Forwarded-User',
  /** The nsqlookupds' HTTP addresses; none where nsqds are named themselves. */
  nsqlookupd: [],
  /** Whether charts of Graphite can be shown, and from where; `` is the server itself. */
  graph_enabled: false,
  graphite_url: '',
  statsd_counter_format: 'stats.counters.%s.count',
  statsd_gauge_format: 'stats.gauges.%s',
  statsd_prefix: 'nsq.%s',
  /** Seconds. */
  statsd_interval: 60,
};

/** Reads the JSON that stands in the shell; what it does not say is as in `DEFAULTS`. */
export function read(text) {
  let told = {};
  try {
    told = JSON.parse(text ?? '{}') ?? {};
  } catch {
    // A shell that was not filled in still shows what the API says.
  }
  const settings = { ...DEFAULTS, ...told };
  settings.base_path = settings.base_path.replace(/\/+$/, '');
  settings.nsqlookupd = settings.nsqlookupd ?? [];
  return settings;
}

export const settings = read(globalThis.document?.getElementById('settings').textContent);
