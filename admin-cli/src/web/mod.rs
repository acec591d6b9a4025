//! nsqadmin: the page and the HTTP interface by which a cluster is looked at and changed in a
//! browser, with all routes of NSQ's.
//!
//! Puts the pieces together and holds no rule of its own. One thread: the work is to ask others.
//!
//! | Where do I look for | |
//! |---|---|
//! | flags, the file, what keeps it from starting | [`options`] |
//! | connections, limits, compression, log lines | [`server`] |
//! | which route is answered by whom | [`routes`] |
//! | what scripts ask below `/api` | [`api`], in the shape of [`view`] |
//! | what only the page asks, below `/api/live` | [`live`] |
//! | `/config`, graphite, telling of orders | [`config`], [`graphite`], [`notifications`] |
//! | administrators, networks, other sites' pages | [`access`] |
//! | the page itself | [`pages`], [`assets`] |

mod access;
mod api;
mod assets;
mod config;
mod go_json;
mod graphite;
mod live;
mod notifications;
mod options;
mod pages;
mod query;
mod routes;
mod server;
mod view;

use std::cell::RefCell;
use std::ffi::OsString;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;

use protocol::http::route::Table;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use startup::debug::Page;
use startup::listen::shown;
use startup::log::Log;
use startup::{config_file, flags, hostname, log, version};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::LocalSet;
use tracing::{info, warn};

use self::live::Live;
use self::notifications::Notifier;
use self::options::Options;
use self::routes::Route;
use crate::address::Address;
use crate::cluster::{Cluster, Http, Patience, Sources, Tls, TlsFiles};
use crate::terminal::{self, Ending};

const PROGRAM: &str = "nsqadmin";

/// The prefix of fatal lines, whatever the flags say (NSQ behaviour).
const FATAL_PREFIX: &str = "[nsqadmin] ";

/// Serves until a signal asks to stop. `arguments` are the flags, without a name in front.
pub(crate) fn run(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.collect();
    let (mut options, given) = match flags::try_parse::<Options>(arguments.clone()) {
        Ok(parsed) => parsed,
        Err(stop) => {
            terminal::print_to_stderr(&stop.text);
            return ExitCode::from(u8::try_from(stop.exit_code).unwrap_or(Ending::MISUSE));
        }
    };
    if options.version {
        terminal::print_to_stdout(&format!("{}\n", version::line(PROGRAM)));
        return ExitCode::SUCCESS;
    }
    if !options.config.is_empty() {
        let loaded = config_file::read(&options.config)
            .and_then(|text| config_file::parse(&text, arguments, &given));
        options = match loaded {
            Ok((options, _)) => options,
            Err(error) => {
                let file = &options.config;
                log::fatal(FATAL_PREFIX, &format!("failed to load config file {file} - {error}"))
            }
        };
    }
    let log = log::start(&options.log_prefix, options.log_level);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.unwrap_or_else(|error| {
        log::fatal(FATAL_PREFIX, &format!("failed to start the runtime - {error}"))
    });
    if let Err(reason) = LocalSet::new().block_on(&runtime, serve(options, log)) {
        log::fatal(FATAL_PREFIX, &format!("failed to instantiate {PROGRAM} - {reason}"));
    }
    ExitCode::SUCCESS
}

async fn serve(mut options: Options, log: Log) -> Result<(), String> {
    raise_open_files();
    let mut stop = StopSignals::listen().map_err(|error| error.to_string())?;
    options.check()?;
    let tls = load_tls(&options)?;
    options.check_addresses()?;
    info!("{}", version::line(PROGRAM));
    let listener = server::bind(&options.http_address).await?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    let address = shown(address);

    let admin = Rc::new(Admin::new(options, log, tls)?);
    info!("HTTP: listening on {address}");
    tokio::task::spawn_local(live::sampler::run(Rc::clone(&admin)));
    let accepting = tokio::task::spawn_local(server::accept(listener, Rc::clone(&admin)));
    if stop.received().await == Stop::AtOnce {
        give_up();
    }
    info!("HTTP: closing {address}");
    accepting.abort();
    admin.notifier.finish().await;
    Ok(())
}

/// Raises the limit of open files as far as this process may, as Go's runtime does: each connection is
/// one.
fn raise_open_files() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        warn!("failed to raise the limit of open files - {error}");
    }
}

/// The certificates that the flags name.
fn load_tls(options: &Options) -> Result<[Tls; 2], String> {
    let (certificate, key) = (&options.http_client_tls_cert, &options.http_client_tls_key);
    let root = &options.http_client_tls_root_ca_file;
    let path = |text: &String| (!text.is_empty()).then(|| PathBuf::from(text));
    if !certificate.is_empty() {
        for file in [certificate, key] {
            config_file::read(file).map_err(|error| {
                format!("failed to LoadX509KeyPair {certificate}, {key} - {error}")
            })?;
        }
    }
    if !root.is_empty() {
        config_file::read(root)
            .map_err(|error| format!("failed to read TLS root CA file {root} - {error}"))?;
    }
    let pair = TlsFiles {
        certificate: path(certificate),
        key: path(key),
        root: None,
        is_insecure: options.http_client_tls_insecure_skip_verify,
    };
    Tls::load(&pair)
        .map_err(|error| format!("failed to LoadX509KeyPair {certificate}, {key} - {error}"))?;
    let files = TlsFiles { root: path(root), ..pair };
    let load = || Tls::load(&files).map_err(|_| format!("failed to AppendCertsFromPEM {root}"));
    Ok([load()?, load()?])
}

/// What all requests share.
struct Admin {
    options: RefCell<Rc<Options>>,
    log: Log,
    /// For what somebody waits for.
    http: Http,
    /// For what is sampled all the time, so that it holds up nobody.
    sampling_http: Http,
    /// For graphite and the notifications' endpoint.
    outside: reqwest::Client,
    notifier: Notifier,
    live: Live,
    routes: Table<Route>,
    hostname: String,
}

impl Admin {
    fn new(options: Options, log: Log, tls: [Tls; 2]) -> Result<Self, String> {
        let patience = Patience {
            connect: options.http_client_connect_timeout,
            request: options.http_client_request_timeout,
        };
        let failed = |ending: Ending| match ending {
            Ending::Misuse(text) | Ending::Failed(text) | Ending::Declined(text) => text,
            Ending::OutputClosed | Ending::Partial => String::new(),
        };
        let [for_answers, for_samples] = tls;
        let http = Http::with_tls(patience, for_answers).map_err(failed)?;
        let quick = Patience {
            connect: patience.connect.min(live::CONNECT_MAX),
            request: patience.request.min(live::REQUEST_MAX),
        };
        let sampling_http = Http::with_tls(quick, for_samples).map_err(failed)?;
        let outside = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(options.http_client_connect_timeout)
            .user_agent(format!("{PROGRAM}/{}", version::RINGNSQ_VERSION))
            .build()
            .map_err(|error| format!("cannot make HTTP requests: {error}"))?;
        let notifier = Notifier::start(
            &options.notification_http_endpoint,
            outside.clone(),
            options.http_client_request_timeout,
        );
        let routes = routes::below(&options.base_path, options.proxy_graphite);
        Ok(Self {
            options: RefCell::new(Rc::new(options)),
            log,
            http,
            sampling_http,
            outside,
            notifier,
            live: Live::default(),
            routes,
            hostname: hostname::hostname(),
        })
    }

    /// The options in force.
    fn options(&self) -> Rc<Options> {
        Rc::clone(&self.options.borrow())
    }

    fn change_options(&self, options: Options) {
        *self.options.borrow_mut() = Rc::new(options);
    }

    /// The cluster, for what somebody waits for.
    fn cluster(&self) -> Cluster {
        Cluster::new(self.http.clone(), self.sources())
    }

    /// The cluster, for what is sampled.
    fn sampled_cluster(&self) -> Cluster {
        Cluster::new(self.sampling_http.clone(), self.sources())
    }

    fn sources(&self) -> Sources {
        let options = self.options();
        // One that cannot be asked, such as `host:http`, which NSQ's takes as well, is found out by asking,
        // and named then.
        let any = |text: &String| address(text).unwrap_or_else(|| Address::as_given(text));
        let addresses = |texts: &[String]| texts.iter().map(any).collect::<Vec<_>>();
        match options.nsqlookupd_http_addresses.is_empty() {
            true => Sources::Brokers(addresses(&options.nsqd_http_addresses)),
            false => Sources::Lookups(addresses(&options.nsqlookupd_http_addresses)),
        }
    }
}

/// An address of a flag. No host means this machine.
fn address(text: &str) -> Option<Address> {
    match text.strip_prefix(':') {
        Some(port) => format!("127.0.0.1:{port}").parse().ok(),
        None => text.parse().ok(),
    }
}

/// What SIGQUIT does to a program of NSQ's: it says what runs and ends with status 2.
fn give_up() -> ! {
    let says = [b"SIGQUIT: quit\n\n", &Page::Threads.body()[..]].concat();
    // Nobody is left to be told when standard error is gone.
    drop(std::io::stderr().write_all(&says));
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
    fn listen() -> std::io::Result<Self> {
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
