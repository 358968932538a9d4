//! The thread that reads history, beside the one that writes.

use orinoco_domain::{DeviceId, Frame};
use orinoco_ports::HistoryPage;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::{Reply, schema};

#[derive(Debug)]
pub(super) struct HistoryRequest {
    pub(super) partition: u32,
    pub(super) device: DeviceId,
    pub(super) after: u64,
    pub(super) frames_max: usize,
    pub(super) reply: Reply<HistoryPage>,
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
        let page = self.page(&request).map_err(|error| schema::error_at(&self.place, &error));
        // The caller may have given up.
        let _ = request.reply.send(page);
    }

    fn page(&mut self, request: &HistoryRequest) -> rusqlite::Result<HistoryPage> {
        // One view for all three questions.
        let transaction = self.connection.transaction()?;
        let epoch: String = transaction
            .prepare_cached("SELECT epoch FROM partition WHERE number = ?1")?
            .query_row([request.partition], |row| row.get(0))?;
        let mut page = HistoryPage { epoch: epoch.into(), frames: Vec::new(), first: 1, head: 0 };
        let known: Option<(i64, u64, u64)> = transaction
            .prepare_cached("SELECT id, head, first FROM device WHERE partition = ?1 AND name = ?2")?
            .query_row(params![request.partition, request.device.as_str()], |row| {
                Ok((row.get(0)?, unsigned(row, 1)?, unsigned(row, 2)?))
            })
            .optional()?;
        let Some((id, head, first)) = known else { return Ok(page) };
        (page.head, page.first) = (head, first);
        let after = request.after.max(first.saturating_sub(1));
        let frames_max = i64::try_from(request.frames_max).unwrap_or(i64::MAX);
        let mut select = transaction.prepare_cached(
            "SELECT offset, json FROM frame WHERE device = ?1 AND offset > ?2 AND offset <= ?3 ORDER BY offset LIMIT ?4",
        )?;
        // An offset that no device reaches may be asked for.
        let after = i64::try_from(after).unwrap_or(i64::MAX);
        let rows = select.query_map(params![id, after, head.cast_signed(), frames_max], |row| {
            let json: String = row.get(1)?;
            Ok(Frame { device: request.device.clone(), offset: unsigned(row, 0)?, json: json.into() })
        })?;
        page.frames = rows.collect::<rusqlite::Result<_>>()?;
        Ok(page)
    }
}

/// A number that was stored with its bits.
pub(super) fn unsigned(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(column).map(i64::cast_unsigned)
}
