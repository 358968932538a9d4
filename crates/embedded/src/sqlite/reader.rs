//! A thread that reads.

use std::thread::{self, JoinHandle};

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::{Fault, ended};

type Read = Box<dyn FnOnce(&Connection) + Send>;

pub(crate) struct Reader {
    reads: Option<mpsc::Sender<Read>>,
    thread: Option<JoinHandle<()>>,
}

impl Reader {
    /// Of further reads than `reads_max` each waits for its turn.
    pub(crate) fn start(name: &str, connection: Connection, reads_max: usize) -> Result<Self, Fault> {
        let (sender, mut receiver) = mpsc::channel::<Read>(reads_max);
        let run = move || {
            while let Some(read) = receiver.blocking_recv() {
                read(&connection);
            }
        };
        let thread = thread::Builder::new().name(name.to_owned()).spawn(run);
        let thread = thread.map_err(|error| Fault::Unavailable(error.to_string()))?;
        Ok(Self { reads: Some(sender), thread: Some(thread) })
    }

    /// Sees all that was answered before it was called.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Fault> {
        let (reply, answer) = oneshot::channel();
        let read = Box::new(move |connection: &Connection| {
            // Nobody waits any more where the caller gave up.
            if !reply.is_closed() {
                drop(reply.send(read(connection)));
            }
        });
        self.reads.as_ref().ok_or_else(ended)?.send(read).await.map_err(|_| ended())?;
        Ok(answer.await.map_err(|_| ended())??)
    }
}

impl Drop for Reader {
    /// Waits for what is under way, so that the file can be opened anew at once.
    fn drop(&mut self) {
        self.reads = None;
        if let Some(thread) = self.thread.take() {
            // It only ends early by a panic, which has been reported.
            let _ = thread.join();
        }
    }
}
