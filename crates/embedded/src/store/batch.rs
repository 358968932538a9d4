//! A batch, ready for SQL: encoded by the caller, so that the writing thread only writes.

use orinoco_domain::{DeviceId, Frame, Position};
use orinoco_ports::{Batch, DeviceUpdate, PublishedFrame};

#[derive(Debug)]
pub(super) struct EncodedBatch {
    pub(super) partition: u32,
    pub(super) fence: u64,
    pub(super) revision: u64,
    pub(super) from: Position,
    pub(super) to: Position,
    pub(super) marks: Vec<(String, u64)>,
    pub(super) devices: Vec<EncodedUpdate>,
    pub(super) history_max: u64,
}

#[derive(Debug)]
pub(super) struct EncodedUpdate {
    pub(super) device: DeviceId,
    /// JSON.
    pub(super) state: String,
    pub(super) head: u64,
    pub(super) frames: Vec<PublishedFrame>,
    pub(super) latest: Option<Frame>,
}

impl EncodedBatch {
    pub(super) fn new(batch: &Batch) -> Self {
        Self {
            partition: batch.partition,
            fence: batch.fence,
            revision: batch.revision,
            from: batch.from,
            to: batch.to,
            marks: batch.marks.clone(),
            devices: batch.devices.iter().map(EncodedUpdate::new).collect(),
            history_max: batch.history_max as u64,
        }
    }
}

impl EncodedUpdate {
    fn new(update: &DeviceUpdate) -> Self {
        Self {
            device: update.device.clone(),
            // Finite numbers and strings always serialise.
            state: serde_json::to_string(&update.state).unwrap_or_default(),
            head: update.state.head,
            frames: update.frames.clone(),
            latest: update.latest().cloned(),
        }
    }
}
