//! What waits to be written to one client. Pure.
//!
//! Policy at the bound of the live queue: the newest frame a device stays, the others go (it shows as a jump of the offset); if that is
//! not enough, the client is too slow. Control messages go first, the newest few of them: an older ping needs no answer (RFC 6455, section
//! 5.5.3). Then pages of a snapshot; a page is asked for only when the last is out.

use std::{
    collections::{HashSet, VecDeque},
    sync::Arc,
};

use bytes::Bytes;
use orinoco_domain::DeviceId;

use crate::{socket_writer::Waiting, stream_hub::HubBatch};

/// The queue is full of distinct devices' newest frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooSlow;

/// Control messages that wait, each of one read from the socket at most.
const CONTROL_MAX: usize = 4;

pub(super) struct Outbox {
    control: VecDeque<Bytes>,
    /// Pages.
    first: VecDeque<Bytes>,
    live: VecDeque<Queued>,
    live_bytes: usize,
    live_bytes_max: usize,
    conflated: u64,
}

/// Whole messages that are adjacent in a batch.
struct Queued {
    bytes: Bytes,
    batch: Arc<HubBatch>,
    frames: std::ops::Range<usize>,
}

impl Waiting for Outbox {
    fn is_empty(&self) -> bool {
        self.control.is_empty() && self.first.is_empty() && self.live.is_empty()
    }

    fn next(&self, messages_max: usize) -> Vec<Bytes> {
        let live = self.live.iter().map(|queued| &queued.bytes);
        self.control.iter().chain(&self.first).chain(live).take(messages_max).cloned().collect()
    }

    fn taken(&mut self, count: usize) {
        for _ in 0..count {
            if self.control.pop_front().or_else(|| self.first.pop_front()).is_some() {
                continue;
            }
            if let Some(queued) = self.live.pop_front() {
                self.live_bytes -= queued.bytes.len();
            }
        }
    }
}

impl Outbox {
    pub(super) fn new(live_bytes_max: usize) -> Self {
        Self {
            control: VecDeque::new(),
            first: VecDeque::new(),
            live: VecDeque::new(),
            live_bytes: 0,
            live_bytes_max,
            conflated: 0,
        }
    }

    /// Pings and pongs.
    pub(super) fn push_control(&mut self, message: Bytes) {
        if self.control.len() == CONTROL_MAX {
            self.control.pop_front();
        }
        self.control.push_back(message);
    }

    pub(super) fn push_first(&mut self, message: Bytes) {
        self.first.push_back(message);
    }

    /// Frames left out so far.
    pub(super) fn take_conflated(&mut self) -> u64 {
        std::mem::take(&mut self.conflated)
    }

    /// Queues a whole batch. [`Outbox::bound`] follows, after a write: a batch of any size is no fault of a client that reads.
    pub(super) fn push_batch(&mut self, batch: &Arc<HubBatch>) {
        for chunk in &batch.chunks {
            self.push(Queued { bytes: chunk.bytes.clone(), batch: Arc::clone(batch), frames: chunk.frames.clone() });
        }
    }

    /// Queues the frames of a batch that `is_wanted`.
    pub(super) fn push_some(&mut self, batch: &Arc<HubBatch>, is_wanted: impl Fn(&DeviceId, u64) -> bool) {
        for (index, frame) in batch.frames.iter().enumerate() {
            if is_wanted(&frame.device, frame.offset) {
                self.push(Queued { bytes: frame.message.clone(), batch: Arc::clone(batch), frames: index..index + 1 });
            }
        }
    }

    fn push(&mut self, queued: Queued) {
        self.live_bytes += queued.bytes.len();
        self.live.push_back(queued);
    }

    /// Whether more waits than may.
    pub(super) fn is_over_bound(&self) -> bool {
        self.live_bytes > self.live_bytes_max
    }

    /// Holds the queue to its bound.
    ///
    /// # Errors
    /// [`TooSlow`]: even the newest frames of all devices are too much.
    pub(super) fn bound(&mut self) -> Result<(), TooSlow> {
        if self.is_over_bound() {
            self.conflate();
        }
        if self.is_over_bound() { Err(TooSlow) } else { Ok(()) }
    }

    /// Keeps the newest frame of each device, in the order of those.
    fn conflate(&mut self) {
        let queue = std::mem::take(&mut self.live);
        let mut kept = VecDeque::new();
        let mut seen: HashSet<DeviceId> = HashSet::new();
        let mut kept_bytes = 0;
        for queued in queue.into_iter().rev() {
            for index in queued.frames.rev() {
                let frame = &queued.batch.frames[index];
                // A late frame is older than the latest value, which stands before it or was sent.
                if !frame.is_latest || !seen.insert(frame.device.clone()) {
                    self.conflated += 1;
                    continue;
                }
                let bytes = frame.message.clone();
                kept_bytes += bytes.len();
                kept.push_front(Queued { bytes, batch: Arc::clone(&queued.batch), frames: index..index + 1 });
            }
        }
        self.live = kept;
        self.live_bytes = kept_bytes;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::stream_hub::HubFrame;

    fn batch(sequence: u64, frames: &[(&str, u64)]) -> Arc<HubBatch> {
        let frame = |(device, offset): &(&str, u64)| HubFrame {
            device: DeviceId::parse(device).unwrap(),
            offset: *offset,
            is_latest: true,
            message: Bytes::from(format!("{device}{offset};")),
        };
        Arc::new(HubBatch::new(0, sequence, frames.iter().map(frame).collect()))
    }

    fn text(outbox: &Outbox) -> String {
        outbox.next(usize::MAX).iter().map(|bytes| String::from_utf8_lossy(bytes).into_owned()).collect()
    }

    #[test]
    fn pages_go_before_live_frames() {
        let mut outbox = Outbox::new(1_000);
        outbox.push_batch(&batch(1, &[("a", 1)]));
        outbox.push_first(Bytes::from_static(b"page;"));
        assert_eq!(text(&outbox), "page;a1;");
        outbox.taken(1);
        assert_eq!(text(&outbox), "a1;");
        outbox.taken(1);
        assert!(outbox.is_empty() && outbox.live_bytes == 0);
    }

    #[test]
    fn of_control_messages_that_nobody_reads_the_newest_few_stay() {
        let mut outbox = Outbox::new(1_000);
        outbox.push_first(Bytes::from_static(b"page;"));
        for number in 0..100 {
            outbox.push_control(Bytes::from(format!("pong{number};")));
        }
        assert_eq!(text(&outbox), "pong96;pong97;pong98;pong99;page;");
        outbox.taken(5);
        assert!(outbox.is_empty());
    }

    #[test]
    fn at_the_bound_the_newest_frame_a_device_stays() {
        let mut outbox = Outbox::new(9);
        outbox.push_batch(&batch(1, &[("a", 1), ("b", 1), ("a", 2)]));
        assert_eq!(outbox.bound(), Ok(()));
        outbox.push_batch(&batch(2, &[("a", 3)]));
        assert_eq!(outbox.bound(), Ok(()));
        assert_eq!(text(&outbox), "b1;a3;");
        assert_eq!(outbox.take_conflated(), 2);
    }

    #[test]
    fn more_devices_than_fit_are_too_slow() {
        let mut outbox = Outbox::new(6);
        outbox.push_batch(&batch(1, &[("a", 1), ("b", 1), ("c", 1)]));
        assert_eq!(outbox.bound(), Err(TooSlow));
    }

    #[test]
    fn unwanted_frames_are_not_queued() {
        let mut outbox = Outbox::new(100);
        outbox.push_some(&batch(1, &[("a", 1), ("b", 1), ("a", 2)]), |device, _| device.as_str() == "a");
        assert_eq!(text(&outbox), "a1;a2;");
    }
}
