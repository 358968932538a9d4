//! A batch, encoded by the caller so that the writing thread only writes; and the same bytes read back after a restart.

use std::sync::Arc;

use orinoco_domain::{DeviceId, Frame, Position};
use orinoco_ports::{Batch, DeviceUpdate, PublishedFrame};

use crate::codec::{Fields, Malformed, PutFields as _};

#[derive(Debug)]
pub(super) struct EncodedBatch {
    pub(super) partition: u32,
    pub(super) fence: u64,
    pub(super) revision: u64,
    pub(super) from: Position,
    pub(super) to: Position,
    pub(super) marks: Vec<(String, u64)>,
    pub(super) updates: Updates,
    /// `updates` as stored.
    pub(super) body: Vec<u8>,
}

/// What a batch does to devices.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Updates {
    pub(super) history_max: u64,
    pub(super) devices: Vec<Update>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Update {
    pub(super) device: DeviceId,
    /// JSON.
    pub(super) state: String,
    pub(super) head: u64,
    pub(super) frames: Vec<PublishedFrame>,
}

impl EncodedBatch {
    pub(super) fn new(batch: &Batch) -> Self {
        let devices = batch.devices.iter().map(Update::new).collect();
        let updates = Updates { history_max: batch.history_max as u64, devices };
        Self {
            partition: batch.partition,
            fence: batch.fence,
            revision: batch.revision,
            from: batch.from,
            to: batch.to,
            marks: batch.marks.clone(),
            body: updates.encode(),
            updates,
        }
    }
}

impl Update {
    fn new(update: &DeviceUpdate) -> Self {
        Self {
            device: update.device.clone(),
            // Finite numbers and strings always serialise.
            state: serde_json::to_string(&update.state).unwrap_or_default(),
            head: update.state.head,
            frames: update.frames.clone(),
        }
    }

    pub(super) fn latest(&self) -> Option<&Frame> {
        self.frames.iter().rev().find(|published| published.is_latest).map(|published| &published.frame)
    }
}

impl Updates {
    /// `history_max u64 | (name | state | head u64 | frames u32 | (offset u64 | is_latest u8 | json)*)*`.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.put_u64(self.history_max);
        for update in &self.devices {
            bytes.put_bytes(update.device.as_str().as_bytes());
            bytes.put_bytes(update.state.as_bytes());
            bytes.put_u64(update.head);
            // Frames of one batch are far below 2^32.
            bytes.put_u32(u32::try_from(update.frames.len()).unwrap_or(u32::MAX));
            for published in &update.frames {
                bytes.put_u64(published.frame.offset);
                bytes.put_u8(u8::from(published.is_latest));
                bytes.put_bytes(published.frame.json.as_bytes());
            }
        }
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut fields = Fields(bytes);
        let mut updates = Self { history_max: fields.u64()?, devices: Vec::new() };
        while !fields.0.is_empty() {
            let device = DeviceId::parse(fields.text()?).map_err(|_| Malformed)?;
            let state = fields.text()?.to_owned();
            let head = fields.u64()?;
            let mut frames = Vec::new();
            for _ in 0..fields.u32()? {
                let offset = fields.u64()?;
                let is_latest = fields.u8()? != 0;
                let json = Arc::from(fields.text()?);
                frames.push(PublishedFrame { frame: Frame { device: device.clone(), offset, json }, is_latest });
            }
            updates.devices.push(Update { device, state, head, frames });
        }
        Ok(updates)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_updates_survive_a_round_trip(
            history_max in any::<u64>(),
            devices in prop::collection::vec(
                ("[A-Za-z0-9._-]{1,64}", ".*", any::<u64>(), prop::collection::vec((any::<u64>(), any::<bool>(), ".*"), 0..4)),
                0..5,
            ),
        ) {
            let update = |(name, state, head, frames): (String, String, u64, Vec<(u64, bool, String)>)| {
                let device = DeviceId::parse(&name).map_err(|error| TestCaseError::fail(error.to_string()))?;
                let frame = |(offset, is_latest, json): (u64, bool, String)| PublishedFrame {
                    frame: Frame { device: device.clone(), offset, json: json.into() },
                    is_latest,
                };
                Ok(Update { frames: frames.into_iter().map(frame).collect(), device: device.clone(), state, head })
            };
            let devices = devices.into_iter().map(update).collect::<Result<_, TestCaseError>>()?;
            let updates = Updates { history_max, devices };
            prop_assert_eq!(Updates::decode(&updates.encode()), Ok(updates));
        }
    }
}
