//! What history still tells of a message.

use super::Pairing;
use crate::{Axis, CoordinateData, CoordinateRecord};

/// What tells a message from others of its device: axis, timestamp and number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Effect {
    axis: Axis,
    unix_ns: i128,
    bits: u64,
}

impl Effect {
    /// That of a message.
    #[must_use]
    pub fn of(record: &CoordinateRecord) -> Self {
        Self { axis: record.axis, unix_ns: record.timestamp.unix_ns(), bits: record.value.to_bits() }
    }

    /// Those that a frame of history shows: in a pair both axes moved; else the other coordinate is older than the frame's timestamp.
    pub fn shown_by(data: &CoordinateData, pairing: Pairing) -> impl Iterator<Item = Self> {
        let is_pair = pairing == Pairing::Timestamp && !data.unpaired && !data.late;
        let moved = [Axis::X, Axis::Y].into_iter().filter(move |axis| is_pair || data.source == *axis);
        moved.map(|axis| Self { axis, unix_ns: data.timestamp.unix_ns(), bits: data.coordinate(axis).to_bits() })
    }
}
