//! Kills actors of a daemon, one after the other, for as long as it lives.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::UnixStream,
    task::JoinHandle,
};

/// Between two kills, which is long enough for some requests to be answered in between.
const PAUSE_MS_MAX: usize = 4;

/// The daemon must allow it (`[chaos] allow_kill = true`).
pub(crate) struct Killer {
    kills: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Killer {
    /// `paths` by turns, through the control socket, which is quicker than a process for each kill.
    pub(crate) async fn start(data_dir: &Path, paths: Vec<String>) -> Self {
        let kills = Arc::new(AtomicUsize::new(0));
        let mut socket = BufReader::new(UnixStream::connect(data_dir.join("control.sock")).await.unwrap());
        let counted = Arc::clone(&kills);
        let task = tokio::spawn(async move {
            for (turn, path) in paths.iter().cycle().enumerate() {
                let request = serde_json::json!({"command": "kill", "path": path});
                socket.write_all(format!("{request}\n").as_bytes()).await.unwrap();
                let mut answer = String::new();
                socket.read_line(&mut answer).await.unwrap();
                assert!(!answer.contains("allow_kill"), "{answer}");
                // One that has not been asked since its last kill is not there.
                counted.fetch_add(usize::from(answer.contains("\"killed\"")), Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis((turn % (PAUSE_MS_MAX + 1)) as u64)).await;
            }
        });
        Self { kills, task }
    }

    /// How many were killed so far.
    pub(crate) fn kills(&self) -> usize {
        self.kills.load(Ordering::Relaxed)
    }

    /// Ends it; how many were killed.
    pub(crate) fn stop(self) -> usize {
        assert!(!self.task.is_finished(), "the daemon's control socket was lost");
        self.kills()
    }
}

impl Drop for Killer {
    fn drop(&mut self) {
        self.task.abort();
    }
}
