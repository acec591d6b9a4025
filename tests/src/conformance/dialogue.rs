//! One case, run against one broker: what was seen at each of its steps.
//!
//! Knows what the lines of a case do. What should be seen it does not know, and compares nothing.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use rustls::ALL_VERSIONS;
use serde_json::Value;

use crate::client::{MAGIC, with_body};
use crate::conformance::bytes::{Names, sent};
use crate::conformance::case::{Case, Step};
use crate::conformance::mask::masked_answer;
use crate::conformance::wire::{Layer, Speech, Wire};
use crate::http;
use crate::layers::Certificates;
use crate::patience::SOON;

/// What was seen: for each step that sees or counts, its lines; then, for each connection on which
/// something more was to be seen at the end, its name and the lines.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Transcript {
    /// One entry for each [`Step::See`] and [`Step::Count`].
    pub seen: Vec<Vec<String>>,
    /// What nobody asked for.
    pub more: Vec<(String, Vec<String>)>,
}

/// How long a frame is waited for.
const PATIENCE: Duration = SOON;

/// A command and a request that end a case: whoever answers them is alive, and has nothing else to
/// say.
const LAST_TOPIC: &str = "end-of-case";

/// Runs a case against the broker that listens on these ports.
#[must_use]
pub fn run(
    case: &Case,
    certificates: &Certificates,
    tcp: SocketAddr,
    http: SocketAddr,
) -> Transcript {
    let mut dialogue = Dialogue {
        case,
        certificates,
        tcp,
        http,
        wires: BTreeMap::new(),
        unsent: None,
        mark: Instant::now(),
        seen: Vec::new(),
        odd: Vec::new(),
    };
    for step in &case.steps {
        dialogue.step(step);
    }
    dialogue.end()
}

struct Dialogue<'a> {
    case: &'a Case,
    certificates: &'a Certificates,
    tcp: SocketAddr,
    http: SocketAddr,
    wires: BTreeMap<String, Wire>,
    /// Bytes that wait for more of them, as lines of one connection go out in one piece.
    unsent: Option<(String, Vec<u8>)>,
    mark: Instant,
    seen: Vec<Vec<String>>,
    /// Times and numbers that were not as the case demands.
    odd: Vec<(String, Vec<String>)>,
}

impl Dialogue<'_> {
    fn step(&mut self, step: &Step) {
        match step {
            Step::Do(line) if line.is_empty() || line.starts_with('#') => {}
            Step::Do(line) => self.act(line),
            Step::Count { question, .. } => {
                self.flush();
                let line = self.counted(question);
                self.seen.push(vec![line]);
            }
            Step::See { on, unordered, quiet_ms, .. } => {
                self.flush();
                let limit = quiet_ms.map_or(PATIENCE, Duration::from_millis);
                let mut lines = Vec::new();
                for _ in 0..unordered.unwrap_or(1) {
                    lines.extend(self.see(on, limit));
                }
                if unordered.is_some() {
                    lines.sort();
                }
                if let Some(time) = quiet_ms.filter(|_| lines == ["nothing"]) {
                    lines = vec![format!("nothing {time}ms")];
                }
                self.seen.push(lines);
            }
        }
    }

    fn act(&mut self, line: &str) {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        if let Some(on) = word.strip_suffix('>') {
            let bytes = self.bytes(rest);
            return self.add(on, bytes);
        }
        self.flush();
        match word {
            "pause" => thread::sleep(milliseconds(rest)),
            "mark" => self.mark = Instant::now(),
            "elapsed" => self.elapsed(rest),
            "wait" => self.wait(rest),
            on => self.connection(on, rest),
        }
    }

    /// `A raw`, `A half-close`, `A leave`, `A drip ...`, `H GET /ping`.
    fn connection(&mut self, on: &str, line: &str) {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "raw" => drop(self.wire_with(on, b"")),
            "half-close" => self.wire(on).half_close(),
            "layer" => {
                let layer = match rest {
                    "snappy" => Layer::Snappy,
                    "deflate" => Layer::Deflate,
                    "tls" => Layer::Tls(Box::new(self.certificates.client(None, ALL_VERSIONS))),
                    other => panic!("{}: no layer {other}", self.case.name),
                };
                self.wire(on).begin(layer);
            }
            "leave" => drop(self.wires.remove(on)),
            "drip" => {
                for byte in self.bytes(rest) {
                    self.wire(on).send(&[byte]);
                    thread::sleep(Duration::from_millis(1));
                }
            }
            method => {
                let known = method.bytes().all(|byte| byte.is_ascii_uppercase());
                assert!(known && !method.is_empty(), "{}: {on} {line}", self.case.name);
                let request = self.request(method, rest);
                self.wire(on).send(&request);
            }
        }
    }

    fn request(&self, method: &str, rest: &str) -> Vec<u8> {
        let (target, body) = target_and_body(rest);
        let mut bytes = format!("{method} ").into_bytes();
        bytes.extend(self.bytes(target));
        bytes.extend_from_slice(b" HTTP/1.1\r\nHost: nsq\r\n");
        let body = self.bytes(body);
        if !body.is_empty() || matches!(method, "POST" | "PUT" | "PATCH") {
            bytes.extend(format!("Content-Length: {}\r\n", body.len()).into_bytes());
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend(body);
        bytes
    }

    fn bytes(&self, text: &str) -> Vec<u8> {
        let id = |which: &str| {
            let (on, number) = which.split_at(1);
            let number: usize = number.parse().expect("a message has a number");
            let ids = self.wires.get(on).map(|wire| &wire.ids);
            // A broker that sent no message is told a foreign id, and shows what it makes of it.
            let found = ids.and_then(|ids| ids.get(number - 1)).cloned();
            found.unwrap_or_else(|| "0".repeat(16))
        };
        sent(text, &Names { topic: &self.case.name, id: &id })
    }

    fn add(&mut self, on: &str, bytes: Vec<u8>) {
        match &mut self.unsent {
            Some((last, unsent)) if last == on => unsent.extend(bytes),
            _ => {
                self.flush();
                self.unsent = Some((on.to_owned(), bytes));
            }
        }
    }

    fn flush(&mut self) {
        if let Some((on, bytes)) = self.unsent.take() {
            self.wire(&on).send(&bytes);
        }
    }

    fn wire(&mut self, on: &str) -> &mut Wire {
        self.wire_with(on, MAGIC)
    }

    /// The connection of this name; one to the TCP port begins with `greeting` when it is new.
    fn wire_with(&mut self, on: &str, greeting: &[u8]) -> &mut Wire {
        let (tcp, http) = (self.tcp, self.http);
        self.wires.entry(on.to_owned()).or_insert_with(|| {
            if on.starts_with('H') {
                return Wire::open(http, Speech::Http);
            }
            let mut wire = Wire::open(tcp, Speech::Frames);
            wire.send(greeting);
            wire
        })
    }

    fn see(&mut self, on: &str, limit: Duration) -> Vec<String> {
        let lines = self.wire(on).see(limit);
        let lines = masked_answer(&lines, &self.case.name, self.case.differs.is_some());
        lines.iter().map(|line| self.named(line)).collect()
    }

    /// A line with the ids of messages named as a case names them.
    fn named(&self, line: &str) -> String {
        let mut line = line.to_owned();
        for (on, wire) in &self.wires {
            for (index, id) in wire.ids.iter().enumerate() {
                line = line.replace(id.as_str(), &format!("$(id {on}{})", index + 1));
            }
        }
        line
    }

    /// `900`: at least so many milliseconds since the last mark.
    fn elapsed(&mut self, least: &str) {
        let elapsed = self.mark.elapsed();
        if elapsed < milliseconds(least) {
            let said = format!("{elapsed:?}, and not {least} ms");
            self.odd.push(("elapsed".to_owned(), vec![said]));
        }
    }

    /// `$t/c depth 2`: until a number has this value; `$t/c absent`: until it is gone.
    fn wait(&mut self, rest: &str) {
        let words: Vec<_> = rest.split(' ').collect();
        let end = Instant::now() + PATIENCE;
        loop {
            let found = self.found(words[0]);
            let is_there = match words[1..] {
                ["absent"] => found.is_none(),
                [key, value] => {
                    let found = found.as_ref().map(|found| found[key].to_string());
                    found.as_deref() == Some(value)
                }
                _ => panic!("{}: wait {rest}", self.case.name),
            };
            if is_there {
                return;
            }
            if end < Instant::now() {
                let said = format!("{rest}, not within {PATIENCE:?}: {found:?}");
                self.odd.push(("wait".to_owned(), vec![said]));
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// `$t/c depth message_count`: these numbers, from `/stats`.
    fn counted(&self, question: &str) -> String {
        let (place, keys) = question.split_once(' ').expect("a place and keys");
        let Some(found) = self.found(place) else { return "absent".into() };
        let values = keys.split(' ').map(|key| format!("{key} {}", found[key]));
        values.collect::<Vec<_>>().join(", ")
    }

    /// A topic, or a channel, as `/stats` shows it.
    fn found(&self, place: &str) -> Option<Value> {
        let place = place.replace("$t", &self.case.name);
        let (topic, channel) = place.split_once('/').unwrap_or((&place, ""));
        let escaped = topic.replace('#', "%23");
        let stats = http::get(self.http, &format!("/stats?format=json&topic={escaped}")).json();
        let topics = stats["topics"].as_array()?.clone();
        let topic = topics.into_iter().find(|found| found["topic_name"] == topic)?;
        if channel.is_empty() {
            return Some(topic);
        }
        let channels = topic["channels"].as_array()?.clone();
        channels.into_iter().find(|found| found["channel_name"] == channel)
    }

    /// Looks on every connection for what nobody asked for, and whether it is still served.
    fn end(mut self) -> Transcript {
        self.flush();
        let names: Vec<_> = self.wires.keys().cloned().collect();
        let mut more = std::mem::take(&mut self.odd);
        for on in names {
            let is_http = on.starts_with('H');
            let (last, answer) = if is_http {
                (b"GET /end-of-case HTTP/1.1\r\nHost: nsq\r\n\r\n".to_vec(), "HTTP/1.1 404 ")
            } else {
                (with_body(&format!("PUB {LAST_TOPIC}"), b"m"), "response OK")
            };
            self.wire(&on).send(&last);
            // A connection may have some more to say, but not for ever.
            for _ in 0..20 {
                let lines = self.see(&on, PATIENCE);
                if lines[0].starts_with(answer) {
                    break;
                }
                let is_over = lines == ["closed"];
                let was_told = is_over && self.told(&on);
                if !was_told {
                    more.push((on.clone(), lines));
                }
                if is_over {
                    break;
                }
            }
        }
        Transcript { seen: self.seen, more }
    }

    /// True when the end of this connection was the last that was seen on it.
    fn told(&self, on: &str) -> bool {
        let steps = self.case.steps.iter().filter_map(|step| match step {
            Step::See { on, .. } => Some(on.as_str()),
            Step::Count { .. } => Some(""),
            Step::Do(_) => None,
        });
        let last = steps.zip(&self.seen).filter(|(name, _)| *name == on).last();
        last.is_some_and(|(_, lines)| *lines == ["closed"])
    }
}

/// Cut at the first blank that stands in no `$(...)`.
fn target_and_body(text: &str) -> (&str, &str) {
    let mut depth = 0_usize;
    for (at, letter) in text.char_indices() {
        match letter {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ' ' if depth == 0 => return (&text[..at], &text[at + 1..]),
            _ => {}
        }
    }
    (text, "")
}

fn milliseconds(text: &str) -> Duration {
    Duration::from_millis(text.trim_end_matches("ms").parse().expect("milliseconds"))
}
