//! What happened in a run: a hash of all of it, its last lines, and what must not have happened.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::time::Instant;

const LINES_MAX: usize = 4_000;
const VIOLATIONS_MAX: usize = 20;
const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0100_0000_01b3;

/// An invariant that did not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The invariant.
    pub invariant: &'static str,
    pub what: String,
}

/// The record of one run; cheap to clone. Made inside of the run's runtime, whose clock it tells.
#[derive(Clone)]
pub struct Trace {
    since: Instant,
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    hash: u64,
    events: u64,
    lines: VecDeque<String>,
    violations: Vec<Violation>,
}

impl Default for Trace {
    fn default() -> Self {
        let inner = Inner { hash: FNV_OFFSET, events: 0, lines: VecDeque::new(), violations: Vec::new() };
        Self { since: Instant::now(), inner: Arc::new(Mutex::new(inner)) }
    }
}

impl Trace {
    /// Adds an event.
    pub fn add(&self, event: fmt::Arguments<'_>) {
        let line = format!("{:>7} ms  {event}", self.elapsed_ms());
        let mut inner = self.inner();
        // FNV-1a: the same on every machine and in every version of Rust.
        inner.hash = line.bytes().fold(inner.hash, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(FNV_PRIME));
        inner.events += 1;
        if inner.lines.len() == LINES_MAX {
            inner.lines.pop_front();
        }
        inner.lines.push_back(line);
    }

    /// An invariant does not hold.
    pub fn violated(&self, invariant: &'static str, what: impl Into<String>) {
        let what = what.into();
        self.add(format_args!("VIOLATED {invariant}: {what}"));
        let mut inner = self.inner();
        if inner.violations.len() < VIOLATIONS_MAX {
            inner.violations.push(Violation { invariant, what });
        }
    }

    /// Since the begin, ms.
    #[must_use]
    pub fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Of all events so far, with their times.
    #[must_use]
    pub fn hash(&self) -> u64 {
        self.inner().hash
    }

    #[must_use]
    pub fn events(&self) -> u64 {
        self.inner().events
    }

    #[must_use]
    pub fn violations(&self) -> Vec<Violation> {
        self.inner().violations.clone()
    }

    /// The last events, oldest first.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.inner().lines.iter().cloned().collect()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
