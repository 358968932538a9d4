//! The bounded queue in front of an actor.
//!
//! A mailbox outlives the incarnations of its actor, so addresses stay valid across restarts. ractor's own unbounded
//! queue carries only wake tokens, at most one at a time: a token is cast when the queue has something to do and none
//! is out, and the shell takes messages from here until nothing is left.
//!
//! Invariants: messages are queued only while an incarnation runs (its own while it starts); when an incarnation's
//! state is dropped, in whatever way it ended, its queue is empty, the phase is `Down` and waiting senders know;
//! at most one token is out.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use ractor::ActorRef;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::actor::Message;
use crate::address::SendError;
use crate::cell::{Cell, CellView, Current, Profile, StopReason};
use crate::plan::{Overflow, StopMode};
use crate::sync::lock;

/// A queue that held more than this gives its memory back once it is empty.
const KEPT_CAPACITY_MAX: usize = 32;

/// The wake token: all that crosses ractor's own queue of a worker.
pub(crate) struct Wake;

/// Where the incarnation behind a mailbox is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Nothing runs; the state of the last incarnation is dropped.
    Down,
    /// `pre_start` runs: only the actor itself may send.
    Starting,
    /// It takes messages.
    Open,
    /// It handles what is queued and then stops; nothing new is taken.
    Draining,
    /// It stops after the current message.
    Stopping,
}

struct Entry<M> {
    message: M,
    queued_at: Instant,
}

struct Queue<M> {
    entries: VecDeque<Entry<M>>,
    phase: Phase,
    wake: Option<ActorRef<Wake>>,
    token_out: bool,
    expired: bool,
    starts: u64,
    current: Option<Current>,
    active_at: Instant,
    stop_reason: Option<StopReason>,
    rejected: u64,
    dropped: u64,
    handled: u64,
}

/// What the shell does next.
pub(crate) enum Next<M> {
    /// Handle this message.
    Message(M),
    /// Tell the actor that its time is over.
    Expired,
    /// Nothing is left: the token is used up.
    Empty,
    /// Stop in an orderly way.
    Stop,
}

/// A worker's queue and the little that others may know of its incarnation.
pub(crate) struct Mailbox<M> {
    queue: Mutex<Queue<M>>,
    room: Notify,
    changed: Notify,
    profile: OnceLock<Arc<Profile>>,
    name: OnceLock<(Arc<str>, u32)>,
    path: OnceLock<Box<str>>,
    /// The incarnation's task.
    #[cfg(feature = "faults")]
    task: Mutex<Option<tokio::task::AbortHandle>>,
}

impl<M: Message> Mailbox<M> {
    pub(crate) fn new() -> Self {
        Self {
            queue: Mutex::new(Queue {
                entries: VecDeque::new(),
                phase: Phase::Down,
                wake: None,
                token_out: false,
                expired: false,
                starts: 0,
                current: None,
                active_at: Instant::now(),
                stop_reason: None,
                rejected: 0,
                dropped: 0,
                handled: 0,
            }),
            room: Notify::new(),
            changed: Notify::new(),
            profile: OnceLock::new(),
            name: OnceLock::new(),
            path: OnceLock::new(),
            #[cfg(feature = "faults")]
            task: Mutex::default(),
        }
    }

    /// Gives the mailbox its limits and its name, for good. Before that it is down and has no room; a second call changes nothing.
    pub(crate) fn equip(&self, profile: Arc<Profile>, name: Arc<str>, instance: u32) {
        let _ = self.profile.set(profile);
        let _ = self.name.set((name, instance));
    }

    pub(crate) fn path(&self) -> &str {
        self.path.get_or_init(|| {
            let parent = self.profile.get().map_or("", |profile| &profile.parent_path);
            let name = self.name.get().map_or("", |(name, _)| name);
            format!("{parent}/{name}").into_boxed_str()
        })
    }

    pub(crate) fn instance(&self) -> u32 {
        self.name.get().map_or(0, |(_, instance)| *instance)
    }

    pub(crate) fn capacity(&self) -> usize {
        self.profile.get().map_or(0, |profile| profile.mailbox().capacity)
    }

    pub(crate) fn depth(&self) -> usize {
        lock(&self.queue).entries.len()
    }

    pub(crate) fn is_up(&self) -> bool {
        lock(&self.queue).phase == Phase::Open
    }

    pub(crate) async fn wait_up(&self) {
        self.wait_phase(|phase| phase == Phase::Open).await;
    }

    async fn wait_phase(&self, wanted: impl Fn(Phase) -> bool) {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            if wanted(lock(&self.queue).phase) {
                return;
            }
            changed.await;
        }
    }

    /// Queues a message or says why not; `own` marks the actor's own senders, who may send while it starts.
    pub(crate) fn offer(&self, message: M, own: bool) -> Result<(), SendError<M>> {
        let Some(profile) = self.profile.get() else {
            return Err(SendError::Down(message));
        };
        let (now, limit) = (Instant::now(), profile.mailbox());
        let mut queue = lock(&self.queue);
        let admitted = queue.phase == Phase::Open || (own && queue.phase == Phase::Starting);
        if !admitted {
            return Err(SendError::Down(message));
        }
        let mut displaced = Vec::new();
        if queue.entries.len() >= limit.capacity {
            match limit.overflow {
                Overflow::Backpressure => return Err(SendError::Full(message)),
                Overflow::Reject => {
                    queue.rejected += 1;
                    return Err(SendError::Full(message));
                }
                Overflow::DropNewest => {
                    queue.dropped += 1;
                    drop(queue);
                    drop(message);
                    return Ok(());
                }
                Overflow::DropOldest => {
                    // More than one where the capacity has become less.
                    let excess = queue.entries.len() + 1 - limit.capacity;
                    queue.dropped += excess as u64;
                    displaced.extend(queue.entries.drain(..excess));
                }
            }
        }
        queue.entries.push_back(Entry { message, queued_at: now });
        queue.active_at = now;
        let token = take_token(&mut queue);
        drop(queue);
        drop(displaced);
        cast(token);
        Ok(())
    }

    /// As [`Mailbox::offer`], but with `backpressure` it waits for room.
    pub(crate) async fn send(&self, mut message: M, own: bool) -> Result<(), SendError<M>> {
        loop {
            let mut room = std::pin::pin!(self.room.notified());
            room.as_mut().enable();
            match self.offer(message, own) {
                Err(SendError::Full(refused)) if self.waits() => message = refused,
                outcome => return outcome,
            }
            room.await;
        }
    }

    fn waits(&self) -> bool {
        self.profile.get().is_some_and(|profile| profile.mailbox().overflow == Overflow::Backpressure)
    }

    /// A new incarnation begins to start: its number, 0 for the first.
    pub(crate) fn open(&self, wake: ActorRef<Wake>) -> u64 {
        let mut queue = lock(&self.queue);
        let incarnation = queue.starts;
        queue.starts += 1;
        queue.phase = Phase::Starting;
        queue.wake = Some(wake);
        queue.token_out = false;
        queue.expired = false;
        queue.stop_reason = None;
        queue.active_at = Instant::now();
        incarnation
    }

    /// `pre_start` succeeded: everyone may send.
    pub(crate) fn run(&self) {
        let mut queue = lock(&self.queue);
        if queue.phase == Phase::Starting {
            queue.phase = Phase::Open;
        }
        drop(queue);
        self.changed.notify_waiters();
    }

    /// The state of the incarnation is dropped: what was queued is lost, waiting senders get `Down`.
    pub(crate) fn close(&self) {
        let mut queue = lock(&self.queue);
        queue.phase = Phase::Down;
        queue.wake = None;
        queue.current = None;
        let lost = std::mem::take(&mut queue.entries);
        drop(queue);
        drop(lost);
        self.changed.notify_waiters();
        self.room.notify_waiters();
    }

    /// Ends the current message and takes the next.
    pub(crate) fn next(&self) -> Next<M> {
        let now = Instant::now();
        let mut queue = lock(&self.queue);
        let finished = queue.current.take();
        if finished.is_some() {
            queue.handled += 1;
            queue.active_at = now;
        }
        let (next, waited) = take_next(&mut queue, now);
        drop(queue);
        if let Some(profile) = self.profile.get() {
            if let Some(finished) = finished {
                profile.handling.record(now.saturating_duration_since(finished.since));
            }
            if let Some(waited) = waited {
                profile.waiting.record(waited);
                if profile.mailbox().overflow == Overflow::Backpressure {
                    self.room.notify_one();
                }
            }
        }
        next
    }

    /// Names what the actor does outside of messages, for the watchdog and for inspection.
    pub(crate) fn begin(&self, kind: &'static str) {
        lock(&self.queue).current = Some(Current { kind, since: Instant::now() });
    }

    #[cfg(feature = "faults")]
    pub(crate) fn runs_as(&self, task: tokio::task::AbortHandle) {
        *lock(&self.task) = Some(task);
    }

    /// Ends the actor normally after the current message.
    pub(crate) fn stop_self(&self) {
        self.begin_stop(StopMode::Stop);
    }
}

fn take_next<M: Message>(queue: &mut Queue<M>, now: Instant) -> (Next<M>, Option<Duration>) {
    if matches!(queue.phase, Phase::Stopping | Phase::Down) {
        return (Next::Stop, None);
    }
    if std::mem::take(&mut queue.expired) {
        queue.current = Some(Current { kind: "expired", since: now });
        return (Next::Expired, None);
    }
    match queue.entries.pop_front() {
        Some(entry) => {
            queue.current = Some(Current { kind: entry.message.kind(), since: now });
            let waited = now.saturating_duration_since(entry.queued_at);
            (Next::Message(entry.message), Some(waited))
        }
        None if queue.phase == Phase::Draining => {
            queue.phase = Phase::Stopping;
            (Next::Stop, None)
        }
        None => {
            queue.token_out = false;
            if queue.entries.capacity() > KEPT_CAPACITY_MAX {
                queue.entries.shrink_to(KEPT_CAPACITY_MAX);
            }
            (Next::Empty, None)
        }
    }
}

#[cfg(feature = "faults")]
fn work<M>(queue: &Queue<M>) -> Option<crate::fault::Work> {
    let (handling, depth) = (queue.current.map(|current| current.kind), queue.entries.len());
    let has_work = queue.phase == Phase::Open && (handling.is_some() || depth > 0);
    has_work.then_some(crate::fault::Work { handling, depth })
}

/// Marks the token as out; the caller casts it after the lock is released.
fn take_token<M>(queue: &mut Queue<M>) -> Option<ActorRef<Wake>> {
    if queue.token_out {
        return None;
    }
    queue.token_out = true;
    queue.wake.clone()
}

fn cast(token: Option<ActorRef<Wake>>) {
    if let Some(actor) = token {
        // A refused token means that the incarnation is ending; its close empties the queue.
        let _ = actor.cast(Wake);
    }
}

impl<M: Message> Cell for Mailbox<M> {
    fn path(&self) -> &str {
        Mailbox::path(self)
    }

    fn begin_stop(&self, mode: StopMode) {
        let mut queue = lock(&self.queue);
        match (queue.phase, mode) {
            (Phase::Open, StopMode::Drain) => {
                queue.phase = Phase::Draining;
                let token = take_token(&mut queue);
                drop(queue);
                cast(token);
            }
            (Phase::Open | Phase::Draining | Phase::Starting, _) => {
                queue.phase = Phase::Stopping;
                let actor = queue.wake.clone();
                drop(queue);
                if let Some(actor) = actor {
                    actor.stop(None);
                }
            }
            (Phase::Stopping | Phase::Down, _) => return,
        }
        self.room.notify_waiters();
        self.changed.notify_waiters();
    }

    fn kill(&self, reason: StopReason) -> bool {
        let mut queue = lock(&self.queue);
        let Some(actor) = queue.wake.clone() else {
            return false;
        };
        queue.stop_reason.get_or_insert(reason);
        drop(queue);
        actor.kill();
        true
    }

    #[cfg(feature = "faults")]
    fn abort(&self) -> bool {
        let starts = lock(&self.queue).phase == Phase::Starting;
        let task = lock(&self.task).take().filter(|_| !starts);
        task.inspect(tokio::task::AbortHandle::abort).is_some()
    }

    #[cfg(feature = "faults")]
    fn work(&self) -> Option<crate::fault::Work> {
        work(&lock(&self.queue))
    }

    #[cfg(feature = "faults")]
    fn kill_at_work(&self) -> Option<crate::fault::Work> {
        let mut queue = lock(&self.queue);
        let (work, actor) = (work(&queue)?, queue.wake.clone()?);
        queue.stop_reason.get_or_insert(StopReason::Asked);
        // Under the lock, so that the work is not done before the kill. ractor only notes the signal.
        actor.kill();
        Some(work)
    }

    fn expire(&self) {
        let mut queue = lock(&self.queue);
        if queue.phase != Phase::Open {
            return;
        }
        queue.expired = true;
        let token = take_token(&mut queue);
        drop(queue);
        cast(token);
    }

    fn take_stop_reason(&self) -> Option<StopReason> {
        lock(&self.queue).stop_reason.take()
    }

    fn is_gone(&self) -> bool {
        lock(&self.queue).phase == Phase::Down
    }

    fn gone(&self) -> futures_util::future::BoxFuture<'_, ()> {
        Box::pin(self.wait_phase(|phase| phase == Phase::Down))
    }

    fn active_at(&self) -> Instant {
        let queue = lock(&self.queue);
        if queue.current.is_some() || !queue.entries.is_empty() {
            return Instant::now();
        }
        queue.active_at
    }

    fn current(&self) -> Option<Current> {
        lock(&self.queue).current
    }

    fn profile(&self) -> Option<&Arc<Profile>> {
        self.profile.get()
    }

    fn limits_changed(&self) {
        self.room.notify_waiters();
    }

    fn view(&self) -> CellView {
        let limit = self.profile.get().map(|profile| profile.mailbox());
        let queue = lock(&self.queue);
        CellView {
            phase: queue.phase,
            incarnation: queue.starts.saturating_sub(1),
            depth: queue.entries.len(),
            limit,
            rejected: queue.rejected,
            dropped: queue.dropped,
            handled: queue.handled,
            current: queue.current,
        }
    }
}
