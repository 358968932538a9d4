//! `orinoco serve`: the daemon.

use std::{process::ExitCode, sync::Arc, time::Duration};

use clap::Args;
use metrics_exporter_prometheus::PrometheusHandle;
use orinoco_actors::{DeviceCensus, Health, Lags};
use orinoco_ports::ServerError;
use orinoco_supervision::{Exit, Tree};
use tokio::signal::unix::{SignalKind, signal};

use super::{
    Output, check, demo_accounts,
    simulate::{self, SimulateArgs},
};
use crate::{
    config::{Config, ConfigError, Flags, Loaded},
    control::TreeSlot,
    meters,
    reload::{self, ReloadDeps, Reloader},
    telemetry::LogFilter,
    tls::TlsListeners,
    wiring::{self, Adapters, Cast, Gauges, LiveValues, Partitions},
    ws::WsConnections,
};

/// An orderly end takes no longer; then the process ends anyway, and nothing acknowledged is lost by that.
const SHUTDOWN_MAX: Duration = Duration::from_secs(25);
/// Between looks at a log that was away at the start.
const PARTITIONS_RETRY_AFTER: Duration = Duration::from_secs(1);
/// The first of the simulated devices.
const DEMO_DEVICE: &str = "sim-0001";
const METRICS_UPKEEP_EVERY: Duration = Duration::from_secs(5);

/// Flags of `orinoco serve`.
#[derive(Debug, Clone, Args)]
pub struct ServeArgs {
    /// Anyone may watch, a few simulated devices move, and two accounts are made, whose passwords are printed once.
    #[arg(long)]
    demo: bool,
}

/// What a reload goes by, besides the files.
pub struct Origins {
    pub flags: Flags,
    pub log: LogFilter,
}

/// Runs until a signal, or until the tree gives up.
///
/// # Errors
/// It could not start: the sentence names the place and the remedy.
pub async fn run(args: &ServeArgs, mut loaded: Loaded, origins: Origins) -> anyhow::Result<ExitCode> {
    let slot = TreeSlot::default();
    // From the beginning: without a handler it ends the process.
    tokio::spawn(reload::on_hangup(signal(SignalKind::hangup())?, slot.clone()));
    let plan = check::plan(&loaded)?;
    wiring::check_tls_files(&loaded)?;
    if args.demo {
        loaded = loaded.for_demo();
    }
    let tls = certificates(&loaded)?;
    let config = Arc::new(loaded.config.clone());
    check_ports(&config).await?;
    let adapters = Arc::new(Adapters::open(&config, &tls).await?);
    let auth = Arc::new(wiring::auth(&config, Arc::clone(&adapters.accounts), Arc::clone(&adapters.logins))?);
    let health = Health::default();
    slot.fill_logins(Arc::clone(&adapters.logins));
    let census = DeviceCensus::new(config.stream.devices_max);
    let connections = WsConnections::new(config.ws.connections_max);
    let gauges = Gauges {
        journal: Arc::clone(&adapters.journal),
        census: census.clone(),
        connections: Arc::clone(&connections),
        tree: slot.clone(),
        tls: Arc::clone(&tls),
    };
    let values = LiveValues::new(&config, Arc::clone(&connections), Arc::clone(&auth), origins.log);
    let cast = Cast {
        config: Arc::clone(&config),
        live: values.config.clone(),
        ws_policy: values.ws_policy.clone(),
        adapters: Arc::clone(&adapters),
        auth: Arc::clone(&auth),
        health: health.clone(),
        census,
        lags: Lags::default(),
        connections: Arc::clone(&connections),
        prometheus: prometheus()?,
        traces: wiring::Traces::open(&config)?,
        tree: slot.clone(),
        before_metrics: Arc::new(move || gauges.set()),
        tls: Arc::clone(&tls),
    };
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let tree = tokio::select! {
        tree = Tree::start(plan, cast.catalog()) => tree?,
        // A part of it never comes up. Nothing was accepted yet that could be lost.
        _ = terminate.recv() => return Ok(ExitCode::SUCCESS),
        _ = interrupt.recv() => return Ok(ExitCode::SUCCESS),
    };
    slot.fill(tree.clone());
    let reloader = Reloader::new(ReloadDeps {
        flags: origins.flags,
        demo: args.demo,
        loaded,
        tree: tree.clone(),
        values,
        tls: Arc::clone(&tls),
    });
    slot.fill_reloader(reloader.clone());
    tokio::spawn(Arc::clone(&auth.keys).keep());
    tokio::spawn(Arc::clone(&tls).keep(config.tls.reload_interval));
    tokio::spawn(wiring::watch_accounts(Arc::clone(&adapters.accounts), health));
    if config.has_broker() {
        tokio::spawn(adapters.devices.clone().keep());
    }
    if args.demo {
        tokio::spawn(demo(Arc::clone(&config)));
        demo_accounts::make(&auth, DEMO_DEVICE, &mut Output::stdout()).await?;
    }
    let exit = tokio::select! {
        _ = terminate.recv() => None,
        _ = interrupt.recv() => None,
        exit = tree.wait() => Some(exit),
        error = partitions_changed(&adapters) => return Err(error),
    };
    reloader.close();
    match exit {
        None => stop(&tree, &connections).await,
        Some(exit) => Ok(ended(exit)),
    }
}

/// The tree ended by itself.
fn ended(exit: Exit) -> ExitCode {
    match exit {
        Exit::Shutdown | Exit::AutoShutdown => ExitCode::SUCCESS,
        Exit::Escalated { supervisor, reason } => {
            tracing::error!(%supervisor, %reason, "gave up");
            ExitCode::FAILURE
        }
    }
}

/// Of the listeners that speak TLS. What could be better about them is said.
fn certificates(loaded: &Loaded) -> Result<Arc<TlsListeners>, ConfigError> {
    let listeners = TlsListeners::open(loaded)?;
    for tls in listeners.iter() {
        for advice in tls.advice() {
            tracing::warn!(listener = tls.listener(), "{advice}");
        }
    }
    Ok(Arc::new(listeners))
}

/// A port that is taken is told at once, in one line, instead of by a tree that tries again and gives up. The listeners bind for good.
async fn check_ports(config: &Config) -> anyhow::Result<()> {
    let listeners = [("http.listen", &config.http.listen), ("ws.listen", &config.ws.listen)];
    for (key, listen) in listeners.into_iter().chain(config.broker_listeners()) {
        let address = listen.to_string();
        let bound = tokio::net::TcpListener::bind(&address).await;
        bound.map(drop).map_err(|source| ServerError::Bind { key, address, source })?;
    }
    Ok(())
}

/// A few devices that move, through the daemon's own front door.
async fn demo(config: Arc<Config>) {
    let defaults = super::simulate_defaults(&config);
    // What a run of devices prints at its end is not the daemon's to say.
    let output = &mut Output::to(std::io::sink());
    tracing::info!(ws = %config.ws.listen, http = %config.http.listen, "three simulated devices move");
    if let Err(error) = simulate::run(&SimulateArgs::demo(), defaults, output).await {
        tracing::warn!(%error, "simulated devices stopped");
    }
}

async fn stop(tree: &Tree, connections: &WsConnections) -> anyhow::Result<ExitCode> {
    tracing::info!("stopping");
    let orderly = async {
        tree.shutdown().await;
        // Their close frames are on the way.
        connections.all_closed().await;
    };
    if tokio::time::timeout(SHUTDOWN_MAX, orderly).await.is_err() {
        tracing::warn!(shutdown_s = SHUTDOWN_MAX.as_secs(), "not all stopped in order");
    }
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

fn prometheus() -> anyhow::Result<PrometheusHandle> {
    let handle = meters::install()?;
    let upkeep = handle.clone();
    tokio::spawn(async move {
        let mut ticks = tokio::time::interval(METRICS_UPKEEP_EVERY);
        loop {
            ticks.tick().await;
            upkeep.run_upkeep();
        }
    });
    Ok(handle)
}

/// Ends only when the tree was made for another count of partitions than the log turns out to have.
async fn partitions_changed(adapters: &Adapters) -> anyhow::Error {
    let Partitions::Assumed(assumed) = adapters.partitions else { return std::future::pending().await };
    loop {
        tokio::time::sleep(PARTITIONS_RETRY_AFTER).await;
        match adapters.log.partitions().await {
            Ok(count) if count == assumed => return std::future::pending().await,
            Ok(count) => {
                return anyhow::anyhow!(
                    "the log has {count} partitions, this daemon started with {assumed} while it was away; start it again"
                );
            }
            Err(error) => tracing::debug!(%error, "partitions not known yet"),
        }
    }
}
