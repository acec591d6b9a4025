//! nsqlookupd: tells clients which nsqd produces a topic.
//!
//! Puts the pieces together and holds no rule of its own. One thread: the work is a few lookups in
//! memory for each request.

mod clock;
mod config;
mod http;
mod listen;
mod metrics;
mod nodes;
mod registry;
mod server;
mod tcp;
mod waiting;

use std::io::{self, Write};
use std::rc::Rc;

use protocol::discovery::LookupdIdentity;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use startup::debug::Page;
use startup::{config_file, flags, hostname, log, version};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::LocalSet;
use tracing::{info, warn};

use crate::clock::Clock;
use crate::config::Flags;
use crate::registry::{Lifetimes, Registry};
use crate::server::Server;

const PROGRAM: &str = "nsqlookupd";

/// The prefix of lines written before flags are in force, and of fatal ones.
const FATAL_PREFIX: &str = "[nsqlookupd] ";

fn main() {
    let (mut flags, given) = flags::parse::<Flags>();
    if flags.version {
        // A reader that has gone away needs no version.
        drop(writeln!(io::stdout(), "{}", version::line(PROGRAM)));
        return;
    }
    if !flags.config.is_empty() {
        let loaded = config_file::read(&flags.config).and_then(|text| {
            config_file::parse(&text, std::env::args_os().skip(1), &given).map(|(flags, _)| flags)
        });
        flags = loaded.unwrap_or_else(|error| {
            let file = &flags.config;
            log::fatal(FATAL_PREFIX, &format!("failed to load config file {file} - {error}"))
        });
    }
    log::start(&flags.log_prefix, flags.log_level);
    info!("{}", version::line(PROGRAM));
    raise_open_files();

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.unwrap_or_else(|error| {
        log::fatal(FATAL_PREFIX, &format!("failed to start the runtime - {error}"))
    });
    let tasks = LocalSet::new();
    if let Err(error) = tasks.block_on(&runtime, run(flags)) {
        log::fatal(FATAL_PREFIX, &format!("failed to instantiate {PROGRAM} - {error}"));
    }
}

/// Raises the limit of open files as far as this process may, as Go's runtime does: each connection
/// is one.
fn raise_open_files() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        warn!("failed to raise the limit of open files - {error}");
    }
}

/// Serves until a signal asks to stop.
async fn run(flags: Flags) -> io::Result<()> {
    let mut stop = StopSignals::listen()?;
    let tcp_listener = listen(&flags.tcp_address).await?;
    let http_listener = listen(&flags.http_address).await?;
    let (tcp_address, http_address) = (tcp_listener.local_addr()?, http_listener.local_addr()?);

    let registry = Registry::new(Lifetimes {
        inactive_producer_timeout: flags.inactive_producer_timeout,
        tombstone_lifetime: flags.tombstone_lifetime,
    });
    let identity = LookupdIdentity {
        broadcast_address: flags.broadcast_address,
        hostname: hostname::hostname(),
        http_port: http_address.port(),
        tcp_port: tcp_address.port(),
        version: version::NSQ_VERSION.to_owned(),
    };
    let server = Rc::new(Server::new(registry, Clock::start(), identity));

    info!("TCP: listening on {tcp_address}");
    let for_tcp = Rc::clone(&server);
    tokio::task::spawn_local(listen::accept(
        tcp_listener,
        "TCP",
        Rc::new(move |stream, peer| {
            let server = Rc::clone(&for_tcp);
            async move { tcp::serve(&server, stream, peer).await }
        }),
    ));
    info!("HTTP: listening on {http_address}");
    tokio::task::spawn_local(listen::accept(
        http_listener,
        "HTTP",
        Rc::new(move |stream, peer| {
            let server = Rc::clone(&server);
            async move { http::serve(&server, stream, peer).await }
        }),
    ));

    if stop.received().await == Stop::AtOnce {
        give_up();
    }
    info!("TCP: closing {tcp_address}");
    info!("HTTP: closing {http_address}");
    Ok(())
}

async fn listen(address: &str) -> io::Result<TcpListener> {
    listen::bind(address).await.map_err(|error| {
        let text = format!(
            "listen ({address}) failed - listen tcp {address}: {}",
            startup::listen::reason(&error)
        );
        io::Error::new(error.kind(), text)
    })
}

/// What SIGQUIT does to a program of NSQ's: it says what runs and ends with status 2.
fn give_up() -> ! {
    let says = [b"SIGQUIT: quit\n\n", &Page::Threads.body()[..]].concat();
    // Nobody is left to be told when standard error is gone.
    drop(io::stderr().write_all(&says));
    std::process::exit(2)
}

/// How the process shall end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    InOrder,
    AtOnce,
}

/// The signals that end the process, and those that would without being heard.
struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
    quit: Signal,
    _ignored: [Signal; 2],
}

impl StopSignals {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            quit: signal(SignalKind::quit())?,
            _ignored: [signal(SignalKind::user_defined1())?, signal(SignalKind::user_defined2())?],
        })
    }

    async fn received(&mut self) -> Stop {
        tokio::select! {
            _ = self.interrupt.recv() => Stop::InOrder,
            _ = self.terminate.recv() => Stop::InOrder,
            _ = self.quit.recv() => Stop::AtOnce,
        }
    }
}
