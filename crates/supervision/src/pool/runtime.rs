//! The tables of a pool and what happens to its children; shared by starters, partitions and the delay queue.

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use futures_util::future::BoxFuture;
use ractor::{ActorCell, ActorRef};
use tokio::time::Instant;

use super::StartChildError;
use super::child::{Child, ChildPhase, Key};
use super::partition::{self, Command};
use super::start::as_due;
use crate::actor::{Actor, Failure};
use crate::address::Address;
use crate::cell::{Cell, Profile, StopReason};
use crate::delay::{Deadline, Delays};
use crate::inspect::{PoolChildSnapshot, PoolSnapshot, Status, TimingSnapshot};
use crate::plan::{IntensityScope, PoolPlan, Shutdown, TtlFrom, WatchdogPlan};
use crate::supervisor::backoff;
use crate::supervisor::intensity::Window;
use crate::supervisor::strategy::{Exit, restarts};
use crate::sync::lock;

/// What the plan says about a pool, and what its children share.
pub(crate) struct PoolSetup {
    pub(crate) plan: PoolPlan,
    pub(crate) intensity: u32,
    pub(crate) period: Duration,
    pub(crate) scope: IntensityScope,
    pub(crate) profile: Arc<Profile>,
    pub(crate) delays: Arc<Delays>,
}

/// A pool without its types: what the tree, the watchdog and inspection need.
pub(crate) trait PoolRuntime: Send + Sync {
    fn equip(&self, setup: PoolSetup);
    fn start_partition(
        self: Arc<Self>,
        index: usize,
        supervisor: ActorCell,
    ) -> BoxFuture<'static, Result<ActorCell, Failure>>;
    fn close_partition(&self, index: usize);
    fn live_count(&self) -> usize;
    fn snapshot(&self, children_max: usize) -> PoolSnapshot;
    fn children(&self, after: Option<&str>, limit: usize) -> Vec<PoolChildSnapshot>;
    fn kill(&self, key: &str) -> bool;
    fn for_each_cell(&self, visit: &mut dyn FnMut(&dyn Cell));
    fn restarts_in_period(&self) -> usize;
    fn timing(&self) -> Option<TimingSnapshot>;
    fn watchdog(&self) -> Option<WatchdogPlan>;
}

/// A partition's children.
pub(super) struct Table<A: Actor> {
    /// Who supervises them; none while the partition is down.
    pub(super) supervisor: Option<ActorRef<Command<A>>>,
    /// Whether new children are taken.
    pub(super) open: bool,
    pub(super) by_key: BTreeMap<Arc<str>, Arc<Child<A>>>,
    pub(super) by_pid: HashMap<u64, Arc<Child<A>>>,
    /// Ends that were told before the starter had entered the child.
    pub(super) early: HashMap<u64, Exit>,
}

impl<A: Actor> Table<A> {
    pub(super) fn is_served_by(&self, supervisor: &ActorRef<Command<A>>) -> bool {
        self.open && self.supervisor.as_ref().is_some_and(|present| present.get_id() == supervisor.get_id())
    }
}

pub(super) struct Shard<A: Actor> {
    pub(super) table: Mutex<Table<A>>,
}

/// What a partition does after a child's end.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Continue,
    /// The intensity is exceeded.
    Escalate(String),
}

pub(crate) struct PoolInner<A: Actor> {
    pub(super) make: Arc<dyn Fn() -> A + Send + Sync>,
    pub(super) setup: OnceLock<PoolSetup>,
    shards: OnceLock<Vec<Shard<A>>>,
    live: AtomicUsize,
    window: Mutex<Window>,
    started: AtomicU64,
    ended: AtomicU64,
    restarted: AtomicU64,
    given_up: AtomicU64,
}

/// The same key is always in the same partition.
pub(super) fn partition_of(key: &str, partitions: u32) -> usize {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    (hasher.finish() % u64::from(partitions)) as usize
}

impl<A: Actor> PoolInner<A> {
    pub(super) fn new(make: Box<dyn Fn() -> A + Send + Sync>) -> Self {
        Self {
            make: make.into(),
            setup: OnceLock::new(),
            shards: OnceLock::new(),
            live: AtomicUsize::new(0),
            window: Mutex::default(),
            started: AtomicU64::new(0),
            ended: AtomicU64::new(0),
            restarted: AtomicU64::new(0),
            given_up: AtomicU64::new(0),
        }
    }

    pub(super) fn shards(&self) -> &[Shard<A>] {
        self.shards.get().map_or(&[], Vec::as_slice)
    }

    pub(super) fn shard(&self, index: usize) -> &Shard<A> {
        &self.shards()[index]
    }

    pub(super) fn count_start(&self) {
        self.started.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn max_children(&self) -> usize {
        self.setup.get().map_or(0, |setup| setup.plan.max_children)
    }

    pub(super) fn is_up(&self) -> bool {
        let shards = self.shards();
        !shards.is_empty() && shards.iter().all(|shard| lock(&shard.table).open)
    }

    pub(super) fn get(&self, key: &Key) -> Option<Address<A::Message>> {
        self.child(&key.0).map(|child| child.address())
    }

    fn child(&self, key: &str) -> Option<Arc<Child<A>>> {
        let setup = self.setup.get()?;
        let index = partition_of(key, setup.plan.partitions);
        lock(&self.shard(index).table).by_key.get(key).cloned()
    }

    /// Takes a seat for a child and enters it by its key.
    pub(super) fn register(
        &self,
        child: &Arc<Child<A>>,
        max_children: usize,
    ) -> Result<ActorRef<Command<A>>, StartChildError> {
        let seat = self
            .live
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |live| (live < max_children).then_some(live + 1));
        if seat.is_err() {
            return Err(StartChildError::PoolFull { max_children });
        }
        let entered = self.enter(child);
        if entered.is_err() {
            self.live.fetch_sub(1, Ordering::AcqRel);
        }
        entered
    }

    fn enter(&self, child: &Arc<Child<A>>) -> Result<ActorRef<Command<A>>, StartChildError> {
        let mut table = lock(&self.shard(child.partition).table);
        let supervisor = match &table.supervisor {
            Some(supervisor) if table.open => supervisor.clone(),
            _ => return Err(StartChildError::Down),
        };
        if table.by_key.contains_key(&child.key) {
            let key = child.key.to_string();
            return Err(StartChildError::AlreadyStarted { key });
        }
        table.by_key.insert(Arc::clone(&child.key), Arc::clone(child));
        Ok(supervisor)
    }

    pub(super) fn serves(&self, partition: usize, supervisor: &ActorRef<Command<A>>) -> bool {
        lock(&self.shard(partition).table).is_served_by(supervisor)
    }

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
        if let Some(setup) = self.setup.get() {
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
        let supervisor = table.supervisor.clone().filter(|_| last);
        drop(table);
        self.live.fetch_sub(1, Ordering::AcqRel);
        if let Some(supervisor) = supervisor {
            // Refused only when the partition has ended already.
            let _ = supervisor.cast(Command::Left);
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
        let Some(setup) = self.setup.get() else { return Verdict::Continue };
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
        if !open || over || !restarts(plan.restart, &exit) {
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
        let Some(setup) = self.setup.get() else { return };
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
        let supervisor = {
            let table = lock(&self.shard(child.partition).table);
            table.supervisor.clone().filter(|_| table.open)
        };
        let waiting = {
            let mut life = lock(&child.life);
            let waiting = life.phase == ChildPhase::Backoff;
            if waiting {
                life.phase = ChildPhase::Starting;
            }
            waiting
        };
        let Some(supervisor) = supervisor.filter(|_| waiting) else {
            return self.forget(child);
        };
        self.restarted.fetch_add(1, Ordering::Relaxed);
        let Err(error) = self.launch(child, &supervisor).await else { return };
        let reason = error.to_string();
        let failed = Command::StartFailed { child: Arc::clone(child), reason };
        if supervisor.cast(failed).is_err() {
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
        let Some(setup) = self.setup.get() else { return };
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

    fn child_snapshot(child: &Child<A>, now: Instant) -> PoolChildSnapshot {
        let (phase, stopping, last_failure) = {
            let life = lock(&child.life);
            let last_failure = life.history.as_ref().map(|history| history.last_failure.clone());
            (life.phase, life.stopping, last_failure)
        };
        let view = child.mailbox.view();
        let status = match phase {
            ChildPhase::Up if stopping => Status::Stopping,
            ChildPhase::Up => Status::Running,
            ChildPhase::Starting => Status::Starting,
            ChildPhase::Backoff => Status::Restarting,
            ChildPhase::Gone => Status::Stopped,
        };
        PoolChildSnapshot::new(&child.key, child.mailbox.path(), status, last_failure, &view, now)
    }
}

impl<A: Actor> PoolRuntime for PoolInner<A> {
    fn equip(&self, setup: PoolSetup) {
        let shards = (0..setup.plan.partitions).map(|_| Shard {
            table: Mutex::new(Table {
                supervisor: None,
                open: false,
                by_key: BTreeMap::new(),
                by_pid: HashMap::new(),
                early: HashMap::new(),
            }),
        });
        let _ = self.shards.set(shards.collect());
        let _ = self.setup.set(setup);
    }

    fn start_partition(
        self: Arc<Self>,
        index: usize,
        supervisor: ActorCell,
    ) -> BoxFuture<'static, Result<ActorCell, Failure>> {
        Box::pin(partition::start(self, index, supervisor))
    }

    fn close_partition(&self, index: usize) {
        let supervisor = lock(&self.shard(index).table).supervisor.clone();
        if let Some(supervisor) = supervisor {
            // Refused only when it has ended already.
            let _ = supervisor.cast(Command::Close);
        }
    }

    fn live_count(&self) -> usize {
        self.live.load(Ordering::Acquire)
    }

    fn snapshot(&self, children_max: usize) -> PoolSnapshot {
        PoolSnapshot {
            live: self.live_count(),
            max_children: self.max_children(),
            started: self.started.load(Ordering::Relaxed),
            ended: self.ended.load(Ordering::Relaxed),
            restarted: self.restarted.load(Ordering::Relaxed),
            given_up: self.given_up.load(Ordering::Relaxed),
            deadlines: self.setup.get().map_or(0, |setup| setup.delays.len()),
            children: self.children(None, children_max),
        }
    }

    fn children(&self, after: Option<&str>, limit: usize) -> Vec<PoolChildSnapshot> {
        let range = (after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
        let mut children: Vec<Arc<Child<A>>> = Vec::new();
        for shard in self.shards() {
            let table = lock(&shard.table);
            children.extend(table.by_key.range::<str, _>(range).take(limit).map(|(_, child)| Arc::clone(child)));
        }
        children.sort_by(|a, b| a.key.cmp(&b.key));
        children.truncate(limit);
        let now = Instant::now();
        children.iter().map(|child| Self::child_snapshot(child, now)).collect()
    }

    fn kill(&self, key: &str) -> bool {
        self.child(key).is_some_and(|child| child.mailbox.kill(StopReason::Asked))
    }

    fn for_each_cell(&self, visit: &mut dyn FnMut(&dyn Cell)) {
        for shard in self.shards() {
            for child in lock(&shard.table).by_pid.values() {
                visit(&*child.mailbox);
            }
        }
    }

    fn restarts_in_period(&self) -> usize {
        self.setup.get().map_or(0, |setup| lock(&self.window).count(Instant::now(), setup.period))
    }

    fn timing(&self) -> Option<TimingSnapshot> {
        self.setup.get().map(|setup| TimingSnapshot::of(&setup.profile))
    }

    fn watchdog(&self) -> Option<WatchdogPlan> {
        self.setup.get().map(|setup| setup.profile.watchdog)
    }
}
