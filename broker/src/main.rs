//! Starts the broker: flags, checks that can fail with a sentence, then the cores.

use broker::clock::Clock;
use broker::flags::{self, Flags};
use broker::shard::{Doors, Start};
use broker::topic::catalogue::Catalogue;
use broker::{preflight, shard};
use glommio::CpuSet;
use startup::flags::Given;
use startup::listen::Address;
use std::io::{BufWriter, Write as _};
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

fn main() {
    let (mut flags, mut given) = startup::flags::parse::<Flags>();
    flags.sort_percentiles();
    let percentiles_stand_here = given.contains("e2e-processing-latency-percentile");
    if flags.version {
        #[expect(clippy::print_stdout, reason = "this is what was asked for")]
        {
            println!("{}", startup::version::line("nsqd"));
        }
        return;
    }
    if !flags.config.is_empty() {
        (flags, given) = load_settings(&flags.config, &given).unwrap_or_else(|reason| {
            let reason = format!("failed to load config file {} - {reason}", flags.config);
            startup::log::fatal(&flags.log_prefix, &reason)
        });
        if percentiles_stand_here {
            flags.sort_percentiles();
        }
    }
    if flags.check_data {
        std::process::exit(check_data(&flags));
    }
    end_with_any_panic();
    let prefix = flags.log_prefix.clone();
    startup::log::start(&prefix, flags.log_level);
    if let Err(reason) = start(flags, &given) {
        startup::log::fatal(&prefix, &reason);
    }
    tracing::info!("NSQ: bye");
}

/// Says what the data path holds; the status to exit with.
fn check_data(flags: &Flags) -> i32 {
    let data_path = flags.data_path();
    let mut out = BufWriter::new(std::io::stdout().lock());
    let checked = broker::check_data::check(&data_path, &mut out)
        .and_then(|is_good| out.flush().map(|()| is_good));
    match checked {
        Ok(is_good) => i32::from(!is_good),
        Err(error) => {
            #[expect(clippy::print_stderr, reason = "there is no log")]
            {
                eprintln!("{} cannot be checked: {error}", data_path.display());
            }
            2
        }
    }
}

/// A panic on any thread ends the process: the state of that core is no longer trusted, and the
/// others would wait for it for ever.
fn end_with_any_panic() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        std::process::abort();
    }));
}

/// The flags once more, with the file behind the command line.
fn load_settings(path: &str, given: &Given) -> Result<(Flags, Given), String> {
    startup::config_file::read(path)
        .and_then(|text| startup::config_file::parse(&text, std::env::args_os().skip(1), given))
        .map_err(|error| error.to_string())
}

fn start(flags: Flags, given: &Given) -> Result<(), String> {
    let clock = Clock::start();
    let started_at = clock.now().wall.0 / 1_000_000_000;
    let processors = processors()?;
    let instantiate = |reason: String| format!("failed to instantiate nsqd - {reason}");
    let tls = flags.tls_settings();
    let mut config = flags.into_config(processors.len(), started_at).map_err(instantiate)?;

    let deaf = |error| format!("failed to listen for signals - {error}");
    survive_file_size_limit().map_err(deaf)?;
    heed_other_signals().map_err(deaf)?;
    // Before anybody can know that the broker is there, and tell it to stop.
    let stop = stop_signals().map_err(deaf)?;
    tracing::info!("{}", startup::version::line("nsqd"));
    tracing::info!("ID: {}", config.node_id);
    for (flag, reason) in flags::WITHOUT_EFFECT.into_iter().filter(|(flag, _)| given.contains(flag))
    {
        tracing::info!("--{flag} has no effect: {reason}");
    }
    let lock = preflight::lock_data_path(&config.data_path).map_err(instantiate)?;
    config.tls = tls.load().map_err(instantiate)?;
    config.offer.tls = config.tls.is_some();
    if config.auth.is_some() {
        config.client_tls = Some(tls.load_client().map_err(instantiate)?);
    }
    if config.tls.is_none() {
        config.https_address = None;
    }
    // Folders opened relative to another are not found by the ring.
    config.data_path = std::path::absolute(&config.data_path)
        .map_err(|error| format!("failed to find the working directory - {error}"))?;
    preflight::check_ring(config.shards).map_err(instantiate)?;
    let open_files = preflight::raise_open_files();
    config.open_topics_per_shard = preflight::open_topics_per_shard(open_files, config.shards);
    let catalogue = load_metadata(&config.data_path)?;
    let doors = Doors::open(
        &config.tcp_address,
        config.http_address.as_ref(),
        config.https_address.as_ref(),
    )
    .map_err(instantiate)?;
    let mut paths = SocketFiles::default();
    paths.announce("TCP", &doors.tcp, &mut config.tcp_address);
    if let (Some(http), Some(address)) = (&doors.http, &mut config.http_address) {
        paths.announce("HTTP", http, address);
    }
    if let (Some(https), Some(address)) = (&doors.https, &mut config.https_address) {
        paths.announce("HTTPS", https, address);
    }
    config.fill_in_ports();

    shard::run(Start { config, doors, catalogue, stop }, processors, clock)?;
    drop((lock, paths));
    Ok(())
}

/// The processors this process may run on.
fn processors() -> Result<CpuSet, String> {
    let allowed = rustix::thread::sched_getaffinity(None)
        .map_err(|error| format!("failed to ask for the processors to run on - {error}"))?;
    let online =
        CpuSet::online().map_err(|error| format!("failed to list the processors - {error}"))?;
    Ok(online.filter(|location| allowed.is_set(location.cpu)))
}

#[expect(clippy::disallowed_methods, reason = "before any core serves")]
fn load_metadata(data_path: &Path) -> Result<Catalogue, String> {
    let path = data_path.join("nsqd.dat");
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(Catalogue::default());
        }
        Err(error) => {
            return Err(format!(
                "failed to load metadata - failed to read {}: {error}",
                path.display()
            ));
        }
    };
    let (catalogue, oddities) = Catalogue::from_file(&bytes).map_err(|error| {
        format!(
            "failed to load metadata - failed to parse metadata in {} - {error}",
            path.display()
        )
    })?;
    for oddity in oddities {
        tracing::warn!("{oddity}");
    }
    Ok(catalogue)
}

/// The Unix sockets that are listened on; dropped, their files go.
#[derive(Default)]
struct SocketFiles(Vec<PathBuf>);

impl SocketFiles {
    /// Logs where a door really is: any port may have been asked for.
    fn announce(&mut self, what: &str, listener: &TcpListener, address: &mut Address) {
        match address {
            Address::Port(address) => {
                if let Ok(real) = listener.local_addr() {
                    *address = real;
                }
            }
            Address::Path(path) => self.0.push(path.clone()),
        }
        tracing::info!("{what}: listening on {address}");
    }
}

impl Drop for SocketFiles {
    #[expect(clippy::disallowed_methods, reason = "no core serves any more")]
    fn drop(&mut self) {
        for path in &self.0 {
            if let Err(error) = std::fs::remove_file(path) {
                tracing::warn!("failed to remove {} - {error}", path.display());
            }
        }
    }
}

/// Has a write beyond the limit of a file's size (`ulimit -f`) fail like any that the disk refuses,
/// rather than end the process: any handler does.
fn survive_file_size_limit() -> std::io::Result<()> {
    signal_hook::flag::register(signal_hook::consts::SIGXFSZ, Arc::default())?;
    Ok(())
}

/// Has the other signals do what they do to nsqd: SIGQUIT ends it at once with status 2, and those
/// that other programs use for their logs do nothing. SIGHUP ends it, unhandled, as it ends nsqd.
fn heed_other_signals() -> std::io::Result<()> {
    use signal_hook::consts::{SIGALRM, SIGQUIT, SIGUSR1, SIGUSR2};
    signal_hook::flag::register_conditional_shutdown(SIGQUIT, 2, Arc::new(true.into()))?;
    for signal in [SIGALRM, SIGUSR1, SIGUSR2] {
        signal_hook::flag::register(signal, Arc::default())?;
    }
    Ok(())
}

/// A socket that becomes readable at SIGTERM and SIGINT.
fn stop_signals() -> std::io::Result<UnixStream> {
    let (stop, raised) = UnixStream::pair()?;
    for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT] {
        signal_hook::low_level::pipe::register(signal, raised.try_clone()?)?;
    }
    Ok(stop)
}
