//! A running `nsqlookupd` on ports of its own. Knows its flags and the log lines that name the ports.

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
    maker: Maker,
}

impl LookupServer {
    /// The directory under test.
    #[must_use]
    pub fn start() -> Self {
        Self::of(under_test())
    }

    /// A directory of either maker.
    #[must_use]
    pub fn of(maker: Maker) -> Self {
        Self::at(maker, ["127.0.0.1:0", "127.0.0.1:0"])
    }

    /// Ends the directory with SIGTERM and starts it again, empty, at the same addresses.
    ///
    /// # Panics
    /// When it does not end with status 0, or does not start.
    pub fn restart(&mut self) {
        let status = self.process.terminate();
        assert_eq!(status.code(), Some(0), "{}", self.process.log());
        *self = Self::at(self.maker, [&self.tcp.to_string(), &self.http.to_string()]);
    }

    fn at(maker: Maker, [tcp, http]: [&str; 2]) -> Self {
        let mut process = Process::start(
            Command::new(maker.program("nsqlookupd"))
                .arg(format!("--tcp-address={tcp}"))
                .arg(format!("--http-address={http}"))
                .arg("--broadcast-address=127.0.0.1"),
        );
        let tcp = process.logged("TCP: listening on ");
        let http = process.logged("HTTP: listening on ");
        let address = |text: &str| text.trim().parse().expect("the log names an address");
        let (tcp, http) = (address(&tcp), address(&http));
        Self { process, tcp, http, maker }
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
