//! The keeper thread: syncs for all who wait, and writes the commit position. Nobody who appends waits for it.

use std::{
    path::PathBuf,
    sync::{
        Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use orinoco_ports::JournalError;
use tokio::sync::watch;

use super::{CHECKPOINT_EVERY, Shared};
use crate::segment::SegmentError;

/// What there is to do.
#[derive(Debug, Default)]
struct Work {
    /// Highest sequence that somebody waits for.
    wanted: u64,
    checkpoint_is_due: bool,
    segment_was_made: bool,
    stop: bool,
}

/// How far syncing has come.
#[derive(Debug, Clone, Default)]
struct Progress {
    durable: u64,
    failure: Option<(PathBuf, String)>,
}

#[derive(Debug)]
pub(super) struct Keeper {
    work: Mutex<Work>,
    /// With `work`: there is some.
    wake: Condvar,
    progress: watch::Sender<Progress>,
    /// With `work`: `progress` changed, for threads that block.
    progressed: Condvar,
    has_failed: AtomicBool,
}

impl Keeper {
    /// All up to `durable` was there before, and has been synced.
    pub(super) fn new(durable: u64) -> Self {
        Self {
            work: Mutex::new(Work::default()),
            wake: Condvar::new(),
            progress: watch::Sender::new(Progress { durable, failure: None }),
            progressed: Condvar::new(),
            has_failed: AtomicBool::new(false),
        }
    }

    fn work(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, change: impl FnOnce(&mut Work)) {
        change(&mut self.work());
        self.wake.notify_one();
    }

    pub(super) fn stop(&self) {
        self.tell(|work| work.stop = true);
    }

    pub(super) fn segment_was_made(&self) {
        self.tell(|work| work.segment_was_made = true);
    }

    pub(super) fn checkpoint_is_due(&self) {
        let mut work = self.work();
        if !work.checkpoint_is_due {
            work.checkpoint_is_due = true;
            drop(work);
            self.wake.notify_one();
        }
    }

    /// After a failed sync the kernel may drop what it could not write and say so only once: nothing is acknowledged any more until
    /// the journal is opened anew.
    pub(super) fn has_failed(&self) -> bool {
        self.has_failed.load(Ordering::Acquire)
    }

    /// # Errors
    /// [`JournalError::Io`] after a failed sync.
    pub(super) fn check(&self) -> Result<(), JournalError> {
        if !self.has_failed() {
            return Ok(());
        }
        outcome(&self.progress.borrow(), u64::MAX).unwrap_or(Ok(()))
    }

    pub(super) async fn durable(&self, sequence: u64) -> Result<(), JournalError> {
        let mut progress = self.progress.subscribe();
        self.tell(|work| work.wanted = work.wanted.max(sequence));
        loop {
            if let Some(outcome) = outcome(&progress.borrow_and_update(), sequence) {
                return outcome;
            }
            // The sender is `self`'s.
            let _ = progress.changed().await;
        }
    }

    pub(super) fn durable_blocking(&self, sequence: u64) -> Result<(), JournalError> {
        let mut work = self.work();
        work.wanted = work.wanted.max(sequence);
        self.wake.notify_one();
        loop {
            if let Some(outcome) = outcome(&self.progress.borrow(), sequence) {
                return outcome;
            }
            work = self.progressed.wait(work).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn report(&self, synced: Result<u64, SegmentError>) {
        self.progress.send_modify(|progress| match synced {
            Ok(durable) => progress.durable = progress.durable.max(durable),
            Err(SegmentError::Io { path, source }) => progress.failure = Some((path, source.to_string())),
            Err(SegmentError::Corrupt { path, reason, .. }) => progress.failure = Some((path, reason)),
        });
        self.has_failed.store(self.progress.borrow().failure.is_some(), Ordering::Release);
        // Whoever looked before the change holds the lock until it waits.
        drop(self.work());
        self.progressed.notify_all();
    }
}

/// What a wait for `sequence` has come to, if it is over.
fn outcome(progress: &Progress, sequence: u64) -> Option<Result<(), JournalError>> {
    if progress.durable >= sequence {
        return Some(Ok(()));
    }
    let (path, reason) = progress.failure.as_ref()?;
    let source = std::io::Error::other(format!("{reason}; check the disk, then start the daemon again"));
    Some(Err(JournalError::Io { path: path.display().to_string(), source }))
}

/// The thread.
pub(super) fn run(shared: &Shared) {
    let mut checkpoint_written = Instant::now();
    loop {
        let mut work = shared.keeper.work();
        let (is_wanted, segment_was_made, write_checkpoint) = loop {
            if work.stop {
                return;
            }
            let progress = shared.keeper.progress.borrow().clone();
            let is_wanted = work.wanted > progress.durable && progress.failure.is_none();
            let left = CHECKPOINT_EVERY.saturating_sub(checkpoint_written.elapsed());
            let write_checkpoint = work.checkpoint_is_due && left.is_zero() || work.segment_was_made;
            if is_wanted || write_checkpoint {
                work.checkpoint_is_due &= !write_checkpoint;
                break (is_wanted, std::mem::take(&mut work.segment_was_made), write_checkpoint);
            }
            work = if work.checkpoint_is_due {
                shared.keeper.wake.wait_timeout(work, left).unwrap_or_else(PoisonError::into_inner).0
            } else {
                shared.keeper.wake.wait(work).unwrap_or_else(PoisonError::into_inner)
            };
        };
        drop(work);
        if is_wanted {
            let (task, next) = shared.appender().unsynced();
            shared.keeper.report(task.run().map(|()| next - 1));
        } else if segment_was_made {
            // Nobody waits for these; syncing them now keeps small what a power cut may take back.
            let task = shared.appender().unsynced_sealed();
            if let Err(error) = task.run() {
                tracing::warn!(%error, "a full segment of the journal could not be synced");
            }
        }
        if write_checkpoint {
            checkpoint_written = Instant::now();
            if let Err(error) = shared.write_checkpoint() {
                tracing::warn!(%error, "commit position of the journal could not be written");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn after_a_failed_sync_nothing_more_is_acknowledged_and_what_was_stays_so() {
        let keeper = Keeper::new(3);
        keeper.report(Ok(5));
        keeper.durable(5).await.unwrap();
        let source = std::io::Error::other("no medium");
        keeper.report(Err(SegmentError::Io { path: "journal/1.segment".into(), source }));
        // A later sync that the kernel calls a success proves nothing.
        for error in [keeper.durable(6).await, keeper.durable_blocking(6), keeper.check()] {
            let message = error.unwrap_err().to_string();
            assert!(message.contains("journal/1.segment") && message.contains("check the disk"), "{message}");
        }
        assert!(keeper.has_failed());
        keeper.durable(5).await.unwrap();
    }
}
