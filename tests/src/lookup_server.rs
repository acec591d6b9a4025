//! A running `nsqlookupd` on ports of its own, which stay its own while it is started again. Knows its
//! flags and the log lines that name the ports.

use std::net::SocketAddr;
use std::process::Command;

use crate::http::{self, Answer};
use crate::port::Port;
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
    _ports: [Port; 2],
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
        let ports = [Port::any(), Port::any()];
        let [tcp, http] = ports.each_ref().map(|port| port.address);
        Self { process: launch(maker, tcp, http), tcp, http, maker, _ports: ports }
    }

    /// Ends the directory with SIGTERM and starts it again, empty, at the same addresses.
    ///
    /// # Panics
    /// When it does not end with status 0, or does not start.
    pub fn restart(&mut self) {
        let status = self.process.terminate();
        assert_eq!(status.code(), Some(0), "{}", self.process.log());
        self.process = launch(self.maker, self.tcp, self.http);
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

fn launch(maker: Maker, tcp: SocketAddr, http: SocketAddr) -> Process {
    let mut process = Process::start(
        Command::new(maker.program("nsqlookupd"))
            .arg(format!("--tcp-address={tcp}"))
            .arg(format!("--http-address={http}"))
            .arg("--broadcast-address=127.0.0.1"),
    );
    process.logged(&format!("TCP: listening on {tcp}"));
    process.logged(&format!("HTTP: listening on {http}"));
    process
}
