//! Leases where there is one owner: whoever has the data directory has them all, for as long as it wants them.
//!
//! Invariant: an epoch is on disk before it is handed out, and never handed out twice: each process start, and each taking after a
//! release, gets a higher one.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use orinoco_ports::{BackendInfo, Holding, Lease, LeaseError, Leases, Sharing};
use tokio::time::Instant;

use crate::files;

/// The embedded leases. One to a file.
#[derive(Debug)]
pub struct LocalLeases {
    path: PathBuf,
    owner: String,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    /// The last epoch of each lease, as on disk.
    epochs: BTreeMap<String, u64>,
    /// Leases held, and until when.
    held: BTreeMap<String, Instant>,
}

impl LocalLeases {
    /// Reads the epochs of earlier runs from `path`; made if missing. `owner`: as whom it is shown.
    ///
    /// # Errors
    /// [`LeaseError::Unavailable`], also where the file is damaged.
    pub fn open(path: &Path, owner: impl Into<String>) -> Result<Self, LeaseError> {
        let epochs = match fs::read(path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| {
                let remedy = "restore it from a copy; without it, older owners can't be told from this one";
                unavailable(path, &format!("it is damaged ({error}); {remedy}"))
            })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(unavailable(path, &error)),
        };
        let state = State { epochs, held: BTreeMap::new() };
        Ok(Self { path: path.to_owned(), owner: owner.into(), state: Arc::new(Mutex::new(state)) })
    }
}

impl State {
    /// Renews and takes. Says nothing of leases whose epoch could not be written: they are not held.
    fn hold(
        &mut self,
        path: &Path,
        wanted: &[String],
        held_max: u32,
        time_to_live: Duration,
    ) -> Result<(), LeaseError> {
        let now = Instant::now();
        // What was not wanted for its time to live has run out.
        self.held.retain(|name, until| *until > now || wanted.contains(name));
        let (renewed, free): (Vec<&String>, Vec<&String>) =
            wanted.iter().partition(|name| self.held.contains_key(*name));
        let taken: Vec<&String> = free.into_iter().take((held_max as usize).saturating_sub(renewed.len())).collect();
        if !taken.is_empty() {
            let mut epochs = self.epochs.clone();
            for name in &taken {
                *epochs.entry((*name).clone()).or_default() += 1;
            }
            let content = serde_json::to_vec_pretty(&epochs).map_err(io::Error::from);
            let written = content.and_then(|content| files::replace(path, &content, true));
            written.map_err(|error| unavailable(path, &error))?;
            self.epochs = epochs;
        }
        self.held.extend(renewed.into_iter().chain(taken).map(|name| (name.clone(), now + time_to_live)));
        Ok(())
    }

    fn leases(&self) -> Vec<Lease> {
        let lease =
            |name: &String| Lease { name: name.clone(), epoch: self.epochs.get(name).copied().unwrap_or_default() };
        self.held.keys().map(lease).collect()
    }
}

fn unavailable(path: &Path, reason: &dyn std::fmt::Display) -> LeaseError {
    LeaseError::Unavailable { place: path.display().to_string(), reason: reason.to_string() }
}

#[async_trait]
impl Leases for LocalLeases {
    async fn take_part(&self, _time_to_live: Duration) -> Result<Sharing, LeaseError> {
        Ok(Sharing { owners: 1, rank: 0 })
    }

    async fn hold(&self, wanted: &[String], held_max: u32, time_to_live: Duration) -> Result<Vec<Lease>, LeaseError> {
        let (state, path, wanted) = (Arc::clone(&self.state), self.path.clone(), wanted.to_vec());
        let hold = move || {
            let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
            state.hold(&path, &wanted, held_max, time_to_live).map(|()| state.leases())
        };
        // Taking writes a file; renewing only looks.
        tokio::task::spawn_blocking(hold).await.map_err(|error| unavailable(&self.path, &error))?
    }

    async fn release(&self, names: &[String]) -> Result<(), LeaseError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        for name in names {
            state.held.remove(name);
        }
        Ok(())
    }

    async fn leave(&self) -> Result<(), LeaseError> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).held.clear();
        Ok(())
    }

    async fn holdings(&self) -> Result<Vec<Holding>, LeaseError> {
        let (now, state) = (Instant::now(), self.state.lock().unwrap_or_else(PoisonError::into_inner));
        let held = state.held.iter().filter(|(_, until)| **until > now).map(|(name, _)| name);
        let holding = |name: &String| {
            let epoch = state.epochs.get(name).copied().unwrap_or_default();
            Holding { name: name.clone(), owner: self.owner.clone(), epoch }
        };
        Ok(held.map(holding).collect())
    }

    async fn probe(&self) -> Result<BackendInfo, LeaseError> {
        Ok(BackendInfo { version: format!("one owner, epochs in {}", self.path.display()), advice: Vec::new() })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const TIME_TO_LIVE: Duration = Duration::from_secs(10);

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    async fn epochs(leases: &LocalLeases, wanted: &[&str]) -> Vec<(String, u64)> {
        let held = leases.hold(&names(wanted), u32::MAX, TIME_TO_LIVE).await.unwrap();
        held.into_iter().map(|lease| (lease.name, lease.epoch)).collect()
    }

    #[tokio::test]
    async fn each_run_gets_a_higher_epoch() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("leases.json");
        for run in 1..=3 {
            let leases = LocalLeases::open(&path, "one").unwrap();
            for _ in 0..2 {
                let expected = [("ingest".to_owned(), run), ("partition/0".to_owned(), run)];
                assert_eq!(epochs(&leases, &["ingest", "partition/0"]).await, expected);
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_that_is_not_wanted_any_more_runs_out() {
        let directory = tempfile::tempdir().unwrap();
        let leases = LocalLeases::open(&directory.path().join("leases.json"), "one").unwrap();
        epochs(&leases, &["a", "b"]).await;
        assert_eq!(epochs(&leases, &["a"]).await.len(), 2, "held until it runs out");
        tokio::time::advance(TIME_TO_LIVE).await;
        assert_eq!(epochs(&leases, &["a"]).await, [("a".to_owned(), 1)]);
        assert_eq!(epochs(&leases, &["a", "b"]).await, [("a".to_owned(), 1), ("b".to_owned(), 2)]);
    }

    #[tokio::test]
    async fn a_lease_whose_epoch_can_t_be_written_is_not_held() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("missing/leases.json");
        let leases = LocalLeases::open(&path, "one").unwrap();
        assert!(leases.hold(&names(&["a"]), u32::MAX, TIME_TO_LIVE).await.is_err());
        fs::create_dir(directory.path().join("missing")).unwrap();
        assert_eq!(epochs(&leases, &["a"]).await, [("a".to_owned(), 1)]);
    }

    #[test]
    fn a_damaged_file_is_an_error_and_not_a_fresh_start() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("leases.json");
        fs::write(&path, "{").unwrap();
        assert!(LocalLeases::open(&path, "one").unwrap_err().to_string().contains("it is damaged"));
    }
}
