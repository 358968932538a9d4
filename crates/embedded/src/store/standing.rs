//! Where a partition stands, as the writing thread knows it; and the transaction of a batch.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use orinoco_domain::{DeviceId, Frame, Position};
use orinoco_ports::{Applied, StoreError};
use rusqlite::{Connection, params};

use super::{
    batch::{EncodedBatch, Updates},
    history::unsigned,
    memory::{DeviceMemory, PartitionMemory},
    schema,
};

#[derive(Debug)]
pub(super) struct Standing {
    pub(super) epoch: Arc<str>,
    pub(super) fence: u64,
    pub(super) revision: u64,
    pub(super) position: Position,
    /// Devices that have a row.
    pub(super) rows: HashMap<DeviceId, DeviceRow>,
    /// Devices whose row, or frames, are behind, with their state: what the table `recent` is for.
    pub(super) unfolded: HashMap<DeviceId, String>,
    /// Bytes in `recent`.
    pub(super) unfolded_bytes: usize,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct DeviceRow {
    pub(super) id: i64,
    /// Frames with lower offsets are deleted.
    pub(super) trimmed: u64,
}

impl Standing {
    /// Why the batch does not fit, if it does not.
    pub(super) fn refuse(&self, batch: &EncodedBatch) -> Option<Applied> {
        if batch.fence < self.fence {
            return Some(Applied::Fenced { fence: self.fence });
        }
        let fits = batch.revision == self.revision && batch.from == self.position;
        (!fits).then_some(Applied::Conflict { revision: self.revision, position: self.position })
    }

    /// Commits a batch that fits: the partition's row, its marks, and everything else in one row, at the end of a table. On an error
    /// nothing can be said of `self`.
    pub(super) fn apply(&mut self, connection: &mut Connection, batch: &EncodedBatch) -> rusqlite::Result<()> {
        let transaction = connection.transaction()?;
        self.fence = batch.fence;
        self.revision += 1;
        self.position = batch.to;
        transaction
            .prepare_cached("UPDATE partition SET fence = ?2, revision = ?3, x = ?4, y = ?5 WHERE number = ?1")?
            .execute(params![
                batch.partition,
                self.fence.cast_signed(),
                self.revision.cast_signed(),
                self.position.x,
                self.position.y
            ])?;
        if !batch.marks.is_empty() {
            let mut put = transaction
                .prepare_cached("INSERT OR REPLACE INTO mark (partition, key, sequence) VALUES (?1, ?2, ?3)")?;
            for (key, sequence) in &batch.marks {
                put.execute(params![batch.partition, key, sequence.cast_signed()])?;
            }
        }
        if !batch.updates.devices.is_empty() {
            transaction
                .prepare_cached("INSERT INTO recent (partition, body) VALUES (?1, ?2)")?
                .execute(params![batch.partition, batch.body])?;
            self.note_unfolded(&batch.updates, batch.body.len());
        }
        transaction.commit()
    }

    fn note_unfolded(&mut self, updates: &Updates, bytes: usize) {
        self.unfolded_bytes += bytes;
        for update in &updates.devices {
            match self.unfolded.get_mut(&update.device) {
                Some(state) => state.clone_from(&update.state),
                None => drop(self.unfolded.insert(update.device.clone(), update.state.clone())),
            }
        }
    }

    /// Reads what the database has of a partition, made with `new_epoch` where it is missing.
    pub(super) fn read(
        connection: &Connection,
        partition: u32,
        new_epoch: &str,
        place: &str,
    ) -> Result<(Self, PartitionMemory), StoreError> {
        let failed = |error| schema::error_at(place, &error);
        let (mut standing, mut memory) = read_tables(connection, partition, new_epoch).map_err(failed)?;
        for body in read_recent(connection, partition).map_err(failed)? {
            let updates = Updates::decode(&body).map_err(|malformed| StoreError::Corrupt {
                place: place.to_owned(),
                reason: format!("table recent: {malformed}"),
            })?;
            memory.update(&updates);
            standing.note_unfolded(&updates, body.len());
        }
        Ok((standing, memory))
    }
}

fn read_tables(
    connection: &Connection,
    partition: u32,
    new_epoch: &str,
) -> rusqlite::Result<(Standing, PartitionMemory)> {
    let insert = "INSERT INTO partition VALUES (?1, ?2, 0, 0, 0, 0) ON CONFLICT DO NOTHING";
    connection.execute(insert, params![partition, new_epoch])?;
    let select = "SELECT epoch, fence, revision, x, y FROM partition WHERE number = ?1";
    let mut standing = connection.query_row(select, [partition], |row| {
        Ok(Standing {
            epoch: row.get::<_, String>(0)?.into(),
            fence: unsigned(row, 1)?,
            revision: unsigned(row, 2)?,
            position: Position { x: row.get(3)?, y: row.get(4)? },
            rows: HashMap::new(),
            unfolded: HashMap::new(),
            unfolded_bytes: 0,
        })
    })?;
    let mut memory = PartitionMemory { epoch: Arc::clone(&standing.epoch), ..PartitionMemory::default() };
    let mut select = connection
        .prepare("SELECT name, id, head, first, trimmed, latest_offset, latest FROM device WHERE partition = ?1")?;
    let mut rows = select.query([partition])?;
    while let Some(row) = rows.next()? {
        let name: String = row.get(0)?;
        // A name that is none is shown to nobody; `load` tells.
        let Ok(device) = DeviceId::parse(&name) else { continue };
        standing.rows.insert(device.clone(), DeviceRow { id: row.get(1)?, trimmed: unsigned(row, 4)? });
        let latest = match row.get::<_, Option<String>>(6)? {
            Some(json) => Some(Frame { device: device.clone(), offset: unsigned(row, 5)?, json: json.into() }),
            None => None,
        };
        let held = DeviceMemory { head: unsigned(row, 2)?, first: unsigned(row, 3)?, latest, recent: VecDeque::new() };
        memory.devices.insert(device, held);
    }
    Ok((standing, memory))
}

fn read_recent(connection: &Connection, partition: u32) -> rusqlite::Result<Vec<Vec<u8>>> {
    let mut select = connection.prepare("SELECT body FROM recent WHERE partition = ?1 ORDER BY id")?;
    let bodies = select.query_map([partition], |row| row.get(0))?;
    bodies.collect()
}
