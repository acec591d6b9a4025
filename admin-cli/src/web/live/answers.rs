//! What is answered below `/api/live`; the routes are described in [`live`](super).
//!
//! Does not know: how it was sampled.

use protocol::http::query::Query;
use protocol::http::response::{Response, Status};
use serde::Serialize;

use super::history::{Counted, Counts, Curves, Failed, History, Topic};
use super::{INTERVAL, POINTS_MAX};
use crate::web::Admin;
use crate::web::api::{json, refused};
use crate::web::query;

/// How many rows a list has at most, and when nothing is said.
const ROWS_MAX: usize = 1000;
const ROWS: usize = 50;
/// How many points a series has when nothing is said.
const POINTS: usize = 30;

/// What is asked of any of these routes.
struct Wish {
    arguments: Query,
    points: usize,
}

impl Wish {
    fn read(raw_query: &str) -> Result<Self, Response> {
        let arguments =
            query::parse(raw_query).map_err(|words| refused(Status::BadRequest, &words))?;
        let points = number(&arguments, "points", POINTS, "INVALID_ARG_POINTS")?;
        Ok(Self { arguments, points: points.min(POINTS_MAX) })
    }
}

fn number(
    arguments: &Query,
    name: &str,
    otherwise: usize,
    refusal: &str,
) -> Result<usize, Response> {
    match arguments.get(name) {
        None => Ok(otherwise),
        Some(text) => text.parse().map_err(|_| refused(Status::BadRequest, refusal)),
    }
}

/// A daemon that did not answer.
#[derive(Serialize)]
struct FailureRow<'a> {
    address: &'a str,
    reason: &'a str,
}

fn failures(failures: &[Failed]) -> Vec<FailureRow<'_>> {
    let rows = failures
        .iter()
        .map(|failed| FailureRow { address: failed.address.as_str(), reason: &failed.reason });
    rows.collect()
}

/// The series of a row, when any points are wanted.
fn series_of(history: &History, counted: &Counted, points: usize) -> Option<Curves> {
    if points == 0 { None } else { history.series(counted, points) }
}

/// What has a place in a list.
trait Row {
    /// The keys by which rows are sorted, beside their names.
    const NUMBERS: &'static [&'static str];
    /// The keys of their names.
    const NAMES: &'static [&'static str];

    fn names(&self) -> [&str; 2];

    /// The number behind one of [`Self::NUMBERS`].
    fn number(&self, key: &str) -> f64;

    fn add_series(&mut self, history: &History, points: usize);
}

#[derive(Serialize)]
struct TopicRow<'a> {
    topic: &'a str,
    depth: i64,
    backlog: i64,
    in_flight: i64,
    deferred: i64,
    messages: u64,
    rate: Option<f64>,
    finish_rate: Option<f64>,
    channels: usize,
    clients: u64,
    nodes: u64,
    paused: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    series: Option<Curves>,
    #[serde(skip)]
    counted: &'a Counted,
}

impl<'a> TopicRow<'a> {
    fn of(history: &History, name: &'a str, topic: &'a Topic) -> Self {
        let (own, channels) = (topic.counted.now, topic.channels_now());
        Self {
            topic: name,
            depth: own.depth,
            backlog: topic.backlog(),
            in_flight: channels.in_flight,
            deferred: channels.deferred,
            messages: own.messages,
            rate: history.rates(&own).map(|(came, _)| came),
            finish_rate: history.rates(&channels).map(|(_, went)| went),
            channels: topic.channels().count(),
            clients: channels.clients,
            nodes: own.nodes,
            paused: own.paused,
            series: None,
            counted: &topic.counted,
        }
    }
}

impl Row for TopicRow<'_> {
    const NUMBERS: &'static [&'static str] = &[
        "depth",
        "backlog",
        "in_flight",
        "deferred",
        "messages",
        "rate",
        "finish_rate",
        "channels",
        "clients",
        "nodes",
        "paused",
    ];
    const NAMES: &'static [&'static str] = &["topic"];

    fn names(&self) -> [&str; 2] {
        [self.topic, ""]
    }

    fn number(&self, key: &str) -> f64 {
        match key {
            "depth" => signed(self.depth),
            "backlog" => signed(self.backlog),
            "in_flight" => signed(self.in_flight),
            "deferred" => signed(self.deferred),
            "messages" => unsigned(self.messages),
            "rate" => self.rate.unwrap_or(-1.0),
            "finish_rate" => self.finish_rate.unwrap_or(-1.0),
            "channels" => unsigned(u64::try_from(self.channels).unwrap_or(u64::MAX)),
            "clients" => unsigned(self.clients),
            "nodes" => unsigned(self.nodes),
            _ => f64::from(u8::from(self.paused)),
        }
    }

    fn add_series(&mut self, history: &History, points: usize) {
        self.series = series_of(history, self.counted, points);
    }
}

#[derive(Serialize)]
struct ChannelRow<'a> {
    topic: &'a str,
    channel: &'a str,
    depth: i64,
    backend_depth: i64,
    in_flight: i64,
    deferred: i64,
    requeued: u64,
    timed_out: u64,
    messages: u64,
    rate: Option<f64>,
    finish_rate: Option<f64>,
    clients: u64,
    nodes: u64,
    paused: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    series: Option<Curves>,
    #[serde(skip)]
    counted: &'a Counted,
}

impl<'a> ChannelRow<'a> {
    fn of(history: &History, topic: &'a str, channel: &'a str, counted: &'a Counted) -> Self {
        let now = counted.now;
        let rates = history.rates(&now);
        Self {
            topic,
            channel,
            depth: now.depth,
            backend_depth: now.backend_depth,
            in_flight: now.in_flight,
            deferred: now.deferred,
            requeued: now.requeued,
            timed_out: now.timed_out,
            messages: now.messages,
            rate: rates.map(|(came, _)| came),
            finish_rate: rates.map(|(_, went)| went),
            clients: now.clients,
            nodes: now.nodes,
            paused: now.paused,
            series: None,
            counted,
        }
    }

    /// Whether messages wait and nobody is there to take them, though somebody could.
    fn is_unread(&self) -> bool {
        0 < self.depth && self.clients == 0 && !self.paused
    }
}

impl Row for ChannelRow<'_> {
    const NUMBERS: &'static [&'static str] = &[
        "depth",
        "backend_depth",
        "in_flight",
        "deferred",
        "requeued",
        "timed_out",
        "messages",
        "rate",
        "finish_rate",
        "clients",
        "nodes",
        "paused",
    ];
    const NAMES: &'static [&'static str] = &["topic", "channel"];

    fn names(&self) -> [&str; 2] {
        [self.topic, self.channel]
    }

    fn number(&self, key: &str) -> f64 {
        match key {
            "depth" => signed(self.depth),
            "backend_depth" => signed(self.backend_depth),
            "in_flight" => signed(self.in_flight),
            "deferred" => signed(self.deferred),
            "requeued" => unsigned(self.requeued),
            "timed_out" => unsigned(self.timed_out),
            "messages" => unsigned(self.messages),
            "rate" => self.rate.unwrap_or(-1.0),
            "finish_rate" => self.finish_rate.unwrap_or(-1.0),
            "clients" => unsigned(self.clients),
            "nodes" => unsigned(self.nodes),
            _ => f64::from(u8::from(self.paused)),
        }
    }

    fn add_series(&mut self, history: &History, points: usize) {
        self.series = series_of(history, self.counted, points);
    }
}

#[derive(Serialize)]
struct NodeRow<'a> {
    node: &'a str,
    hostname: &'a str,
    version: &'a str,
    depth: i64,
    in_flight: i64,
    deferred: i64,
    rate: Option<f64>,
    finish_rate: Option<f64>,
    topics: u64,
    channels: u64,
    clients: u64,
    error: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    series: Option<Curves>,
    #[serde(skip)]
    counted: &'a Counted,
}

impl Row for NodeRow<'_> {
    const NUMBERS: &'static [&'static str] =
        &["depth", "in_flight", "deferred", "rate", "finish_rate", "topics", "channels", "clients"];
    const NAMES: &'static [&'static str] = &["node", "hostname"];

    fn names(&self) -> [&str; 2] {
        [self.node, self.hostname]
    }

    fn number(&self, key: &str) -> f64 {
        match key {
            "depth" => signed(self.depth),
            "in_flight" => signed(self.in_flight),
            "deferred" => signed(self.deferred),
            "rate" => self.rate.unwrap_or(-1.0),
            "finish_rate" => self.finish_rate.unwrap_or(-1.0),
            "topics" => unsigned(self.topics),
            "channels" => unsigned(self.channels),
            _ => unsigned(self.clients),
        }
    }

    fn add_series(&mut self, history: &History, points: usize) {
        self.series = series_of(history, self.counted, points);
    }
}

#[expect(clippy::cast_precision_loss, reason = "only compared")]
fn signed(number: i64) -> f64 {
    number as f64
}

#[expect(clippy::cast_precision_loss, reason = "only compared")]
fn unsigned(number: u64) -> f64 {
    number as f64
}

/// Whether every word of `search`, which is of lower case, stands in the names, between which is a
/// slash as wherever a channel is written: `orders/em`.
fn is_called([first, second]: [&str; 2], search: &str) -> bool {
    let name = if second.is_empty() { first.to_owned() } else { format!("{first}/{second}") };
    let name = name.to_lowercase();
    search.split_whitespace().all(|word| name.contains(word))
}

/// Cuts out the part of a list that is asked for.
fn list<R: Row + Serialize>(
    history: &History,
    mut rows: Vec<R>,
    wish: &Wish,
) -> Result<Response, Response> {
    #[derive(Serialize)]
    struct List<'a, R> {
        at: i64,
        interval_ms: u128,
        times: Vec<i64>,
        total: usize,
        matching: usize,
        offset: usize,
        rows: Vec<R>,
        failures: Vec<FailureRow<'a>>,
    }
    let arguments = &wish.arguments;
    let bad = |code: &str| refused(Status::BadRequest, code);
    let offset = number(arguments, "offset", 0, "INVALID_ARG_OFFSET")?;
    let limit = number(arguments, "limit", ROWS, "INVALID_ARG_LIMIT")?.min(ROWS_MAX);
    let is_descending = match arguments.get("order") {
        None | Some("" | "asc") => false,
        Some("desc") => true,
        Some(_) => return Err(bad("INVALID_ARG_ORDER")),
    };
    let sort = arguments.get("sort").unwrap_or_default();
    let is_number = R::NUMBERS.contains(&sort);
    if !sort.is_empty() && !is_number && !R::NAMES.contains(&sort) {
        return Err(bad("INVALID_ARG_SORT"));
    }

    let total = rows.len();
    let search = arguments.get("search").unwrap_or_default().to_lowercase();
    if !search.is_empty() {
        rows.retain(|row| is_called(row.names(), &search));
    }
    let second_name = R::NAMES.get(1).is_some_and(|second| *second == sort);
    rows.sort_unstable_by(|one, other| {
        let by_name = |one: &R, other: &R| {
            let ([first, second], [other_first, other_second]) = (one.names(), other.names());
            match second_name {
                true => (second, first).cmp(&(other_second, other_first)),
                false => (first, second).cmp(&(other_first, other_second)),
            }
        };
        match (is_number, is_descending) {
            (true, true) => other.number(sort).total_cmp(&one.number(sort)),
            (true, false) => one.number(sort).total_cmp(&other.number(sort)),
            (false, true) => by_name(other, one),
            (false, false) => by_name(one, other),
        }
        // Rows with the same number keep the order of their names, so that nothing jumps.
        .then_with(|| by_name(one, other))
    });
    let matching = rows.len();
    let mut rows: Vec<R> = rows.into_iter().skip(offset).take(limit).collect();
    rows.iter_mut().for_each(|row| row.add_series(history, wish.points));
    Ok(json(&List {
        at: history.at(),
        interval_ms: INTERVAL.as_millis(),
        times: history.times(wish.points),
        total,
        matching,
        offset,
        rows,
        failures: failures(&history.failures),
    }))
}

/// `GET /api/live/summary`.
pub(in crate::web) async fn summary(admin: &Admin, raw_query: &str) -> Result<Response, Response> {
    #[derive(Serialize)]
    struct Summary<'a> {
        at: i64,
        interval_ms: u128,
        times: Vec<i64>,
        nodes: usize,
        failed_nodes: usize,
        topics: usize,
        channels: usize,
        clients: u64,
        depth: i64,
        in_flight: i64,
        deferred: i64,
        rate: Option<f64>,
        finish_rate: Option<f64>,
        series: Option<Curves>,
        failures: Vec<FailureRow<'a>>,
    }
    let wish = Wish::read(raw_query)?;
    admin.live.look().await;
    let history = &*admin.live.history.borrow();
    let now: Counts = history.all.now;
    let rates = history.rates(&now);
    Ok(json(&Summary {
        at: history.at(),
        interval_ms: INTERVAL.as_millis(),
        times: history.times(wish.points),
        nodes: history.nodes().count(),
        failed_nodes: history.nodes().filter(|(_, node)| node.error.is_some()).count(),
        topics: history.topics().count(),
        channels: history.topics().map(|(_, topic)| topic.channels().count()).sum(),
        clients: now.clients,
        depth: now.depth,
        in_flight: now.in_flight,
        deferred: now.deferred,
        rate: rates.map(|(came, _)| came),
        finish_rate: rates.map(|(_, went)| went),
        series: series_of(history, &history.all, wish.points),
        failures: failures(&history.failures),
    }))
}

/// `GET /api/live/topics`.
pub(in crate::web) async fn topics(admin: &Admin, raw_query: &str) -> Result<Response, Response> {
    let wish = Wish::read(raw_query)?;
    admin.live.look().await;
    let history = &*admin.live.history.borrow();
    let rows = history.topics().map(|(name, topic)| TopicRow::of(history, name, topic));
    list(history, rows.collect(), &wish)
}

/// `GET /api/live/channels`.
pub(in crate::web) async fn channels(admin: &Admin, raw_query: &str) -> Result<Response, Response> {
    let wish = Wish::read(raw_query)?;
    admin.live.look().await;
    let history = &*admin.live.history.borrow();
    let wanted = wish.arguments.get("topic");
    let only_unread = match wish.arguments.get("unread") {
        None | Some("" | "false") => false,
        Some("true") => true,
        Some(_) => return Err(refused(Status::BadRequest, "INVALID_ARG_UNREAD")),
    };
    let topics = history.topics().filter(|(name, _)| wanted.is_none_or(|wanted| wanted == *name));
    let rows = topics.flat_map(|(topic, found)| {
        let row = move |(channel, counted)| ChannelRow::of(history, topic, channel, counted);
        found.channels().map(row)
    });
    let is_wanted = |row: &ChannelRow<'_>| !only_unread || row.is_unread();
    list(history, rows.filter(is_wanted).collect(), &wish)
}

/// `GET /api/live/nodes`.
pub(in crate::web) async fn nodes(admin: &Admin, raw_query: &str) -> Result<Response, Response> {
    let wish = Wish::read(raw_query)?;
    admin.live.look().await;
    let history = &*admin.live.history.borrow();
    let rows = history.nodes().map(|(address, node)| {
        let now = node.counted.now;
        let rates = history.rates(&now);
        NodeRow {
            node: address.as_str(),
            hostname: &node.hostname,
            version: &node.version,
            depth: now.depth,
            in_flight: now.in_flight,
            deferred: now.deferred,
            rate: rates.map(|(came, _)| came),
            finish_rate: rates.map(|(_, went)| went),
            topics: node.topics,
            channels: node.channels,
            clients: now.clients,
            error: node.error.as_deref(),
            series: None,
            counted: &node.counted,
        }
    });
    list(history, rows.collect(), &wish)
}

/// `GET /api/live/topics/:topic`.
pub(in crate::web) async fn topic(
    admin: &Admin,
    name: &str,
    raw_query: &str,
) -> Result<Response, Response> {
    #[derive(Serialize)]
    struct Shown<'a> {
        at: i64,
        interval_ms: u128,
        times: Vec<i64>,
        topic: TopicRow<'a>,
        channels: Vec<ChannelRow<'a>>,
        failures: Vec<FailureRow<'a>>,
    }
    let wish = Wish::read(raw_query)?;
    admin.live.look().await;
    let history = &*admin.live.history.borrow();
    let found = history.topic(name);
    let found = found.ok_or_else(|| refused(Status::NotFound, "TOPIC_NOT_FOUND"))?;
    let mut topic = TopicRow::of(history, name, found);
    topic.add_series(history, wish.points);
    let channels = found.channels();
    let mut channels: Vec<_> = channels
        .map(|(channel, counted)| {
            let mut row = ChannelRow::of(history, name, channel, counted);
            row.add_series(history, wish.points);
            row
        })
        .collect();
    channels.sort_unstable_by_key(|row| row.channel);
    Ok(json(&Shown {
        at: history.at(),
        interval_ms: INTERVAL.as_millis(),
        times: history.times(wish.points),
        topic,
        channels,
        failures: failures(&history.failures),
    }))
}

/// `GET /api/live/topics/:topic/:channel`.
pub(in crate::web) async fn channel(
    admin: &Admin,
    topic: &str,
    name: &str,
    raw_query: &str,
) -> Result<Response, Response> {
    #[derive(Serialize)]
    struct Shown<'a> {
        at: i64,
        interval_ms: u128,
        times: Vec<i64>,
        channel: ChannelRow<'a>,
        failures: Vec<FailureRow<'a>>,
    }
    let wish = Wish::read(raw_query)?;
    admin.live.look().await;
    let history = &*admin.live.history.borrow();
    let found = history.topic(topic).and_then(|topic| topic.channel(name));
    let found = found.ok_or_else(|| refused(Status::NotFound, "CHANNEL_NOT_FOUND"))?;
    let mut channel = ChannelRow::of(history, topic, name, found);
    channel.add_series(history, wish.points);
    Ok(json(&Shown {
        at: history.at(),
        interval_ms: INTERVAL.as_millis(),
        times: history.times(wish.points),
        channel,
        failures: failures(&history.failures),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_found_by_all_words_that_are_sought_and_a_channel_with_its_topic() {
        for (names, search, is_found) in [
            (["Orders", "email"], "orders", true),
            (["Orders", "email"], "ders/em", true),
            (["Orders", "email"], "email ord", true),
            (["Orders", "email"], "email x", false),
            (["orders", "email"], "orders/x", false),
            (["orders", ""], "orders", true),
            (["orders", ""], "orders/", false),
            (["orders", ""], "", true),
        ] {
            assert_eq!(is_called(names, search), is_found, "{names:?} {search}");
        }
    }
}
