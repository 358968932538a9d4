//! The most recent records of a partition, in memory: the usual consumer, right behind the producer, reads no disk.

use std::collections::VecDeque;

use bytes::Bytes;
use orinoco_domain::Position;

/// What one call of `produce` wrote.
#[derive(Debug, Clone)]
pub(super) struct Chunk {
    /// Position, and ordinal, before its first record.
    pub(super) start: Position,
    pub(super) ordinal: u64,
    /// Frames.
    pub(super) frames: Bytes,
}

/// The last chunks, without a gap, up to the end of the log. The oldest go at the bound.
#[derive(Debug)]
pub(super) struct Tail {
    chunks: VecDeque<Chunk>,
    bytes: usize,
    bytes_max: usize,
}

impl Tail {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { chunks: VecDeque::new(), bytes: 0, bytes_max }
    }

    pub(super) fn push(&mut self, chunk: Chunk) {
        self.bytes += chunk.frames.len();
        self.chunks.push_back(chunk);
        while self.bytes > self.bytes_max {
            let Some(oldest) = self.chunks.pop_front() else { return };
            self.bytes -= oldest.frames.len();
        }
    }

    /// Chunks that hold all records from `from` on; `None` where only the disk has them.
    pub(super) fn from(&self, from: Position) -> Option<Vec<Chunk>> {
        let is_before = |chunk: &Chunk| chunk.start.x <= from.x && chunk.start.y <= from.y;
        let first = self.chunks.partition_point(is_before).checked_sub(1)?;
        Some(self.chunks.range(first..).cloned().collect())
    }
}
