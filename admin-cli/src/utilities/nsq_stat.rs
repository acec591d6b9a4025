//! `nsq_stat`: the counters of one channel, summed over its nsqds, a line an interval.
//!
//! Knows: NSQ's columns, and which failures end it: all of them, also when only one of several
//! processes fails. Does not know: who has the topic ([`crate::cluster`]).

use std::fmt::{Display, Write};
use std::time::Duration;

use clap::{ArgAction, Parser};
use protocol::stats::ChannelStats;
use startup::{duration, flags};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::sleep;

use super::{Failure, print_version};
use crate::address::Address;
use crate::cluster::answer::in_nsq_words;
use crate::cluster::{Asked, Cluster, Http, Patience, Sources, StatsFilter};
use crate::terminal::Output;

/// After so many lines the heading comes again.
const LINES_BELOW_A_HEADING: u64 = 25;

/// The flags of `nsq_stat`.
#[derive(Debug, Parser)]
#[command(name = "nsq_stat")]
pub(crate) struct Flags {
    /// print version
    #[arg(long, action = ArgAction::Set, value_parser = flags::boolean, default_value = "false")]
    version: bool,
    /// NSQ topic
    #[arg(long, default_value = "")]
    topic: String,
    /// NSQ channel
    #[arg(long, default_value = "")]
    channel: String,
    /// duration of time between polling/printing output
    #[arg(long, value_parser = any_duration, default_value = "2s")]
    interval: Duration,
    /// number of reports
    #[arg(long, value_parser = Count::parse)]
    count: Option<Count>,
    /// nsqd HTTP address (may be given multiple times)
    #[arg(long)]
    nsqd_http_address: Vec<String>,
    /// lookupd HTTP address (may be given multiple times)
    #[arg(long)]
    lookupd_http_address: Vec<String>,
    /// timeout for HTTP connect
    #[arg(long, value_parser = any_duration, default_value = "2s")]
    http_client_connect_timeout: Duration,
    /// timeout for HTTP request
    #[arg(long, value_parser = any_duration, default_value = "5s")]
    http_client_request_timeout: Duration,
}

/// A duration, of which the negative ones are refused later, in NSQ's words: they are zero.
fn any_duration(text: &str) -> Result<Duration, flags::InvalidValue> {
    match text.strip_prefix('-') {
        Some(negative) => duration::parse(negative).map(|_| Duration::ZERO),
        None => duration::parse(text),
    }
}

/// How many lines are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Count(i32);

impl Count {
    fn parse(text: &str) -> Result<Self, String> {
        let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
        let is_number = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
        match (is_number, text.parse()) {
            (true, Ok(count)) => Ok(Self(count)),
            (true, Err(_)) => {
                Err(format!("strconv.ParseInt: parsing {text:?}: value out of range"))
            }
            (false, _) => Err(format!("strconv.ParseInt: parsing {text:?}: invalid syntax")),
        }
    }
}

impl Flags {
    /// What NSQ's program finds wrong with them, in its order.
    fn check(&self) -> Result<(), String> {
        let wrong = |text: &str| Err(text.to_owned());
        if self.topic.is_empty() || self.channel.is_empty() {
            return wrong("--topic and --channel are required");
        }
        for (name, duration) in [
            ("interval", self.interval),
            ("http-client-connect-timeout", self.http_client_connect_timeout),
            ("http-client-request-timeout", self.http_client_request_timeout),
        ] {
            if duration.is_zero() {
                return Err(format!("--{name} should be positive"));
            }
        }
        if self.count.is_some_and(|count| count.0 <= 0) {
            return wrong("--count should be positive");
        }
        match (self.nsqd_http_address.is_empty(), self.lookupd_http_address.is_empty()) {
            (true, true) => {
                return wrong("--nsqd-http-address or --lookupd-http-address required");
            }
            (false, false) => {
                return wrong("use --nsqd-http-address or --lookupd-http-address not both");
            }
            _ => {}
        }
        for (name, addresses) in
            [("nsqd", &self.nsqd_http_address), ("lookupd", &self.lookupd_http_address)]
        {
            if addresses.iter().any(|address| address.starts_with("http")) {
                return Err(format!(
                    "--{name}-http-address error - address should not contain scheme"
                ));
            }
        }
        Ok(())
    }

    fn sources(&self) -> Sources {
        let addresses =
            |texts: &[String]| texts.iter().map(|text| Address::as_given(text)).collect();
        if self.lookupd_http_address.is_empty() {
            Sources::Brokers(addresses(&self.nsqd_http_address))
        } else {
            Sources::Lookups(addresses(&self.lookupd_http_address))
        }
    }
}

/// Prints lines until there were enough, something fails, or a signal ends it.
pub(crate) async fn run(flags: Flags) -> Result<(), Failure> {
    if flags.version {
        print_version("nsq_stat");
        return Ok(());
    }
    flags.check().map_err(Failure::fatal)?;
    let patience = Patience {
        connect: flags.http_client_connect_timeout,
        request: flags.http_client_request_timeout,
    };
    let cluster = Cluster::new(Http::new(patience)?, flags.sources());
    let listen = |kind| {
        signal(kind).map_err(|error| Failure::fatal(format!("cannot hear signals: {error}")))
    };
    let mut hangup = listen(SignalKind::hangup())?;
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut terminate = listen(SignalKind::terminate())?;
    tokio::select! {
        outcome = print(&flags, &cluster) => outcome,
        _ = hangup.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
    }
}

async fn print(flags: &Flags, cluster: &Cluster) -> Result<(), Failure> {
    let mut output = Output::open();
    let mut previous: Option<Sums> = None;
    let mut readings = 0;
    // The first reading makes no line.
    let enough = flags.count.map(|count| u64::from(count.0.unsigned_abs()) + 1);
    while enough != Some(readings) {
        let current = read(flags, cluster).await?;
        let mut text = String::new();
        if readings % LINES_BELOW_A_HEADING == 0 {
            push_heading(&mut text);
        }
        if let Some(previous) = &previous {
            push_line(&mut text, previous, &current, flags.interval);
        }
        output.write(text.as_bytes()).await?;
        previous = Some(current);
        readings += 1;
        sleep(flags.interval).await;
    }
    Ok(())
}

/// The channel's counters over all nsqds.
async fn read(flags: &Flags, cluster: &Cluster) -> Result<Sums, Failure> {
    let producers = cluster.producers(&flags.topic).await;
    let producers = all(producers, "failed to get topic producers")?;
    let nodes: Vec<Address> = producers.into_iter().map(|node| node.address).collect();
    let filter = StatsFilter {
        channel: Some(&flags.channel),
        // Asked as NSQ's program asks, so that it shows the same address when it fails.
        with_memory: true,
        ..StatsFilter::of_topic(&flags.topic)
    };
    let stats = all(cluster.stats(&nodes, &filter).await, "failed to get nsqd stats")?;
    let topics = stats.into_iter().flat_map(|node| node.stats.topics.unwrap_or_default());
    let channels = topics
        .filter(|topic| topic.topic_name == flags.topic)
        .flat_map(|topic| topic.channels)
        .filter(|channel| channel.channel_name == flags.channel);
    Sums::of(channels).ok_or_else(|| {
        Failure::fatal(format!(
            "ERROR: failed to find channel({}) in stats metadata for topic({})",
            flags.channel, flags.topic
        ))
    })
}

/// The value, when nobody failed.
fn all<T>(asked: Asked<T>, what: &str) -> Result<T, Failure> {
    let words = match asked {
        Ok(answer) if answer.failures.is_empty() => return Ok(answer.value),
        Ok(answer) => in_nsq_words(&answer.failures, "\n"),
        Err(silence) => silence.to_string(),
    };
    Err(Failure::fatal(format!("ERROR: {what} - {words}")))
}

/// The counters of one channel. Wide enough that no sum of what nsqds tell is too large.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sums {
    depth: i128,
    backend_depth: i128,
    in_flight: i128,
    deferred: i128,
    requeued: i128,
    timed_out: i128,
    messages: i128,
    clients: i128,
}

impl Sums {
    /// `None` when there is no such channel.
    fn of(channels: impl Iterator<Item = ChannelStats>) -> Option<Self> {
        channels.map(|channel| Self::of_one(&channel)).reduce(|sum, one| Self {
            depth: sum.depth + one.depth,
            backend_depth: sum.backend_depth + one.backend_depth,
            in_flight: sum.in_flight + one.in_flight,
            deferred: sum.deferred + one.deferred,
            requeued: sum.requeued + one.requeued,
            timed_out: sum.timed_out + one.timed_out,
            messages: sum.messages + one.messages,
            clients: sum.clients + one.clients,
        })
    }

    fn of_one(channel: &ChannelStats) -> Self {
        Self {
            depth: channel.depth.into(),
            backend_depth: channel.backend_depth.into(),
            in_flight: channel.in_flight_count.into(),
            deferred: channel.deferred_count.into(),
            requeued: channel.requeue_count.into(),
            timed_out: channel.timeout_count.into(),
            messages: channel.message_count.into(),
            clients: channel.client_count.into(),
        }
    }
}

fn push_heading(text: &mut String) {
    text.push_str(
        "------rate------+----------------depth----------------\
         +--------------metadata---------------\n",
    );
    push_columns(
        text,
        [
            &"ingress", &"egress", &"total", &"mem", &"disk", &"inflt", &"def", &"req", &"t-o",
            &"msgs", &"clients",
        ],
    );
}

fn push_line(text: &mut String, previous: &Sums, current: &Sums, interval: Duration) {
    let came = current.messages - previous.messages;
    let left = came - (current.depth - previous.depth);
    let memory = current.depth - current.backend_depth;
    push_columns(
        text,
        [
            &per_second(came, interval),
            &per_second(left, interval),
            &current.depth,
            &memory,
            &current.backend_depth,
            &current.in_flight,
            &current.deferred,
            &current.requeued,
            &current.timed_out,
            &current.messages,
            &current.clients,
        ],
    );
}

/// Without what is behind the point (NSQ behaviour).
fn per_second(count: i128, interval: Duration) -> i64 {
    #[expect(clippy::cast_precision_loss, reason = "NSQ's program counts in the same way")]
    let rate = count as f64 / interval.as_secs_f64();
    #[expect(clippy::cast_possible_truncation, reason = "saturates; no rate is so high")]
    let whole = rate as i64;
    whole
}

fn push_columns(text: &mut String, columns: [&dyn Display; 11]) {
    let [
        ingress,
        egress,
        total,
        memory,
        disk,
        flight,
        deferred,
        requeued,
        timed_out,
        messages,
        clients,
    ] = columns.map(ToString::to_string);
    writeln!(
        text,
        "{ingress:>7} {egress:>7} | {total:>7} {memory:>7} {disk:>7} {flight:>5} {deferred:>5} | \
         {requeued:>7} {timed_out:>7} {messages:>12} {clients:>7}"
    )
    .expect("a String takes what it is given");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channel(depth: i64, backend_depth: i64, messages: u64) -> ChannelStats {
        ChannelStats {
            depth,
            backend_depth,
            message_count: messages,
            in_flight_count: 1,
            deferred_count: 2,
            requeue_count: 3,
            timeout_count: 4,
            client_count: 5,
            ..ChannelStats::default()
        }
    }

    #[test]
    fn a_line_has_nsqs_columns_with_rates_cut_off() {
        let mut text = String::new();
        push_heading(&mut text);
        let previous = Sums::of([channel(10, 0, 100)].into_iter()).unwrap();
        let current = Sums::of([channel(4, 3, 100), channel(1, 0, 15)].into_iter()).unwrap();
        push_line(&mut text, &previous, &current, Duration::from_secs(2));
        push_line(&mut text, &current, &previous, Duration::from_secs(2));
        let expected = "\
------rate------+----------------depth----------------+--------------metadata---------------
ingress  egress |   total     mem    disk inflt   def |     req     t-o         msgs clients
      7      10 |       5       2       3     2     4 |       6       8          115      10
     -7     -10 |      10      10       0     1     2 |       3       4          100       5
";
        assert_eq!(text, expected);
        assert_eq!(Sums::of(std::iter::empty()), None);
    }

    #[test]
    fn a_count_is_read_as_go_reads_it() {
        for (text, count) in [("1", Some(1)), ("+2", Some(2)), ("-3", Some(-3)), ("0", Some(0))] {
            assert_eq!(Count::parse(text).ok(), count.map(Count));
        }
        for (text, error) in [
            ("", "strconv.ParseInt: parsing \"\": invalid syntax"),
            ("1x", "strconv.ParseInt: parsing \"1x\": invalid syntax"),
            ("1_0", "strconv.ParseInt: parsing \"1_0\": invalid syntax"),
            ("2147483648", "strconv.ParseInt: parsing \"2147483648\": value out of range"),
        ] {
            assert_eq!(Count::parse(text).unwrap_err(), error);
        }
    }
}
