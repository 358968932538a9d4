//! The thread that reads the older part of history, beside the one that writes.

use std::sync::Arc;

use orinoco_domain::{DeviceId, Frame};
use orinoco_ports::HistoryPage;
use rusqlite::{Connection, Row, params};

use super::{Reply, schema};

/// Frames of a device from offset `start` to `before` (exclusive), oldest first, `frames_max` at most.
#[derive(Debug)]
pub(super) struct HistoryRequest {
    pub(super) partition: u32,
    /// Under which this is asked.
    pub(super) epoch: Arc<str>,
    pub(super) device: DeviceId,
    pub(super) start: u64,
    pub(super) before: u64,
    pub(super) frames_max: usize,
    /// `None`: meanwhile another epoch has begun.
    pub(super) reply: Reply<Option<Vec<Frame>>>,
}

pub(super) struct Reader {
    connection: Connection,
    place: String,
}

impl Reader {
    pub(super) fn new(connection: Connection, place: String) -> Self {
        Self { connection, place }
    }

    pub(super) fn serve(&mut self, request: HistoryRequest) {
        if request.reply.is_closed() {
            return;
        }
        let frames = self.frames(&request).map_err(|error| schema::error_at(&self.place, &error));
        // The caller may have given up.
        let _ = request.reply.send(frames);
    }

    fn frames(&mut self, request: &HistoryRequest) -> rusqlite::Result<Option<Vec<Frame>>> {
        // One view for both questions.
        let transaction = self.connection.transaction()?;
        let epoch: String = transaction
            .prepare_cached("SELECT epoch FROM partition WHERE number = ?1")?
            .query_row([request.partition], |row| row.get(0))?;
        if *epoch != *request.epoch {
            return Ok(None);
        }
        let mut select = transaction.prepare_cached(
            "SELECT offset, json FROM frame WHERE device = (SELECT id FROM device WHERE partition = ?1 AND name = ?2)
             AND offset >= ?3 AND offset < ?4 ORDER BY offset LIMIT ?5",
        )?;
        let (start, before) = (request.start.cast_signed(), request.before.cast_signed());
        let frames_max = i64::try_from(request.frames_max).unwrap_or(i64::MAX);
        let rows = select.query_map(
            params![request.partition, request.device.as_str(), start, before, frames_max],
            |row| {
                let json: String = row.get(1)?;
                Ok(Frame { device: request.device.clone(), offset: unsigned(row, 0)?, json: json.into() })
            },
        )?;
        rows.collect::<rusqlite::Result<_>>().map(Some)
    }
}

/// The page with the older frames that the table had put before those from memory.
pub(super) fn join(
    mut page: HistoryPage,
    older: Vec<Frame>,
    start: u64,
    before: u64,
    frames_max: usize,
) -> HistoryPage {
    // Since memory was asked, newer frames may have pushed some out of history.
    let first_held = older.first().map_or(before, |frame| frame.offset);
    if first_held > start {
        page.first = first_held;
    }
    let recent = std::mem::replace(&mut page.frames, older);
    let room = frames_max.saturating_sub(page.frames.len());
    page.frames.extend(recent.into_iter().take(room));
    page
}

/// A number that was stored with its bits.
pub(super) fn unsigned(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(column).map(i64::cast_unsigned)
}
