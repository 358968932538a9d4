//! The embedded log, for a command beside the daemon that writes it: dead letters can be read, and nothing else.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use async_trait::async_trait;
use orinoco_domain::{Axis, Position, RawRecord};
use orinoco_embedded::{data_dir, log::DeadLetterReader};
use orinoco_ports::{BackendInfo, DeadLetterPage, Fetched, LogError, RecordLog};

pub(super) struct ReadOnlyLog {
    data_dir: PathBuf,
    reader: DeadLetterReader,
}

impl ReadOnlyLog {
    /// For the log below `data_dir`.
    pub(super) fn new(data_dir: &Path) -> Self {
        Self { data_dir: data_dir.to_owned(), reader: DeadLetterReader::new(&data_dir::log_of(data_dir)) }
    }
}

fn daemon_s_alone() -> LogError {
    LogError::Misconfigured("the embedded log is the running daemon's alone; publish through MQTT instead".to_owned())
}

#[async_trait]
impl RecordLog for ReadOnlyLog {
    async fn partitions(&self) -> Result<u32, LogError> {
        Err(daemon_s_alone())
    }

    async fn produce(&self, _partition: u32, _records: &[(Axis, RawRecord)]) -> Result<(), LogError> {
        Err(daemon_s_alone())
    }

    async fn produce_dead_letters(&self, _letters: &[RawRecord]) -> Result<(), LogError> {
        Err(daemon_s_alone())
    }

    async fn fetch(
        &self,
        _partition: u32,
        _from: Position,
        _bytes_max: usize,
        _wait_max: Duration,
    ) -> Result<Fetched, LogError> {
        Err(daemon_s_alone())
    }

    async fn bounds(&self, _partition: u32) -> Result<(Position, Position), LogError> {
        Err(daemon_s_alone())
    }

    async fn dead_letters(&self, cursor: Option<&str>, letters_max: usize) -> Result<DeadLetterPage, LogError> {
        // A mistyped one would else be one without dead letters.
        if !self.data_dir.exists() {
            let place = self.data_dir.display();
            let remedy = "the daemon makes it when it starts; name it by `data_dir` or --data-dir";
            return Err(LogError::Misconfigured(format!("there is no data directory {place}: {remedy}")));
        }
        let (reader, cursor) = (self.reader.clone(), cursor.map(str::to_owned));
        let read = move || reader.page(cursor.as_deref(), letters_max);
        let interrupted =
            |error| LogError::Unavailable { place: "dead letters".to_owned(), reason: format!("reading: {error}") };
        tokio::task::spawn_blocking(read).await.map_err(interrupted)?
    }

    async fn probe(&self) -> Result<BackendInfo, LogError> {
        Err(daemon_s_alone())
    }
}
