//! What `--consumer-opt` and `--producer-opt` say.
//!
//! Knows: go-nsq's options by name, with their types, defaults, ranges and words (NSQ behaviour).
//! Does not know: what an option does to a connection, but for the body of IDENTIFY; the files of
//! TLS are read in [`super::tls`].

use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};
use std::str::FromStr;
use std::time::Duration;

use serde_json::json;
use startup::hostname::hostname;
use startup::version::NSQ_VERSION;
use startup::{duration, flags};

use super::tls::Tls;

/// The version of go-nsq that NSQ's utilities are built with, as brokers see it.
const GO_NSQ: &str = "go-nsq/1.1.0";

/// A duration that may be negative: -1ns turns some things off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Span {
    nanoseconds: i64,
}

impl Span {
    /// What turns heartbeats and the timeout of the broker's output buffer off.
    const OFF: Self = Self { nanoseconds: -1 };

    const fn seconds(seconds: i64) -> Self {
        Self { nanoseconds: seconds * 1_000_000_000 }
    }

    const fn of_milliseconds(milliseconds: i64) -> Self {
        Self { nanoseconds: milliseconds * 1_000_000 }
    }

    /// The duration; nothing when it is negative.
    pub(crate) fn duration(self) -> Duration {
        Duration::from_nanos(u64::try_from(self.nanoseconds).unwrap_or_default())
    }

    /// The duration as a limit of time; `None` for zero and below, which are no limit.
    pub(crate) fn limit(self) -> Option<Duration> {
        (0 < self.nanoseconds).then(|| self.duration())
    }

    /// As brokers are told it: -1, or whole milliseconds.
    fn on_the_wire(self) -> i64 {
        if self == Self::OFF { -1 } else { self.nanoseconds / 1_000_000 }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nanoseconds < 0 {
            f.write_str("-")?;
        }
        f.write_str(&duration::format(Duration::from_nanos(self.nanoseconds.unsigned_abs())))
    }
}

/// How long a consumer backs off after so many failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BackoffStrategy {
    /// Twice as long each time.
    Exponential,
    /// At random up to that.
    FullJitter,
}

/// go-nsq's options. What each means for brokers is in NSQ's documentation of IDENTIFY.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) dial_timeout: Span,
    pub(crate) read_timeout: Span,
    pub(crate) write_timeout: Span,
    pub(crate) local_addr: Option<SocketAddr>,
    /// How often nsqlookupds are asked, and a broker that was named is connected to anew.
    pub(crate) lookupd_poll_interval: Span,
    /// Up to which part of the interval the first repetition is late.
    pub(crate) lookupd_poll_jitter: f64,
    pub(crate) lookupd_poll_timeout: Span,
    pub(crate) max_requeue_delay: Span,
    /// Of a message that was delivered once; as often as it was delivered for others.
    pub(crate) default_requeue_delay: Span,
    pub(crate) backoff_strategy: BackoffStrategy,
    /// Zero for no backoff.
    pub(crate) max_backoff_duration: Span,
    pub(crate) backoff_multiplier: Span,
    /// After how many deliveries a message is finished unseen; 0 for never.
    pub(crate) max_attempts: u16,
    pub(crate) low_rdy_idle_timeout: Span,
    pub(crate) low_rdy_timeout: Span,
    pub(crate) rdy_redistribute_interval: Span,
    pub(crate) client_id: String,
    pub(crate) hostname: String,
    pub(crate) user_agent: String,
    pub(crate) heartbeat_interval: Span,
    pub(crate) sample_rate: i32,
    pub(crate) tls_v1: bool,
    pub(crate) tls: Tls,
    pub(crate) deflate: bool,
    pub(crate) deflate_level: i64,
    pub(crate) snappy: bool,
    pub(crate) output_buffer_size: i64,
    pub(crate) output_buffer_timeout: Span,
    /// Of all connections of a consumer together.
    pub(crate) max_in_flight: i64,
    pub(crate) msg_timeout: Span,
    pub(crate) auth_secret: String,
    /// Whether nsqlookupds are told the secret, too. The option that sets it has the opposite name
    /// (NSQ behaviour).
    pub(crate) lookupd_authorization: bool,
    pub(crate) topology_region: String,
    pub(crate) topology_zone: String,
}

impl Default for Options {
    fn default() -> Self {
        let hostname = hostname();
        Self {
            dial_timeout: Span::seconds(1),
            read_timeout: Span::seconds(60),
            write_timeout: Span::seconds(1),
            local_addr: None,
            lookupd_poll_interval: Span::seconds(60),
            lookupd_poll_jitter: 0.3,
            lookupd_poll_timeout: Span::seconds(60),
            max_requeue_delay: Span::seconds(15 * 60),
            default_requeue_delay: Span::seconds(90),
            backoff_strategy: BackoffStrategy::Exponential,
            max_backoff_duration: Span::seconds(120),
            backoff_multiplier: Span::seconds(1),
            max_attempts: 5,
            low_rdy_idle_timeout: Span::seconds(10),
            low_rdy_timeout: Span::seconds(30),
            rdy_redistribute_interval: Span::seconds(5),
            client_id: hostname.split('.').next().unwrap_or_default().to_owned(),
            hostname,
            user_agent: GO_NSQ.to_owned(),
            heartbeat_interval: Span::seconds(30),
            sample_rate: 0,
            tls_v1: false,
            tls: Tls::default(),
            deflate: false,
            deflate_level: 6,
            snappy: false,
            output_buffer_size: 16_384,
            output_buffer_timeout: Span::of_milliseconds(250),
            max_in_flight: 1,
            msg_timeout: Span::seconds(0),
            auth_secret: String::new(),
            lookupd_authorization: true,
            topology_region: String::new(),
            topology_zone: String::new(),
        }
    }
}

/// A setting that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InvalidOption {
    /// As it was given: `key,value` or `key`.
    pub(crate) setting: String,
    /// Why, in go-nsq's words.
    pub(crate) reason: String,
}

impl fmt::Display for InvalidOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for InvalidOption {}

/// `key,value`, or `key` for a switch that is to be on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Setting(String);

impl FromStr for Setting {
    type Err = InvalidOption;

    fn from_str(text: &str) -> Result<Self, InvalidOption> {
        let setting = Self(text.to_owned());
        Options::default().take(&setting)?;
        Ok(setting)
    }
}

impl Options {
    /// The options of the utility of this name, with these settings in their order.
    pub(crate) fn for_utility(name: &str, settings: &[Setting]) -> Result<Self, InvalidOption> {
        let mut options = Self::default();
        settings.iter().try_for_each(|setting| options.take(setting))?;
        options.user_agent = user_agent(name);
        Ok(options)
    }

    fn take(&mut self, Setting(text): &Setting) -> Result<(), InvalidOption> {
        let (key, value) = match text.split_once(',') {
            Some((key, value)) => (key, Some(value)),
            None => (text.as_str(), None),
        };
        self.set(key, value).map_err(|reason| InvalidOption { setting: text.clone(), reason })
    }

    /// Sets an option. Without a value it is a switch that is to be on. `-` and `_` in a key are the
    /// same.
    ///
    /// # Errors
    /// In go-nsq's words, when there is no such option, or it cannot have this value.
    pub(crate) fn set(&mut self, key: &str, value: Option<&str>) -> Result<(), String> {
        let key = &*key.replace('-', "_");
        let given = Given { key, value };
        let minutes = |count: i64| Span::seconds(60 * count);
        let milliseconds = Span::of_milliseconds;
        let zero = Span::seconds(0);
        match key {
            "dial_timeout" => self.dial_timeout = given.span()?,
            "read_timeout" => {
                self.read_timeout = given.between(given.span()?, milliseconds(100), minutes(5))?;
            }
            "write_timeout" => {
                self.write_timeout = given.between(given.span()?, milliseconds(100), minutes(5))?;
            }
            "local_addr" => self.local_addr = Some(given.address()?),
            "lookupd_poll_interval" => {
                self.lookupd_poll_interval =
                    given.between(given.span()?, milliseconds(10), minutes(5))?;
            }
            "lookupd_poll_jitter" => {
                self.lookupd_poll_jitter = given.between(given.float()?, 0.0, 1.0)?;
            }
            "lookupd_poll_timeout" => self.lookupd_poll_timeout = given.span()?,
            "max_requeue_delay" => {
                self.max_requeue_delay = given.between(given.span()?, zero, minutes(60))?;
            }
            "default_requeue_delay" => {
                self.default_requeue_delay = given.between(given.span()?, zero, minutes(60))?;
            }
            "backoff_strategy" => self.backoff_strategy = given.strategy()?,
            "max_backoff_duration" => {
                self.max_backoff_duration = given.between(given.span()?, zero, minutes(60))?;
            }
            "backoff_multiplier" => {
                self.backoff_multiplier = given.between(given.span()?, zero, minutes(60))?;
            }
            "max_attempts" => self.max_attempts = given.cut_to_16_bits()?,
            "low_rdy_idle_timeout" => {
                self.low_rdy_idle_timeout =
                    given.between(given.span()?, Span::seconds(1), minutes(5))?;
            }
            "low_rdy_timeout" => {
                self.low_rdy_timeout =
                    given.between(given.span()?, Span::seconds(1), minutes(5))?;
            }
            "rdy_redistribute_interval" => {
                self.rdy_redistribute_interval =
                    given.between(given.span()?, milliseconds(1), Span::seconds(5))?;
            }
            "client_id" => self.client_id = given.text(),
            "hostname" => self.hostname = given.text(),
            "user_agent" => self.user_agent = given.text(),
            "heartbeat_interval" => self.heartbeat_interval = given.span()?,
            "sample_rate" => {
                let rate = given.between(given.cut_to_32_bits()?, 0, 99)?;
                self.sample_rate = rate;
            }
            "tls_v1" => self.tls_v1 = given.switch()?,
            "tls_root_ca_file" => self.tls.trust(given.path()?)?,
            "tls_insecure_skip_verify" => self.tls.trust_anybody(given.switch()?),
            "tls_cert" => self.tls.show_certificate(given.path()?)?,
            "tls_key" => self.tls.show_with_key(given.path()?)?,
            "tls_min_version" => self.tls.demand_version(given.path()?)?,
            "deflate" => self.deflate = given.switch()?,
            "deflate_level" => self.deflate_level = given.between(given.integer()?, 1, 9)?,
            "snappy" => self.snappy = given.switch()?,
            "output_buffer_size" => self.output_buffer_size = given.integer()?,
            "output_buffer_timeout" => self.output_buffer_timeout = given.span()?,
            "max_in_flight" => {
                self.max_in_flight = given.integer()?;
                if self.max_in_flight < 0 {
                    return Err(format!("invalid {key} ! {} < 0", self.max_in_flight));
                }
            }
            "msg_timeout" => {
                self.msg_timeout = given.span()?;
                if self.msg_timeout < zero {
                    return Err(format!("invalid {key} ! {} < 0s", self.msg_timeout));
                }
            }
            "auth_secret" => self.auth_secret = given.text(),
            "skip_lookupd_authorization" => self.lookupd_authorization = given.switch()?,
            "topology_region" => self.topology_region = given.text(),
            "topology_zone" => self.topology_zone = given.text(),
            // go-nsq takes it for a switch of its own that has no name and is on already: an option out of
            // a variable that is not set changes nothing (NSQ behaviour).
            "" if given.switch()? => {}
            _ => return Err(format!("invalid option {key}")),
        }
        Ok(())
    }

    /// Whether the options fit together, and those that were not set by [`Self::set`] are in range.
    ///
    /// # Errors
    /// In go-nsq's words.
    pub(crate) fn validate(&self) -> Result<(), String> {
        if self.max_in_flight < 0 {
            return Err(format!("invalid MaxInFlight ! {} < 0", self.max_in_flight));
        }
        if self.read_timeout < self.heartbeat_interval {
            return Err(format!(
                "HeartbeatInterval {} must be less than ReadTimeout {}",
                self.heartbeat_interval, self.read_timeout
            ));
        }
        Ok(())
    }

    /// The body of IDENTIFY, in go-nsq's order.
    pub(super) fn identification(&self) -> Vec<u8> {
        let mut body = json!({
            "client_id": self.client_id,
            "deflate": self.deflate,
            "deflate_level": self.deflate_level,
            "feature_negotiation": true,
            "heartbeat_interval": self.heartbeat_interval.on_the_wire(),
            "hostname": self.hostname,
            "long_id": self.hostname,
            "msg_timeout": self.msg_timeout.on_the_wire(),
            "output_buffer_size": self.output_buffer_size,
            "output_buffer_timeout": self.output_buffer_timeout.on_the_wire(),
            "sample_rate": self.sample_rate,
            "short_id": self.client_id,
            "snappy": self.snappy,
            "tls_v1": self.tls_v1,
        });
        for (key, value) in
            [("topology_region", &self.topology_region), ("topology_zone", &self.topology_zone)]
        {
            if !value.is_empty() {
                body[key] = json!(value);
            }
        }
        body["user_agent"] = json!(self.user_agent);
        body.to_string().into_bytes()
    }

    /// The delay of a requeued message whose handler asked for none.
    pub(super) fn requeue_delay(&self, attempts: u16) -> Duration {
        let delay = self.default_requeue_delay.duration().saturating_mul(attempts.into());
        delay.min(self.max_requeue_delay.duration())
    }
}

/// What brokers see of the utility of this name.
pub(crate) fn user_agent(name: &str) -> String {
    format!("{name}/{NSQ_VERSION} {GO_NSQ}")
}

/// A key with what was given for it: a text, or that it is to be on.
#[derive(Clone, Copy)]
struct Given<'a> {
    key: &'a str,
    value: Option<&'a str>,
}

impl<'a> Given<'a> {
    const WRONG_TYPE: &'static str = "invalid value type";

    fn refuse(self, reason: impl fmt::Display) -> String {
        let value = self.value.unwrap_or("true");
        format!("failed to coerce option {} ({value}) - {reason}", self.key)
    }

    fn value(self) -> Result<&'a str, String> {
        self.value.ok_or_else(|| self.refuse(Self::WRONG_TYPE))
    }

    fn between<T: Copy + PartialOrd + fmt::Display>(
        self,
        value: T,
        min: T,
        max: T,
    ) -> Result<T, String> {
        let key = self.key;
        if value < min {
            return Err(format!("invalid {key} ! {value} < {min}"));
        }
        if max < value {
            return Err(format!("invalid {key} ! {value} > {max}"));
        }
        Ok(value)
    }

    fn text(self) -> String {
        // What Go makes of a boolean that is to be a text.
        self.value.unwrap_or("%!s(bool=true)").to_owned()
    }

    fn path(self) -> Result<&'a str, String> {
        self.value.ok_or_else(|| "ERROR: true is not a string".to_owned())
    }

    fn switch(self) -> Result<bool, String> {
        let Some(value) = self.value else { return Ok(true) };
        flags::boolean(value).map_err(|_| {
            self.refuse(format_args!("strconv.ParseBool: parsing {value:?}: invalid syntax"))
        })
    }

    fn span(self) -> Result<Span, String> {
        span(self.value()?).map_err(|reason| self.refuse(reason))
    }

    fn float(self) -> Result<f64, String> {
        let value = self.value()?;
        value.parse().map_err(|_| {
            self.refuse(format_args!("strconv.ParseFloat: parsing {value:?}: invalid syntax"))
        })
    }

    fn integer(self) -> Result<i64, String> {
        let value = self.value()?;
        value.parse().map_err(|error: std::num::ParseIntError| {
            let reason = number_reason(&error);
            self.refuse(format_args!("strconv.ParseInt: parsing {value:?}: {reason}"))
        })
    }

    #[expect(clippy::cast_possible_truncation, reason = "NSQ cuts off what is beyond, too")]
    fn cut_to_32_bits(self) -> Result<i32, String> {
        self.integer().map(|number| number as i32)
    }

    #[expect(clippy::cast_possible_truncation, reason = "NSQ cuts off what is beyond, too")]
    fn cut_to_16_bits(self) -> Result<u16, String> {
        let value = self.value()?;
        let refused = |reason: &str| {
            self.refuse(format_args!("strconv.ParseUint: parsing {value:?}: {reason}"))
        };
        if value.starts_with(['+', '-']) {
            return Err(refused("invalid syntax"));
        }
        let number: u64 = value.parse().map_err(|error| refused(number_reason(&error)))?;
        Ok(number as u16)
    }

    fn strategy(self) -> Result<BackoffStrategy, String> {
        match self.value()? {
            "" | "exponential" => Ok(BackoffStrategy::Exponential),
            "full_jitter" => Ok(BackoffStrategy::FullJitter),
            _ => Err(self.refuse(Self::WRONG_TYPE)),
        }
    }

    fn address(self) -> Result<SocketAddr, String> {
        let value = self.value()?;
        let Some((host, _)) = value.rsplit_once(':') else {
            return Err(self.refuse(format_args!("address {value}: missing port in address")));
        };
        let whole = if host.is_empty() { format!("0.0.0.0{value}") } else { value.to_owned() };
        let found = whole.to_socket_addrs().ok().and_then(|mut found| found.next());
        found.ok_or_else(|| self.refuse(format_args!("lookup {host}: no such host")))
    }
}

fn number_reason(error: &std::num::ParseIntError) -> &'static str {
    use std::num::IntErrorKind::{NegOverflow, PosOverflow};
    match error.kind() {
        PosOverflow | NegOverflow => "value out of range",
        _ => "invalid syntax",
    }
}

/// A duration with a sign.
///
/// # Errors
/// In the words of Go's library.
fn span(text: &str) -> Result<Span, String> {
    let (is_negative, rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let parsed = (!rest.starts_with('+')).then(|| duration::parse(rest));
    let Some(Ok(duration)) = parsed else { return Err(why_no_span(text, rest)) };
    let nanoseconds = i64::try_from(duration.as_nanos()).expect("as long as Go's longest");
    Ok(Span { nanoseconds: if is_negative { -nanoseconds } else { nanoseconds } })
}

/// What Go's library says of a text that is no duration; `rest` is what stands behind its sign.
fn why_no_span(text: &str, mut rest: &str) -> String {
    let is_number = |c: char| c == '.' || c.is_ascii_digit();
    while !rest.is_empty() {
        let number = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let behind = &rest[number..];
        let fraction = behind.strip_prefix('.').map_or(0, |digits| {
            1 + digits.len() - digits.trim_start_matches(|c: char| c.is_ascii_digit()).len()
        });
        if number == 0 && fraction <= 1 {
            break;
        }
        let behind = &behind[fraction..];
        let unit = behind.find(is_number).unwrap_or(behind.len());
        match &behind[..unit] {
            "" => return format!("time: missing unit in duration {text:?}"),
            "ns" | "us" | "\u{b5}s" | "\u{3bc}s" | "ms" | "s" | "m" | "h" => {}
            unit => return format!("time: unknown unit {unit:?} in duration {text:?}"),
        }
        rest = &behind[unit..];
    }
    format!("time: invalid duration {text:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(setting: &str) -> Result<Options, String> {
        let mut options = Options::default();
        options.take(&Setting(setting.to_owned())).map_err(|invalid| invalid.reason)?;
        Ok(options)
    }

    #[test]
    fn durations_switches_and_numbers_are_read_as_go_nsq_reads_them() {
        let seconds = |setting: &str, read: fn(&Options) -> Span| {
            let options = set(setting).unwrap();
            read(&options).duration().as_secs_f64()
        };
        assert!((seconds("dial-timeout,1.5s", |o| o.dial_timeout) - 1.5).abs() < 1e-9);
        assert!((seconds("read_timeout,2m", |o| o.read_timeout) - 120.0).abs() < 1e-9);
        assert!((seconds("max-requeue_delay,0", |o| o.max_requeue_delay)).abs() < 1e-9);
        assert_eq!(set("heartbeat_interval,-1ns").unwrap().heartbeat_interval, Span::OFF);
        assert!(set("snappy").unwrap().snappy);
        assert!(!set("snappy,F").unwrap().snappy);
        assert!(!set("skip_lookupd_authorization,0").unwrap().lookupd_authorization);
        assert_eq!(set("max_attempts,65541").unwrap().max_attempts, 5);
        assert_eq!(set("sample_rate,99").unwrap().sample_rate, 99);
        assert_eq!(set("max_in_flight,0").unwrap().max_in_flight, 0);
        assert_eq!(set("client_id").unwrap().client_id, "%!s(bool=true)");
        assert_eq!(set("auth_secret,a,b").unwrap().auth_secret, "a,b");
        assert_eq!(
            set("backoff_strategy,full_jitter").unwrap().backoff_strategy,
            BackoffStrategy::FullJitter
        );
        assert_eq!(set("local_addr,127.0.0.1:0").unwrap().local_addr.unwrap().port(), 0);
        let untouched = set("max_in_flight,1").unwrap().identification();
        assert_eq!(set("").unwrap().identification(), untouched);
    }

    #[test]
    fn what_cannot_be_is_refused_in_go_nsqs_words() {
        for (setting, reason) in [
            ("bogus,1", "invalid option bogus"),
            ("bo-gus", "invalid option bo_gus"),
            (",", "failed to coerce option  () - strconv.ParseBool: parsing \"\": invalid syntax"),
            (",false", "invalid option "),
            ("dial_timeout", "failed to coerce option dial_timeout (true) - invalid value type"),
            (
                "dial-timeout,5",
                "failed to coerce option dial_timeout (5) - time: missing unit in duration \"5\"",
            ),
            (
                "msg_timeout,5x",
                "failed to coerce option msg_timeout (5x) - time: unknown unit \"x\" in duration \
                 \"5x\"",
            ),
            (
                "msg_timeout,x",
                "failed to coerce option msg_timeout (x) - time: invalid duration \"x\"",
            ),
            ("read_timeout,1ms", "invalid read_timeout ! 1ms < 100ms"),
            ("read_timeout,1h", "invalid read_timeout ! 1h0m0s > 5m0s"),
            ("msg_timeout,-1s", "invalid msg_timeout ! -1s < 0s"),
            ("lookupd_poll_jitter,1.5", "invalid lookupd_poll_jitter ! 1.5 > 1"),
            ("sample_rate,100", "invalid sample_rate ! 100 > 99"),
            ("max_in_flight,-1", "invalid max_in_flight ! -1 < 0"),
            (
                "max_in_flight,x",
                "failed to coerce option max_in_flight (x) - strconv.ParseInt: parsing \"x\": \
                 invalid syntax",
            ),
            (
                "max_attempts,-1",
                "failed to coerce option max_attempts (-1) - strconv.ParseUint: parsing \"-1\": \
                 invalid syntax",
            ),
            (
                "output_buffer_size,99999999999999999999",
                "failed to coerce option output_buffer_size (99999999999999999999) - \
                 strconv.ParseInt: parsing \"99999999999999999999\": value out of range",
            ),
            (
                "snappy,yes",
                "failed to coerce option snappy (yes) - strconv.ParseBool: parsing \"yes\": invalid \
                 syntax",
            ),
            ("tls_min_version,tls9", "ERROR: tls9 is not a tls version"),
        ] {
            assert_eq!(set(setting).err().as_deref(), Some(reason), "{setting}");
        }
    }

    #[test]
    fn heartbeats_must_come_before_the_connection_is_given_up() {
        let options = set("heartbeat_interval,61s").unwrap();
        let reason = "HeartbeatInterval 1m1s must be less than ReadTimeout 1m0s";
        assert_eq!(options.validate(), Err(reason.to_owned()));
        let options = Options { max_in_flight: -1, ..Options::default() };
        assert_eq!(options.validate(), Err("invalid MaxInFlight ! -1 < 0".to_owned()));
    }

    #[test]
    fn a_broker_is_told_all_that_go_nsq_tells_it() {
        let options = Options {
            client_id: "vm".to_owned(),
            hostname: "vm.example".to_owned(),
            output_buffer_timeout: Span::OFF,
            ..Options::for_utility("nsq_tail", &[]).unwrap()
        };
        let body = String::from_utf8(options.identification()).unwrap();
        assert_eq!(
            body,
            r#"{"client_id":"vm","deflate":false,"deflate_level":6,"feature_negotiation":true,"heartbeat_interval":30000,"hostname":"vm.example","long_id":"vm.example","msg_timeout":0,"output_buffer_size":16384,"output_buffer_timeout":-1,"sample_rate":0,"short_id":"vm","snappy":false,"tls_v1":false,"user_agent":"nsq_tail/1.3.0 go-nsq/1.1.0"}"#
        );
    }

    #[test]
    fn a_requeued_message_waits_as_often_as_it_was_delivered() {
        let options = Options::default();
        let seconds = [1, 2, 10, 11, 65_535].map(|count| options.requeue_delay(count).as_secs());
        assert_eq!(seconds, [90, 180, 900, 900, 900]);
    }
}
