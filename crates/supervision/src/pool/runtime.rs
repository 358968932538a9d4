//! The tables of a pool and what happens to its children; shared by starters, partitions and the delay queue.

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use futures_util::future::BoxFuture;
use ractor::{ActorCell, ActorRef};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::StartChildError;
use super::child::{Child, ChildPhase, Key};
use super::partition::{self, Command};
use crate::actor::{Actor, Failure};
use crate::address::Address;
use crate::cell::{Cell, Profile, StopReason};
use crate::delay::Delays;
use crate::inspect::{PoolChildSnapshot, PoolSnapshot, Status, TimingSnapshot};
use crate::plan::{IntensityScope, PoolPlan, SupervisorPolicy, WatchdogPlan};
use crate::supervisor::intensity::Window;
use crate::supervisor::strategy::Exit;
use crate::sync::{Place, lock};

/// What the plan says about a pool, and what its children share.
#[derive(Clone)]
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
    /// Other limits, and other rules for its children, those that run too. The number of partitions stays.
    fn set_plan(&self, plan: &PoolPlan);
    fn set_intensity(&self, policy: &SupervisorPolicy);
    /// A new incarnation of the pool's supervisor begins: earlier restarts do not count against it.
    fn begin(&self);
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
    #[cfg(feature = "faults")]
    fn cell(&self, key: &str) -> Option<Arc<dyn Cell>>;
    fn for_each_cell(&self, visit: &mut dyn FnMut(&dyn Cell));
    fn restarts_in_period(&self) -> usize;
    fn timing(&self) -> Option<TimingSnapshot>;
    fn watchdog(&self) -> Option<WatchdogPlan>;
}

/// A partition's children.
pub(super) struct Table<A: Actor> {
    /// Who supervises them; none while the partition is down.
    pub(super) server: Option<Server<A>>,
    /// Whether new children are taken.
    pub(super) open: bool,
    pub(super) by_key: BTreeMap<Arc<str>, Arc<Child<A>>>,
    /// In the order of starting, in which they are visited.
    pub(super) by_pid: BTreeMap<u64, Arc<Child<A>>>,
    /// Ends that were told before the starter had entered the child.
    pub(super) early: HashMap<u64, Exit>,
}

impl<A: Actor> Table<A> {
    pub(super) fn is_served_by(&self, server: &Server<A>) -> bool {
        self.open && self.server.as_ref().is_some_and(|present| present.actor.get_id() == server.actor.get_id())
    }
}

/// An incarnation of a partition.
pub(super) struct Server<A: Actor> {
    pub(super) actor: ActorRef<Command<A>>,
    /// Cancelled when it has ended: starts under it are given up.
    pub(super) ended: CancellationToken,
}

impl<A: Actor> Clone for Server<A> {
    fn clone(&self) -> Self {
        Self { actor: self.actor.clone(), ended: self.ended.clone() }
    }
}

pub(super) struct Shard<A: Actor> {
    /// Of the partition's incarnations.
    pub(super) place: Place,
    pub(super) table: Mutex<Table<A>>,
}

pub(crate) struct PoolInner<A: Actor> {
    pub(super) make: Arc<dyn Fn() -> A + Send + Sync>,
    setup: RwLock<Option<Arc<PoolSetup>>>,
    shards: OnceLock<Vec<Shard<A>>>,
    pub(super) live: AtomicUsize,
    pub(super) window: Mutex<Window>,
    pub(super) started: AtomicU64,
    pub(super) ended: AtomicU64,
    pub(super) restarted: AtomicU64,
    pub(super) given_up: AtomicU64,
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
            setup: RwLock::default(),
            shards: OnceLock::new(),
            live: AtomicUsize::new(0),
            window: Mutex::default(),
            started: AtomicU64::new(0),
            ended: AtomicU64::new(0),
            restarted: AtomicU64::new(0),
            given_up: AtomicU64::new(0),
        }
    }

    /// What holds at present; `None` before the tree is started.
    pub(super) fn setup(&self) -> Option<Arc<PoolSetup>> {
        self.setup.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts another setup in the place of the present one, and returns both.
    fn change(&self, change: impl FnOnce(&mut PoolSetup)) -> Option<(Arc<PoolSetup>, Arc<PoolSetup>)> {
        let mut place = self.setup.write().unwrap_or_else(PoisonError::into_inner);
        let before = place.take()?;
        let mut next = (*before).clone();
        change(&mut next);
        let next = Arc::new(next);
        *place = Some(Arc::clone(&next));
        Some((before, next))
    }

    pub(super) fn shards(&self) -> &[Shard<A>] {
        self.shards.get().map_or(&[], Vec::as_slice)
    }

    pub(super) fn shard(&self, index: usize) -> &Shard<A> {
        &self.shards()[index]
    }

    pub(super) fn max_children(&self) -> usize {
        self.setup().map_or(0, |setup| setup.plan.max_children)
    }

    pub(super) fn is_up(&self) -> bool {
        let shards = self.shards();
        !shards.is_empty() && shards.iter().all(|shard| lock(&shard.table).open)
    }

    pub(super) fn get(&self, key: &Key) -> Option<Address<A::Message>> {
        self.child(&key.0).map(|child| child.address())
    }

    pub(super) fn addresses(&self) -> Vec<Address<A::Message>> {
        let mut addresses = Vec::with_capacity(self.live.load(Ordering::Acquire));
        for shard in self.shards() {
            addresses.extend(lock(&shard.table).by_key.values().map(|child| child.address()));
        }
        addresses
    }

    pub(super) fn child(&self, key: &str) -> Option<Arc<Child<A>>> {
        let setup = self.setup()?;
        let index = partition_of(key, setup.plan.partitions);
        lock(&self.shard(index).table).by_key.get(key).cloned()
    }

    /// Takes a seat for a child and enters it by its key.
    pub(super) fn register(&self, child: &Arc<Child<A>>, max_children: usize) -> Result<Server<A>, StartChildError> {
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

    fn enter(&self, child: &Arc<Child<A>>) -> Result<Server<A>, StartChildError> {
        let mut table = lock(&self.shard(child.partition).table);
        let server = match &table.server {
            Some(server) if table.open => server.clone(),
            _ => return Err(StartChildError::Down),
        };
        if table.by_key.contains_key(&child.key) {
            let key = child.key.to_string();
            return Err(StartChildError::AlreadyStarted { key });
        }
        table.by_key.insert(Arc::clone(&child.key), Arc::clone(child));
        Ok(server)
    }

    pub(super) fn serves(&self, partition: usize, server: &Server<A>) -> bool {
        lock(&self.shard(partition).table).is_served_by(server)
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
            place: Place::default(),
            table: Mutex::new(Table {
                server: None,
                open: false,
                by_key: BTreeMap::new(),
                by_pid: BTreeMap::new(),
                early: HashMap::new(),
            }),
        });
        let _ = self.shards.set(shards.collect());
        *self.setup.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(setup));
    }

    fn set_plan(&self, plan: &PoolPlan) {
        let changed = self.change(|setup| setup.plan = PoolPlan { partitions: setup.plan.partitions, ..plan.clone() });
        let Some((before, setup)) = changed else { return };
        setup.profile.set(plan.child.mailbox, plan.child.watchdog);
        let (was, is) = (&before.plan.child, &plan.child);
        let is_other_life = (was.ttl, was.idle_ttl) != (is.ttl, is.idle_ttl);
        for shard in self.shards() {
            let children: Vec<Arc<Child<A>>> = lock(&shard.table).by_key.values().cloned().collect();
            for child in children {
                child.mailbox.limits_changed();
                if is_other_life {
                    self.set_lifetimes(&child, &setup);
                }
            }
        }
    }

    fn set_intensity(&self, policy: &SupervisorPolicy) {
        self.change(|setup| {
            (setup.intensity, setup.period, setup.scope) = (policy.intensity, policy.period, policy.intensity_scope);
        });
    }

    fn begin(&self) {
        *lock(&self.window) = Window::default();
    }

    fn start_partition(
        self: Arc<Self>,
        index: usize,
        supervisor: ActorCell,
    ) -> BoxFuture<'static, Result<ActorCell, Failure>> {
        Box::pin(partition::start(self, index, supervisor))
    }

    fn close_partition(&self, index: usize) {
        let server = lock(&self.shard(index).table).server.clone();
        if let Some(server) = server {
            // Refused only when it has ended already.
            let _ = server.actor.cast(Command::Close);
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
            deadlines: self.setup().map_or(0, |setup| setup.delays.len()),
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

    #[cfg(feature = "faults")]
    fn cell(&self, key: &str) -> Option<Arc<dyn Cell>> {
        self.child(key).map(|child| Arc::clone(&child.mailbox) as Arc<dyn Cell>)
    }

    fn for_each_cell(&self, visit: &mut dyn FnMut(&dyn Cell)) {
        for shard in self.shards() {
            for child in lock(&shard.table).by_pid.values() {
                visit(&*child.mailbox);
            }
        }
    }

    fn restarts_in_period(&self) -> usize {
        self.setup().map_or(0, |setup| lock(&self.window).count(Instant::now(), setup.period))
    }

    fn timing(&self) -> Option<TimingSnapshot> {
        self.setup().map(|setup| TimingSnapshot::of(&setup.profile))
    }

    fn watchdog(&self) -> Option<WatchdogPlan> {
        self.setup().map(|setup| setup.profile.watchdog())
    }
}
