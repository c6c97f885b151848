//! `ottla server`, and `ottla` alone: runs a broker until SIGTERM or SIGINT.

use std::{
    fs,
    io::{IsTerminal, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::Args;
use ottla::{
    Broker, BrokerSettings, Loggers, RunningBroker,
    config::{BrokerConfig, ConfigError},
};
use ottla_io::real::{self, RealIo};
use tracing::{error, info, warn};
use tracing_subscriber::EnvFilter;

use super::{metrics_http, tool};

/// What `ottla server` is given.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct ServerArgs {
    /// A server.properties file, as it is written for Apache Kafka.
    file: Option<PathBuf>,
    /// A configuration that is stronger than the file's; may be repeated.
    #[arg(long = "override", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
}

/// Runs a broker to its end. Fails with one line on standard error.
pub(crate) fn run(args: &ServerArgs) -> ExitCode {
    let mut config = match read(args) {
        Ok(config) => config,
        Err(reason) => return fail(&reason),
    };
    // With no file somebody is trying things out: then only what matters is shown.
    let level = if args.file.is_some() { "info" } else { "warn" };
    let loggers = log_to_stderr(level);
    for warning in config.warnings() {
        warn!("{warning}");
    }
    advertise(&mut config);
    let mut settings = BrokerSettings::new(&config);
    settings.loggers = loggers;
    match real::run(|io| serve(io, config, settings)) {
        Ok(code) => code,
        Err(error) => fail(&format!("the runtime cannot start: {error}")),
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "it is read before there is a backend"
)]
fn read(args: &ServerArgs) -> Result<BrokerConfig, String> {
    let refused = |error: ConfigError| error.to_string();
    let Some(path) = &args.file else {
        return BrokerConfig::single_node(&args.overrides).map_err(refused);
    };
    let file = fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    BrokerConfig::from_properties(&file, &args.overrides)
        .map_err(|error| format!("{}: {error}", path.display()))
}

/// Begins to log what `RUST_LOG` says, or this level; the loggers can be changed from then on.
fn log_to_stderr(level: &str) -> Loggers {
    let given = std::env::var(EnvFilter::DEFAULT_ENV).ok();
    let given = given.filter(|text| !text.is_empty() && EnvFilter::try_new(text).is_ok());
    let filter = given.unwrap_or_else(|| level.to_owned());
    let subscriber = tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_env_filter(EnvFilter::new(&filter))
        .with_filter_reloading();
    let handle = subscriber.reload_handle();
    subscriber.init();
    Loggers::new(&filter, move |filter| {
        if let Err(error) = handle.reload(EnvFilter::new(filter)) {
            error!(%error, filter, "log levels cannot be changed");
        }
    })
}

/// Clients are told the machine's name where nothing was said, as Kafka does it; that is no name for
/// anybody if not even the machine itself knows what it stands for.
fn advertise(config: &mut BrokerConfig) {
    use std::net::ToSocketAddrs;

    if config.wildcard_listeners.is_empty() {
        return;
    }
    let uname = rustix::system::uname();
    let name = uname.nodename().to_str().ok();
    let known = |name: &&str| (*name, 0).to_socket_addrs().is_ok();
    let host = name.filter(known).unwrap_or("localhost");
    config.advertise_wildcards_as(host);
    warn!(
        "{} listens on every address, and advertised.listeners is not set: clients are told {host}",
        config.wildcard_listeners.join(", ")
    );
}

async fn serve(io: RealIo, config: BrokerConfig, settings: BrokerSettings) -> ExitCode {
    // Before anything is opened: a signal at any time from here on leads to a clean end.
    let mut termination = match io.termination() {
        Ok(termination) => termination,
        Err(error) => return fail(&format!("signals cannot be received: {error}")),
    };
    let running = match Broker::start(io.clone(), settings).await {
        Ok(running) => running,
        Err(error) => return fail(&error.to_string()),
    };
    if let Some(address) = &config.metrics_address
        && let Err(error) = metrics_http::serve(&io, address, &running).await
    {
        running.shutdown().await;
        return fail(&format!("ottla.metrics.listeners: {address}: {error}"));
    }
    if let Err(error) = first_screen(&config, &running) {
        info!(%error, "nobody reads standard output");
    }
    let code = tokio::select! {
        biased;
        () = termination.asked() => ExitCode::SUCCESS,
        reason = running.failed() => {
            error!(%reason, "the metadata log cannot be written any more: this node ends");
            ExitCode::FAILURE
        }
    };
    info!("shutting down");
    running.shutdown().await;
    info!("shut down");
    code
}

/// What a person who starts it for the first time wants to know.
fn first_screen(config: &BrokerConfig, running: &RunningBroker<RealIo>) -> std::io::Result<()> {
    let addresses: Vec<String> = running
        .addresses()
        .iter()
        .map(ToString::to_string)
        .collect();
    let folders: Vec<String> = config
        .log_dirs
        .iter()
        .map(|folder| fs::canonicalize(folder).unwrap_or_else(|_| folder.clone()))
        .map(|folder| folder.display().to_string())
        .collect();
    // The tools look at 127.0.0.1:9092 unless they are told.
    let elsewhere = match running.addresses().first() {
        Some(at) if at.port() == 9092 && (at.ip().is_unspecified() || is_default(at.ip())) => {
            String::new()
        }
        Some(at) if at.ip().is_unspecified() => {
            format!(" --bootstrap-server 127.0.0.1:{}", at.port())
        }
        Some(at) => format!(" --bootstrap-server {at}"),
        None => String::new(),
    };
    let ottla = tool::program_name();
    let cluster = running.broker().metadata.cluster_id().clone();
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "Ottla {} (Apache Kafka 4.3 protocol)",
        env!("CARGO_PKG_VERSION")
    )?;
    writeln!(out, "  listening  {}", addresses.join(", "))?;
    writeln!(out, "  data       {}", folders.join(", "))?;
    writeln!(out, "  cluster    {} (node {})", &*cluster, config.node_id)?;
    writeln!(
        out,
        "  produce    echo hello | {ottla} produce greetings{elsewhere}"
    )?;
    writeln!(
        out,
        "  consume    {ottla} consume greetings --from-beginning{elsewhere}"
    )?;
    writeln!(out, "  stop       Ctrl-C")?;
    out.flush()
}

fn is_default(ip: std::net::IpAddr) -> bool {
    ip == std::net::Ipv4Addr::LOCALHOST
}

fn fail(reason: &str) -> ExitCode {
    eprintln!("ottla: {reason}");
    ExitCode::FAILURE
}
