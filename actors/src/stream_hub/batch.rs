//! Frames on their way to sockets: encoded once, shared by all.

use std::{ops::Range, sync::OnceLock};

use bytes::{Bytes, BytesMut};
use orinoco_domain::{DeviceId, Frame};
use serde::Deserialize;

use crate::wire;

/// Bytes of frames that are written as one; a slow client holds on to no more than this for a frame it has queued.
const CHUNK_BYTES_MAX: usize = 16 * 1024;

/// A frame as a WebSocket text message.
#[derive(Debug, Clone)]
pub struct HubFrame {
    pub device: DeviceId,
    pub offset: u64,
    pub is_latest: bool,
    /// Header and payload.
    pub message: Bytes,
}

impl HubFrame {
    #[must_use]
    pub fn new(frame: &Frame, is_latest: bool) -> Self {
        let message = wire::text_message(&frame.json);
        Self { device: frame.device.clone(), offset: frame.offset, is_latest, message }
    }
}

/// Adjacent frames of a batch as one piece of memory: whole messages.
#[derive(Debug, Clone)]
pub struct Chunk {
    pub bytes: Bytes,
    /// The frames in it, by index.
    pub frames: Range<usize>,
}

/// The two kinds of channels of the Centrifuge protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChannelKind {
    /// `device:{orin_id}`: publications have the offset of the device.
    Device,
    /// `devices`: publications have no offset.
    Devices,
}

/// A batch as publications of one kind of channel.
#[derive(Debug)]
pub(crate) struct Pushes {
    /// WebSocket messages, one a frame.
    pub(crate) messages: Vec<Bytes>,
    pub(crate) chunks: Vec<Chunk>,
}

/// Where a frame says that its device is.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Place {
    pub(crate) coord_x: f64,
    pub(crate) coord_y: f64,
}

/// What a partition's audience is given at once. What only some of it wants is made when the first one asks.
#[derive(Debug)]
pub struct HubBatch {
    pub partition: u32,
    /// Counts what was given out; a batch of before is a repetition.
    pub sequence: u64,
    pub frames: Vec<HubFrame>,
    pub chunks: Vec<Chunk>,
    device_pushes: OnceLock<Pushes>,
    devices_pushes: OnceLock<Pushes>,
    places: OnceLock<Vec<Option<Place>>>,
}

impl HubBatch {
    pub(crate) fn new(partition: u32, sequence: u64, frames: Vec<HubFrame>) -> Self {
        let chunks = chunks(&frames.iter().map(|frame| &frame.message).collect::<Vec<_>>());
        let (device_pushes, devices_pushes, places) = (OnceLock::new(), OnceLock::new(), OnceLock::new());
        Self { partition, sequence, frames, chunks, device_pushes, devices_pushes, places }
    }

    /// The batch in the Centrifuge protocol.
    pub(crate) fn pushes(&self, kind: ChannelKind) -> &Pushes {
        let cell = match kind {
            ChannelKind::Device => &self.device_pushes,
            ChannelKind::Devices => &self.devices_pushes,
        };
        cell.get_or_init(|| {
            let push = |frame: &HubFrame| push(kind, &frame.device, frame.offset, wire::text_of(&frame.message));
            let messages: Vec<Bytes> = self.frames.iter().map(push).collect();
            let chunks = chunks(&messages.iter().collect::<Vec<_>>());
            Pushes { messages, chunks }
        })
    }

    /// Where the frames say that their devices are.
    pub(crate) fn places(&self) -> &[Option<Place>] {
        let place = |frame: &HubFrame| serde_json::from_slice(wire::text_of(&frame.message)).ok();
        self.places.get_or_init(|| self.frames.iter().map(place).collect())
    }

    /// The part of each device that is wanted.
    pub(crate) fn by_device(&self, is_wanted: impl Fn(&DeviceId) -> bool) -> Vec<(DeviceId, Self)> {
        let mut parts: Vec<(DeviceId, Vec<HubFrame>)> = Vec::new();
        let mut places: std::collections::HashMap<&DeviceId, usize> = std::collections::HashMap::new();
        for frame in self.frames.iter().filter(|frame| is_wanted(&frame.device)) {
            let place = *places.entry(&frame.device).or_insert_with(|| {
                parts.push((frame.device.clone(), Vec::new()));
                parts.len() - 1
            });
            parts[place].1.push(frame.clone());
        }
        let batch = |(device, frames)| (device, Self::new(self.partition, self.sequence, frames));
        parts.into_iter().map(batch).collect()
    }
}

/// A publication as a WebSocket message; `json` is its data.
pub(crate) fn push(kind: ChannelKind, device: &DeviceId, offset: u64, json: &[u8]) -> Bytes {
    let json = String::from_utf8_lossy(json);
    // A device's name needs no escaping.
    wire::text_message(&match kind {
        ChannelKind::Device => {
            format!(r#"{{"push":{{"channel":"device:{device}","pub":{{"data":{json},"offset":{offset}}}}}}}"#)
        }
        ChannelKind::Devices => format!(r#"{{"push":{{"channel":"devices","pub":{{"data":{json}}}}}}}"#),
    })
}

fn chunks(messages: &[&Bytes]) -> Vec<Chunk> {
    let mut chunks = Vec::new();
    let mut start = 0;
    while start < messages.len() {
        let mut end = start + 1;
        let mut length = messages[start].len();
        while end < messages.len() && length + messages[end].len() <= CHUNK_BYTES_MAX {
            length += messages[end].len();
            end += 1;
        }
        let bytes = if end == start + 1 {
            messages[start].clone()
        } else {
            let mut bytes = BytesMut::with_capacity(length);
            for message in &messages[start..end] {
                bytes.extend_from_slice(message);
            }
            bytes.freeze()
        };
        chunks.push(Chunk { bytes, frames: start..end });
        start = end;
    }
    chunks
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn frame(device: &str, offset: u64, length: usize) -> HubFrame {
        let device = DeviceId::parse(device).unwrap();
        HubFrame { device, offset, is_latest: true, message: Bytes::from(vec![b'x'; length]) }
    }

    #[test]
    fn chunks_hold_all_frames_in_order_within_the_bound() {
        let frames = vec![frame("a", 1, 9_000), frame("a", 2, 9_000), frame("b", 1, 10), frame("b", 2, 40_000)];
        let batch = HubBatch::new(0, 1, frames);
        let ranges: Vec<_> = batch.chunks.iter().map(|chunk| chunk.frames.clone()).collect();
        assert_eq!(ranges, [0..1, 1..3, 3..4]);
        assert_eq!(batch.chunks.iter().map(|chunk| chunk.bytes.len()).sum::<usize>(), 58_010);
    }

    #[test]
    fn publications_of_the_two_kinds_of_channels_hold_the_frame_s_json() {
        let device = DeviceId::parse("a").unwrap();
        let json = r#"{"coordX":12.5,"coordY":3.25,"offset":7}"#;
        let frame = Frame { device, offset: 7, json: json.into() };
        let batch = HubBatch::new(0, 1, vec![HubFrame::new(&frame, true)]);
        let text = |kind| String::from_utf8_lossy(wire::text_of(&batch.pushes(kind).messages[0])).into_owned();
        let device_push = format!(r#"{{"push":{{"channel":"device:a","pub":{{"data":{json},"offset":7}}}}}}"#);
        assert_eq!(text(ChannelKind::Device), device_push);
        assert_eq!(
            text(ChannelKind::Devices),
            format!(r#"{{"push":{{"channel":"devices","pub":{{"data":{json}}}}}}}"#)
        );
        assert_eq!(batch.places(), [Some(Place { coord_x: 12.5, coord_y: 3.25 })]);
    }

    #[test]
    fn parts_keep_a_device_s_order() {
        let frames = vec![frame("a", 1, 1), frame("b", 1, 1), frame("a", 2, 1), frame("c", 1, 1)];
        let parts = HubBatch::new(0, 7, frames).by_device(|device| device.as_str() != "c");
        let summary: Vec<_> = parts
            .iter()
            .map(|(device, part)| (device.as_str(), part.frames.iter().map(|frame| frame.offset).collect::<Vec<_>>()))
            .collect();
        assert_eq!(summary, [("a", vec![1, 2]), ("b", vec![1])]);
        assert!(parts.iter().all(|(_, part)| part.sequence == 7));
    }
}
