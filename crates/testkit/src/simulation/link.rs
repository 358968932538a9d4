//! One daemon's way to one backend: it takes its time, and can be cut, stalled, or lose what comes back.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, sleep, sleep_until},
};

use super::Trace;

/// See the module. What it decides is random by its seed.
pub struct Link {
    name: String,
    state: Mutex<State>,
    broken: Notify,
    way_ms_max: u8,
    trace: Trace,
}

struct State {
    random: fastrand::Rng,
    cut_until: Option<Instant>,
    stalled_until: Option<Instant>,
    answers_lost_until: Option<Instant>,
    /// Counts the cuts: a connection of before has ended.
    cuts: u64,
    /// The daemon is gone: nothing that it began goes on.
    is_dead: bool,
}

/// There is no way at present.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unreachable;

impl Link {
    #[must_use]
    pub fn new(name: String, seed: u64, way_ms_max: u8, trace: Trace) -> Arc<Self> {
        let state = State {
            random: fastrand::Rng::with_seed(seed),
            cut_until: None,
            stalled_until: None,
            answers_lost_until: None,
            cuts: 0,
            is_dead: false,
        };
        Arc::new(Self { name, state: Mutex::new(state), broken: Notify::new(), way_ms_max, trace })
    }

    pub fn cut(&self, time: Duration) {
        let mut state = self.state();
        state.cut_until = Some(Instant::now() + time);
        state.cuts += 1;
        drop(state);
        self.broken.notify_waiters();
    }

    pub fn stall(&self, time: Duration) {
        self.state().stalled_until = Some(Instant::now() + time);
    }

    pub fn lose_answers(&self, time: Duration) {
        self.state().answers_lost_until = Some(Instant::now() + time);
    }

    /// All is well from now on.
    pub fn heal(&self) {
        let mut state = self.state();
        (state.cut_until, state.stalled_until, state.answers_lost_until) = (None, None, None);
    }

    /// The daemon was killed: its requests go nowhere any more.
    pub fn die(&self) {
        self.state().is_dead = true;
        self.broken.notify_waiters();
    }

    /// Which connection a new one is.
    #[must_use]
    pub fn connection(&self) -> u64 {
        self.state().cuts
    }

    /// Waits until a connection has ended.
    pub async fn ended(&self, connection: u64) {
        loop {
            let mut broken = std::pin::pin!(self.broken.notified());
            broken.as_mut().enable();
            if self.state().cuts != connection {
                return;
            }
            broken.await;
        }
    }

    /// There, done, and back. Where it fails on the way back it is done all the same.
    ///
    /// # Errors
    /// [`Unreachable`].
    pub async fn call<T>(&self, what: &str, act: impl Future<Output = T>) -> Result<T, Unreachable> {
        self.way().await?;
        let answer = act.await;
        self.trace.add(format_args!("{} {what}", self.name));
        self.way().await?;
        if is_now(self.state().answers_lost_until) {
            self.trace.add(format_args!("{} {what}: answer lost", self.name));
            return Err(Unreachable);
        }
        Ok(answer)
    }

    /// One way.
    ///
    /// # Errors
    /// [`Unreachable`].
    pub async fn way(&self) -> Result<(), Unreachable> {
        let way_ms = {
            let mut state = self.state();
            if state.random.bool() { 0 } else { state.random.u64(0..=u64::from(self.way_ms_max)) }
        };
        if way_ms > 0 {
            sleep(Duration::from_millis(way_ms)).await;
        } else {
            tokio::task::yield_now().await;
        }
        loop {
            let (stalled_until, is_dead) = {
                let state = self.state();
                (state.stalled_until.filter(|until| *until > Instant::now()), state.is_dead)
            };
            if is_dead {
                std::future::pending::<()>().await;
            }
            match stalled_until {
                // Healing ends it early.
                Some(until) => sleep_until(until.min(Instant::now() + Duration::from_millis(100))).await,
                None => break,
            }
        }
        if is_now(self.state().cut_until) { Err(Unreachable) } else { Ok(()) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_now(until: Option<Instant>) -> bool {
    until.is_some_and(|until| until > Instant::now())
}
