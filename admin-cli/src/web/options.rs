//! What the command line and the file say, and what must be so before nsqadmin starts.
//!
//! Knows: the flags with their defaults and help, which of them contradict each other, and under
//! which name `/config` shows each. Does not know: what is done with them.

#![allow(
    rustdoc::invalid_html_tags,
    rustdoc::broken_intra_doc_links,
    reason = "a flag's documentation is its usage text, in NSQ's words"
)]

use std::net::ToSocketAddrs as _;
use std::time::Duration;

use clap::{ArgAction, Parser};
use serde_json::{Value, json};
use startup::log::LogLevel;
use startup::{duration, flags};

use super::access::Network;
use crate::url::Url;

/// The flags of nsqadmin.
#[derive(Clone, Debug, Parser)]
#[command(name = "nsqadmin")]
pub(super) struct Options {
    /// path to config file
    #[arg(long, default_value = "")]
    pub(super) config: String,

    /// print version string
    #[arg(long, action = ArgAction::Set, value_parser = flags::boolean, default_value = "false")]
    pub(super) version: bool,

    /// set log verbosity: debug, info, warn, error, or fatal
    #[arg(long, default_value = "INFO")]
    pub(super) log_level: LogLevel,

    /// log message prefix
    #[arg(long, default_value = "[nsqadmin] ")]
    pub(super) log_prefix: String,

    /// [deprecated] has no effect, use --log-level
    #[arg(long, action = ArgAction::Set, value_parser = flags::boolean, default_value = "false")]
    pub(super) verbose: bool,

    /// <addr>:<port> to listen on for HTTP clients
    #[arg(long, default_value = "0.0.0.0:4171")]
    pub(super) http_address: String,

    /// URL base path
    #[arg(long, default_value = "/")]
    pub(super) base_path: String,

    /// (development use only)
    #[arg(long, default_value = "")]
    pub(super) dev_static_dir: String,

    /// graphite HTTP address
    #[arg(long, default_value = "")]
    pub(super) graphite_url: String,

    /// proxy HTTP requests to graphite
    #[arg(long, action = ArgAction::Set, value_parser = flags::boolean, default_value = "false")]
    pub(super) proxy_graphite: bool,

    /// The counter stats key formatting applied by the implementation of statsd. If no formatting is desired, set this to an empty string.
    #[arg(long, verbatim_doc_comment, default_value = "stats.counters.%s.count")]
    pub(super) statsd_counter_format: String,

    /// The gauge stats key formatting applied by the implementation of statsd. If no formatting is desired, set this to an empty string.
    #[arg(long, verbatim_doc_comment, default_value = "stats.gauges.%s")]
    pub(super) statsd_gauge_format: String,

    /// prefix used for keys sent to statsd (%s for host replacement, must match nsqd)
    #[arg(long, default_value = "nsq.%s")]
    pub(super) statsd_prefix: String,

    /// time interval nsqd is configured to push to statsd (must match nsqd)
    #[arg(long, value_parser = duration::parse, default_value = "1m0s")]
    pub(super) statsd_interval: Duration,

    /// HTTP endpoint (fully qualified) to which POST notifications of admin actions will be sent
    #[arg(long, default_value = "")]
    pub(super) notification_http_endpoint: String,

    /// timeout for HTTP connect
    #[arg(long, value_parser = duration::parse, default_value = "2s")]
    pub(super) http_client_connect_timeout: Duration,

    /// timeout for HTTP request
    #[arg(long, value_parser = duration::parse, default_value = "5s")]
    pub(super) http_client_request_timeout: Duration,

    /// configure the HTTP client to skip verification of TLS certificates
    #[arg(long, action = ArgAction::Set, value_parser = flags::boolean, default_value = "false")]
    pub(super) http_client_tls_insecure_skip_verify: bool,

    /// path to CA file for the HTTP client
    #[arg(long, default_value = "")]
    pub(super) http_client_tls_root_ca_file: String,

    /// path to certificate file for the HTTP client
    #[arg(long, default_value = "")]
    pub(super) http_client_tls_cert: String,

    /// path to key file for the HTTP client
    #[arg(long, default_value = "")]
    pub(super) http_client_tls_key: String,

    /// A CIDR from which to allow HTTP requests to the /config endpoint
    #[arg(long, default_value = "127.0.0.1/8")]
    pub(super) allow_config_from_cidr: String,

    /// HTTP header to check for authenticated admin users
    #[arg(long, default_value = "X-Forwarded-User")]
    pub(super) acl_http_header: String,

    /// lookupd HTTP address (may be given multiple times)
    #[arg(long = "lookupd-http-address")]
    pub(super) nsqlookupd_http_addresses: Vec<String>,

    /// nsqd HTTP address (may be given multiple times)
    #[arg(long = "nsqd-http-address")]
    pub(super) nsqd_http_addresses: Vec<String>,

    /// admin user (may be given multiple times; if specified, only these users will be able to perform privileged actions; acl-http-header is used to determine the authenticated user)
    #[arg(long = "admin-user")]
    pub(super) admin_users: Vec<String>,
}

impl Options {
    /// Looks for what keeps nsqadmin from starting, in NSQ's order and words, and brings the base
    /// path into its one spelling. TLS is looked at by whoever reads its files, between the two
    /// halves of this list; see [`Self::check_addresses`].
    ///
    /// # Errors
    /// What stands behind `failed to instantiate nsqadmin - `.
    pub(super) fn check(&mut self) -> Result<(), String> {
        match (self.nsqd_http_addresses.is_empty(), self.nsqlookupd_http_addresses.is_empty()) {
            (true, true) => {
                return Err("--nsqd-http-address or --lookupd-http-address required".to_owned());
            }
            (false, false) => {
                return Err("use --nsqd-http-address or --lookupd-http-address not both".to_owned());
            }
            _ => {}
        }
        match (self.http_client_tls_cert.is_empty(), self.http_client_tls_key.is_empty()) {
            (false, true) => Err("--http-client-tls-key must be specified with \
                                  --http-client-tls-cert"
                .to_owned()),
            (true, false) => Err("--http-client-tls-cert must be specified with \
                                  --http-client-tls-key"
                .to_owned()),
            _ => {
                self.base_path = normal_base_path(&self.base_path);
                Ok(())
            }
        }
    }

    /// The second half of [`Self::check`].
    ///
    /// # Errors
    /// As there.
    pub(super) fn check_addresses(&self) -> Result<(), String> {
        let flags = [
            ("--lookupd-http-address", &self.nsqlookupd_http_addresses),
            ("--nsqd-http-address", &self.nsqd_http_addresses),
        ];
        for (flag, addresses) in flags {
            for address in addresses {
                resolve(address)
                    .map_err(|reason| format!("failed to resolve {flag} ({address}) - {reason}"))?;
            }
        }
        let graphite = &self.graphite_url;
        if self.proxy_graphite
            && let Err(reason) = Url::parse(graphite)
        {
            return Err(format!("failed to parse --graphite-url ({graphite}) - {reason}"));
        }
        let network = &self.allow_config_from_cidr;
        if !network.is_empty() && Network::parse(network).is_none() {
            return Err(format!(
                "failed to parse --allow-config-from-cidr ({network}) - \
                 invalid CIDR address: {network}"
            ));
        }
        Ok(())
    }

    /// An option by its name in the file: text as it is, all else as JSON (NSQ behaviour: durations
    /// are nanoseconds, and the log level is a number).
    pub(super) fn shown(&self, name: &str) -> Option<Value> {
        let nanoseconds =
            |duration: Duration| json!(i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX));
        Some(match name {
            "log_level" => json!(self.log_level.number()),
            "log_prefix" => json!(self.log_prefix),
            "http_address" => json!(self.http_address),
            "base_path" => json!(self.base_path),
            "dev_static_dir" => json!(self.dev_static_dir),
            "graphite_url" => json!(self.graphite_url),
            "proxy_graphite" => json!(self.proxy_graphite),
            "statsd_prefix" => json!(self.statsd_prefix),
            "statsd_counter_format" => json!(self.statsd_counter_format),
            "statsd_gauge_format" => json!(self.statsd_gauge_format),
            "statsd_interval" => nanoseconds(self.statsd_interval),
            "nsqlookupd_http_addresses" => json!(self.nsqlookupd_http_addresses),
            "nsqd_http_addresses" => json!(self.nsqd_http_addresses),
            "http_client_connect_timeout" => nanoseconds(self.http_client_connect_timeout),
            "http_client_request_timeout" => nanoseconds(self.http_client_request_timeout),
            "http_client_tls_insecure_skip_verify" => {
                json!(self.http_client_tls_insecure_skip_verify)
            }
            "http_client_tls_root_ca_file" => json!(self.http_client_tls_root_ca_file),
            "http_client_tls_cert" => json!(self.http_client_tls_cert),
            "http_client_tls_key" => json!(self.http_client_tls_key),
            "allow_config_from_cidr" => json!(self.allow_config_from_cidr),
            "notification_http_endpoint" => json!(self.notification_http_endpoint),
            "acl_http_header" => json!(self.acl_http_header),
            "admin_users" => json!(self.admin_users),
            _ => return None,
        })
    }
}

/// A leading slash, no trailing one, nothing doubled; `/` for nothing.
fn normal_base_path(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// Whether an address leads anywhere, in Go's words when it does not.
fn resolve(address: &str) -> Result<(), String> {
    let wrong = |why: &str| Err(format!("address {address}: {why}"));
    let Some((host, port)) = address.rsplit_once(':') else {
        return wrong("missing port in address");
    };
    let host = match host.strip_prefix('[') {
        Some(inside) => match inside.strip_suffix(']') {
            Some(inside) => inside,
            None => return wrong("missing ']' in address"),
        },
        None if host.contains(':') => return wrong("too many colons in address"),
        None => host,
    };
    let port = match port {
        "" => 0,
        "http" => 80,
        "https" => 443,
        digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => match digits.parse() {
            Ok(port) => port,
            Err(_) => return Err(format!("address {digits}: invalid port")),
        },
        name => return Err(format!("lookup tcp/{name}: unknown port")),
    };
    if host.is_empty() {
        return Ok(());
    }
    match (host, port).to_socket_addrs() {
        Ok(_) => Ok(()),
        Err(_) => Err(format!("lookup {host}: no such host")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(flags: &[&str]) -> Options {
        let flags = flags.iter().map(Into::into);
        flags::try_parse::<Options>(flags).expect("the flags are good").0
    }

    fn refusal(flags: &[&str]) -> Option<String> {
        let mut options = options(flags);
        options.check().and_then(|()| options.check_addresses()).err()
    }

    #[test]
    fn what_keeps_it_from_starting_is_told_in_nsqs_words() {
        let nsqd = "--nsqd-http-address=127.0.0.1:4151";
        let lookupd = "--lookupd-http-address=127.0.0.1:4161";
        for (flags, text) in [
            (&[][..], Some("--nsqd-http-address or --lookupd-http-address required")),
            (&[nsqd, lookupd], Some("use --nsqd-http-address or --lookupd-http-address not both")),
            (
                &[nsqd, "--http-client-tls-cert=a"],
                Some("--http-client-tls-key must be specified with --http-client-tls-cert"),
            ),
            (
                &[nsqd, "--http-client-tls-key=a"],
                Some("--http-client-tls-cert must be specified with --http-client-tls-key"),
            ),
            (
                &["--lookupd-http-address=foo"],
                Some(
                    "failed to resolve --lookupd-http-address (foo) - \
                     address foo: missing port in address",
                ),
            ),
            (
                &["--nsqd-http-address=::1:5"],
                Some(
                    "failed to resolve --nsqd-http-address (::1:5) - \
                     address ::1:5: too many colons in address",
                ),
            ),
            (
                &[nsqd, "--allow-config-from-cidr=x"],
                Some("failed to parse --allow-config-from-cidr (x) - invalid CIDR address: x"),
            ),
            (&[nsqd, "--allow-config-from-cidr="], None),
            (
                &[nsqd, "--proxy-graphite", "--graphite-url=:8080"],
                Some(
                    "failed to parse --graphite-url (:8080) - \
                     parse \":8080\": missing protocol scheme",
                ),
            ),
            (&[nsqd, "--graphite-url=:8080"], None),
            (&[lookupd, "--lookupd-http-address=[::1]:4161"], None),
        ] {
            assert_eq!(refusal(flags).as_deref(), text, "{flags:?}");
        }
    }

    #[test]
    fn the_base_path_has_one_spelling() {
        for (given, path) in [
            ("", "/"),
            ("/", "/"),
            ("admin", "/admin"),
            ("/admin/", "/admin"),
            ("//a/./b/../c", "/a/c"),
            ("/..", "/"),
        ] {
            assert_eq!(normal_base_path(given), path, "{given}");
        }
    }
}
