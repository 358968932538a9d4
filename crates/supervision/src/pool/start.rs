//! How a child is asked for, and its way from the request to the table.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use ractor::ActorCell;
use tokio::time::Instant;

use super::child::{Child, ChildPhase, Key};
use super::partition::Command;
use super::runtime::{PoolInner, Server};
use super::{PoolSetup, StartChildError, runtime};
use crate::actor::Actor;
use crate::address::Address;
use crate::cell::Cell as _;
use crate::delay::{Deadline, Due};
use crate::plan::{Restart, Timeout, TtlFrom};
use crate::shell;
use crate::sync::lock;

/// Where a child's arguments come from.
pub(super) enum Source<A: Actor> {
    Factory(Box<dyn Fn() -> A::Arguments + Send + Sync>),
    Once(Mutex<Option<Box<A::Arguments>>>),
}

/// A child to start.
pub struct ChildStart<A: Actor> {
    source: Source<A>,
    ttl: Option<Duration>,
    age: Duration,
}

impl<A: Actor> ChildStart<A> {
    /// With arguments that are made anew at each start.
    pub fn with(arguments: impl Fn() -> A::Arguments + Send + Sync + 'static) -> Self {
        Self::new(Source::Factory(Box::new(arguments)))
    }

    /// With arguments that are cloned at each start.
    pub fn cloned(arguments: A::Arguments) -> Self
    where
        A::Arguments: Clone + Sync,
    {
        Self::with(move || arguments.clone())
    }

    /// With arguments that exist once, a socket for instance: for pools with `restart = "temporary"`.
    pub fn once(arguments: A::Arguments) -> Self {
        Self::new(Source::Once(Mutex::new(Some(Box::new(arguments)))))
    }

    fn new(source: Source<A>) -> Self {
        Self { source, ttl: None, age: Duration::ZERO }
    }

    /// It lives at most this long from now on, whatever the file says; restarts do not prolong it.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// It was created this long ago: with `ttl_from = "created_at"` its `ttl` counts from then.
    pub fn age(mut self, age: Duration) -> Self {
        self.age = age;
        self
    }

    /// As [`ChildStart::age`], from a time of creation; one in the future counts as now.
    pub fn created_at(self, created_at: SystemTime) -> Self {
        self.age(created_at.elapsed().unwrap_or(Duration::ZERO))
    }

    /// The deadline that holds across restarts, if there is one.
    fn fixed_ttl_at(&self, ttl: Option<Duration>, from: TtlFrom, now: Instant) -> Option<Instant> {
        match (self.ttl, ttl, from) {
            (Some(remaining), _, _) => Some(now + remaining),
            (None, Some(ttl), TtlFrom::CreatedAt) => Some(now + ttl.saturating_sub(self.age)),
            _ => None,
        }
    }
}

/// Takes a child out of the table again unless its start succeeds, also when the starter's future is dropped.
struct Registered<'a, A: Actor> {
    pool: &'a Arc<PoolInner<A>>,
    child: &'a Arc<Child<A>>,
    started: bool,
}

impl<A: Actor> Drop for Registered<'_, A> {
    fn drop(&mut self) {
        if !self.started {
            self.pool.forget(self.child);
        }
    }
}

impl<A: Actor> PoolInner<A> {
    pub(super) async fn start_child(
        self: &Arc<Self>,
        key: Key,
        start: ChildStart<A>,
    ) -> Result<Address<A::Message>, StartChildError> {
        let setup = self.setup().ok_or(StartChildError::Down)?;
        let plan = &setup.plan.child;
        if matches!(start.source, Source::Once(_)) && plan.restart != Restart::Temporary {
            return Err(StartChildError::ArgumentsOnce);
        }
        let ttl_at = start.fixed_ttl_at(plan.ttl, plan.ttl_from, Instant::now());
        let partition = runtime::partition_of(&key.0, setup.plan.partitions);
        let child = Arc::new(Child::new(self, key.0, partition, start.source, ttl_at));
        child.mailbox.equip(Arc::clone(&setup.profile), Arc::clone(&child.key), 0);
        let server = self.register(&child, setup.plan.max_children)?;
        let mut registered = Registered { pool: self, child: &child, started: false };
        self.launch(&child, &server).await?;
        registered.started = true;
        Ok(child.address())
    }

    /// Starts an incarnation of a registered child.
    pub(super) async fn launch(
        self: &Arc<Self>,
        child: &Arc<Child<A>>,
        server: &Server<A>,
    ) -> Result<(), StartChildError> {
        let setup = self.setup().ok_or(StartChildError::Down)?;
        let make = child.make(self).ok_or(StartChildError::ArgumentsOnce)?;
        let start = shell::start(Arc::clone(&child.mailbox), make, server.actor.get_cell());
        let start = async {
            match setup.plan.child.start_timeout {
                Timeout::Infinity => Ok(start.await),
                Timeout::After(limit) => {
                    tokio::time::timeout(limit, start).await.map_err(|_| StartChildError::Timeout(limit))
                }
            }
        };
        let Some(started) = server.ended.run_until_cancelled(start).await else {
            return Err(StartChildError::Down);
        };
        match started? {
            Ok(actor) => self.started(child, &actor, server),
            Err(_) if !self.serves(child.partition, server) => Err(StartChildError::Down),
            Err(failure) => Err(StartChildError::Failed(failure)),
        }
    }

    /// A child runs: enters it under its process id, sets its deadlines.
    fn started(&self, child: &Arc<Child<A>>, actor: &ActorCell, server: &Server<A>) -> Result<(), StartChildError> {
        let pid = actor.get_id().pid();
        let mut table = lock(&self.shard(child.partition).table);
        if !table.is_served_by(server) || child.phase() == ChildPhase::Gone {
            drop(table);
            actor.kill();
            return Err(StartChildError::Down);
        }
        table.by_pid.insert(pid, Arc::clone(child));
        let ended_already = table.early.remove(&pid);
        let stopping = self.set_up(child);
        drop(table);
        self.started.fetch_add(1, Ordering::Relaxed);
        if let Some(exit) = ended_already {
            // A refusal means that the partition is gone, and the child with it.
            let _ = server.actor.cast(Command::Ended { pid, exit });
        } else if stopping {
            self.stop_in_order(child);
        }
        Ok(())
    }

    /// Marks a child as up and sets its deadlines; true when it was asked to stop meanwhile.
    fn set_up(&self, child: &Arc<Child<A>>) -> bool {
        let now = Instant::now();
        let mut life = lock(&child.life);
        // Under the lock: what changes the setup afterwards finds the child up.
        let Some(setup) = self.setup() else { return false };
        life.phase = ChildPhase::Up;
        life.up_since = Some(now);
        if life.ttl_at.is_none()
            && let Some(ttl) = setup.plan.child.ttl
        {
            // Counted from this start: the next one sets it again.
            let key = setup.delays.insert(as_due(child), Deadline::Ttl, now + ttl);
            life.ttl_key = Some(key);
        }
        match life.ttl_at {
            Some(at) if at <= now => child.mailbox.expire(),
            Some(at) if life.ttl_key.is_none() => {
                life.ttl_key = Some(setup.delays.insert(as_due(child), Deadline::Ttl, at));
            }
            _ => {}
        }
        if let Some(idle) = setup.plan.child.idle_ttl {
            life.idle_key = Some(setup.delays.insert(as_due(child), Deadline::Idle, now + idle));
        }
        life.stopping
    }

    /// Gives a child that runs other lifetimes, from when it started and from when it had something to do. A time that was fixed at its
    /// creation stays, and who starts sees to its own.
    pub(super) fn set_lifetimes(&self, child: &Arc<Child<A>>, setup: &PoolSetup) {
        let mut life = lock(&child.life);
        if life.phase != ChildPhase::Up {
            return;
        }
        let is_fixed = life.ttl_at.is_some();
        let stale = [life.ttl_key.take_if(|_| !is_fixed), life.idle_key.take()];
        if let (None, Some(ttl), Some(since)) = (life.ttl_at, setup.plan.child.ttl, life.up_since) {
            life.ttl_key = Some(setup.delays.insert(as_due(child), Deadline::Ttl, since + ttl));
        }
        if let Some(idle) = setup.plan.child.idle_ttl {
            let at = child.mailbox.active_at() + idle;
            life.idle_key = Some(setup.delays.insert(as_due(child), Deadline::Idle, at));
        }
        drop(life);
        for key in stale.iter().flatten() {
            setup.delays.remove(key);
        }
    }
}

pub(super) fn as_due<A: Actor>(child: &Arc<Child<A>>) -> Arc<dyn Due> {
    Arc::clone(child) as Arc<dyn Due>
}
