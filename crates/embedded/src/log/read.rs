//! Collecting what a fetch brings, from the disk or from memory alike.

use orinoco_domain::Position;
use orinoco_ports::FetchedRecord;

use super::record::{self, Stand};
use crate::{codec::Malformed, segment::Step};

/// Position before the record of ordinal `ordinal` that stands at `stand`.
pub(super) fn position_before(ordinal: u64, stand: Stand) -> Position {
    let other = ordinal.cast_signed() - stand.offset;
    let mut position = Position::default();
    position.set(stand.axis, stand.offset);
    position.set(stand.axis.other(), other);
    position
}

/// The higher one, on each axis.
pub(super) fn furthest(one: Position, other: Position) -> Position {
    Position { x: one.x.max(other.x), y: one.y.max(other.y) }
}

/// Takes records in order of writing, passes over those below the position asked for, and ends at a bound.
#[derive(Debug)]
pub(super) struct Collector {
    from: Position,
    end: Position,
    bytes_left: usize,
    pub(super) records: Vec<FetchedRecord>,
    /// All below is taken, or was below `from`.
    pub(super) next: Position,
    pub(super) stopped: bool,
}

impl Collector {
    /// For the records from `from` to `end` (exclusive), which is the published end: what lies beyond is being written.
    pub(super) fn new(from: Position, end: Position, bytes_max: usize) -> Self {
        Self { from, end, bytes_left: bytes_max, records: Vec::new(), next: from, stopped: false }
    }

    pub(super) fn visit(&mut self, ordinal: u64, payload: &[u8]) -> Result<Step, Malformed> {
        let (stand, bytes) = Stand::decode(payload)?;
        if stand.offset >= self.end.of(stand.axis) {
            self.next = furthest(self.next, self.end);
            self.stopped = true;
            return Ok(Step::Stop);
        }
        let is_wanted = stand.offset >= self.from.of(stand.axis);
        if is_wanted && payload.len() > self.bytes_left && !self.records.is_empty() {
            self.stopped = true;
            return Ok(Step::Stop);
        }
        self.next = furthest(self.next, position_before(ordinal, stand));
        if is_wanted {
            self.bytes_left = self.bytes_left.saturating_sub(payload.len());
            self.next.set(stand.axis, stand.offset + 1);
            let record = record::decode(bytes)?;
            self.records.push(FetchedRecord { axis: stand.axis, offset: stand.offset, record });
        }
        Ok(Step::Next)
    }
}
