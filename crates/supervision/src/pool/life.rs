//! What becomes of a pool's child: its ends, restarts, deadlines and stops.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::time::Instant;

use super::child::{Child, ChildPhase, Key};
use super::partition::Command;
use super::runtime::PoolInner;
use super::start::as_due;
use crate::actor::Actor;
use crate::cell::{Cell as _, StopReason};
use crate::delay::Deadline;
use crate::fault;
use crate::plan::{IntensityScope, Shutdown, TtlFrom};
use crate::supervisor::backoff;
use crate::supervisor::strategy::{Exit, restarts};
use crate::sync::lock;

/// What a partition does after a child's end.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Continue,
    /// The intensity is exceeded.
    Escalate(String),
}

impl<A: Actor> PoolInner<A> {
    /// Takes a child that ended for good out of everything. Calling it again changes nothing.
    pub(super) fn forget(&self, child: &Arc<Child<A>>) {
        let keys = {
            let mut life = lock(&child.life);
            if life.phase == ChildPhase::Gone {
                return;
            }
            life.phase = ChildPhase::Gone;
            [life.ttl_key.take(), life.idle_key.take(), life.restart_key.take()]
        };
        if let Some(setup) = self.setup() {
            for key in keys.iter().flatten() {
                setup.delays.remove(key);
            }
        }
        self.ended.fetch_add(1, Ordering::Relaxed);
        let mut table = lock(&self.shard(child.partition).table);
        if table.by_key.get(&child.key).is_some_and(|entry| Arc::ptr_eq(entry, child)) {
            table.by_key.remove(&child.key);
        }
        let last = !table.open && table.by_key.is_empty();
        let server = table.server.clone().filter(|_| last);
        drop(table);
        self.live.fetch_sub(1, Ordering::AcqRel);
        if let Some(server) = server {
            // Refused only when the partition has ended already.
            let _ = server.actor.cast(Command::Left);
        }
    }

    /// A child's incarnation ended; told by ractor.
    pub(super) fn child_ended(&self, partition: usize, pid: u64, exit: Exit) -> Verdict {
        let mut table = lock(&self.shard(partition).table);
        let Some(child) = table.by_pid.remove(&pid) else {
            if table.open {
                table.early.insert(pid, exit);
            }
            return Verdict::Continue;
        };
        drop(table);
        let exit = match (exit, child.mailbox.take_stop_reason()) {
            (Exit::Abnormal(_), Some(reason)) => Exit::Abnormal(reason.to_string()),
            (exit, _) => exit,
        };
        self.decide(&child, exit)
    }

    /// Whether a child that ended, or could not be restarted, is started again, and when.
    pub(super) fn decide(&self, child: &Arc<Child<A>>, exit: Exit) -> Verdict {
        let Some(setup) = self.setup() else { return Verdict::Continue };
        let plan = &setup.plan.child;
        let now = Instant::now();
        if exit.is_normal() {
            tracing::trace!(path = child.mailbox.path(), "child ended");
        } else {
            tracing::warn!(path = child.mailbox.path(), reason = exit.reason(), "child failed");
        }
        let open = lock(&self.shard(child.partition).table).open;
        let mut life = lock(&child.life);
        let over = life.stopping || life.ttl_at.is_some_and(|at| at <= now);
        if !open || over || !restarts(plan.restart, &exit) || !child.is_repeatable() {
            drop(life);
            self.forget(child);
            return Verdict::Continue;
        }
        let up = life.up_since.take().map(|since| now - since);
        let stale = [life.idle_key.take(), life.ttl_key.take_if(|_| plan.ttl_from == TtlFrom::Start)];
        let history = life.history.get_or_insert_default();
        history.last_failure = exit.reason().to_owned();
        let borne = match setup.scope {
            IntensityScope::Child => history.window.admit(now, setup.intensity, setup.period),
            IntensityScope::Supervisor => lock(&self.window).admit(now, setup.intensity, setup.period),
        };
        let failures = backoff::failures_after(&plan.backoff, history.failures, up);
        let delay = backoff::delay(&plan.backoff, failures, fastrand::f64());
        history.failures = failures.saturating_add(1);
        if borne && life.phase != ChildPhase::Gone {
            life.phase = ChildPhase::Backoff;
            let key = setup.delays.insert(as_due(child), Deadline::Restart, now + delay);
            life.restart_key = Some(key);
        }
        drop(life);
        for key in stale.iter().flatten() {
            setup.delays.remove(key);
        }
        if borne {
            fault::notice("supervisor.backoff", child.mailbox.path());
            return Verdict::Continue;
        }
        self.given_up.fetch_add(1, Ordering::Relaxed);
        self.forget(child);
        match setup.scope {
            IntensityScope::Child => {
                tracing::error!(path = child.mailbox.path(), "child given up: it failed too often");
                Verdict::Continue
            }
            IntensityScope::Supervisor => Verdict::Escalate(exit.reason().to_owned()),
        }
    }

    /// A deadline of a child has come.
    pub(super) fn due(self: Arc<Self>, child: &Arc<Child<A>>, deadline: Deadline) {
        match deadline {
            Deadline::Ttl => self.ttl_over(child),
            Deadline::Idle => self.idle_over(child),
            Deadline::Restart => {
                lock(&child.life).restart_key = None;
                let child = Arc::clone(child);
                tokio::spawn(async move { self.relaunch(&child).await });
            }
            // Alarms go to the mailbox, not to the child.
            Deadline::Alarm => {}
        }
    }

    fn ttl_over(&self, child: &Arc<Child<A>>) {
        let mut life = lock(&child.life);
        life.ttl_key = None;
        let phase = life.phase;
        drop(life);
        match phase {
            ChildPhase::Up => child.mailbox.expire(),
            ChildPhase::Backoff => self.forget(child),
            // A start that succeeds sees that the time is over.
            ChildPhase::Starting | ChildPhase::Gone => {}
        }
    }

    fn idle_over(&self, child: &Arc<Child<A>>) {
        let Some(setup) = self.setup() else { return };
        let Some(idle_ttl) = setup.plan.child.idle_ttl else { return };
        let now = Instant::now();
        let active_at = child.mailbox.active_at();
        let over = now.saturating_duration_since(active_at) >= idle_ttl;
        let mut life = lock(&child.life);
        life.idle_key = None;
        if life.phase != ChildPhase::Up {
            return;
        }
        let next = if over { now } else { active_at } + idle_ttl;
        life.idle_key = Some(setup.delays.insert(as_due(child), Deadline::Idle, next));
        drop(life);
        if over {
            child.mailbox.expire();
        }
    }

    async fn relaunch(self: &Arc<Self>, child: &Arc<Child<A>>) {
        let server = {
            let table = lock(&self.shard(child.partition).table);
            table.server.clone().filter(|_| table.open)
        };
        let waiting = {
            let mut life = lock(&child.life);
            let waiting = life.phase == ChildPhase::Backoff;
            if waiting {
                life.phase = ChildPhase::Starting;
            }
            waiting
        };
        let Some(server) = server.filter(|_| waiting) else {
            return self.forget(child);
        };
        self.restarted.fetch_add(1, Ordering::Relaxed);
        let Err(error) = self.launch(child, &server).await else { return };
        let reason = error.to_string();
        let failed = Command::StartFailed { child: Arc::clone(child), reason };
        if server.actor.cast(failed).is_err() {
            self.forget(child);
        }
    }

    pub(super) fn stop_child(&self, key: &Key) -> bool {
        let Some(child) = self.child(&key.0) else { return false };
        let phase = {
            let mut life = lock(&child.life);
            life.stopping = true;
            life.phase
        };
        match phase {
            ChildPhase::Up => self.stop_in_order(&child),
            ChildPhase::Backoff => self.forget(&child),
            // A start that succeeds sees that it is to stop.
            ChildPhase::Starting => {}
            ChildPhase::Gone => return false,
        }
        true
    }

    /// Stops one child as its spec says; a task that lives as long as the shutdown time kills it after that.
    pub(super) fn stop_in_order(&self, child: &Arc<Child<A>>) {
        let Some(setup) = self.setup() else { return };
        match setup.plan.child.shutdown {
            Shutdown::BrutalKill => {
                child.mailbox.kill(StopReason::Asked);
            }
            Shutdown::Within(timeout) => {
                child.mailbox.begin_stop(setup.plan.child.stop_mode);
                let Some(limit) = timeout.duration() else { return };
                let mailbox = Arc::clone(&child.mailbox);
                tokio::spawn(async move {
                    if tokio::time::timeout(limit, mailbox.gone()).await.is_err() {
                        mailbox.kill(StopReason::ShutdownTimeout);
                    }
                });
            }
        }
    }
}
