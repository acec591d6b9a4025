//! `to_nsq`: publishes standard input, a message for each piece between two delimiters.
//!
//! Knows: how input is cut, and how fast it may go. Other than NSQ's, it publishes the last piece
//! whole where no delimiter follows, and sends what one read brought together.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::rc::Rc;
use std::time::Duration;

use clap::Parser;
use startup::flags;
use tokio::io::{AsyncReadExt, stdin};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::{Failure, PRODUCER_OPT};
use crate::client::dial::words;
use crate::client::log::{self, Log};
use crate::client::options::{Options, Setting};
use crate::client::producer::{Producer, PublishError};
use crate::terminal::Interrupt;

/// How much is read at once; what one read brings is published together.
const READ_BYTES: usize = 64 << 10;

/// The flags of `to_nsq`.
#[derive(Debug, Parser)]
#[command(name = "to_nsq")]
pub(crate) struct Flags {
    /// NSQ topic to publish to
    #[arg(long, default_value = "")]
    topic: String,
    /// character to split input from stdin
    #[arg(long, default_value = "\n")]
    delimiter: OsString,
    /// Throttle messages to n/second. 0 to disable
    #[arg(long, value_parser = flags::integer::<i64>, default_value = "0")]
    rate: i64,
    /// destination nsqd TCP address (may be given multiple times)
    #[arg(long)]
    nsqd_tcp_address: Vec<String>,
    #[arg(long, help = PRODUCER_OPT)]
    producer_opt: Vec<Setting>,
}

/// Publishes until the end of the input, or until it is told to end.
pub(crate) async fn run(flags: Flags) -> Result<(), Failure> {
    let options = Options::for_utility("to_nsq", &flags.producer_opt)
        .map_err(|invalid| Failure::option("producer-opt", &invalid))?;
    if flags.topic.is_empty() {
        return Err(Failure::fatal("--topic required"));
    }
    let &[delimiter] = flags.delimiter.as_bytes() else {
        return Err(Failure::fatal("--delimiter must be a single byte"));
    };
    let mut interrupt = Interrupt::listen()?;
    let options = Rc::new(options);
    let log = Log::to_stderr();
    let mut producers = BTreeMap::new();
    for address in &flags.nsqd_tcp_address {
        let producer = Producer::new(address, options.clone(), &log).map_err(|reason| {
            Failure::Fatal(format!("failed to create nsq.Producer - {reason}"))
        })?;
        producers.insert(address, Rc::new(producer));
    }
    if producers.is_empty() {
        return Err(Failure::fatal("--nsqd-tcp-address required"));
    }
    let producers: Vec<_> = producers.into_values().collect();
    let publisher = Publisher { topic: flags.topic.into(), producers, pace: Pace::of(flags.rate) };
    if publisher.pace.is_some() {
        log::line(&format!("Throttling messages rate to max:{}/second", flags.rate));
    }
    let producers = publisher.producers.clone();
    tokio::select! {
        outcome = publisher.publish_input(delimiter) => outcome?,
        () = interrupt.wait() => {}
    }
    for producer in producers {
        producer.stop().await;
    }
    Ok(())
}

struct Publisher {
    topic: Rc<str>,
    /// Each gets every message.
    producers: Vec<Rc<Producer>>,
    pace: Option<Pace>,
}

impl Publisher {
    async fn publish_input(mut self, delimiter: u8) -> Result<(), Failure> {
        let mut input = stdin();
        let mut pieces = Pieces { delimiter, partial: Vec::new() };
        let mut chunk = vec![0; READ_BYTES];
        loop {
            let read = input
                .read(&mut chunk)
                .await
                .map_err(|error| Failure::Fatal(format!("read /dev/stdin: {}", words(&error))))?;
            let complete = match read {
                0 => pieces.finish(),
                read => pieces.feed(&chunk[..read]),
            };
            self.publish(complete).await?;
            if read == 0 {
                return Ok(());
            }
        }
    }

    /// Publishes pieces, but for those that are empty.
    async fn publish(&mut self, mut pieces: Vec<Vec<u8>>) -> Result<(), Failure> {
        let Some(pace) = &mut self.pace else {
            pieces.retain(|piece| !piece.is_empty());
            return publish_to_all(&self.producers, &self.topic, pieces).await;
        };
        for piece in pieces {
            pace.wait().await;
            if !piece.is_empty() {
                publish_to_all(&self.producers, &self.topic, vec![piece]).await?;
            }
            pace.spend();
        }
        Ok(())
    }
}

/// Publishes to all brokers at the same time.
async fn publish_to_all(
    producers: &[Rc<Producer>],
    topic: &Rc<str>,
    pieces: Vec<Vec<u8>>,
) -> Result<(), Failure> {
    let failed = |error: PublishError| Failure::Fatal(error.to_string());
    if let [producer] = producers {
        return producer.publish_each(topic, &pieces).await.map_err(failed);
    }
    let pieces = Rc::new(pieces);
    let mut publishes = JoinSet::new();
    for producer in producers {
        let (producer, topic, pieces) = (producer.clone(), topic.clone(), pieces.clone());
        publishes.spawn_local(async move { producer.publish_each(&topic, &pieces).await });
    }
    while let Some(published) = publishes.join_next().await {
        published.unwrap_or(Ok(())).map_err(failed)?;
    }
    Ok(())
}

/// Cuts input at a delimiter.
struct Pieces {
    delimiter: u8,
    /// The start of the piece that is not yet whole. Its bound is what brokers take as a message: one
    /// that is longer is refused, but only when it is whole (NSQ behaviour).
    partial: Vec<u8>,
}

impl Pieces {
    /// The pieces that `bytes` complete.
    fn feed(&mut self, bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut pieces = Vec::new();
        let mut found = bytes.split(|&byte| byte == self.delimiter);
        // What stands behind the last delimiter; all of it when there is none.
        let behind = found.next_back().unwrap_or_default();
        for piece in found {
            self.partial.extend_from_slice(piece);
            pieces.push(std::mem::take(&mut self.partial));
        }
        self.partial.extend_from_slice(behind);
        pieces
    }

    /// The piece as far as it has come.
    fn finish(&mut self) -> Vec<Vec<u8>> {
        vec![std::mem::take(&mut self.partial)]
    }
}

/// At most so many a second, and what was saved up within a second.
struct Pace {
    rate: i64,
    interval: Duration,
    started: Instant,
    /// Intervals of which the credit was given.
    credited: u128,
    balance: i64,
}

impl Pace {
    /// `None` for a rate that is no limit.
    fn of(rate: i64) -> Option<Self> {
        let per_second = u32::try_from(rate).ok().filter(|&rate| 1 <= rate)?;
        Some(Self {
            rate,
            interval: (Duration::from_secs(1) / per_second).max(Duration::from_nanos(1)),
            started: Instant::now(),
            credited: 0,
            balance: 1,
        })
    }

    /// Waits an interval when nothing is saved.
    async fn wait(&mut self) {
        self.credit(self.started.elapsed());
        if self.balance <= 0 {
            sleep(self.interval).await;
        }
    }

    /// Gives credit for the time since the start.
    fn credit(&mut self, elapsed: Duration) {
        let intervals = elapsed.as_nanos() / self.interval.as_nanos();
        let fresh = i64::try_from(intervals - self.credited).unwrap_or(i64::MAX);
        self.credited = intervals;
        self.balance = self.balance.saturating_add(fresh).min(self.rate);
    }

    fn spend(&mut self) {
        self.balance -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pieces_of(chunks: &[&[u8]]) -> Vec<Vec<u8>> {
        let mut pieces = Pieces { delimiter: b'|', partial: Vec::new() };
        let mut found: Vec<_> = chunks.iter().flat_map(|chunk| pieces.feed(chunk)).collect();
        found.extend(pieces.finish());
        found
    }

    #[test]
    fn the_last_piece_is_whole_with_and_without_a_delimiter_behind_it() {
        for (input, pieces) in [
            ("", &[""][..]),
            ("a", &["a"]),
            ("a|b", &["a", "b"]),
            ("a|b|", &["a", "b", ""]),
            ("||a\n|", &["", "", "a\n", ""]),
        ] {
            let expected: Vec<&[u8]> = pieces.iter().map(|piece| piece.as_bytes()).collect();
            assert_eq!(pieces_of(&[input.as_bytes()]), expected, "{input:?}");
        }
    }

    proptest! {
        #[test]
        fn pieces_do_not_depend_on_how_they_are_read(
            text in "[ab|]{0,40}",
            cut in 0_usize..40,
        ) {
            let (first, second) = text.as_bytes().split_at(cut.min(text.len()));
            prop_assert_eq!(pieces_of(&[first, second]), pieces_of(&[text.as_bytes()]));
        }
    }

    #[tokio::test]
    async fn credit_comes_with_every_interval_and_a_second_is_all_that_is_saved() {
        let mut pace = Pace::of(10).unwrap();
        assert_eq!(pace.balance, 1);
        pace.credit(Duration::from_millis(250));
        assert_eq!(pace.balance, 3);
        pace.credit(Duration::from_millis(299));
        assert_eq!(pace.balance, 3);
        pace.spend();
        pace.credit(Duration::from_secs(5));
        assert_eq!(pace.balance, 10);
        assert!(Pace::of(0).is_none() && Pace::of(-1).is_none());
    }
}
