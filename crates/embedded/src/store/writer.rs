//! The thread that writes. What it knows of a partition is what the database has; after an error it asks again.

use std::{collections::HashMap, sync::Arc};

use orinoco_domain::{DeviceId, pairing::DeviceState};
use orinoco_ports::{Applied, BackendInfo, PartitionState, Publication, StoreError};
use rusqlite::{Connection, params};

use super::{
    Reply, batch::EncodedBatch, history::unsigned, memory::Memory, publish::Publications, schema, standing::Standing,
};
use crate::files;

#[derive(Debug)]
pub(super) enum WriteRequest {
    Load { partition: u32, fence: u64, reply: Reply<PartitionState> },
    Apply { batch: EncodedBatch, reply: Reply<Applied> },
    Epoch { partition: u32, reply: Reply<Arc<str>> },
    Reset { partition: u32, fence: u64, reply: Reply<()> },
    Probe { reply: Reply<BackendInfo> },
}

pub(super) struct Writer {
    connection: Connection,
    place: String,
    memory: Arc<Memory>,
    publications: Arc<Publications>,
    recent_bytes_max: usize,
    standings: HashMap<u32, Standing>,
}

impl Writer {
    pub(super) fn new(
        connection: Connection,
        place: String,
        memory: Arc<Memory>,
        publications: Arc<Publications>,
        recent_bytes_max: usize,
    ) -> Self {
        Self { connection, place, memory, publications, recent_bytes_max, standings: HashMap::new() }
    }

    fn failed(&self) -> impl Fn(rusqlite::Error) -> StoreError {
        let place = self.place.clone();
        move |error| schema::error_at(&place, &error)
    }

    fn corrupt(&self, reason: String) -> StoreError {
        StoreError::Corrupt { place: self.place.clone(), reason }
    }

    /// Reads every partition there is.
    pub(super) fn load_all(&mut self) -> Result<(), StoreError> {
        let numbers: rusqlite::Result<Vec<u32>> = self
            .connection
            .prepare("SELECT number FROM partition")
            .and_then(|mut select| select.query_map([], |row| row.get(0))?.collect());
        for number in numbers.map_err(self.failed())? {
            self.standing(number)?;
        }
        Ok(())
    }

    pub(super) fn serve(&mut self, request: WriteRequest) {
        // Callers may have given up.
        match request {
            WriteRequest::Load { partition, fence, reply } => drop(reply.send(self.load(partition, fence))),
            WriteRequest::Apply { batch, reply } => {
                let partition = batch.partition;
                drop(reply.send(self.apply(batch)));
                // Nobody waits for this; where it fails, the next batch tries again and says why.
                let _ = self.fold_if_due(partition);
            }
            WriteRequest::Epoch { partition, reply } => {
                drop(reply.send(self.standing(partition).map(|standing| Arc::clone(&standing.epoch))));
            }
            WriteRequest::Reset { partition, fence, reply } => drop(reply.send(self.reset(partition, fence))),
            WriteRequest::Probe { reply } => drop(reply.send(self.probe())),
        }
    }

    fn standing(&mut self, partition: u32) -> Result<&mut Standing, StoreError> {
        let standing = self.take_standing(partition)?;
        Ok(self.standings.entry(partition).insert_entry(standing).into_mut())
    }

    /// What the database has of the partition; it gets its epoch where it has none. To be put back by whoever succeeds.
    fn take_standing(&mut self, partition: u32) -> Result<Standing, StoreError> {
        if let Some(standing) = self.standings.remove(&partition) {
            return Ok(standing);
        }
        let epoch = self.new_epoch()?;
        let (standing, memory) = Standing::read(&self.connection, partition, &epoch, &self.place)?;
        self.memory.replace(partition, memory);
        Ok(standing)
    }

    fn new_epoch(&self) -> Result<Arc<str>, StoreError> {
        let made = files::random_name().map(Arc::from);
        made.map_err(|error| StoreError::Unavailable { place: self.place.clone(), reason: error.to_string() })
    }

    /// Notes the owner; an older one is refused.
    fn take_over(&mut self, partition: u32, fence: u64) -> Result<(), StoreError> {
        let held = self.standing(partition)?.fence;
        if fence < held {
            return Err(StoreError::Fenced { fence: held });
        }
        if fence > held {
            let update = "UPDATE partition SET fence = ?2 WHERE number = ?1";
            let updated = self.connection.execute(update, params![partition, fence.cast_signed()]);
            updated.map_err(self.failed())?;
            self.standing(partition)?.fence = fence;
        }
        Ok(())
    }

    fn load(&mut self, partition: u32, fence: u64) -> Result<PartitionState, StoreError> {
        self.take_over(partition, fence)?;
        let rows = read_states(&self.connection, partition).map_err(self.failed())?;
        let marks = read_marks(&self.connection, partition).map_err(self.failed())?;
        let standing = self.take_standing(partition)?;
        let folded = rows.iter().map(|(name, json)| (name.as_str(), json.as_str()));
        let folded = folded.filter(|(name, _)| !standing.unfolded.contains_key(*name));
        let unfolded = standing.unfolded.iter().map(|(device, json)| (device.as_str(), json.as_str()));
        let devices = folded.chain(unfolded).map(|(name, json)| self.parse_state(name, json)).collect::<Result<_, _>>();
        let state = devices.map(|devices| PartitionState {
            position: standing.position,
            revision: standing.revision,
            epoch: Arc::clone(&standing.epoch),
            marks,
            devices,
        });
        self.standings.insert(partition, standing);
        state
    }

    fn parse_state(&self, name: &str, json: &str) -> Result<(DeviceId, DeviceState), StoreError> {
        let device = DeviceId::parse(name).map_err(|error| self.corrupt(format!("device {name:?}: {error}")))?;
        let state =
            serde_json::from_str(json).map_err(|error| self.corrupt(format!("state of device {name}: {error}")))?;
        Ok((device, state))
    }

    fn apply(&mut self, batch: EncodedBatch) -> Result<Applied, StoreError> {
        let partition = batch.partition;
        self.fold_if_due(partition)?;
        let mut standing = self.take_standing(partition)?;
        if let Some(refusal) = standing.refuse(&batch) {
            self.standings.insert(partition, standing);
            return Ok(refusal);
        }
        // Should the transaction fail, the standing is not put back: what it did is asked of the database.
        standing.apply(&mut self.connection, &batch).map_err(self.failed())?;
        let epoch = Arc::clone(&standing.epoch);
        self.standings.insert(partition, standing);
        self.memory.update(partition, &batch.updates);
        let frames: Vec<_> = batch.updates.devices.into_iter().flat_map(|update| update.frames).collect();
        if !frames.is_empty() {
            self.publications.publish(Publication { partition, epoch, frames });
        }
        Ok(Applied::Done)
    }

    fn fold_if_due(&mut self, partition: u32) -> Result<(), StoreError> {
        let due_at = self.recent_bytes_max.max(1);
        if self.standing(partition)?.unfolded_bytes < due_at {
            return Ok(());
        }
        let mut standing = self.take_standing(partition)?;
        standing.fold(&mut self.connection, partition, &self.memory).map_err(self.failed())?;
        self.standings.insert(partition, standing);
        Ok(())
    }

    fn reset(&mut self, partition: u32, fence: u64) -> Result<(), StoreError> {
        self.take_over(partition, fence)?;
        let epoch = self.new_epoch()?;
        self.standings.remove(&partition);
        clear(&mut self.connection, partition, &epoch).map_err(self.failed())?;
        self.standing(partition).map(drop)
    }

    fn probe(&self) -> Result<BackendInfo, StoreError> {
        let asked = self.connection.query_row("SELECT sqlite_version()", [], |row| row.get::<_, String>(0));
        let version = format!("SQLite {}, in {}", asked.map_err(self.failed())?, self.place);
        Ok(BackendInfo { version, advice: Vec::new() })
    }
}

fn read_marks(connection: &Connection, partition: u32) -> rusqlite::Result<Vec<(String, u64)>> {
    let mut select = connection.prepare_cached("SELECT key, sequence FROM mark WHERE partition = ?1")?;
    let marks = select.query_map([partition], |row| Ok((row.get(0)?, unsigned(row, 1)?)))?;
    marks.collect()
}

fn read_states(connection: &Connection, partition: u32) -> rusqlite::Result<Vec<(String, String)>> {
    let mut select = connection.prepare_cached("SELECT name, state FROM device WHERE partition = ?1")?;
    let states = select.query_map([partition], |row| Ok((row.get(0)?, row.get(1)?)))?;
    states.collect()
}

/// Begins a new epoch. The revision counts on, so that no batch from before fits.
fn clear(connection: &mut Connection, partition: u32, epoch: &str) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    let update = "UPDATE partition SET epoch = ?2, revision = revision + 1, x = 0, y = 0 WHERE number = ?1";
    transaction.execute(update, params![partition, epoch])?;
    transaction
        .execute("DELETE FROM frame WHERE device IN (SELECT id FROM device WHERE partition = ?1)", [partition])?;
    for delete in [
        "DELETE FROM device WHERE partition = ?1",
        "DELETE FROM recent WHERE partition = ?1",
        "DELETE FROM mark WHERE partition = ?1",
    ] {
        transaction.execute(delete, [partition])?;
    }
    transaction.commit()
}
