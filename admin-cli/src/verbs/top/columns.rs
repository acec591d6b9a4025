//! The columns of each page, and how a row is made and compared.
//!
//! Knows: what stands in which column. Does not know: how wide the screen is, or what is selected.

use std::cmp::Ordering;

use super::model::{Key, Page};
use super::totals::{Client, Counts, Rates, Topic, Totals};
use crate::address::Address;

/// One column. The first of a page is the name, which takes what room is left.
#[derive(Debug)]
pub(super) struct Column {
    pub(super) title: &'static str,
    /// In characters.
    pub(super) width: u16,
    /// Where there is not room for all, those of the highest rank go first; 0 goes last.
    pub(super) rank: u8,
    pub(super) kind: Kind,
}

/// How a column is aligned and filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Name,
    /// On the right.
    Figure,
    /// On the left.
    Text,
    /// How the depth went.
    Trend,
}

const fn name(title: &'static str) -> Column {
    Column { title, width: 0, rank: 0, kind: Kind::Name }
}

const fn figure(title: &'static str, width: u16, rank: u8) -> Column {
    Column { title, width, rank, kind: Kind::Figure }
}

const fn text(title: &'static str, width: u16, rank: u8) -> Column {
    Column { title, width, rank, kind: Kind::Text }
}

const TREND: Column = Column { title: "TREND", width: 10, rank: 3, kind: Kind::Trend };

const TOPICS: &[Column] = &[
    name("TOPIC"),
    figure("BACKLOG", 8, 0),
    TREND,
    figure("DEPTH", 7, 4),
    figure("IN/S", 7, 1),
    figure("OUT/S", 7, 2),
    figure("CHAN", 4, 5),
    figure("CLIENTS", 7, 6),
    figure("MESSAGES", 8, 7),
];

const CHANNELS: &[Column] = &[
    name("CHANNEL"),
    figure("DEPTH", 7, 0),
    TREND,
    figure("FLIGHT", 6, 4),
    figure("DEFER", 6, 7),
    figure("IN/S", 7, 1),
    figure("OUT/S", 7, 2),
    figure("REQ", 6, 6),
    figure("T/O", 6, 8),
    figure("CLIENTS", 7, 5),
    figure("MESSAGES", 8, 9),
];

const CLIENTS: &[Column] = &[
    name("CLIENT"),
    text("ADDRESS", 21, 4),
    figure("RDY", 6, 2),
    figure("FLIGHT", 6, 0),
    figure("FIN/S", 7, 1),
    figure("REQ", 6, 3),
    figure("AGE", 5, 5),
    figure("FINISHED", 8, 6),
    text("NODE", 21, 7),
    text("AGENT", 28, 8),
];

const NODES: &[Column] = &[
    name("NODE"),
    figure("BACKLOG", 8, 0),
    TREND,
    figure("IN/S", 7, 1),
    figure("OUT/S", 7, 2),
    figure("TOPICS", 6, 5),
    figure("CHAN", 5, 6),
    figure("CLIENTS", 7, 4),
    figure("UP", 5, 7),
    text("VERSION", 9, 8),
];

/// The columns of a page, the most telling on the left.
pub(super) fn of(page: Page) -> &'static [Column] {
    match page {
        Page::Topics => TOPICS,
        Page::Channels => CHANNELS,
        Page::Clients => CLIENTS,
        Page::Nodes => NODES,
    }
}

/// By which column a page is sorted until the user chooses another.
pub(super) fn first_sort(page: Page) -> usize {
    match page {
        Page::Topics | Page::Channels => 1,
        Page::Clients => 3,
        Page::Nodes => 0,
    }
}

/// What stands in one place of a row.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    /// The row's name, or how its depth went.
    OfRow,
    Count(i64),
    Rate(Option<f64>),
    Text(String),
    /// In seconds.
    Age(i64),
}

/// One row, with a value for each column of its page.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    pub(super) key: Key,
    pub(super) name: String,
    pub(super) paused: bool,
    /// Stands in place of the figures, when there are none.
    pub(super) trouble: Option<String>,
    pub(super) values: Vec<Value>,
    /// How the depth went; only of rows that are shown.
    pub(super) trend: Vec<i64>,
}

impl Row {
    /// Whether `wanted`, which is of lower case, stands in the name. One with a slash is looked for in
    /// `topic/channel`, also where channels stand without their topic.
    pub(super) fn is_called(&self, wanted: &str) -> bool {
        let is_in = |name: &str| name.to_lowercase().contains(wanted);
        match &self.key {
            Key::Channel(topic, channel) if wanted.contains('/') => {
                is_in(&format!("{topic}/{channel}"))
            }
            _ => is_in(&self.name),
        }
    }

    fn new(key: Key, name: String, values: Vec<Value>) -> Self {
        Self { key, name, paused: false, trouble: None, values, trend: Vec::new() }
    }

    pub(super) fn of_topic(name: &str, topic: &Topic) -> Self {
        let Topic { counts, channels } = topic;
        let values = vec![
            Value::OfRow,
            Value::Count(topic.backlog()),
            Value::OfRow,
            Value::Count(counts.depth),
            came(counts.rates),
            left(counts.rates),
            count(channels.len()),
            Value::Count(topic.clients()),
            Value::Count(counts.messages),
        ];
        let row = Self::new(Key::Topic(name.to_owned()), name.to_owned(), values);
        Self { paused: counts.paused, ..row }
    }

    /// A channel, called by its own name or, among those of other topics, by both.
    pub(super) fn of_channel(topic: &str, channel: &str, counts: &Counts, is_among: bool) -> Self {
        let name = if is_among { format!("{topic}/{channel}") } else { channel.to_owned() };
        let values = vec![
            Value::OfRow,
            Value::Count(counts.depth),
            Value::OfRow,
            Value::Count(counts.in_flight),
            Value::Count(counts.deferred),
            came(counts.rates),
            left(counts.rates),
            Value::Count(counts.requeued),
            Value::Count(counts.timed_out),
            Value::Count(counts.clients),
            Value::Count(counts.messages),
        ];
        let row = Self::new(Key::Channel(topic.to_owned(), channel.to_owned()), name, values);
        Self { paused: counts.paused, ..row }
    }

    /// A consumer at a broker; `now` is in seconds since 1970.
    pub(super) fn of_client(node: &Address, client: &Client, now: i64) -> Self {
        let stats = &client.stats;
        let name = match (stats.client_id.as_str(), stats.hostname.as_str()) {
            ("", "") => stats.remote_address.clone(),
            ("", host) => host.to_owned(),
            (id, _) => id.to_owned(),
        };
        let values = vec![
            Value::OfRow,
            Value::Text(stats.remote_address.clone()),
            Value::Count(stats.ready_count),
            Value::Count(stats.in_flight_count),
            left(client.rates),
            Value::Count(i64::try_from(stats.requeue_count).unwrap_or(i64::MAX)),
            Value::Age((now - stats.connect_ts).max(0)),
            Value::Count(i64::try_from(stats.finish_count).unwrap_or(i64::MAX)),
            Value::Text(node.to_string()),
            Value::Text(stats.user_agent.clone()),
        ];
        Self::new(Key::Client(node.clone(), stats.remote_address.clone()), name, values)
    }

    /// A broker that answers; `now` is in seconds since 1970.
    pub(super) fn of_node(
        node: &Address,
        totals: &Totals,
        start_time: i64,
        version: &str,
        now: i64,
    ) -> Self {
        let rates = totals.rates();
        let values = vec![
            Value::OfRow,
            Value::Count(totals.backlog()),
            Value::OfRow,
            came(rates),
            left(rates),
            count(totals.topics.len()),
            count(totals.channels()),
            Value::Count(totals.clients()),
            Value::Age((now - start_time).max(0)),
            Value::Text(version.to_owned()),
        ];
        Self::new(Key::Node(node.clone()), node.to_string(), values)
    }

    /// A broker that does not.
    pub(super) fn of_silent_node(node: &Address, trouble: String) -> Self {
        let mut values = vec![Value::OfRow; NODES.len()];
        for (value, column) in values.iter_mut().zip(NODES) {
            if column.kind == Kind::Figure {
                *value = Value::Rate(None);
            }
        }
        let row = Self::new(Key::Node(node.clone()), node.to_string(), values);
        Self { trouble: Some(trouble), ..row }
    }

    /// Which of two rows comes first by a column; equal ones by name, and those in trouble last.
    pub(super) fn compare(&self, other: &Self, column: usize, falling: bool) -> Ordering {
        let order = match (&self.values[column], &other.values[column]) {
            (Value::Count(one), Value::Count(two)) | (Value::Age(one), Value::Age(two)) => {
                one.cmp(two)
            }
            (Value::Rate(one), Value::Rate(two)) => one.partial_cmp(two).unwrap_or(Ordering::Equal),
            (Value::Text(one), Value::Text(two)) => one.cmp(two),
            (Value::OfRow, Value::OfRow) => self.name.cmp(&other.name),
            // Only of rows in trouble, which do not get so far.
            _ => Ordering::Equal,
        };
        let order = if falling { order.reverse() } else { order };
        let trouble = self.trouble.is_some().cmp(&other.trouble.is_some());
        trouble.then(order).then_with(|| self.key.cmp(&other.key))
    }
}

fn count(count: usize) -> Value {
    Value::Count(i64::try_from(count).unwrap_or(i64::MAX))
}

fn came(rates: Option<Rates>) -> Value {
    Value::Rate(rates.map(|rates| rates.came))
}

fn left(rates: Option<Rates>) -> Value {
    Value::Rate(rates.map(|rates| rates.left))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds_fit(page: Page, row: &Row) {
        let columns = of(page);
        assert_eq!(columns.len(), row.values.len(), "{page:?}");
        for (column, value) in columns.iter().zip(&row.values) {
            let fits = match column.kind {
                Kind::Name | Kind::Trend => matches!(value, Value::OfRow),
                Kind::Figure => matches!(value, Value::Count(_) | Value::Rate(_) | Value::Age(_)),
                Kind::Text => matches!(value, Value::Text(_)),
            };
            assert!(fits, "{}: {value:?}", column.title);
        }
    }

    #[test]
    fn every_row_has_a_value_for_each_column_of_its_page() {
        let node: Address = "a:1".parse().unwrap();
        let client = Client { stats: protocol::stats::ClientStats::default(), rates: None };
        kinds_fit(Page::Topics, &Row::of_topic("t", &Topic::default()));
        kinds_fit(Page::Channels, &Row::of_channel("t", "c", &Counts::default(), true));
        kinds_fit(Page::Clients, &Row::of_client(&node, &client, 0));
        kinds_fit(Page::Nodes, &Row::of_node(&node, &Totals::default(), 0, "1.3.0", 0));
    }

    #[test]
    fn a_page_is_sorted_by_a_column_that_it_has() {
        for page in [Page::Topics, Page::Channels, Page::Clients, Page::Nodes] {
            let columns = of(page);
            assert!(columns[first_sort(page)].kind != Kind::Trend);
            assert_eq!(columns[0].kind, Kind::Name);
            // Each rank once, so that it is clear which column goes first.
            let mut ranks: Vec<_> = columns[1..].iter().map(|column| column.rank).collect();
            ranks.sort_unstable();
            ranks.dedup();
            assert_eq!(ranks.len(), columns.len() - 1, "{page:?}");
        }
    }

    #[test]
    fn a_client_is_called_by_its_id_or_host_or_address() {
        let node: Address = "a:1".parse().unwrap();
        for (id, host, name) in [("id", "host", "id"), ("", "host", "host"), ("", "", "h:1")] {
            let stats = protocol::stats::ClientStats {
                client_id: id.into(),
                hostname: host.into(),
                remote_address: "h:1".into(),
                ..Default::default()
            };
            assert_eq!(Row::of_client(&node, &Client { stats, rates: None }, 0).name, name);
        }
    }
}
