//! A running nsqadmin, of either maker, on a port of its own. Knows its flags, the log line that names
//! the port, and how a request with headers is written.

use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use serde_json::Value;

use crate::http::{self, Answer};
use crate::process::Process;
use crate::programs::{Maker, ours, real};

/// An nsqadmin, gone when this is dropped.
#[derive(Debug)]
pub struct Nsqadmin {
    /// The process, for its log and its end.
    pub process: Process,
    /// Where it is asked.
    pub http: SocketAddr,
}

impl Nsqadmin {
    /// The command of an nsqadmin without any flag; `None`, said aloud, when the real one has not been
    /// built.
    #[must_use]
    pub fn command(maker: Maker) -> Option<Command> {
        match maker {
            Maker::Real => real("nsqadmin").map(Command::new),
            Maker::Ours => {
                let mut command = Command::new(ours("admin-cli"));
                command.arg0("nsqadmin");
                Some(command)
            }
        }
    }

    /// Starts one.
    ///
    /// # Panics
    /// When it does not listen soon.
    #[must_use]
    pub fn of(maker: Maker, flags: &[String]) -> Option<Self> {
        let mut command = Self::command(maker)?;
        let mut process = Process::start(command.arg("--http-address=127.0.0.1:0").args(flags));
        let http = process.logged("HTTP: listening on ");
        let http = http.trim().parse().expect("the log names an address");
        Some(Self { process, http })
    }

    /// The real one and ours with the same flags; `None`, said aloud, when the real one has not been
    /// built.
    #[must_use]
    pub fn both(flags: &[String]) -> Option<[Self; 2]> {
        let real = Self::of(Maker::Real, flags)?;
        Some([real, Self::of(Maker::Ours, flags)?])
    }

    /// One request, with these lines among its headers, on a connection of its own.
    #[must_use]
    pub fn ask(&self, method: &str, target: &str, headers: &str, body: &str) -> Answer {
        http::answer(&self.exchange(method, target, headers, body))
    }

    /// The bytes that answer a request.
    #[must_use]
    pub fn exchange(&self, method: &str, target: &str, headers: &str, body: &str) -> Vec<u8> {
        let length = body.len();
        let head = format!(
            "{method} {target} HTTP/1.1\r\nHost: nsqadmin.test\r\nConnection: close\r\n\
             Content-Length: {length}\r\n{headers}\r\n"
        );
        http::exchange(self.http, format!("{head}{body}").as_bytes())
    }

    /// The JSON that answers a GET, which must succeed.
    ///
    /// # Panics
    /// When it is refused.
    #[must_use]
    pub fn get(&self, target: &str) -> Value {
        let answer = self.ask("GET", target, "", "");
        assert_eq!(answer.status, 200, "{target}: {}", answer.text());
        answer.json()
    }
}
