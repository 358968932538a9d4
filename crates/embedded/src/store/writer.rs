//! The thread that writes. What it knows of a partition is what the database has; after an error it asks again.

use std::{collections::HashMap, sync::Arc};

use orinoco_domain::{DeviceId, Frame, Position, pairing::DeviceState};
use orinoco_ports::{Applied, BackendInfo, PartitionState, Publication, SnapshotEntry, StoreError};
use rusqlite::{Connection, params};

use super::{
    Reply,
    batch::EncodedBatch,
    history::unsigned,
    publish::Publications,
    schema,
    shown::{Shown, ShownPartition},
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

/// Where a partition stands.
#[derive(Debug)]
pub(super) struct Standing {
    pub(super) epoch: Arc<str>,
    pub(super) fence: u64,
    pub(super) revision: u64,
    pub(super) position: Position,
    pub(super) devices: HashMap<DeviceId, DeviceRow>,
}

/// What must be known of a device to write its next frames.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct DeviceRow {
    pub(super) id: i64,
    pub(super) head: u64,
    pub(super) first: u64,
    pub(super) trimmed: u64,
}

pub(super) struct Writer {
    connection: Connection,
    place: String,
    shown: Arc<Shown>,
    publications: Arc<Publications>,
    standings: HashMap<u32, Standing>,
}

impl Writer {
    pub(super) fn new(
        connection: Connection,
        place: String,
        shown: Arc<Shown>,
        publications: Arc<Publications>,
    ) -> Self {
        Self { connection, place, shown, publications, standings: HashMap::new() }
    }

    fn failed(&self) -> impl Fn(rusqlite::Error) -> StoreError {
        let place = self.place.clone();
        move |error| schema::error_at(&place, &error)
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
            WriteRequest::Apply { batch, reply } => drop(reply.send(self.apply(batch))),
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
        let read = read_standing(&self.connection, partition, &epoch);
        let (standing, shown) = read.map_err(self.failed())?;
        self.shown.replace(partition, shown);
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
        let standing = self.standing(partition)?;
        let mut state = PartitionState {
            position: standing.position,
            revision: standing.revision,
            epoch: Arc::clone(&standing.epoch),
            ..PartitionState::default()
        };
        state.marks = read_marks(&self.connection, partition).map_err(self.failed())?;
        for (name, json) in read_states(&self.connection, partition).map_err(self.failed())? {
            let corrupt = |reason: String| StoreError::Corrupt { place: self.place.clone(), reason };
            let device = DeviceId::parse(&name).map_err(|error| corrupt(format!("device {name:?}: {error}")))?;
            let device_state: DeviceState =
                serde_json::from_str(&json).map_err(|error| corrupt(format!("state of device {device}: {error}")))?;
            state.devices.push((device, device_state));
        }
        Ok(state)
    }

    fn apply(&mut self, batch: EncodedBatch) -> Result<Applied, StoreError> {
        let partition = batch.partition;
        let mut standing = self.take_standing(partition)?;
        if let Some(refusal) = standing.refuse(&batch) {
            self.standings.insert(partition, standing);
            return Ok(refusal);
        }
        // Should the transaction fail, the standing is not put back: what it did is asked of the database.
        standing.apply(&mut self.connection, &batch).map_err(self.failed())?;
        let epoch = Arc::clone(&standing.epoch);
        self.standings.insert(partition, standing);
        self.shown.update(partition, &batch.devices);
        let frames: Vec<_> = batch.devices.into_iter().flat_map(|update| update.frames).collect();
        if !frames.is_empty() {
            self.publications.publish(Publication { partition, epoch, frames });
        }
        Ok(Applied::Done)
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

/// Reads a partition, made with `new_epoch` where it is missing.
fn read_standing(
    connection: &Connection,
    partition: u32,
    new_epoch: &str,
) -> rusqlite::Result<(Standing, ShownPartition)> {
    let insert = "INSERT INTO partition VALUES (?1, ?2, 0, 0, 0, 0) ON CONFLICT DO NOTHING";
    connection.execute(insert, params![partition, new_epoch])?;
    let select = "SELECT epoch, fence, revision, x, y FROM partition WHERE number = ?1";
    let mut standing = connection.query_row(select, [partition], |row| {
        Ok(Standing {
            epoch: row.get::<_, String>(0)?.into(),
            fence: unsigned(row, 1)?,
            revision: unsigned(row, 2)?,
            position: Position { x: row.get(3)?, y: row.get(4)? },
            devices: HashMap::new(),
        })
    })?;
    let mut shown = ShownPartition { epoch: Arc::clone(&standing.epoch), ..ShownPartition::default() };
    let mut select = connection
        .prepare("SELECT name, id, head, first, trimmed, latest_offset, latest FROM device WHERE partition = ?1")?;
    let mut rows = select.query([partition])?;
    while let Some(row) = rows.next()? {
        let name: String = row.get(0)?;
        // A name that is none is shown to nobody; `load` tells.
        let Ok(device) = DeviceId::parse(&name) else { continue };
        let held = DeviceRow {
            id: row.get(1)?,
            head: unsigned(row, 2)?,
            first: unsigned(row, 3)?,
            trimmed: unsigned(row, 4)?,
        };
        standing.devices.insert(device.clone(), held);
        if let Some(json) = row.get::<_, Option<String>>(6)? {
            let latest = Frame { device: device.clone(), offset: unsigned(row, 5)?, json: json.into() };
            shown.devices.insert(device, SnapshotEntry { latest, head: held.head });
        }
    }
    Ok((standing, shown))
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
    transaction.execute("DELETE FROM device WHERE partition = ?1", [partition])?;
    transaction.execute("DELETE FROM mark WHERE partition = ?1", [partition])?;
    transaction.commit()
}
