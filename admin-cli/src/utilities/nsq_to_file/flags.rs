//! The flags of `nsq_to_file`, and what is wrong with them.
//!
//! Knows: NSQ's flags with their texts, and the rules in NSQ's order and words. A duration below zero
//! means the same as none.

use std::time::Duration;

use clap::{ArgAction, Parser};
use startup::flags::{self, InvalidValue};
use startup::log::LogLevel;
use startup::{duration, hostname};

use super::name::Naming;
use super::recorder::Plan;
use crate::address::Address;
use crate::client::options::{Options, Setting};
use crate::cluster::Patience;
use crate::utilities::{CONSUMER_OPT, Failure};

const FILENAME_FORMAT: &str = "output filename format (<TOPIC>, <HOST>, <PID>, <DATETIME>, <REV> are replaced. <REV> is increased when file already exists)";
const DATETIME_FORMAT: &str = "strftime compatible format for <DATETIME> in filename format";
const HOST_IDENTIFIER: &str = "value to output in log filename in place of hostname. <SHORT_HOST> and <HOSTNAME> are valid replacement tokens";
const ROTATE_SIZE: &str = "rotate the file when it grows bigger than `rotate-size` bytes";

/// The command line. NSQ's usage is headed `nsqd`, too.
#[derive(Clone, Debug, Parser)]
#[command(name = "nsqd")]
pub(crate) struct Flags {
    /// print version string
    #[arg(long, action = ArgAction::Set, value_parser = flags::boolean, default_value = "false")]
    pub(super) version: bool,
    /// set log verbosity: debug, info, warn, error, or fatal
    #[arg(long, default_value = "info")]
    log_level: String,
    /// log message prefix
    #[arg(long, default_value = "[nsq_to_file] ")]
    pub(super) log_prefix: String,
    /// nsq channel
    #[arg(long, default_value = "nsq_to_file")]
    pub(super) channel: String,
    /// max number of messages to allow in flight
    #[arg(long, value_parser = flags::integer::<i64>, default_value = "200")]
    max_in_flight: i64,
    /// directory to write output files to
    #[arg(long, default_value = "/tmp")]
    output_dir: String,
    /// directory for in-progress files before moving to output-dir
    #[arg(long, default_value = "")]
    work_dir: String,
    #[arg(long, help = DATETIME_FORMAT, default_value = "%Y-%m-%d_%H")]
    datetime_format: String,
    #[arg(long, help = FILENAME_FORMAT, default_value = "<TOPIC>.<HOST><REV>.<DATETIME>.log")]
    filename_format: String,
    #[arg(long, help = HOST_IDENTIFIER, default_value = "")]
    host_identifier: String,
    /// gzip compression level (1-9, 1=BestSpeed, 9=BestCompression)
    #[arg(long, value_parser = flags::integer::<i64>, default_value = "6")]
    gzip_level: i64,
    #[arg(long, help = "gzip output files.", action = ArgAction::Set, value_parser = flags::boolean, default_value = "false")]
    gzip: bool,
    /// skip writing empty files
    #[arg(long, action = ArgAction::Set, value_parser = flags::boolean, default_value = "false")]
    skip_empty_files: bool,
    /// how frequently the topic list should be refreshed
    #[arg(long, value_parser = duration_or_none, default_value = "1m0s")]
    pub(super) topic_refresh: Duration,
    /// only log topics matching the following pattern
    #[arg(long, default_value = "")]
    pub(super) topic_pattern: String,
    #[arg(long, help = ROTATE_SIZE, value_parser = flags::integer::<i64>, default_value = "0")]
    rotate_size: i64,
    /// rotate the file every duration
    #[arg(long, value_parser = duration_or_none, default_value = "0s")]
    rotate_interval: Duration,
    /// sync file to disk every duration
    #[arg(long, value_parser = duration_or_none, default_value = "30s")]
    pub(super) sync_interval: Duration,
    /// timeout for HTTP connect
    #[arg(long, value_parser = duration_or_none, default_value = "2s")]
    http_client_connect_timeout: Duration,
    /// timeout for HTTP request
    #[arg(long, value_parser = duration_or_none, default_value = "5s")]
    http_client_request_timeout: Duration,
    /// nsqd TCP address (may be given multiple times)
    #[arg(long)]
    pub(super) nsqd_tcp_address: Vec<String>,
    /// lookupd HTTP address (may be given multiple times)
    #[arg(long)]
    pub(super) lookupd_http_address: Vec<String>,
    /// nsq topic (may be given multiple times)
    #[arg(long)]
    pub(super) topic: Vec<String>,
    /// Not read here: one that is wrong is passed over (NSQ behaviour).
    #[arg(long, help = CONSUMER_OPT)]
    consumer_opt: Vec<String>,
}

/// Of no time at all, and below.
fn duration_or_none(text: &str) -> Result<Duration, InvalidValue> {
    match text.strip_prefix('-') {
        Some(distance) if !distance.starts_with(['+', '-']) => {
            duration::parse(distance).map(|_| Duration::ZERO)
        }
        _ => duration::parse(text),
    }
}

impl Flags {
    /// How much is logged.
    ///
    /// # Errors
    /// When it is none of NSQ's words.
    pub(super) fn level(&self) -> Result<LogLevel, Failure> {
        self.log_level.parse().map_err(|_| Failure::fatal("--log-level is invalid"))
    }

    /// Whether the flags fit together.
    ///
    /// # Errors
    /// The first thing that is wrong, in NSQ's order.
    pub(super) fn check(&self) -> Result<(), Failure> {
        let (has_brokers, has_lookups) =
            (!self.nsqd_tcp_address.is_empty(), !self.lookupd_http_address.is_empty());
        let has_topics = !self.topic.is_empty();
        let level = format!("invalid --gzip-level value ({}), should be 1-9", self.gzip_level);
        let rules = [
            (self.channel.is_empty(), "--channel is required"),
            (
                self.http_client_connect_timeout.is_zero(),
                "--http-client-connect-timeout should be positive",
            ),
            (
                self.http_client_request_timeout.is_zero(),
                "--http-client-request-timeout should be positive",
            ),
            (
                !has_brokers && !has_lookups,
                "--nsqd-tcp-address or --lookupd-http-address required.",
            ),
            (
                has_brokers && has_lookups,
                "use --nsqd-tcp-address or --lookupd-http-address not both",
            ),
            (!(1..=9).contains(&self.gzip_level), &level),
            (!has_topics && self.topic_pattern.is_empty(), "--topic or --topic-pattern required"),
            (
                !has_topics && !has_lookups,
                "--lookupd-http-address must be specified when no --topic specified",
            ),
            (self.sync_interval.is_zero(), "--sync-interval should be positive"),
        ];
        match rules.into_iter().find(|(is_broken, _)| *is_broken) {
            Some((_, text)) => Err(Failure::fatal(text)),
            None => Ok(()),
        }
    }

    /// The nsqlookupds as they are asked for topics.
    ///
    /// # Errors
    /// When one of them is no address.
    pub(super) fn lookups(&self) -> Result<Vec<Address>, Failure> {
        let parse = |text: &String| {
            text.parse()
                .map_err(|why| Failure::fatal(format!("--lookupd-http-address {text:?} {why}")))
        };
        self.lookupd_http_address.iter().map(parse).collect()
    }

    /// How long nsqlookupds are waited for.
    pub(super) fn patience(&self) -> Patience {
        Patience {
            connect: self.http_client_connect_timeout,
            request: self.http_client_request_timeout,
        }
    }

    /// The options of consumers, and the settings that are none.
    pub(super) fn options(&self) -> (Options, Vec<&str>) {
        let settings = || self.consumer_opt.iter().map(|text| (text, text.parse::<Setting>()));
        let wrong = settings().filter(|(_, setting)| setting.is_err()).map(|(text, _)| &**text);
        let right: Vec<Setting> = settings().filter_map(|(_, setting)| setting.ok()).collect();
        let mut options = Options::for_utility("nsq_to_file", &right)
            .expect("each setting was found to be right");
        options.max_in_flight = self.max_in_flight;
        (options, wrong.collect())
    }

    /// What names of files are made of.
    pub(super) fn naming(&self) -> Naming {
        Naming {
            format: self.filename_format.clone(),
            datetime_format: self.datetime_format.clone(),
            host_identifier: self.host_identifier.clone(),
            hostname: hostname::hostname(),
            process: std::process::id(),
            needs_revision: self.gzip
                || 0 < self.rotate_size
                || !self.rotate_interval.is_zero()
                || self.work_dir() != self.output_dir,
            is_gzip: self.gzip,
        }
    }

    /// How a topic's files are made.
    pub(super) fn plan(&self, topic: &str) -> Plan {
        Plan {
            label: format!("{topic}/{}", self.channel),
            work_dir: self.work_dir().to_owned(),
            output_dir: self.output_dir.clone(),
            gzip_level: u8::try_from(self.gzip_level).ok().filter(|_| self.gzip),
            rotate_bytes: u64::try_from(self.rotate_size).ok().filter(|&bytes| 0 < bytes),
            rotate_interval: Some(self.rotate_interval).filter(|interval| !interval.is_zero()),
            skip_empty_files: self.skip_empty_files,
            unsynced_max: usize::try_from(self.max_in_flight).unwrap_or(0),
        }
    }

    fn work_dir(&self) -> &str {
        if self.work_dir.is_empty() { &self.output_dir } else { &self.work_dir }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(line: &str) -> Flags {
        flags::try_parse::<Flags>(line.split_whitespace().map(Into::into)).unwrap().0
    }

    #[test]
    fn what_is_wrong_is_said_in_nsqs_words_and_order() {
        const RIGHT: &str = "--topic=t --nsqd-tcp-address=a:1";
        for (line, text) in [
            ("--channel= --gzip-level=0", "--channel is required"),
            ("--http-client-connect-timeout=0", "--http-client-connect-timeout should be positive"),
            (
                "--http-client-request-timeout=-1s",
                "--http-client-request-timeout should be positive",
            ),
            ("--topic=t", "--nsqd-tcp-address or --lookupd-http-address required."),
            (
                "--nsqd-tcp-address=a:1 --lookupd-http-address=a:1 --gzip-level=0",
                "use --nsqd-tcp-address or --lookupd-http-address not both",
            ),
            (
                "--nsqd-tcp-address=a:1 --gzip-level=10",
                "invalid --gzip-level value (10), should be 1-9",
            ),
            ("--nsqd-tcp-address=a:1", "--topic or --topic-pattern required"),
            (
                "--nsqd-tcp-address=a:1 --topic-pattern=x",
                "--lookupd-http-address must be specified when no --topic specified",
            ),
            (&format!("{RIGHT} --sync-interval=-5s"), "--sync-interval should be positive"),
        ] {
            assert_eq!(flags(line).check(), Err(Failure::fatal(text)), "{line}");
        }
        assert_eq!(flags(RIGHT).check(), Ok(()));
        assert_eq!(flags("--lookupd-http-address=a:1 --topic-pattern=x").check(), Ok(()));
        assert_eq!(flags("--log-level=Warn").level(), Ok(LogLevel::Warn));
        let invalid = Failure::fatal("--log-level is invalid");
        assert_eq!(flags("--log-level=warning").level(), Err(invalid));
    }

    #[test]
    fn no_time_and_less_turn_a_duration_off() {
        let plan = flags("--rotate-interval=-2s --rotate-size=-1").plan("t");
        assert_eq!((plan.rotate_interval, plan.rotate_bytes, plan.gzip_level), (None, None, None));
        let plan = flags("--rotate-interval=2s --rotate-size=0x10 --gzip").plan("t");
        assert_eq!(
            (plan.rotate_interval, plan.rotate_bytes, plan.gzip_level),
            (Some(Duration::from_secs(2)), Some(16), Some(6))
        );
        for wrong in ["--2s", "-+2s", "-2", "-"] {
            assert_eq!(duration_or_none(wrong), Err(InvalidValue::PARSE), "{wrong}");
        }
    }

    #[test]
    fn a_revision_is_needed_where_one_name_may_be_of_several_files() {
        for (line, needs_revision) in [
            ("", false),
            ("--skip-empty-files", false),
            ("--output-dir=/a --work-dir=/a", false),
            ("--output-dir=/a --work-dir=/a/", true),
            ("--gzip", true),
            ("--gzip-level=3", false),
            ("--rotate-size=1", true),
            ("--rotate-interval=1ns", true),
        ] {
            assert_eq!(flags(line).naming().needs_revision, needs_revision, "{line}");
        }
        let plan = flags("--output-dir=/a --channel=c").plan("t");
        assert_eq!((plan.label.as_str(), plan.work_dir.as_str()), ("t/c", "/a"));
    }

    #[test]
    fn a_setting_that_is_none_is_passed_over() {
        let flags = flags(
            "--consumer-opt=max_attempts,7 --consumer-opt=nonsense --consumer-opt=max_in_flight,3 \
             --consumer-opt=msg_timeout,x --max-in-flight=11",
        );
        let (options, wrong) = flags.options();
        assert_eq!((options.max_attempts, options.max_in_flight), (7, 11));
        assert_eq!(wrong, ["nonsense", "msg_timeout,x"]);
    }
}
