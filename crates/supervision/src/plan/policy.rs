//! The parts of a plan that can change while the tree runs, apart from what is in the tree.

use std::time::Duration;

use super::{
    AutoShutdown, BackoffPlan, ChildPlan, IntensityScope, MailboxPlan, Restart, Shutdown, StopMode, Strategy,
    SupervisorPlan, Timeout, WatchdogPlan, WorkerPlan,
};

/// What a supervisor does about ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SupervisorPolicy {
    /// Who is restarted with a child that failed.
    pub strategy: Strategy,
    /// How many restarts within `period` are borne.
    pub intensity: u32,
    /// See `intensity`.
    pub period: Duration,
    /// Whose restarts are counted.
    pub intensity_scope: IntensityScope,
    /// When it ends by itself.
    pub auto_shutdown: AutoShutdown,
}

/// How a child is started, stopped and restarted, a supervisor too.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ChildPolicy {
    /// After which ends it is started again.
    pub restart: Restart,
    /// How it is stopped.
    pub shutdown: Shutdown,
    /// How long a start may take.
    pub start_timeout: Timeout,
    /// Whether its end counts for the supervisor's `auto_shutdown`.
    pub significant: bool,
    /// How long it waits for a restart.
    pub backoff: BackoffPlan,
}

/// A worker's limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkerPolicy {
    /// What an orderly stop does with queued messages.
    pub stop_mode: StopMode,
    /// The bound of its mailbox.
    pub mailbox: MailboxPlan,
    /// The limit of its handlers.
    pub watchdog: WatchdogPlan,
}

impl SupervisorPlan {
    /// What it does about ends.
    pub fn policy(&self) -> SupervisorPolicy {
        SupervisorPolicy {
            strategy: self.strategy,
            intensity: self.intensity,
            period: self.period,
            intensity_scope: self.intensity_scope,
            auto_shutdown: self.auto_shutdown,
        }
    }

    pub(super) fn set_policy(&mut self, policy: SupervisorPolicy) {
        let SupervisorPolicy { strategy, intensity, period, intensity_scope, auto_shutdown } = policy;
        (self.strategy, self.intensity, self.period) = (strategy, intensity, period);
        (self.intensity_scope, self.auto_shutdown) = (intensity_scope, auto_shutdown);
    }
}

impl ChildPlan {
    /// How it is started, stopped and restarted.
    pub fn policy(&self) -> ChildPolicy {
        ChildPolicy {
            restart: self.restart,
            shutdown: self.shutdown,
            start_timeout: self.start_timeout,
            significant: self.significant,
            backoff: self.backoff,
        }
    }

    pub(super) fn set_policy(&mut self, policy: ChildPolicy) {
        let ChildPolicy { restart, shutdown, start_timeout, significant, backoff } = policy;
        (self.restart, self.shutdown, self.start_timeout) = (restart, shutdown, start_timeout);
        (self.significant, self.backoff) = (significant, backoff);
    }
}

impl WorkerPlan {
    /// Its limits.
    pub fn policy(&self) -> WorkerPolicy {
        WorkerPolicy { stop_mode: self.stop_mode, mailbox: self.mailbox, watchdog: self.watchdog }
    }

    pub(super) fn set_policy(&mut self, policy: WorkerPolicy) {
        let WorkerPolicy { stop_mode, mailbox, watchdog } = policy;
        (self.stop_mode, self.mailbox, self.watchdog) = (stop_mode, mailbox, watchdog);
    }
}
