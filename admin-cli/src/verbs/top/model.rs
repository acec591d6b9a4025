//! What is shown, and where the user is in it.
//!
//! Knows: the pages and how one leads to another, what is selected (by name, so that it stays selected
//! while rows move), sorting, filters, and what to say where there is nothing to show. Time comes in as
//! an argument. Does not know: sockets, the terminal, or how a page is drawn.
//!
//! Bounds: what the brokers count, once as they told it and once added up; for each consumer of the one
//! channel that is open its last figures; for each row 60 points of its depth.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use protocol::stats::{ClientStats, Stats};

use super::columns::{self, Column, Kind, Row};
use super::history::History;
use super::totals::{Clients, Measured, Totals};
use crate::address::{self, Address};
use crate::cluster::{Failure, Sources};

/// What a row is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Key {
    Topic(String),
    /// Topic and channel.
    Channel(String, String),
    /// The broker, and the address that the consumer comes from.
    Client(Address, String),
    Node(Address),
}

/// What is listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Page {
    Topics,
    Channels,
    Clients,
    Nodes,
}

/// What keys mean at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Browsing,
    /// Letters go into the filter.
    Filtering,
    Help,
}

/// What the user wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Quit,
    Suspend,
    /// The screen was disturbed from outside.
    Redraw,
    Up,
    Down,
    PageUp,
    PageDown,
    First,
    Last,
    Open,
    Back,
    Show(Page),
    NextPage,
    SortNext,
    SortPrevious,
    Reverse,
    BeginFilter,
    Type(char),
    Erase,
    EraseAll,
    KeepFilter,
    DropFilter,
    OpenHelp,
    CloseHelp,
}

/// What comes in from the cluster.
#[derive(Debug)]
pub(super) enum News {
    /// The brokers that there are, and the discovery daemons that did not answer. `None` when none
    /// of them did.
    Nodes { found: Option<BTreeSet<Address>>, failures: Vec<Failure> },
    /// What a broker counts, with the time since the start of the program.
    Counted { node: Address, at: Duration, answer: Result<Stats, Failure> },
    /// The consumers of a channel at a broker.
    Clients { node: Address, at: Duration, of: ChannelPath, clients: Vec<ClientStats> },
}

/// A topic and one of its channels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ChannelPath {
    pub(super) topic: String,
    pub(super) channel: String,
}

/// A page, and what is selected on it.
#[derive(Clone, Debug)]
struct Place {
    page: Page,
    /// Only what this broker has.
    node: Option<Address>,
    /// Only the channels of this topic, or the consumers of its channel.
    topic: Option<String>,
    channel: Option<String>,
    selected: Option<Key>,
    /// Where the selection was: it stays there when its row is gone.
    at: usize,
    filter: String,
}

impl Place {
    fn new(page: Page) -> Self {
        let filter = String::new();
        Self { page, node: None, topic: None, channel: None, selected: None, at: 0, filter }
    }

    fn path(&self) -> Option<ChannelPath> {
        let (topic, channel) = self.topic.clone().zip(self.channel.clone())?;
        Some(ChannelPath { topic, channel })
    }
}

/// By which column, and in which direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sort {
    pub(super) column: usize,
    /// The largest first.
    pub(super) falling: bool,
}

impl Sort {
    fn first_of(page: Page) -> Self {
        Self::by(page, columns::first_sort(page))
    }

    /// Figures are most telling when they are large, names are read from A to Z.
    fn by(page: Page, column: usize) -> Self {
        let falling = columns::of(page)[column].kind == Kind::Figure;
        Self { column, falling }
    }
}

/// One broker.
#[derive(Debug, Default)]
struct Node {
    measured: Option<Measured>,
    /// Why its last answer is missing. What it told before is not shown then.
    failure: Option<Failure>,
}

impl Node {
    fn current(&self) -> Option<&Measured> {
        self.measured.as_ref().filter(|_| self.failure.is_none())
    }
}

/// All that is known, and where the user is.
pub(super) struct Model {
    sources: Sources,
    nodes: BTreeMap<Address, Node>,
    /// Whether discovery has answered; true where brokers were named.
    is_discovered: bool,
    lookup_failures: Vec<Failure>,
    /// Of the channel that is open, by broker.
    clients: BTreeMap<Address, Clients>,
    /// Depths by row, and by broker where only one is shown.
    history: History<(Option<Address>, Key)>,
    /// From the first page to the one that is shown. Invariant: not empty.
    places: Vec<Place>,
    sorts: BTreeMap<Page, Sort>,
    mode: Mode,
    /// How many rows the screen had last.
    height: usize,
    /// In seconds since 1970, as it was when the page was looked at last.
    now: i64,
}

/// What an action means for the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Stay,
    Quit,
    Suspend,
    Redraw,
}

impl Model {
    pub(super) fn new(sources: Sources) -> Self {
        let named = match &sources {
            Sources::Brokers(addresses) => Some(addresses.iter().cloned()),
            Sources::Lookups(_) => None,
        };
        let is_discovered = named.is_some();
        let nodes = named.into_iter().flatten().map(|address| (address, Node::default()));
        Self {
            nodes: nodes.collect(),
            sources,
            is_discovered,
            lookup_failures: Vec::new(),
            clients: BTreeMap::new(),
            history: History::default(),
            places: vec![Place::new(Page::Topics)],
            sorts: BTreeMap::new(),
            mode: Mode::Browsing,
            height: 0,
            now: 0,
        }
    }

    pub(super) fn mode(&self) -> Mode {
        self.mode
    }

    /// The channel whose consumers are to be asked for.
    pub(super) fn open_channel(&self) -> Option<ChannelPath> {
        self.place().path()
    }

    fn place(&self) -> &Place {
        self.places.last().expect("places are never empty")
    }

    fn place_mut(&mut self) -> &mut Place {
        self.places.last_mut().expect("places are never empty")
    }

    /// Takes in what the cluster said.
    pub(super) fn learn(&mut self, news: News) {
        match news {
            News::Nodes { found, failures } => {
                self.is_discovered |= found.is_some();
                self.lookup_failures = failures;
                if let Some(found) = found {
                    self.nodes.retain(|node, _| found.contains(node));
                    for node in found {
                        self.nodes.entry(node).or_default();
                    }
                }
            }
            News::Counted { node, at, answer } => {
                // One that is no longer a node may still have been asked.
                let Some(node) = self.nodes.get_mut(&node) else { return };
                match answer {
                    Ok(stats) => {
                        let measured = Measured::new(node.measured.as_ref(), at, stats);
                        *node = Node { measured: Some(measured), failure: None };
                    }
                    Err(failure) => node.failure = Some(failure),
                }
            }
            News::Clients { node, at, of, clients } => {
                if self.open_channel() == Some(of) {
                    let clients = Clients::new(self.clients.get(&node), at, clients);
                    self.clients.insert(node, clients);
                }
            }
        }
    }

    /// Takes a point of every depth, once each interval.
    pub(super) fn record(&mut self) {
        let node = self.place().node.clone();
        let mut points = self.points(None);
        if node.is_some() {
            points.extend(self.points(node.as_ref()));
        }
        let nodes = self.nodes.iter().filter_map(|(node, state)| {
            let backlog = state.current()?.totals.backlog();
            Some(((None, Key::Node(node.clone())), backlog))
        });
        points.extend(nodes);
        self.history.record(points);
    }

    fn points(&self, node: Option<&Address>) -> Vec<((Option<Address>, Key), i64)> {
        let mut points = Vec::new();
        for (topic, counts) in self.totals(node).topics {
            for (channel, counts) in &counts.channels {
                let key = Key::Channel(topic.clone(), channel.clone());
                points.push(((node.cloned(), key), counts.depth));
            }
            points.push(((node.cloned(), Key::Topic(topic)), counts.backlog()));
        }
        points
    }

    /// What all brokers that answer count together, or one of them.
    fn totals(&self, only: Option<&Address>) -> Totals {
        let mut totals = Totals::default();
        for (node, state) in &self.nodes {
            if let Some(measured) = state.current()
                && only.is_none_or(|only| only == node)
            {
                totals.add(&measured.totals);
            }
        }
        totals
    }

    /// Does what the user wants.
    pub(super) fn apply(&mut self, action: Action) -> Outcome {
        match action {
            Action::Quit => return Outcome::Quit,
            Action::Suspend => return Outcome::Suspend,
            Action::Redraw => return Outcome::Redraw,
            Action::Up => self.step(|at, _, _| at.saturating_sub(1)),
            Action::Down => self.step(|at, last, _| last.min(at + 1)),
            Action::PageUp => self.step(|at, _, height| at.saturating_sub(height)),
            Action::PageDown => self.step(|at, last, height| last.min(at + height)),
            Action::First => self.step(|_, _, _| 0),
            Action::Last => self.step(|_, last, _| last),
            Action::Open => self.open(),
            Action::Back => self.back(),
            Action::Show(page) => self.show(page),
            Action::NextPage => self.show(match self.places[0].page {
                Page::Topics => Page::Channels,
                Page::Channels => Page::Nodes,
                Page::Nodes | Page::Clients => Page::Topics,
            }),
            Action::SortNext => self.sort_by_neighbour(1),
            Action::SortPrevious => {
                self.sort_by_neighbour(columns::of(self.place().page).len() - 1);
            }
            Action::Reverse => {
                let Sort { column, falling } = self.sort();
                self.sorts.insert(self.place().page, Sort { column, falling: !falling });
            }
            Action::BeginFilter => self.mode = Mode::Filtering,
            Action::Type(letter) => self.place_mut().filter.push(letter),
            Action::Erase => {
                self.place_mut().filter.pop();
            }
            Action::EraseAll => self.place_mut().filter.clear(),
            Action::KeepFilter => self.mode = Mode::Browsing,
            Action::DropFilter => {
                self.place_mut().filter.clear();
                self.mode = Mode::Browsing;
            }
            Action::OpenHelp => self.mode = Mode::Help,
            Action::CloseHelp => self.mode = Mode::Browsing,
        }
        Outcome::Stay
    }

    fn sort(&self) -> Sort {
        let page = self.place().page;
        self.sorts.get(&page).copied().unwrap_or_else(|| Sort::first_of(page))
    }

    /// Sorts by the column so many further to the right, around the end, that can be sorted by.
    fn sort_by_neighbour(&mut self, step: usize) {
        let page = self.place().page;
        let columns = columns::of(page);
        let mut column = (self.sort().column + step) % columns.len();
        if columns[column].kind == Kind::Trend {
            column = (column + step) % columns.len();
        }
        self.sorts.insert(page, Sort::by(page, column));
    }

    /// Moves the selection to where `to` says: of where it is, the last place, and how many rows the
    /// screen has.
    fn step(&mut self, to: impl FnOnce(usize, usize, usize) -> usize) {
        let rows = self.rows();
        let Some(last) = rows.len().checked_sub(1) else { return };
        let at = to(self.position(&rows), last, self.height.max(1));
        let selected = Some(rows[at].key.clone());
        let place = self.place_mut();
        (place.selected, place.at) = (selected, at);
    }

    /// Where the selection is.
    fn position(&self, rows: &[Row]) -> usize {
        let place = self.place();
        let found = rows.iter().position(|row| Some(&row.key) == place.selected.as_ref());
        found.unwrap_or_else(|| place.at.min(rows.len().saturating_sub(1)))
    }

    fn open(&mut self) {
        let rows = self.rows();
        let Some(row) = rows.get(self.position(&rows)) else { return };
        let key = row.key.clone();
        let node = self.place().node.clone();
        let next = match key.clone() {
            Key::Topic(topic) => Place { node, topic: Some(topic), ..Place::new(Page::Channels) },
            Key::Channel(topic, channel) => Place {
                node,
                topic: Some(topic),
                channel: Some(channel),
                ..Place::new(Page::Clients)
            },
            Key::Node(node) => Place { node: Some(node), ..Place::new(Page::Topics) },
            Key::Client(..) => return,
        };
        self.place_mut().selected = Some(key);
        self.clients.clear();
        self.places.push(next);
    }

    /// Takes away what narrows the page, then leaves it.
    fn back(&mut self) {
        if !self.place().filter.is_empty() {
            self.place_mut().filter.clear();
        } else if 1 < self.places.len() {
            self.places.pop();
            self.clients.clear();
        }
    }

    fn show(&mut self, page: Page) {
        if self.places.len() != 1 || self.place().page != page {
            self.places = vec![Place::new(page)];
            self.clients.clear();
        }
    }

    /// The rows of the page, filtered and sorted.
    fn rows(&self) -> Vec<Row> {
        let mut rows = self.all_rows();
        let wanted = self.place().filter.to_lowercase();
        rows.retain(|row| row.is_called(&wanted));
        let Sort { column, falling } = self.sort();
        rows.sort_by(|one, two| one.compare(two, column, falling));
        rows
    }

    fn all_rows(&self) -> Vec<Row> {
        let place = self.place();
        match place.page {
            Page::Topics => {
                let totals = self.totals(place.node.as_ref());
                totals.topics.iter().map(|(name, topic)| Row::of_topic(name, topic)).collect()
            }
            Page::Channels => {
                let totals = self.totals(place.node.as_ref());
                let is_among = place.topic.is_none();
                let topics = totals
                    .topics
                    .iter()
                    .filter(|(name, _)| place.topic.as_ref().is_none_or(|wanted| wanted == *name));
                let rows = topics.flat_map(|(topic, counts)| {
                    counts.channels.iter().map(move |(channel, counts)| {
                        Row::of_channel(topic, channel, counts, is_among)
                    })
                });
                rows.collect()
            }
            Page::Clients => {
                let nodes = self.clients.iter().filter(|(node, _)| {
                    place.node.as_ref().is_none_or(|wanted| wanted == *node)
                        && self.nodes.get(node).is_some_and(|node| node.failure.is_none())
                });
                let rows = nodes.flat_map(|(node, clients)| {
                    clients
                        .clients
                        .values()
                        .map(move |client| Row::of_client(node, client, self.now))
                });
                rows.collect()
            }
            Page::Nodes => {
                let rows = self.nodes.iter().map(|(node, state)| match state.current() {
                    Some(Measured { totals, start_time, version, .. }) => {
                        Row::of_node(node, totals, *start_time, version, self.now)
                    }
                    None => Row::of_silent_node(node, silence_of(state)),
                });
                rows.collect()
            }
        }
    }

    /// Who does not answer, or is ill: a line each.
    pub(super) fn troubles(&self) -> Vec<String> {
        let mut lines: Vec<String> =
            self.lookup_failures.iter().map(|failure| format!("nsqlookupd {failure}")).collect();
        for (node, state) in &self.nodes {
            match (&state.failure, &state.measured) {
                (Some(failure), _) => lines.push(failure.to_string()),
                (None, Some(measured)) if !matches!(measured.health.as_str(), "" | "OK") => {
                    lines.push(format!("{node} says {}", measured.health));
                }
                _ => {}
            }
        }
        lines
    }

    /// The page as it is `now`, in seconds since 1970, with as many rows as there is room for.
    pub(super) fn view(&mut self, height: usize, now: i64) -> View {
        (self.height, self.now) = (height, now);
        let all = self.rows();
        let at = self.position(&all);
        let place = self.place();
        // The selected row stays in the middle, but at the ends of the list.
        let first = at.saturating_sub(height / 2).min(all.len().saturating_sub(height));
        let count = all.len();
        let mut rows: Vec<Row> = all.into_iter().skip(first).take(height).collect();
        for row in &mut rows {
            let node = place.node.clone().filter(|_| !matches!(row.key, Key::Node(_)));
            row.trend = self.history.points(&(node, row.key.clone()));
        }
        let nothing = rows.is_empty().then(|| self.nothing());
        View {
            summary: self.summary(),
            path: self.path(),
            columns: columns::of(place.page),
            sort: self.sort(),
            selected: (!rows.is_empty()).then(|| at - first),
            first,
            count,
            rows,
            nothing,
            filter: place.filter.clone(),
            troubles: self.troubles(),
            mode: self.mode,
            is_inside: 1 < self.places.len(),
        }
    }

    fn summary(&self) -> Summary {
        let totals = self.totals(None);
        Summary {
            answering: self.nodes.values().filter(|node| node.current().is_some()).count(),
            nodes: self.nodes.len(),
            topics: totals.topics.len(),
            channels: totals.channels(),
            clients: totals.clients(),
            backlog: totals.backlog(),
            came: totals.rates().map(|rates| rates.came),
            left: totals.rates().map(|rates| rates.left),
        }
    }

    /// Where the user is, from the first page on.
    fn path(&self) -> Vec<String> {
        let place = self.place();
        let mut path = vec![
            match self.places[0].page {
                Page::Topics => "topics",
                Page::Channels => "channels",
                Page::Nodes => "nodes",
                Page::Clients => "clients",
            }
            .to_owned(),
        ];
        path.extend(place.node.as_ref().map(ToString::to_string));
        path.extend(place.topic.clone());
        path.extend(place.channel.clone());
        path
    }

    /// What to say where there is no row: why, and what to do next.
    fn nothing(&self) -> Vec<String> {
        let place = self.place();
        if !place.filter.is_empty() && !self.all_rows().is_empty() {
            let next = match place.page {
                Page::Topics if place.filter.contains('/') => {
                    "2 lists the channels of all topics. Esc takes the filter away."
                }
                _ => "Esc takes the filter away.",
            };
            return vec![
                format!("Nothing here has {:?} in its name.", place.filter),
                next.to_owned(),
            ];
        }
        if !self.is_discovered {
            return self.no_lookup();
        }
        if self.nodes.is_empty() {
            return vec![
                format!("{} knows no nsqd.", address::list(self.sources.addresses())),
                "Start one that registers there: nsqd --lookupd-tcp-address=HOST:4160".to_owned(),
            ];
        }
        let silent = self.nodes.values().all(|node| node.current().is_none());
        if silent && self.nodes.values().any(|node| node.failure.is_none()) {
            return vec!["Asking ...".to_owned()];
        }
        if silent {
            return vec![
                "No nsqd answers.".to_owned(),
                "Check that nsqd runs there, and that this is its HTTP address (port 4151 by default, \
                 not 4150). It is asked again and again."
                    .to_owned(),
            ];
        }
        match (place.page, &place.topic, &place.channel) {
            (Page::Topics, ..) | (Page::Channels, None, _) if self.summary().topics == 0 => vec![
                "There is no topic yet.".to_owned(),
                "The first message makes one: echo hello | admin-cli pub --topic=NAME".to_owned(),
            ],
            (Page::Topics, ..) => vec!["This nsqd has no topic.".to_owned()],
            (Page::Channels, Some(topic), _) => vec![
                format!("{topic} has no channel: its messages wait for the first."),
                format!(
                    "A consumer makes one when it subscribes; to look into it: admin-cli tail \
                     --topic={topic}"
                ),
            ],
            (Page::Channels, None, _) => vec![
                "No topic has a channel: messages wait in the topics.".to_owned(),
                "A consumer makes one when it subscribes.".to_owned(),
            ],
            (Page::Clients, Some(topic), Some(channel)) if !self.clients.is_empty() => vec![
                format!("No consumer is connected to {topic}/{channel}: its messages wait."),
                "Start one, or look whether it can reach nsqd and nsqlookupd.".to_owned(),
            ],
            _ => vec!["Asking ...".to_owned()],
        }
    }

    fn no_lookup(&self) -> Vec<String> {
        if self.lookup_failures.is_empty() {
            return vec!["Asking nsqlookupd ...".to_owned()];
        }
        vec![
            "No nsqlookupd answers.".to_owned(),
            "Check that nsqlookupd runs there, and that this is its HTTP address (port 4161 by default, \
             not 4160). It is asked again and again."
                .to_owned(),
        ]
    }
}

fn silence_of(node: &Node) -> String {
    match &node.failure {
        Some(failure) => match failure.status {
            Some(_) => format!("refuses: {}", failure.reason),
            None => format!("does not answer: {}", failure.reason),
        },
        None => "asking ...".to_owned(),
    }
}

/// All that one screen says.
#[derive(Debug)]
pub(super) struct View {
    pub(super) summary: Summary,
    pub(super) path: Vec<String>,
    pub(super) columns: &'static [Column],
    pub(super) sort: Sort,
    /// Those that there is room for.
    pub(super) rows: Vec<Row>,
    /// Which of `rows`; `None` when there is none.
    pub(super) selected: Option<usize>,
    /// How many rows stand above the first that is shown.
    pub(super) first: usize,
    /// How many rows there are.
    pub(super) count: usize,
    /// What to say in place of rows, a paragraph each.
    pub(super) nothing: Option<Vec<String>>,
    pub(super) filter: String,
    pub(super) troubles: Vec<String>,
    pub(super) mode: Mode,
    /// Whether there is a page to go back to.
    pub(super) is_inside: bool,
}

/// The whole cluster in a line.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Summary {
    pub(super) answering: usize,
    pub(super) nodes: usize,
    pub(super) topics: usize,
    pub(super) channels: usize,
    pub(super) clients: i64,
    pub(super) backlog: i64,
    pub(super) came: Option<f64>,
    pub(super) left: Option<f64>,
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use protocol::stats::{ChannelStats, TopicStats};

    const SECOND: Duration = Duration::from_secs(1);

    fn address(text: &str) -> Address {
        text.parse().unwrap()
    }

    pub(in crate::verbs::top) fn channel(name: &str, depth: i64, messages: u64) -> ChannelStats {
        ChannelStats {
            channel_name: name.into(),
            depth,
            message_count: messages,
            client_count: 1,
            ..ChannelStats::default()
        }
    }

    pub(in crate::verbs::top) fn topic(name: &str, channels: Vec<ChannelStats>) -> TopicStats {
        let message_count = channels.iter().map(|channel| channel.message_count).max().unwrap_or(0);
        TopicStats { topic_name: name.into(), message_count, channels, ..TopicStats::default() }
    }

    pub(in crate::verbs::top) fn stats(topics: Vec<TopicStats>) -> Stats {
        Stats {
            version: "1.3.0".into(),
            health: "OK".into(),
            start_time: 1,
            topics: Some(topics),
            ..Stats::default()
        }
    }

    pub(in crate::verbs::top) fn model_of(nodes: &[&str]) -> Model {
        Model::new(Sources::Brokers(nodes.iter().map(|node| address(node)).collect()))
    }

    /// Has a broker tell something, so many seconds after the start.
    pub(in crate::verbs::top) fn tell(model: &mut Model, node: &str, at: u32, stats: Stats) {
        model.learn(News::Counted { node: address(node), at: at * SECOND, answer: Ok(stats) });
    }

    pub(in crate::verbs::top) fn fail(model: &mut Model, node: &str) {
        let answer = Err(Failure::told(&address(node), "connection refused"));
        model.learn(News::Counted { node: address(node), at: SECOND, answer });
    }

    /// One broker with three topics.
    pub(in crate::verbs::top) fn small() -> Model {
        let mut model = model_of(&["a:1"]);
        let topics = vec![
            topic("alpha", vec![channel("c", 5, 10)]),
            topic("beta", vec![channel("c", 50, 100), channel("d", 7, 100)]),
            topic("gamma", vec![]),
        ];
        tell(&mut model, "a:1", 1, stats(topics));
        model
    }

    fn names(model: &mut Model) -> Vec<String> {
        model.view(100, 0).rows.into_iter().map(|row| row.name).collect()
    }

    fn selected(model: &mut Model) -> String {
        let view = model.view(100, 0);
        view.rows[view.selected.unwrap()].name.clone()
    }

    fn press(model: &mut Model, actions: &[Action]) {
        for &action in actions {
            model.apply(action);
        }
    }

    #[test]
    fn the_largest_backlog_stands_first_until_another_order_is_chosen() {
        let mut model = small();
        assert_eq!(names(&mut model), ["beta", "alpha", "gamma"]);
        press(&mut model, &[Action::Reverse]);
        assert_eq!(names(&mut model), ["gamma", "alpha", "beta"]);
        // The column before the backlog is the name; the trend behind it cannot be sorted by.
        press(&mut model, &[Action::SortPrevious]);
        assert_eq!(names(&mut model), ["alpha", "beta", "gamma"]);
        press(&mut model, &[Action::SortNext, Action::SortNext]);
        let sort = model.view(100, 0).sort;
        assert_eq!((columns::of(Page::Topics)[sort.column].title, sort.falling), ("DEPTH", true));
    }

    #[test]
    fn sorting_goes_around_both_ends() {
        let mut model = small();
        let columns = columns::of(Page::Topics).len();
        press(&mut model, &vec![Action::SortNext; columns - 1]);
        assert_eq!(model.sort(), Sort::first_of(Page::Topics));
        press(&mut model, &vec![Action::SortPrevious; columns - 1]);
        assert_eq!(model.sort(), Sort::first_of(Page::Topics));
    }

    #[test]
    fn a_selected_row_stays_selected_while_rows_move_and_its_place_when_it_goes() {
        let mut model = small();
        press(&mut model, &[Action::Down]);
        assert_eq!(selected(&mut model), "alpha");
        let grown = vec![
            topic("alpha", vec![channel("c", 500, 510)]),
            topic("beta", vec![channel("c", 50, 100)]),
            topic("delta", vec![channel("c", 5, 100)]),
        ];
        tell(&mut model, "a:1", 2, stats(grown));
        assert_eq!(names(&mut model), ["alpha", "beta", "delta"]);
        assert_eq!(selected(&mut model), "alpha");
        press(&mut model, &[Action::Down]);
        let gone = vec![topic("alpha", vec![]), topic("delta", vec![channel("c", 5, 100)])];
        tell(&mut model, "a:1", 3, stats(gone));
        assert_eq!(
            (names(&mut model)[1].as_str(), selected(&mut model).as_str()),
            ("alpha", "alpha")
        );
    }

    #[test]
    fn the_selection_moves_by_rows_by_pages_and_to_the_ends() {
        let mut model = model_of(&["a:1"]);
        let topics = (0..30).map(|n| topic(&format!("t{n:02}"), vec![])).collect();
        tell(&mut model, "a:1", 1, stats(topics));
        let mut go = |actions: &[Action]| {
            press(&mut model, actions);
            let view = model.view(10, 0);
            (view.first, view.rows[view.selected.unwrap()].name.clone())
        };
        assert_eq!(go(&[]), (0, "t00".into()));
        assert_eq!(go(&[Action::Up]), (0, "t00".into()));
        assert_eq!(go(&[Action::Down, Action::Down]), (0, "t02".into()));
        assert_eq!(go(&[Action::PageDown]), (7, "t12".into()));
        assert_eq!(go(&[Action::Last]), (20, "t29".into()));
        assert_eq!(go(&[Action::Down]), (20, "t29".into()));
        assert_eq!(go(&[Action::PageUp]), (14, "t19".into()));
        assert_eq!(go(&[Action::First]), (0, "t00".into()));
    }

    #[test]
    fn a_topic_opens_into_its_channels_and_a_channel_into_its_clients() {
        let mut model = small();
        press(&mut model, &[Action::Open]);
        assert_eq!(names(&mut model), ["c", "d"]);
        assert_eq!(model.view(9, 0).path, ["topics", "beta"]);
        assert_eq!(model.open_channel(), None);
        press(&mut model, &[Action::Down, Action::Open]);
        let path = ChannelPath { topic: "beta".into(), channel: "d".into() };
        assert_eq!(model.open_channel(), Some(path.clone()));
        assert_eq!(model.view(9, 0).nothing.unwrap(), ["Asking ..."]);
        let client = ClientStats {
            client_id: "worker".into(),
            remote_address: "h:9".into(),
            connect_ts: 40,
            ..ClientStats::default()
        };
        let told = |of: ChannelPath| News::Clients {
            node: address("a:1"),
            at: SECOND,
            of,
            clients: vec![client.clone()],
        };
        let other = ChannelPath { channel: "c".into(), ..path.clone() };
        model.learn(told(other));
        assert!(names(&mut model).is_empty(), "it was told of another channel");
        model.learn(told(path));
        assert_eq!(names(&mut model), ["worker"]);
        press(&mut model, &[Action::Open, Action::Back]);
        assert_eq!(selected(&mut model), "d");
        press(&mut model, &[Action::Back]);
        assert_eq!(selected(&mut model), "beta");
        assert_eq!(model.apply(Action::Back), Outcome::Stay);
        assert_eq!(model.view(9, 0).path, ["topics"]);
    }

    #[test]
    fn a_node_opens_into_what_it_has() {
        let mut model = model_of(&["a:1", "b:1"]);
        tell(&mut model, "a:1", 1, stats(vec![topic("t", vec![channel("c", 1, 1)])]));
        let on_b = vec![topic("t", vec![channel("c", 20, 30)]), topic("u", vec![])];
        tell(&mut model, "b:1", 1, stats(on_b));
        press(&mut model, &[Action::Show(Page::Nodes)]);
        assert_eq!(names(&mut model), ["a:1", "b:1"]);
        press(&mut model, &[Action::Open]);
        assert_eq!(names(&mut model), ["t"]);
        let view = model.view(9, 0);
        assert_eq!(view.path, ["nodes", "a:1"]);
        assert_eq!(view.rows[0].values[1], columns::Value::Count(1));
        press(&mut model, &[Action::Back, Action::Down, Action::Open]);
        assert_eq!(names(&mut model), ["t", "u"]);
        press(&mut model, &[Action::NextPage]);
        assert_eq!(model.view(9, 0).path, ["topics"]);
        assert_eq!(model.view(9, 0).rows[0].values[1], columns::Value::Count(21));
    }

    #[test]
    fn the_page_of_channels_has_those_of_all_topics() {
        let mut model = small();
        press(&mut model, &[Action::NextPage]);
        assert_eq!(names(&mut model), ["beta/c", "beta/d", "alpha/c"]);
        press(&mut model, &[Action::NextPage]);
        assert_eq!(model.view(9, 0).path, ["nodes"]);
    }

    #[test]
    fn a_filter_shows_names_with_its_letters_and_escape_takes_it_away() {
        let mut model = small();
        press(&mut model, &[Action::BeginFilter, Action::Type('M'), Action::Type('m')]);
        assert_eq!((names(&mut model), model.mode()), (vec!["gamma".to_owned()], Mode::Filtering));
        press(&mut model, &[Action::Erase, Action::Erase, Action::Type('e'), Action::KeepFilter]);
        assert_eq!((names(&mut model), model.mode()), (vec!["beta".to_owned()], Mode::Browsing));
        press(&mut model, &[Action::Back]);
        assert_eq!(names(&mut model).len(), 3);
        press(&mut model, &[Action::BeginFilter, Action::Type('x')]);
        let nothing = model.view(9, 0).nothing.unwrap();
        assert_eq!(nothing[0], "Nothing here has \"x\" in its name.");
        press(&mut model, &[Action::DropFilter]);
        assert_eq!((names(&mut model).len(), model.mode()), (3, Mode::Browsing));
    }

    #[test]
    fn a_filter_may_be_a_topic_and_a_channel_with_a_slash_between() {
        let type_all = |model: &mut Model, text: &str| {
            press(model, &[Action::BeginFilter]);
            press(model, &text.chars().map(Action::Type).collect::<Vec<_>>());
        };
        let mut model = small();
        press(&mut model, &[Action::Show(Page::Channels)]);
        type_all(&mut model, "Beta/D");
        assert_eq!(names(&mut model), ["beta/d"]);
        // The channels of one topic stand there without it.
        let mut model = small();
        type_all(&mut model, "beta");
        press(&mut model, &[Action::KeepFilter, Action::Open]);
        type_all(&mut model, "beta/d");
        assert_eq!(names(&mut model), ["d"]);
        // Topics have none in their names; where there are some is said.
        let mut model = small();
        type_all(&mut model, "beta/d");
        let nothing = model.view(9, 0).nothing.unwrap();
        assert_eq!(nothing[1], "2 lists the channels of all topics. Esc takes the filter away.");
    }

    #[test]
    fn a_node_that_fails_is_named_and_left_out_and_the_rest_still_shows() {
        let mut model = model_of(&["a:1", "b:1"]);
        tell(&mut model, "a:1", 1, stats(vec![topic("t", vec![channel("c", 1, 1)])]));
        tell(&mut model, "b:1", 1, stats(vec![topic("t", vec![channel("c", 20, 30)])]));
        assert_eq!(model.view(9, 0).summary.backlog, 21);
        fail(&mut model, "b:1");
        let view = model.view(9, 0);
        assert_eq!(view.troubles, ["b:1 does not answer: connection refused"]);
        assert_eq!((view.summary.backlog, view.summary.answering, view.summary.nodes), (1, 1, 2));
        press(&mut model, &[Action::Show(Page::Nodes)]);
        let view = model.view(9, 0);
        let trouble = view.rows[1].trouble.as_deref();
        assert_eq!(trouble, Some("does not answer: connection refused"));
        tell(&mut model, "b:1", 3, stats(vec![topic("t", vec![channel("c", 20, 30)])]));
        assert!(model.troubles().is_empty());
    }

    #[test]
    fn a_node_that_is_ill_says_so_and_is_counted() {
        let mut model = model_of(&["a:1"]);
        let ill = Stats { health: "NOK - no space".into(), ..stats(vec![topic("t", vec![])]) };
        tell(&mut model, "a:1", 1, ill);
        let view = model.view(9, 0);
        assert_eq!(view.troubles, ["a:1 says NOK - no space"]);
        assert_eq!(view.summary.answering, 1);
    }

    #[test]
    fn nodes_come_and_go_as_discovery_says() {
        let mut model = Model::new(Sources::Lookups(vec![address("l:1")]));
        assert_eq!(model.view(9, 0).nothing.unwrap(), ["Asking nsqlookupd ..."]);
        let failures = vec![Failure::told(&address("l:1"), "connection refused")];
        model.learn(News::Nodes { found: None, failures });
        let view = model.view(9, 0);
        assert_eq!(view.nothing.unwrap()[0], "No nsqlookupd answers.");
        assert_eq!(view.troubles, ["nsqlookupd l:1 does not answer: connection refused"]);
        let found = |nodes: &[&str]| News::Nodes {
            found: Some(nodes.iter().map(|node| address(node)).collect()),
            failures: Vec::new(),
        };
        model.learn(found(&[]));
        assert_eq!(model.view(9, 0).nothing.unwrap()[0], "l:1 knows no nsqd.");
        model.learn(found(&["a:1", "b:1"]));
        tell(&mut model, "a:1", 1, stats(vec![topic("t", vec![])]));
        assert_eq!(model.view(9, 0).summary.nodes, 2);
        model.learn(found(&["b:1"]));
        tell(&mut model, "a:1", 2, stats(vec![topic("t", vec![])]));
        assert_eq!((model.view(9, 0).summary.nodes, model.view(9, 0).count), (1, 0));
    }

    #[test]
    fn empty_pages_say_what_to_do_next() {
        let mut model = model_of(&["a:1"]);
        assert_eq!(model.view(9, 0).nothing.unwrap(), ["Asking ..."]);
        fail(&mut model, "a:1");
        assert_eq!(model.view(9, 0).nothing.unwrap()[0], "No nsqd answers.");
        tell(&mut model, "a:1", 1, stats(vec![]));
        let nothing = model.view(9, 0).nothing.unwrap();
        assert!(nothing[1].contains("admin-cli pub --topic=NAME"), "{nothing:?}");
        tell(&mut model, "a:1", 2, stats(vec![topic("t", vec![])]));
        press(&mut model, &[Action::Open]);
        let nothing = model.view(9, 0).nothing.unwrap();
        assert!(nothing[1].contains("admin-cli tail --topic=t"), "{nothing:?}");
        tell(&mut model, "a:1", 3, stats(vec![topic("t", vec![channel("c", 1, 1)])]));
        press(&mut model, &[Action::Open]);
        let of = model.open_channel().unwrap();
        model.learn(News::Clients { node: address("a:1"), at: SECOND, of, clients: vec![] });
        let nothing = model.view(9, 0).nothing.unwrap();
        assert_eq!(nothing[0], "No consumer is connected to t/c: its messages wait.");
    }

    #[test]
    fn a_trend_has_a_point_for_each_interval() {
        let mut model = small();
        model.record();
        tell(&mut model, "a:1", 2, stats(vec![topic("beta", vec![channel("c", 9, 100)])]));
        model.record();
        let view = model.view(9, 0);
        assert_eq!(view.rows[0].trend, [57, 9]);
        press(&mut model, &[Action::Open]);
        assert_eq!(model.view(9, 0).rows[0].trend, [50, 9]);
        press(&mut model, &[Action::Show(Page::Nodes)]);
        assert_eq!(model.view(9, 0).rows[0].trend, [62, 9]);
        // Of one node alone, points are taken while it is looked at.
        press(&mut model, &[Action::Open]);
        assert!(model.view(9, 0).rows[0].trend.is_empty());
        model.record();
        assert_eq!(model.view(9, 0).rows[0].trend, [9]);
    }

    #[test]
    fn what_is_paused_is_said_to_be() {
        let mut model = model_of(&["a:1"]);
        let mut paused = topic("t", vec![]);
        paused.paused = true;
        tell(&mut model, "a:1", 1, stats(vec![paused]));
        assert!(model.view(9, 0).rows[0].paused);
    }
}
