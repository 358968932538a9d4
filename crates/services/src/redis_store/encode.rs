//! Batches as arguments of the script `apply`; the texts that are stored and published.

use std::fmt::Write;

use orinoco_ports::{Batch, DeviceUpdate, PublishedFrame, StoreError};
use redis::Cmd;

use super::Keys;

/// The parts of a batch, in the order in which the script takes them.
pub(super) struct Encoded<'a> {
    batch: &'a Batch,
    keys: &'a Keys,
    epoch: &'a str,
    publication: String,
    /// Device and state.
    devices: Vec<(&'a str, Vec<u8>)>,
    /// Device and latest value.
    latest: Vec<(&'a str, String)>,
    /// Device and head, where the latest value stays.
    late: Vec<(&'a str, u64)>,
    /// Devices with frames, and those of their frames that history keeps.
    histories: Vec<(&'a str, &'a [PublishedFrame])>,
}

impl<'a> Encoded<'a> {
    /// # Errors
    /// A state that can't be written as JSON.
    pub(super) fn new(batch: &'a Batch, keys: &'a Keys, epoch: &'a str) -> Result<Self, StoreError> {
        let count = batch.devices.len();
        let mut encoded = Self {
            batch,
            keys,
            epoch,
            publication: publication(epoch, &batch.devices),
            devices: Vec::with_capacity(count),
            latest: Vec::with_capacity(count),
            late: Vec::new(),
            histories: Vec::with_capacity(count),
        };
        for update in &batch.devices {
            encoded.add(update)?;
        }
        Ok(encoded)
    }

    fn add(&mut self, update: &'a DeviceUpdate) -> Result<(), StoreError> {
        let device = update.device.as_str();
        let state = serde_json::to_vec(&update.state)
            .map_err(|error| StoreError::Corrupt { place: format!("state of {device}"), reason: error.to_string() })?;
        self.devices.push((device, state));
        let Some(last) = update.frames.last() else { return Ok(()) };
        let (head, history_max) = (last.frame.offset, self.batch.history_max);
        match update.latest() {
            Some(latest) => {
                self.latest.push((device, format!("{head}\t{history_max}\t{}\t{}", latest.offset, latest.json)))
            }
            None => self.late.push((device, head)),
        }
        let kept_from = update.frames.len().saturating_sub(history_max);
        self.histories.push((device, &update.frames[kept_from..]));
        Ok(())
    }

    /// Number of arguments, and about how many bytes.
    pub(super) fn size_hint(&self) -> (usize, usize) {
        let frames: usize = self.histories.iter().map(|(_, frames)| frames.len()).sum();
        let states: usize = self.devices.iter().map(|(_, state)| state.len() + 64).sum();
        let latest: usize = self.latest.iter().map(|(_, value)| value.len() + 64).sum();
        let arguments = 32
            + 2 * (self.batch.marks.len() + self.devices.len() + self.latest.len() + self.late.len())
            + 2 * self.histories.len()
            + frames;
        (arguments, 512 + 2 * self.publication.len() + states + latest + 64 * (self.batch.marks.len() + frames))
    }

    /// Adds keys and arguments behind `EVALSHA sha1`.
    pub(super) fn write(&self, command: &mut Cmd) {
        let Self { batch, keys, .. } = self;
        command.arg(4 + self.histories.len()).arg(&keys.state).arg(&keys.marks).arg(&keys.device).arg(&keys.latest);
        for (device, _) in &self.histories {
            command.arg(keys.history(device));
        }
        command.arg(batch.fence).arg(batch.revision).arg(batch.from.x).arg(batch.from.y).arg(self.epoch);
        command.arg(batch.revision + 1).arg(batch.to.x).arg(batch.to.y).arg(batch.history_max);
        command.arg(&keys.history_prefix).arg(&keys.channel).arg(&self.publication);
        for entries in [batch.marks.len(), self.devices.len(), self.latest.len(), self.late.len()] {
            command.arg(2 * entries);
        }
        for (key, sequence) in &batch.marks {
            command.arg(key).arg(*sequence);
        }
        for (device, state) in &self.devices {
            command.arg(*device).arg(state.as_slice());
        }
        for (device, value) in &self.latest {
            command.arg(*device).arg(value);
        }
        for (device, head) in &self.late {
            command.arg(*device).arg(*head);
        }
        for (_, frames) in &self.histories {
            command.arg(frames.len());
            for published in *frames {
                command.arg(&*published.frame.json);
            }
        }
    }
}

/// A line with the epoch, then a line a frame: device, offset, whether it is the latest value, JSON; separated by tabs. No device and
/// no line of JSON holds a tab or a line feed. Empty where there is nothing to publish.
fn publication(epoch: &str, devices: &[DeviceUpdate]) -> String {
    let frames = || devices.iter().flat_map(|update| &update.frames);
    if frames().next().is_none() {
        return String::new();
    }
    let size: usize = frames().map(|published| published.frame.json.len() + 96).sum();
    let mut text = String::with_capacity(epoch.len() + 1 + size);
    text.push_str(epoch);
    for PublishedFrame { frame, is_latest } in frames() {
        debug_assert!(!frame.json.contains(['\n', '\t']), "a frame is one line of JSON");
        // Writing to a String can't fail.
        let _ = write!(text, "\n{}\t{}\t{}\t", frame.device, frame.offset, u8::from(*is_latest));
        text.push_str(&frame.json);
    }
    text
}
