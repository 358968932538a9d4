//! The thread that writes: what waits together is committed together, with one sync of the disk, and answered then.
//!
//! A write that finds damage is taken out, and the others are done without it. Any other error ends them all.

use std::thread::{self, JoinHandle};

use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};

use super::{Fault, ended};

/// What the writes of one transaction share.
pub(crate) trait Unit: Send + 'static {
    /// A transaction begins; one that was begun before, and not committed, was rolled back.
    fn begin(&mut self);

    /// Something was written, by one or more of `writes` calls.
    fn before_commit(&mut self, connection: &Connection, writes: usize) -> rusqlite::Result<()>;

    /// It is on disk; answers follow.
    fn committed(&mut self);
}

trait Write<U>: Send {
    /// May be called again, after a transaction that was rolled back.
    fn perform(&mut self, connection: &Connection, unit: &mut U) -> rusqlite::Result<()>;

    fn answer(self: Box<Self>, committed: Result<(), Fault>);
}

pub(crate) struct Writer<U> {
    writes: Option<mpsc::Sender<Box<dyn Write<U>>>>,
    thread: Option<JoinHandle<()>>,
}

/// Limits of a writer.
const TRANSACTION_WRITES_MAX: usize = 512;

impl<U: Unit> Writer<U> {
    /// Of further writes than `writes_max` each waits for its turn.
    pub(crate) fn start(name: &str, connection: Connection, unit: U, writes_max: usize) -> Result<Self, Fault> {
        let (sender, mut receiver) = mpsc::channel::<Box<dyn Write<U>>>(writes_max);
        let mut thread_of_writes = WriterThread { connection, unit };
        let run = move || {
            let mut writes = Vec::with_capacity(TRANSACTION_WRITES_MAX);
            while receiver.blocking_recv_many(&mut writes, TRANSACTION_WRITES_MAX) > 0 {
                thread_of_writes.serve(&mut writes);
            }
        };
        let thread = thread::Builder::new().name(name.to_owned()).spawn(run);
        let thread = thread.map_err(|error| Fault::Unavailable(error.to_string()))?;
        Ok(Self { writes: Some(sender), thread: Some(thread) })
    }

    /// Does `perform` in a transaction; what it returns is given once that is committed. It must check before it writes: what it has
    /// written stays, unless it fails.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        perform: impl FnMut(&Connection, &mut U) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Fault> {
        let (reply, answer) = oneshot::channel();
        let write = Box::new(Call { perform, outcome: None, reply });
        self.writes.as_ref().ok_or_else(ended)?.send(write).await.map_err(|_| ended())?;
        answer.await.map_err(|_| ended())?
    }
}

impl<U> Drop for Writer<U> {
    /// Waits for what is under way, so that the file can be opened anew at once.
    fn drop(&mut self) {
        self.writes = None;
        if let Some(thread) = self.thread.take() {
            // It only ends early by a panic, which has been reported.
            let _ = thread.join();
        }
    }
}

struct Call<F, T> {
    perform: F,
    outcome: Option<T>,
    reply: oneshot::Sender<Result<T, Fault>>,
}

impl<U, F, T> Write<U> for Call<F, T>
where
    F: FnMut(&Connection, &mut U) -> rusqlite::Result<T> + Send,
    T: Send,
{
    fn perform(&mut self, connection: &Connection, unit: &mut U) -> rusqlite::Result<()> {
        self.outcome = Some((self.perform)(connection, unit)?);
        Ok(())
    }

    fn answer(self: Box<Self>, committed: Result<(), Fault>) {
        let Self { outcome, reply, .. } = *self;
        // Committed without having been performed can't be.
        let outcome = committed.and_then(|()| outcome.ok_or_else(ended));
        // Nobody waits any more where the caller gave up.
        let _ = reply.send(outcome);
    }
}

struct WriterThread<U> {
    connection: Connection,
    unit: U,
}

/// Which write failed, if it was one of them, and why.
struct Failure {
    index: Option<usize>,
    fault: Fault,
}

impl<U: Unit> WriterThread<U> {
    fn serve(&mut self, writes: &mut Vec<Box<dyn Write<U>>>) {
        while !writes.is_empty() {
            match self.transact(writes) {
                Ok(()) => writes.drain(..).for_each(|write| write.answer(Ok(()))),
                Err(Failure { index: Some(index), fault: fault @ Fault::Damaged(_) }) => {
                    writes.remove(index).answer(Err(fault));
                }
                Err(Failure { fault, .. }) => writes.drain(..).for_each(|write| write.answer(Err(fault.clone()))),
            }
        }
    }

    fn transact(&mut self, writes: &mut [Box<dyn Write<U>>]) -> Result<(), Failure> {
        let failed = |index| move |error: rusqlite::Error| Failure { index, fault: error.into() };
        let transaction =
            self.connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed(None))?;
        let changes = transaction.total_changes();
        self.unit.begin();
        for (index, write) in writes.iter_mut().enumerate() {
            write.perform(&transaction, &mut self.unit).map_err(failed(Some(index)))?;
        }
        if transaction.total_changes() > changes {
            self.unit.before_commit(&transaction, writes.len()).map_err(failed(None))?;
        }
        transaction.commit().map_err(failed(None))?;
        self.unit.committed();
        Ok(())
    }
}
