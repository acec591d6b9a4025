//! What has happened since the start, and how Prometheus reads it.
//!
//! Knows: counters, and the text format of Prometheus. Does not know: what the registry holds, who
//! waits, or what time it is; these come as arguments when the text is made.

use std::collections::BTreeMap;
use std::time::Duration;

use protocol::discovery::Command;
use protocol::exposition::Text;
use startup::debug::resident_bytes;
use startup::version;

use crate::registry::Counts;

/// Upper bounds of the classes of lookups by their time, in microseconds.
const LOOKUP_MICROSECONDS: [u32; 10] = [10, 25, 50, 100, 250, 500, 1_000, 2_500, 10_000, 100_000];

/// The counters. One per process.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    producer_connections: usize,
    http_connections: usize,
    pings: u64,
    identifies: u64,
    registers: u64,
    unregisters: u64,
    refusals: u64,
    /// By route and status.
    answers: BTreeMap<(&'static str, u16), u64>,
    /// By class; the last is for those that took longer than every bound.
    lookups: [u64; LOOKUP_MICROSECONDS.len() + 1],
    lookup_time: Duration,
}

impl Metrics {
    /// A connection on the TCP side has named its protocol.
    pub(crate) fn producer_came(&mut self) {
        self.producer_connections += 1;
    }

    /// It has ended.
    pub(crate) fn producer_left(&mut self) {
        self.producer_connections -= 1;
    }

    /// An HTTP connection was accepted.
    pub(crate) fn asker_came(&mut self) {
        self.http_connections += 1;
    }

    /// It has ended.
    pub(crate) fn asker_left(&mut self) {
        self.http_connections -= 1;
    }

    /// A command is obeyed.
    pub(crate) fn command(&mut self, command: &Command) {
        let counter = match command {
            Command::Ping => &mut self.pings,
            Command::Identify(_) => &mut self.identifies,
            Command::Register(..) => &mut self.registers,
            Command::Unregister(..) => &mut self.unregisters,
        };
        *counter += 1;
    }

    /// A command is refused.
    pub(crate) fn refused_command(&mut self) {
        self.refusals += 1;
    }

    /// A request was answered with this status.
    pub(crate) fn answered(&mut self, route: &'static str, status: u16) {
        *self.answers.entry((route, status)).or_default() += 1;
    }

    /// A lookup that did not wait was answered.
    pub(crate) fn looked_up(&mut self, took: Duration) {
        let class = LOOKUP_MICROSECONDS
            .iter()
            .position(|&bound| took <= Duration::from_micros(bound.into()))
            .unwrap_or(LOOKUP_MICROSECONDS.len());
        self.lookups[class] += 1;
        self.lookup_time += took;
    }

    /// Everything in Prometheus' text format. `start` is when the process began, since 1970.
    pub(crate) fn to_text(&self, counts: Counts, waiting: usize, start: Duration) -> String {
        let mut text = Text::default();
        text.head("nsqlookupd_info", "gauge", "Which program this is.");
        let (nsq, ours) = (version::NSQ_VERSION, version::RINGNSQ_VERSION);
        text.sample("nsqlookupd_info", &[("version", &nsq), ("ringnsq", &ours)], 1);
        for (name, help, value) in [
            ("nsqlookupd_topics", "Names of topics.", counts.topics),
            ("nsqlookupd_channels", "Names of channels, over all topics.", counts.channels),
            (
                "nsqlookupd_registrations",
                "Topics of nsqds: each topic once for each nsqd that has it.",
                counts.registrations,
            ),
            ("nsqlookupd_tcp_connections", "Connections of nsqds.", self.producer_connections),
            ("nsqlookupd_http_connections", "HTTP connections.", self.http_connections),
            ("nsqlookupd_waiting_lookups", "Lookups that wait for news.", waiting),
        ] {
            text.head(name, "gauge", help);
            text.sample(name, &[], value);
        }
        let name = "nsqlookupd_producers";
        text.head(name, "gauge", "Registered nsqds; an inactive one has not pinged for too long.");
        text.sample(name, &[("state", &"active")], counts.active);
        text.sample(name, &[("state", &"inactive")], counts.inactive);

        let name = "nsqlookupd_tcp_commands_total";
        text.head(name, "counter", "Commands of nsqds.");
        for (command, value) in [
            ("identify", self.identifies),
            ("ping", self.pings),
            ("register", self.registers),
            ("unregister", self.unregisters),
        ] {
            text.sample(name, &[("command", &command)], value);
        }
        let name = "nsqlookupd_tcp_refusals_total";
        text.head(name, "counter", "Connections of nsqds that ended with an error answer.");
        text.sample(name, &[], self.refusals);
        let name = "nsqlookupd_http_requests_total";
        text.head(name, "counter", "Answered HTTP requests.");
        for ((route, status), value) in &self.answers {
            text.sample(name, &[("path", route), ("code", status)], value);
        }
        self.lookups_to_text(&mut text);

        let name = "process_start_time_seconds";
        text.head(name, "gauge", "When the process began, since 1970.");
        text.sample(name, &[], start.as_secs_f64());
        if let Some(bytes) = resident_bytes() {
            let name = "process_resident_memory_bytes";
            text.head(name, "gauge", "Memory in RAM.");
            text.sample(name, &[], bytes);
        }
        text.into_string()
    }

    fn lookups_to_text(&self, text: &mut Text) {
        let classes = LOOKUP_MICROSECONDS.iter().zip(self.lookups);
        text.histogram(
            "nsqlookupd_lookup_duration_seconds",
            "Time to answer a lookup that did not wait.",
            classes.map(|(&bound, count)| (f64::from(bound) / 1e6, count)),
            self.lookups[LOOKUP_MICROSECONDS.len()],
            self.lookup_time.as_secs_f64(),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_prometheus_own_with_every_figure_in_its_place() {
        let mut metrics = Metrics::default();
        metrics.producer_came();
        metrics.asker_came();
        metrics.asker_came();
        metrics.asker_left();
        metrics.command(&Command::Ping);
        metrics.command(&Command::Ping);
        metrics.refused_command();
        metrics.answered("/lookup", 404);
        metrics.answered("/lookup", 200);
        metrics.answered("/lookup", 200);
        for microseconds in [10, 11, 2_000_000] {
            metrics.looked_up(Duration::from_micros(microseconds));
        }
        let counts = Counts { topics: 3, channels: 4, active: 5, inactive: 6, registrations: 7 };
        let text = metrics.to_text(counts, 8, Duration::from_millis(1_500));
        for lines in [
            "# HELP nsqlookupd_topics Names of topics.\n# TYPE nsqlookupd_topics gauge\n\
             nsqlookupd_topics 3\n",
            "nsqlookupd_info{version=\"1.3.0\",ringnsq=\"",
            "nsqlookupd_channels 4\n",
            "nsqlookupd_registrations 7\n",
            "nsqlookupd_tcp_connections 1\n",
            "nsqlookupd_http_connections 1\n",
            "nsqlookupd_waiting_lookups 8\n",
            "nsqlookupd_producers{state=\"active\"} 5\nnsqlookupd_producers{state=\"inactive\"} 6\n",
            "nsqlookupd_tcp_commands_total{command=\"ping\"} 2\n",
            "nsqlookupd_tcp_commands_total{command=\"register\"} 0\n",
            "nsqlookupd_tcp_refusals_total 1\n",
            "nsqlookupd_http_requests_total{path=\"/lookup\",code=\"200\"} 2\n\
             nsqlookupd_http_requests_total{path=\"/lookup\",code=\"404\"} 1\n",
            "# TYPE nsqlookupd_lookup_duration_seconds histogram\n\
             nsqlookupd_lookup_duration_seconds_bucket{le=\"0.00001\"} 1\n\
             nsqlookupd_lookup_duration_seconds_bucket{le=\"0.000025\"} 2\n",
            "_bucket{le=\"0.1\"} 2\nnsqlookupd_lookup_duration_seconds_bucket{le=\"+Inf\"} 3\n\
             nsqlookupd_lookup_duration_seconds_sum 2.000021\n\
             nsqlookupd_lookup_duration_seconds_count 3\n",
            "process_start_time_seconds 1.5\n",
            "process_resident_memory_bytes ",
        ] {
            assert!(text.contains(lines), "{lines} is not in\n{text}");
        }
        let names = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        let mut names: Vec<_> = names.filter_map(|line| line.split(' ').next()).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count, "every figure has one place");
    }
}
