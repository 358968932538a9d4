//! Frames on their way to sockets: encoded once, shared by all.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use orinoco_domain::{DeviceId, Frame};

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

/// What a partition's audience is given at once.
#[derive(Debug)]
pub struct HubBatch {
    pub partition: u32,
    /// Counts what was given out; a batch of before is a repetition.
    pub sequence: u64,
    pub frames: Vec<HubFrame>,
    pub chunks: Vec<Chunk>,
}

impl HubBatch {
    pub(crate) fn new(partition: u32, sequence: u64, frames: Vec<HubFrame>) -> Self {
        let chunks = chunks(&frames);
        Self { partition, sequence, frames, chunks }
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

fn chunks(frames: &[HubFrame]) -> Vec<Chunk> {
    let mut chunks = Vec::new();
    let mut start = 0;
    while start < frames.len() {
        let mut end = start + 1;
        let mut length = frames[start].message.len();
        while end < frames.len() && length + frames[end].message.len() <= CHUNK_BYTES_MAX {
            length += frames[end].message.len();
            end += 1;
        }
        let bytes = if end == start + 1 {
            frames[start].message.clone()
        } else {
            let mut bytes = BytesMut::with_capacity(length);
            for frame in &frames[start..end] {
                bytes.extend_from_slice(&frame.message);
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
