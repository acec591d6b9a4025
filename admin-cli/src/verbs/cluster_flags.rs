//! The flags by which a verb finds the cluster it works on.
//!
//! Knows: their names, defaults and contradictions, and what to say when nobody answers. Does not
//! know: what is asked.

use std::time::Duration;

use clap::{ArgAction, Args};
use startup::{duration, flags};

use crate::address::{self, Address};
use crate::cluster::{Cluster, Daemon, Failure, Http, Patience, Silence, Sources, Tls, TlsFiles};
use crate::terminal::Ending;

/// Where the cluster is, and how long to wait for it.
#[derive(Clone, Debug, Args)]
pub(crate) struct ClusterFlags {
    /// HTTP address of nsqd (may be given multiple times; 127.0.0.1:4151 when no address is given)
    #[arg(long)]
    nsqd_http_address: Vec<Address>,
    /// HTTP address of nsqlookupd (may be given multiple times)
    #[arg(long)]
    lookupd_http_address: Vec<Address>,
    /// timeout for HTTP connect
    #[arg(long, value_parser = duration::parse, default_value = "2s")]
    http_client_connect_timeout: Duration,
    /// timeout for HTTP request
    #[arg(long, value_parser = duration::parse, default_value = "5s")]
    http_client_request_timeout: Duration,
    /// path to certificate file to show where nsqd wants HTTPS
    #[arg(long, default_value = "")]
    http_client_tls_cert: String,
    /// path to key file of that certificate
    #[arg(long, default_value = "")]
    http_client_tls_key: String,
    /// path to file of the certificates to trust instead of the machine's
    #[arg(long, default_value = "")]
    http_client_tls_root_ca_file: String,
    /// trust whoever answers over HTTPS
    #[arg(long, action = ArgAction::Set, value_parser = flags::boolean, default_value = "false")]
    http_client_tls_insecure_skip_verify: bool,
}

impl ClusterFlags {
    /// The cluster; the nsqd of this machine when the flags name none.
    pub(crate) fn cluster(&self) -> Result<Cluster, Ending> {
        self.cluster_or(|| Sources::Brokers(vec![local(4151)]))
    }

    /// The cluster as nsqlookupd knows it; the one of this machine when the flags name nothing.
    pub(crate) fn directory(&self) -> Result<Cluster, Ending> {
        if !self.nsqd_http_address.is_empty() {
            let text = "--nsqd-http-address is of no use here: nsqlookupd is asked";
            return Err(Ending::Misuse(text.to_owned()));
        }
        self.cluster_or(|| Sources::Lookups(vec![local(4161)]))
    }

    fn cluster_or(&self, default: impl FnOnce() -> Sources) -> Result<Cluster, Ending> {
        let sources = match (&*self.nsqd_http_address, &*self.lookupd_http_address) {
            ([], []) => default(),
            (brokers, []) => Sources::Brokers(without_repetition(brokers)),
            ([], lookups) => Sources::Lookups(without_repetition(lookups)),
            _ => {
                let text = "use --nsqd-http-address or --lookupd-http-address not both";
                return Err(Ending::Misuse(text.to_owned()));
            }
        };
        for (name, duration) in [
            ("http-client-connect-timeout", self.http_client_connect_timeout),
            ("http-client-request-timeout", self.http_client_request_timeout),
        ] {
            if duration.is_zero() {
                return Err(Ending::Misuse(format!("--{name} should be positive")));
            }
        }
        let path = |text: &str| (!text.is_empty()).then(|| text.into());
        let files = TlsFiles {
            certificate: path(&self.http_client_tls_cert),
            key: path(&self.http_client_tls_key),
            root: path(&self.http_client_tls_root_ca_file),
            is_insecure: self.http_client_tls_insecure_skip_verify,
        };
        let tls = Tls::load(&files).map_err(Ending::Misuse)?;
        let patience = Patience {
            connect: self.http_client_connect_timeout,
            request: self.http_client_request_timeout,
        };
        Ok(Cluster::new(Http::with_tls(patience, tls)?, sources))
    }
}

fn local(port: u16) -> Address {
    Address::of("127.0.0.1", port)
}

/// An address that is given twice is asked once: else all it counts would count twice.
fn without_repetition(addresses: &[Address]) -> Vec<Address> {
    let mut once: Vec<Address> = Vec::with_capacity(addresses.len());
    for address in addresses {
        if !once.contains(address) {
            once.push(address.clone());
        }
    }
    once
}

/// What to tell a user to whom nothing answers.
pub(crate) fn silence(sources: &Sources, failures: &[Failure]) -> Ending {
    let reasons: String = failures.iter().map(|failure| format!("\n  {failure}")).collect();
    let daemon = sources.daemon();
    let (port, wrong_port) = match daemon {
        Daemon::Nsqd => (4151, 4150),
        Daemon::Nsqlookupd => (4161, 4160),
    };
    Ending::Failed(format!(
        "no {daemon} answers at {}{reasons}\ncheck that {daemon} runs there, and that this is its \
         HTTP address (port {port} by default, not {wrong_port})",
        address::list(sources.addresses()),
    ))
}

/// The same of those who were asked in the end: where nsqlookupd answered, these are the nsqds that
/// it named.
pub(crate) fn nobody(sources: &Sources, nobody: &Silence) -> Ending {
    if nobody.daemon == sources.daemon() {
        return silence(sources, &nobody.failures);
    }
    if nobody.failures.is_empty() {
        return Ending::Failed(
            "nsqlookupd knows no nsqd: start one with --lookupd-tcp-address".to_owned(),
        );
    }
    let reasons: String = nobody.failures.iter().map(|failure| format!("\n  {failure}")).collect();
    Ending::Failed(format!("none of the nsqds that nsqlookupd knows answers{reasons}"))
}

/// The flags of a verb that shows something.
#[derive(Debug, clap::Parser)]
#[command(name = "admin-cli")]
pub(crate) struct ListFlags {
    #[command(flatten)]
    pub(crate) cluster: ClusterFlags,
    /// write one line of JSON instead of a table
    #[arg(long, action = ArgAction::Set, value_parser = flags::boolean, default_value = "false")]
    pub(crate) json: bool,
}

/// The flags of a verb that changes something of which nothing is lost.
#[derive(Debug, clap::Parser)]
#[command(name = "admin-cli")]
pub(crate) struct ChangeFlags {
    #[command(flatten)]
    pub(crate) cluster: ClusterFlags,
    /// write a line of JSON for each change instead of a sentence
    #[arg(long, action = ArgAction::Set, value_parser = flags::boolean, default_value = "false")]
    pub(crate) json: bool,
}

/// The flags of a verb that asks first.
#[derive(Debug, clap::Parser)]
#[command(name = "admin-cli")]
pub(crate) struct DestroyFlags {
    #[command(flatten)]
    pub(crate) cluster: ClusterFlags,
    /// write a line of JSON for each change instead of a sentence
    #[arg(long, action = ArgAction::Set, value_parser = flags::boolean, default_value = "false")]
    pub(crate) json: bool,
    /// go ahead without asking
    #[arg(long, action = ArgAction::Set, value_parser = flags::boolean, default_value = "false")]
    pub(crate) yes: bool,
}
