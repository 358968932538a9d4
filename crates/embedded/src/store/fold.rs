//! Folding: what batches left at the end of the table `recent` goes into the tables of devices and frames.
//!
//! A batch touches as many pages of those tables as it has devices, and each page is written twice (write-ahead log, database). Done for
//! many batches at once, that is paid once for all of a device's frames; a batch by itself only appends.

use orinoco_domain::DeviceId;
use rusqlite::{CachedStatement, Connection, Transaction, params};

use super::{
    memory::{DeviceMemory, Memory},
    standing::{DeviceRow, Standing},
};

/// Frames out of history that may wait to be deleted, a device. So history takes that much more room on disk, or a quarter of itself
/// where that is more.
const UNTRIMMED_MAX: u64 = 16;

impl Standing {
    /// Folds all of the partition in one transaction. On an error nothing can be said of `self`.
    pub(super) fn fold(
        &mut self,
        connection: &mut Connection,
        partition: u32,
        memory: &Memory,
    ) -> rusqlite::Result<()> {
        let transaction = connection.transaction()?;
        let mut statements = Statements::prepare(&transaction)?;
        for (device, state) in &self.unfolded {
            let Some(held) = memory.device(partition, device) else { continue };
            let row = match self.rows.get_mut(device) {
                Some(row) => row,
                None => {
                    let id = insert_device(&transaction, partition, device)?;
                    self.rows.entry(device.clone()).or_insert(DeviceRow { id, trimmed: 0 })
                }
            };
            statements.put(row, state, &held)?;
        }
        drop(statements);
        transaction.execute("DELETE FROM recent WHERE partition = ?1", [partition])?;
        transaction.commit()?;
        memory.forget_recent(partition, self.unfolded.keys());
        self.unfolded.clear();
        self.unfolded_bytes = 0;
        Ok(())
    }
}

/// What is done for each device or frame, prepared once.
struct Statements<'connection> {
    insert_frame: CachedStatement<'connection>,
    update_device: CachedStatement<'connection>,
    trim: CachedStatement<'connection>,
}

impl<'connection> Statements<'connection> {
    fn prepare(transaction: &'connection Transaction<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            insert_frame: transaction
                .prepare_cached("INSERT OR REPLACE INTO frame (device, offset, json) VALUES (?1, ?2, ?3)")?,
            update_device: transaction.prepare_cached(
                "UPDATE device SET state = ?2, head = ?3, first = ?4, trimmed = ?5, latest_offset = ?6, latest = ?7
                 WHERE id = ?1",
            )?,
            trim: transaction.prepare_cached("DELETE FROM frame WHERE device = ?1 AND offset < ?2")?,
        })
    }

    fn put(&mut self, row: &mut DeviceRow, state: &str, held: &DeviceMemory) -> rusqlite::Result<()> {
        let history = (held.head + 1).saturating_sub(held.first);
        let is_due = held.first.saturating_sub(row.trimmed) > UNTRIMMED_MAX.max(history / 4) || history == 0;
        if is_due && row.trimmed < held.first {
            self.trim.execute(params![row.id, held.first.cast_signed()])?;
            row.trimmed = held.first;
        }
        for frame in &held.recent {
            self.insert_frame.execute(params![row.id, frame.offset.cast_signed(), &*frame.json])?;
        }
        self.update_device.execute(params![
            row.id,
            state,
            held.head.cast_signed(),
            held.first.cast_signed(),
            row.trimmed.cast_signed(),
            held.latest.as_ref().map(|frame| frame.offset.cast_signed()),
            held.latest.as_ref().map(|frame| &*frame.json),
        ])?;
        Ok(())
    }
}

fn insert_device(transaction: &Transaction<'_>, partition: u32, device: &DeviceId) -> rusqlite::Result<i64> {
    transaction
        .prepare_cached(
            "INSERT INTO device (partition, name, state, head, first, trimmed) VALUES (?1, ?2, '', 0, 0, 0)",
        )?
        .insert(params![partition, device.as_str()])
}
