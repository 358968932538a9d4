//! One CoordinateData, and the text frame that shows it; encoded once, for history, publication and every socket.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{Axis, DeviceId, Timestamp};

/// The object of a text frame, of history and of REST.
/// `{"coordX":12.5,"coordY":3.25,"timestamp":"...","source":"coordX","device":"D","offset":41,"epoch":"..."}`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CoordinateData {
    #[serde(rename = "coordX")]
    pub coord_x: f64,
    #[serde(rename = "coordY")]
    pub coord_y: f64,
    /// That of the message that moved.
    pub timestamp: Timestamp,
    /// The axis that moved.
    pub source: Axis,
    pub device: DeviceId,
    /// Counts per device, +1 each, from 1.
    pub offset: u64,
    /// Changes only when history was lost.
    pub epoch: Arc<str>,
    /// Only in `timestamp` pairing: its partner did not come within the grace period.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unpaired: bool,
    /// From an older ingest owner's journal, after the change: exempt from order, never the latest value.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub late: bool,
}

impl CoordinateData {
    #[must_use]
    pub fn coordinate(&self, axis: Axis) -> f64 {
        match axis {
            Axis::X => self.coord_x,
            Axis::Y => self.coord_y,
        }
    }

    #[must_use]
    pub fn encode(&self) -> Frame {
        Frame {
            device: self.device.clone(),
            offset: self.offset,
            // Finite numbers and strings always serialise.
            json: serde_json::to_string(self).unwrap_or_default().into(),
        }
    }
}

/// An encoded CoordinateData with the two values that routing needs. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    pub device: DeviceId,
    pub offset: u64,
    /// One line of JSON.
    pub json: Arc<str>,
}

impl Frame {
    /// # Errors
    /// Where `json` is no CoordinateData.
    pub fn decode(&self) -> Result<CoordinateData, serde_json::Error> {
        serde_json::from_str(&self.json)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_frame_is_the_contract_s_object() {
        let data = CoordinateData {
            coord_x: 12.5,
            coord_y: 3.25,
            timestamp: Timestamp::parse("2026-01-02T03:04:05.678Z").unwrap(),
            source: Axis::X,
            device: DeviceId::parse("D").unwrap(),
            offset: 41,
            epoch: "e1".into(),
            unpaired: false,
            late: false,
        };
        let frame = data.encode();
        assert_eq!(
            &*frame.json,
            r#"{"coordX":12.5,"coordY":3.25,"timestamp":"2026-01-02T03:04:05.678Z","source":"coordX","device":"D","offset":41,"epoch":"e1"}"#
        );
        assert_eq!(frame.decode().unwrap(), data);
    }
}
