//! The daemon's end.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use orinoco_ports::{LoginStore, Running, Server, ServerError};
use orinoco_supervision::Tree;
use tokio::net::UnixListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};

use crate::reload::Reloader;

use super::socket::{self, SocketFile};
use super::{CONNECTIONS_MAX, connection};

/// What is spoken of: the tree, and the logins. The server is part of the tree and so is made before it: the tree is put in once it runs.
#[derive(Clone, Default)]
pub struct TreeSlot(Arc<Slot>);

#[derive(Default)]
struct Slot {
    tree: OnceLock<Tree>,
    logins: OnceLock<Arc<dyn LoginStore>>,
    reloader: OnceLock<Reloader>,
}

impl TreeSlot {
    /// Says which tree runs; only the first one counts.
    pub fn fill(&self, tree: Tree) {
        // A second tree in one process would be a mistake, but no reason to end.
        let _ = self.0.tree.set(tree);
    }

    /// Says whose logins commands may end; only the first one counts.
    pub fn fill_logins(&self, logins: Arc<dyn LoginStore>) {
        // As above.
        let _ = self.0.logins.set(logins);
    }

    /// Says who reads the files again; only the first one counts.
    pub fn fill_reloader(&self, reloader: Reloader) {
        // As above.
        let _ = self.0.reloader.set(reloader);
    }

    pub(crate) fn reloader(&self) -> Option<&Reloader> {
        self.0.reloader.get()
    }

    pub(crate) fn tree(&self) -> Option<&Tree> {
        self.0.tree.get()
    }

    pub(super) fn logins(&self) -> Option<&Arc<dyn LoginStore>> {
        self.0.logins.get()
    }
}

/// Serves the control socket.
pub struct ControlServer {
    path: PathBuf,
    slot: TreeSlot,
}

impl ControlServer {
    /// `path`: of the socket, in the data directory that this process has locked.
    #[must_use]
    pub fn new(path: PathBuf, slot: TreeSlot) -> Self {
        Self { path, slot }
    }
}

#[async_trait]
impl Server for ControlServer {
    async fn start(&self) -> Result<Box<dyn Running>, ServerError> {
        let address = self.path.display().to_string();
        let (listener, file) = socket::bind(&self.path).map_err(|source| ServerError::Bind {
            key: "data_dir",
            address: address.clone(),
            source,
        })?;
        let (draining, drain_asked) = watch::channel(false);
        let accepting = tokio::spawn(accept(listener, self.slot.clone(), drain_asked));
        Ok(Box::new(RunningControl { place: format!("unix:{address}"), draining, accepting, _file: file }))
    }
}

struct RunningControl {
    place: String,
    draining: watch::Sender<bool>,
    accepting: JoinHandle<String>,
    _file: SocketFile,
}

impl Drop for RunningControl {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

#[async_trait]
impl Running for RunningControl {
    fn place(&self) -> &str {
        &self.place
    }

    async fn failed(&mut self) -> ServerError {
        let reason = (&mut self.accepting).await.unwrap_or_else(|error| error.to_string());
        ServerError::Ended { place: self.place.clone(), reason }
    }

    async fn drain(mut self: Box<Self>) {
        self.draining.send_replace(true);
        // How it ended is of no interest any more.
        let _ = (&mut self.accepting).await;
    }
}

/// Accepts until asked to drain; then answers what was asked already. Returns why it ended.
async fn accept(listener: UnixListener, slot: TreeSlot, mut draining: watch::Receiver<bool>) -> String {
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    let reason = loop {
        let accepted = tokio::select! {
            _ = draining.wait_for(|draining| *draining) => break "drained".to_owned(),
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => match Arc::clone(&permits).try_acquire_owned() {
                Ok(permit) => {
                    let (slot, draining) = (slot.clone(), draining.clone());
                    connections.spawn(async move {
                        connection::serve(stream, &slot, draining).await;
                        drop(permit);
                    });
                }
                Err(_) => connection::refuse(&stream),
            },
            Err(error) => break error.to_string(),
        }
    };
    drop(listener);
    if reason == "drained" {
        while connections.join_next().await.is_some() {}
    }
    reason
}
