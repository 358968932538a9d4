//! Reads orinoco.toml and supervision.toml again, on SIGHUP and for `orinoco reload`, and takes over what changed.
//!
//! Invariants: both files are read and checked as at the start, with the same layers, before anything changes; one mistake, or one changed
//! key that takes a start of the process, and nothing changes at all, so that what runs is always the state of one pair of files. Reloads
//! come one after the other; at most `RELOADS_MAX` are under way or wait, a further one is ignored. None comes before the daemon runs, or
//! once it stops.
//!
//! What is taken over, in this order: the tree, the values that are read at each use, the actors that read theirs when they start
//! (`Inner::take_over`), the certificates of the listeners (`certificates`). All that is read from files is checked in `read` before.

mod outcome;

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use orinoco_ports::{Clock as _, SystemClock};
use orinoco_supervision::{Plan, ReloadError, Tree};
use tokio::{
    signal::unix::Signal,
    sync::{Mutex, Semaphore},
    time::timeout,
};

use crate::{
    config::{self, Changed, Flags, Loaded, Reload, SupervisionFile},
    control::TreeSlot,
    tls::{self, TlsListeners},
    wiring::{LiveValues, check_tls_files},
};

pub use outcome::Outcome;

/// Reloads under way or waiting.
const RELOADS_MAX: usize = 4;
/// How long is waited for actors to stop and start, within what a client of the control socket waits. They go on after it.
const CARRY_OUT_MAX: Duration = Duration::from_secs(8);

/// What a reload begins from.
pub struct ReloadDeps {
    /// Of the process.
    pub flags: Flags,
    /// `--demo`.
    pub demo: bool,
    /// What runs.
    pub loaded: Loaded,
    pub tree: Tree,
    pub values: LiveValues,
    pub tls: Arc<TlsListeners>,
}

/// Reloads the files of a daemon that runs; cheap to clone.
#[derive(Clone)]
pub struct Reloader(Arc<Inner>);

struct Inner {
    flags: Flags,
    demo: bool,
    loaded: Mutex<Loaded>,
    tree: Tree,
    values: LiveValues,
    tls: Arc<TlsListeners>,
    places: Semaphore,
    is_closed: AtomicBool,
}

/// Why nothing was taken over: a line for each reason.
struct Refusal {
    lines: Vec<String>,
    is_bad_configuration: bool,
}

impl Refusal {
    fn bad(error: &impl std::fmt::Display) -> Self {
        Self { lines: error.to_string().lines().map(str::to_owned).collect(), is_bad_configuration: true }
    }
}

impl From<ReloadError> for Refusal {
    fn from(error: ReloadError) -> Self {
        Self { is_bad_configuration: matches!(error, ReloadError::Plan(_)), ..Self::bad(&error) }
    }
}

/// The configuration of the daemon: all layers, and what flags of `serve` make of them.
///
/// # Errors
/// [`config::ConfigError`].
pub fn load(flags: &Flags, demo: bool) -> Result<Loaded, config::ConfigError> {
    let loaded = config::load(flags)?;
    Ok(if demo { loaded.for_demo() } else { loaded })
}

/// Reads all files. Blocks.
fn read(flags: &Flags, demo: bool) -> Result<(Loaded, Plan), Refusal> {
    let loaded = load(flags, demo).map_err(|error| Refusal::bad(&error))?;
    TlsListeners::open(&loaded).map_err(|error| Refusal::bad(&error))?;
    check_tls_files(&loaded).map_err(|error| Refusal::bad(&error))?;
    let file = SupervisionFile::read(&loaded.config, &loaded.settings).map_err(|error| Refusal::bad(&error))?;
    let plan = Plan::parse(&file.text, &file.name).map_err(|error| Refusal::bad(&error))?;
    Ok((loaded, plan))
}

/// Has new handshakes go by the files as they are now, and says which listeners have another certificate by that. One that could be read
/// a moment ago and can't be now leaves its listener with what it has. Blocks.
fn certificates(tls: &TlsListeners) -> Vec<String> {
    let read = tls.reload().into_iter();
    read.filter(|(_, outcome)| matches!(outcome, Ok(tls::Reload::Changed)))
        .map(|(listener, _)| format!("{listener}: another certificate"))
        .collect()
}

impl Reloader {
    #[must_use]
    pub fn new(deps: ReloadDeps) -> Self {
        for outcome in Outcome::NAMES {
            // One that has just appeared has no increase yet.
            metrics::counter!("orinoco_reloads_total", "outcome" => outcome).increment(0);
        }
        Self(Arc::new(Inner {
            flags: deps.flags,
            demo: deps.demo,
            loaded: Mutex::new(deps.loaded),
            tree: deps.tree,
            values: deps.values,
            tls: deps.tls,
            places: Semaphore::new(RELOADS_MAX),
            is_closed: AtomicBool::new(false),
        }))
    }

    /// The daemon stops: reloads are ignored from now on.
    pub fn close(&self) {
        self.0.is_closed.store(true, Ordering::Release);
    }

    async fn reload(&self) -> Outcome {
        let Ok(_place) = self.0.places.try_acquire() else {
            return Outcome::ignored(format!("{RELOADS_MAX} reloads are under way or wait"));
        };
        let mut present = self.0.loaded.lock().await;
        if self.0.is_closed.load(Ordering::Acquire) {
            return Outcome::ignored("the daemon stops");
        }
        let (flags, demo) = (self.0.flags.clone(), self.0.demo);
        let read = tokio::task::spawn_blocking(move || read(&flags, demo)).await;
        let (next, plan) = match read {
            Ok(Ok(read)) => read,
            Ok(Err(refusal)) => return refusal.into(),
            Err(error) => return Outcome::ignored(format!("the files were not read: {error}")),
        };
        let changes = present.changes(&next);
        let taken_over = self.0.take_over(&next, plan, &changes);
        let (mut lines, carried_out) = match taken_over {
            Ok(taken_over) => taken_over,
            Err(refusal) => return refusal.into(),
        };
        *present = next;
        let tls = Arc::clone(&self.0.tls);
        // Only a panic loses what changed, which is logged.
        lines.extend(tokio::task::spawn_blocking(move || certificates(&tls)).await.unwrap_or_default());
        drop(present);
        // Whether they are all back or not: it is the new files' state that they come to.
        let is_carried_out = timeout(CARRY_OUT_MAX, carried_out).await.is_ok();
        if lines.is_empty() { Outcome::Unchanged } else { Outcome::Applied { lines, is_carried_out } }
    }
}

impl Inner {
    /// Takes everything over, or nothing. Returns what changed, and what resolves once actors have stopped and started.
    fn take_over(
        &self,
        next: &Loaded,
        plan: Plan,
        changes: &[Changed],
    ) -> Result<(Vec<String>, impl Future<Output = ()> + Send + use<>), Refusal> {
        let misfit = self.tree.compare(&plan).err().map(Refusal::from);
        let fixed: Vec<&Changed> = changes.iter().filter(|changed| changed.reload == Reload::Restart).collect();
        if !fixed.is_empty() {
            let line = |changed: &&Changed| format!("{}: {changed}: takes a restart of orinoco", changed.origin);
            let mut lines: Vec<String> = fixed.iter().map(line).collect();
            let is_bad_configuration = misfit.as_ref().is_some_and(|misfit| misfit.is_bad_configuration);
            lines.extend(misfit.into_iter().flat_map(|misfit| misfit.lines));
            return Err(Refusal { lines, is_bad_configuration });
        }
        let (diff, arranged) = self.tree.reload(plan)?;
        self.values.set(&next.config);
        let starts: BTreeSet<&str> = changes.iter().flat_map(|changed| actors(changed.reload)).copied().collect();
        let renewed = self.tree.renew(&starts.into_iter().collect::<Vec<_>>());
        let lines = changes.iter().map(ToString::to_string).chain(diff.lines().iter().cloned()).collect();
        let carried_out = async move {
            arranged.await;
            renewed.await;
        };
        Ok((lines, carried_out))
    }
}

fn actors(reload: Reload) -> &'static [&'static str] {
    match reload {
        Reload::Actors(starts) => starts,
        Reload::Live | Reload::Restart => &[],
    }
}

impl From<Refusal> for Outcome {
    fn from(refusal: Refusal) -> Self {
        Self::Refused { lines: refusal.lines, is_bad_configuration: refusal.is_bad_configuration }
    }
}

/// Reads the files again, if the daemon runs. Says in the log and in metrics what came of it.
pub(crate) async fn reload(slot: &TreeSlot) -> Outcome {
    let outcome = match slot.reloader() {
        Some(reloader) => reloader.reload().await,
        None => Outcome::ignored("the daemon starts"),
    };
    metrics::counter!("orinoco_reloads_total", "outcome" => outcome.as_str()).increment(1);
    match &outcome {
        Outcome::Applied { lines, is_carried_out } => {
            metrics::gauge!("orinoco_reload_timestamp_seconds").set(SystemClock.now_ms() as f64 / 1e3);
            for change in lines {
                tracing::info!(change, "reloaded");
            }
            if !is_carried_out {
                tracing::warn!("not all actors have stopped and started yet");
            }
        }
        Outcome::Unchanged => tracing::info!("nothing changed in the files"),
        Outcome::Refused { lines, .. } => {
            for reason in lines {
                tracing::error!(reason, "the files were refused, nothing changes");
            }
        }
        Outcome::Ignored { reason } => tracing::warn!(reason, "the reload is ignored"),
    }
    outcome
}

/// Reloads at each SIGHUP, for ever. Several that come while one is under way are one.
pub async fn on_hangup(mut hangup: Signal, slot: TreeSlot) {
    while hangup.recv().await.is_some() {
        reload(&slot).await;
    }
}
