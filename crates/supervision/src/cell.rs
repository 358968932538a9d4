//! A worker without its message type: what supervisors, the watchdog and inspection see of a mailbox.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use futures_util::future::BoxFuture;
use tokio::time::Instant;

use crate::delay::Delays;
use crate::histogram::Histogram;
use crate::mailbox::Phase;
use crate::plan::{MailboxPlan, Overflow, StopMode, WatchdogPlan};
use crate::sync::lock;

/// What all children of one child spec share: limits and histograms. A pool's children have one in all. Limits may change at any moment.
pub(crate) struct Profile {
    pub(crate) parent_path: Arc<str>,
    /// Read at every message, so without a lock.
    capacity: AtomicUsize,
    /// Index in [`Overflow::ALL`].
    overflow: AtomicUsize,
    watchdog: Mutex<WatchdogPlan>,
    /// The pool's queue of deadlines; none outside of pools.
    pub(crate) delays: Option<Arc<Delays>>,
    /// From queued to taken.
    pub(crate) waiting: Histogram,
    /// From taken to handled.
    pub(crate) handling: Histogram,
    /// How often the watchdog found a handler over its limit.
    pub(crate) hung: AtomicU64,
}

impl Profile {
    pub(crate) fn new(parent_path: Arc<str>, mailbox: MailboxPlan, watchdog: WatchdogPlan) -> Self {
        Self {
            parent_path,
            capacity: AtomicUsize::new(mailbox.capacity),
            overflow: AtomicUsize::new(overflow_index(mailbox.overflow)),
            watchdog: Mutex::new(watchdog),
            delays: None,
            waiting: Histogram::new(),
            handling: Histogram::new(),
            hung: AtomicU64::new(0),
        }
    }

    /// As [`Profile::new`], for the children of a pool.
    pub(crate) fn of_pool(
        parent_path: Arc<str>,
        mailbox: MailboxPlan,
        watchdog: WatchdogPlan,
        delays: &Arc<Delays>,
    ) -> Self {
        Self { delays: Some(Arc::clone(delays)), ..Self::new(parent_path, mailbox, watchdog) }
    }

    /// The two parts may be of different plans while they change; each of the two together is a bound.
    pub(crate) fn mailbox(&self) -> MailboxPlan {
        let overflow = Overflow::ALL.get(self.overflow.load(Ordering::Relaxed));
        MailboxPlan {
            capacity: self.capacity.load(Ordering::Relaxed),
            overflow: overflow.map_or(Overflow::Reject, |(_, overflow)| *overflow),
        }
    }

    pub(crate) fn watchdog(&self) -> WatchdogPlan {
        *lock(&self.watchdog)
    }

    pub(crate) fn set(&self, mailbox: MailboxPlan, watchdog: WatchdogPlan) {
        self.capacity.store(mailbox.capacity, Ordering::Relaxed);
        self.overflow.store(overflow_index(mailbox.overflow), Ordering::Relaxed);
        *lock(&self.watchdog) = watchdog;
    }
}

fn overflow_index(overflow: Overflow) -> usize {
    Overflow::ALL.iter().position(|(_, other)| *other == overflow).unwrap_or_default()
}

/// The message in work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Current {
    pub(crate) kind: &'static str,
    pub(crate) since: Instant,
}

/// Why an actor was killed: ractor only says "killed".
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StopReason {
    /// A handler ran longer than its limit.
    Hung { kind: &'static str, handler_max_ms: u64 },
    /// A supervisor's children were not up in time.
    StartTimeout,
    /// The shutdown timeout ran out.
    ShutdownTimeout,
    /// Someone asked for it by path.
    Asked,
    /// `[chaos] kill_at_random`.
    AtRandom,
}

impl std::fmt::Display for StopReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Hung { kind, handler_max_ms } => {
                write!(f, "killed by the watchdog: `{kind}` took more than {handler_max_ms} ms")
            }
            Self::StartTimeout => f.write_str("killed: its start timeout ran out"),
            Self::ShutdownTimeout => f.write_str("killed: its shutdown timeout ran out"),
            Self::Asked => f.write_str("killed on request"),
            Self::AtRandom => f.write_str("killed at random: [chaos] kill_at_random"),
        }
    }
}

/// A mailbox at one moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CellView {
    pub(crate) phase: Phase,
    pub(crate) incarnation: u64,
    pub(crate) depth: usize,
    pub(crate) limit: Option<MailboxPlan>,
    pub(crate) rejected: u64,
    pub(crate) dropped: u64,
    pub(crate) handled: u64,
    pub(crate) current: Option<Current>,
}

/// A worker, type-erased. `Mailbox` is its only implementation.
pub(crate) trait Cell: Send + Sync {
    fn path(&self) -> &str;
    /// Starts an orderly stop: `Drain` handles what is queued first.
    fn begin_stop(&self, mode: StopMode);
    /// Ends the incarnation at its next await; false when none runs.
    fn kill(&self, reason: StopReason) -> bool;
    /// Aborts the incarnation's task; false when it has none yet.
    #[cfg(feature = "faults")]
    fn abort(&self) -> bool;
    /// What it has to do at present; `None` where it has nothing to do, or does not run.
    #[cfg(feature = "faults")]
    fn work(&self) -> Option<crate::fault::Work>;
    /// As [`Cell::kill`], if it has something to do.
    #[cfg(feature = "faults")]
    fn kill_at_work(&self) -> Option<crate::fault::Work>;
    /// Tells the actor that its time is over, after the current message.
    fn expire(&self);
    fn take_stop_reason(&self) -> Option<StopReason>;
    /// Whether the last incarnation's state is dropped.
    fn is_gone(&self) -> bool;
    /// Waits until the last incarnation's state is dropped.
    fn gone(&self) -> BoxFuture<'_, ()>;
    /// When it last had something to do; now, while it has.
    fn active_at(&self) -> Instant;
    fn current(&self) -> Option<Current>;
    fn profile(&self) -> Option<&Arc<Profile>>;
    /// The limits of the profile have changed: who waits for room looks again.
    fn limits_changed(&self);
    fn view(&self) -> CellView;
}
