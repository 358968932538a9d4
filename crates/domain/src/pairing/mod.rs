//! Joining the two axes of a device into CoordinateData: pure decisions over one device's state.
//!
//! `latest`: each axis message updates its axis and yields one CoordinateData with the other axis's latest value.
//! `timestamp`: halves with one timestamp become one CoordinateData; a half without its partner is yielded after the grace period.
//!
//! Invariants: offsets count +1 for each CoordinateData; nothing that is late moves the latest value; no half is ever dropped.

mod decide;
mod effect;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use crate::{Axis, CoordinateData, Timestamp};

pub use decide::{advance, expire, is_held, is_late, may_be_repeat, next_expiry_ms};
pub use effect::Effect;

/// `stream.pairing`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pairing {
    #[default]
    Latest,
    Timestamp,
}

/// How halves are joined, and for how long they wait.
#[derive(Debug, Clone, Copy)]
pub struct PairingRule {
    pub pairing: Pairing,
    /// How long a half waits for its partner, ms; only in `timestamp`.
    pub grace_ms: i64,
    /// Halves that may wait for their partner, a device; beyond it the oldest is yielded unpaired at once.
    pub pending_max: usize,
}

/// The latest value of one axis.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AxisValue {
    pub value: f64,
    pub message: String,
    pub timestamp: Timestamp,
}

/// A half that waits for its partner.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Half {
    pub axis: Axis,
    #[serde(flatten)]
    pub axis_value: AxisValue,
    /// When it came, ms since 1970: the grace period counts from here, across restarts.
    pub arrived_ms: i64,
}

/// All that must be known of a device to join its next half. Kept in the store beside what it led to.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct DeviceState {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub x: Option<AxisValue>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub y: Option<AxisValue>,
    /// Offset of the last CoordinateData, late ones included; 0 before the first.
    pub head: u64,
    /// The highest ingest epoch seen; what carries a lower one is late.
    #[serde(default)]
    pub ingest_epoch: u64,
    /// No x message so far had a timestamp later than this, ms since 1970, rounded down. A state that was stored without it could have
    /// had any.
    #[serde(default = "unknown_ms")]
    pub x_until_ms: i64,
    /// As of x.
    #[serde(default = "unknown_ms")]
    pub y_until_ms: i64,
    /// In order of arrival.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pending: Vec<Half>,
}

/// Not later than this is every timestamp.
fn unknown_ms() -> i64 {
    i64::MAX
}

impl DeviceState {
    /// No message of the axis so far had a later timestamp, ms since 1970, rounded down.
    #[must_use]
    pub fn until_ms(&self, axis: Axis) -> i64 {
        match axis {
            Axis::X => self.x_until_ms,
            Axis::Y => self.y_until_ms,
        }
    }

    fn until_ms_mut(&mut self, axis: Axis) -> &mut i64 {
        match axis {
            Axis::X => &mut self.x_until_ms,
            Axis::Y => &mut self.y_until_ms,
        }
    }

    #[must_use]
    pub fn axis(&self, axis: Axis) -> Option<&AxisValue> {
        match axis {
            Axis::X => self.x.as_ref(),
            Axis::Y => self.y.as_ref(),
        }
    }

    fn axis_mut(&mut self, axis: Axis) -> &mut Option<AxisValue> {
        match axis {
            Axis::X => &mut self.x,
            Axis::Y => &mut self.y,
        }
    }
}

/// One CoordinateData that a half, or the clock, led to.
#[derive(Debug, Clone, PartialEq)]
pub struct Yielded {
    pub data: CoordinateData,
    /// Whether it is the device's latest value from now on.
    pub is_latest: bool,
}
