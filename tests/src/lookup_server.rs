//! A running `nsqlookupd` on ports of its own.

use std::net::SocketAddr;
use std::process::Command;

use crate::http::{self, Answer};
use crate::process::Process;
use crate::programs::{Maker, under_test};

/// A directory of brokers, gone when this is dropped.
#[derive(Debug)]
pub struct LookupServer {
    /// The process, for its log and its end.
    pub process: Process,
    /// Where brokers register.
    pub tcp: SocketAddr,
    /// Where clients ask.
    pub http: SocketAddr,
}

impl LookupServer {
    /// The directory under test.
    #[must_use]
    pub fn start() -> Self {
        Self::of(under_test())
    }

    /// A directory of either maker.
    ///
    /// # Panics
    /// When it does not start to listen soon.
    #[must_use]
    pub fn of(maker: Maker) -> Self {
        let mut process = Process::start(
            Command::new(maker.program("nsqlookupd"))
                .arg("--tcp-address=127.0.0.1:0")
                .arg("--http-address=127.0.0.1:0")
                .arg("--broadcast-address=127.0.0.1"),
        );
        let tcp = process.logged("TCP: listening on ");
        let http = process.logged("HTTP: listening on ");
        let address = |text: &str| text.trim().parse().expect("the log names an address");
        let (tcp, http) = (address(&tcp), address(&http));
        Self { process, tcp, http }
    }

    /// The flag by which a broker finds this directory.
    #[must_use]
    pub fn flag(&self) -> String {
        format!("--lookupd-tcp-address={}", self.tcp)
    }

    /// A GET of this target.
    #[must_use]
    pub fn get(&self, target: &str) -> Answer {
        http::get(self.http, target)
    }

    /// A POST without a body.
    #[must_use]
    pub fn post(&self, target: &str) -> Answer {
        http::post(self.http, target, b"")
    }
}
