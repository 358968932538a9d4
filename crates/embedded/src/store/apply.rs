//! One batch, one transaction.

use orinoco_domain::DeviceId;
use orinoco_ports::Applied;
use rusqlite::{CachedStatement, Connection, Transaction, params};

use super::{
    batch::{EncodedBatch, EncodedUpdate},
    writer::{DeviceRow, Standing},
};

/// Frames out of history that may wait to be deleted, a device: deleting many at once touches fewer pages. So history takes that much
/// more room on disk, or a quarter of `history_max` where that is more.
const UNTRIMMED_MAX: u64 = 16;

impl Standing {
    /// Why the batch does not fit, if it does not.
    pub(super) fn refuse(&self, batch: &EncodedBatch) -> Option<Applied> {
        if batch.fence < self.fence {
            return Some(Applied::Fenced { fence: self.fence });
        }
        let fits = batch.revision == self.revision && batch.from == self.position;
        (!fits).then_some(Applied::Conflict { revision: self.revision, position: self.position })
    }

    /// Applies what was found to fit. On an error nothing can be said of `self`.
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
        put_marks(&transaction, batch)?;
        let mut statements = Statements::prepare(&transaction)?;
        for update in &batch.devices {
            self.apply_update(&transaction, &mut statements, batch, update)?;
        }
        drop(statements);
        transaction.commit()
    }

    fn apply_update(
        &mut self,
        transaction: &Transaction<'_>,
        statements: &mut Statements<'_>,
        batch: &EncodedBatch,
        update: &EncodedUpdate,
    ) -> rusqlite::Result<()> {
        let mut row = self.devices.get(&update.device).copied().unwrap_or_default();
        let untrimmed_max = UNTRIMMED_MAX.max(batch.history_max / 4);
        row.advance(update, batch.history_max);
        let trims = row.first.saturating_sub(row.trimmed) > untrimmed_max || batch.history_max == 0;
        let trimmed_before = row.trimmed;
        if trims {
            row.trimmed = row.first;
        }
        if row.id == 0 {
            row.id = insert_device(transaction, batch.partition, &update.device)?;
        }
        if trims && trimmed_before < row.first {
            statements.trim.execute(params![row.id, row.first.cast_signed()])?;
        }
        for frame in update.frames.iter().map(|published| &published.frame) {
            if frame.offset >= row.first {
                statements.insert_frame.execute(params![row.id, frame.offset.cast_signed(), &*frame.json])?;
            }
        }
        let latest = update.latest.as_ref();
        statements.update_device.execute(params![
            row.id,
            update.state,
            row.head.cast_signed(),
            row.first.cast_signed(),
            row.trimmed.cast_signed(),
            latest.map(|frame| frame.offset.cast_signed()),
            latest.map(|frame| &*frame.json),
        ])?;
        match self.devices.get_mut(&update.device) {
            Some(held) => *held = row,
            None => drop(self.devices.insert(update.device.clone(), row)),
        }
        Ok(())
    }
}

impl DeviceRow {
    /// Moves head and first as the update's frames want it.
    fn advance(&mut self, update: &EncodedUpdate, history_max: u64) {
        if let Some(published) = update.frames.first() {
            if published.frame.offset != self.head + 1 {
                // History has no gap: it begins anew here.
                self.first = published.frame.offset;
            }
            self.first = self.first.max((update.head + 1).saturating_sub(history_max)).max(1);
        } else if self.first == 0 {
            self.first = update.head + 1;
        }
        self.head = update.head;
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
                "UPDATE device SET state = ?2, head = ?3, first = ?4, trimmed = ?5,
                 latest_offset = coalesce(?6, latest_offset), latest = coalesce(?7, latest) WHERE id = ?1",
            )?,
            trim: transaction.prepare_cached("DELETE FROM frame WHERE device = ?1 AND offset < ?2")?,
        })
    }
}

fn insert_device(transaction: &Transaction<'_>, partition: u32, device: &DeviceId) -> rusqlite::Result<i64> {
    transaction
        .prepare_cached(
            "INSERT INTO device (partition, name, state, head, first, trimmed) VALUES (?1, ?2, '', 0, 0, 0)",
        )?
        .insert(params![partition, device.as_str()])
}

fn put_marks(transaction: &Transaction<'_>, batch: &EncodedBatch) -> rusqlite::Result<()> {
    let mut put =
        transaction.prepare_cached("INSERT OR REPLACE INTO mark (partition, key, sequence) VALUES (?1, ?2, ?3)")?;
    for (key, sequence) in &batch.marks {
        put.execute(params![batch.partition, key, sequence.cast_signed()])?;
    }
    Ok(())
}
