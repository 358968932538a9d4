//! What waits to be written to one client. Pure.
//!
//! Policy at the bound of the live queue: of subscriptions to latest values the newest frame a device stays (it shows as a jump of the
//! offset in the data); if that is not enough, recoverable subscriptions lose all that waits, and are to be ended, for their clients to
//! recover; if that is not enough, the client is too slow. Pings and pongs go first, the newest few of them; then replies, pages of
//! snapshots, and news of other clients (which are left out where too much waits), in their order.

use std::{
    collections::{BTreeSet, HashSet, VecDeque},
    ops::Range,
    sync::Arc,
};

use bytes::Bytes;
use orinoco_domain::DeviceId;

use crate::{
    socket_writer::Waiting,
    stream_hub::{ChannelKind, HubBatch},
};

/// The queue is full of distinct devices' newest frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooSlow;

/// Control messages that wait, each of one read from the socket at most.
const CONTROL_MAX: usize = 4;
/// Bytes of replies that wait; beyond it no further command is looked at.
const REPLIES_BYTES_MAX: usize = 256 * 1024;

pub(super) struct Outbox {
    control: VecDeque<Bytes>,
    /// Replies and pages.
    first: VecDeque<Bytes>,
    first_bytes: usize,
    live: VecDeque<Queued>,
    live_bytes: usize,
    live_bytes_max: usize,
    conflated: u64,
}

/// Whose frames are queued, and how they may be thinned out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lane {
    pub(super) subscription: u32,
    pub(super) kind: ChannelKind,
    /// All frames or none; else the newest a device is enough.
    pub(super) is_recoverable: bool,
}

/// Whole messages that are adjacent in a batch.
struct Queued {
    lane: Lane,
    bytes: Bytes,
    batch: Arc<HubBatch>,
    frames: Range<usize>,
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
            if self.control.pop_front().is_some() {
                continue;
            }
            if let Some(message) = self.first.pop_front() {
                self.first_bytes -= message.len();
            } else if let Some(queued) = self.live.pop_front() {
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
            first_bytes: 0,
            live: VecDeque::new(),
            live_bytes: 0,
            live_bytes_max,
            conflated: 0,
        }
    }

    pub(super) fn push_control(&mut self, message: Bytes) {
        if self.control.len() == CONTROL_MAX {
            self.control.pop_front();
        }
        self.control.push_back(message);
    }

    pub(super) fn push_first(&mut self, message: Bytes) {
        self.first_bytes += message.len();
        self.first.push_back(message);
    }

    /// What a client that takes nothing can do without.
    pub(super) fn push_news(&mut self, message: Bytes) {
        if !self.is_full_of_replies() {
            self.push_first(message);
        }
    }

    /// Queues a whole batch. [`Outbox::bound`] follows, after a write: a batch of any size is no fault of a client that reads.
    pub(super) fn push_batch(&mut self, lane: Lane, batch: &Arc<HubBatch>) {
        for chunk in &batch.pushes(lane.kind).chunks {
            let (bytes, frames) = (chunk.bytes.clone(), chunk.frames.clone());
            self.push(Queued { lane, bytes, batch: Arc::clone(batch), frames });
        }
    }

    /// Queues one frame of a batch.
    pub(super) fn push_frame(&mut self, lane: Lane, batch: &Arc<HubBatch>, index: usize) {
        let bytes = batch.pushes(lane.kind).messages[index].clone();
        self.push(Queued { lane, bytes, batch: Arc::clone(batch), frames: index..index + 1 });
    }

    /// Forgets what waits of a subscription.
    pub(super) fn drop_live(&mut self, subscription: u32) {
        self.live.retain(|queued| queued.lane.subscription != subscription);
        self.live_bytes = self.live.iter().map(|queued| queued.bytes.len()).sum();
    }

    /// Whether further commands have to wait.
    pub(super) fn is_full_of_replies(&self) -> bool {
        self.first_bytes > REPLIES_BYTES_MAX
    }

    /// Frames left out so far.
    pub(super) fn take_conflated(&mut self) -> u64 {
        std::mem::take(&mut self.conflated)
    }

    fn push(&mut self, queued: Queued) {
        self.live_bytes += queued.bytes.len();
        self.live.push_back(queued);
    }

    /// Whether more waits than may.
    pub(super) fn is_over_bound(&self) -> bool {
        self.live_bytes > self.live_bytes_max
    }

    /// Holds the queue to its bound. Gives the recoverable subscriptions that are to end.
    ///
    /// # Errors
    /// [`TooSlow`]: even the newest frames of all devices are too much.
    pub(super) fn bound(&mut self) -> Result<BTreeSet<u32>, TooSlow> {
        let mut ended = BTreeSet::new();
        if self.is_over_bound() {
            self.conflate();
        }
        if self.is_over_bound() {
            let recoverable = self.live.iter().filter(|queued| queued.lane.is_recoverable);
            ended = recoverable.map(|queued| queued.lane.subscription).collect();
            self.live.retain(|queued| !queued.lane.is_recoverable);
            self.live_bytes = self.live.iter().map(|queued| queued.bytes.len()).sum();
        }
        if self.is_over_bound() { Err(TooSlow) } else { Ok(ended) }
    }

    /// Keeps the newest frame of each device, in the order of those, where that is enough.
    fn conflate(&mut self) {
        let queue = std::mem::take(&mut self.live);
        let mut kept = VecDeque::new();
        let mut seen: HashSet<(u32, DeviceId)> = HashSet::new();
        for queued in queue.into_iter().rev() {
            if queued.lane.is_recoverable {
                kept.push_front(queued);
                continue;
            }
            for index in queued.frames.rev() {
                let frame = &queued.batch.frames[index];
                // A late frame is older than the latest value, which stands before it or was sent.
                if !frame.is_latest || !seen.insert((queued.lane.subscription, frame.device.clone())) {
                    self.conflated += 1;
                    continue;
                }
                let bytes = queued.batch.pushes(queued.lane.kind).messages[index].clone();
                let (batch, frames) = (Arc::clone(&queued.batch), index..index + 1);
                kept.push_front(Queued { lane: queued.lane, bytes, batch, frames });
            }
        }
        self.live = kept;
        self.live_bytes = self.live.iter().map(|queued| queued.bytes.len()).sum();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use orinoco_domain::Frame;

    use super::*;
    use crate::{HubFrame, wire};

    const LATEST: Lane = Lane { subscription: 1, kind: ChannelKind::Devices, is_recoverable: false };
    const ALL: Lane = Lane { subscription: 2, kind: ChannelKind::Device, is_recoverable: true };

    fn batch(frames: &[(&str, u64)]) -> Arc<HubBatch> {
        let frame = |(device, offset): &(&str, u64)| {
            let device = DeviceId::parse(device).unwrap();
            HubFrame::new(&Frame { device, offset: *offset, json: offset.to_string().into() }, true)
        };
        Arc::new(HubBatch::new(0, 1, frames.iter().map(frame).collect()))
    }

    /// Channel and data of each publication.
    fn waiting(outbox: &Outbox) -> Vec<(String, u64)> {
        let mut all = Vec::new();
        for bytes in outbox.next(usize::MAX) {
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let length = usize::from(rest[1]);
                let push: serde_json::Value = serde_json::from_slice(&rest[2..2 + length]).unwrap();
                let push = &push["push"];
                all.push((push["channel"].as_str().unwrap().to_owned(), push["pub"]["data"].as_u64().unwrap()));
                rest = &rest[2 + length..];
            }
        }
        all
    }

    #[test]
    fn replies_go_before_live_frames_and_hold_up_commands() {
        let mut outbox = Outbox::new(1_000);
        outbox.push_batch(LATEST, &batch(&[("a", 1)]));
        outbox.push_first(Bytes::from(vec![b'x'; REPLIES_BYTES_MAX + 1]));
        assert!(outbox.next(1)[0].starts_with(b"xx") && outbox.is_full_of_replies());
        outbox.taken(1);
        assert!(!outbox.is_full_of_replies());
        assert_eq!(waiting(&outbox), [("devices".to_owned(), 1)]);
        outbox.taken(1);
        assert!(outbox.is_empty() && outbox.live_bytes == 0);
    }

    #[test]
    fn at_the_bound_latest_values_are_thinned_out_and_recoverable_frames_are_not() {
        let mut outbox = Outbox::new(400);
        outbox.push_batch(ALL, &batch(&[("a", 1), ("a", 2)]));
        for offset in 1..=5 {
            outbox.push_batch(LATEST, &batch(&[("a", offset), ("b", offset)]));
        }
        assert!(outbox.is_over_bound());
        assert!(outbox.bound().unwrap().is_empty());
        let device = |offset| ("device:a".to_owned(), offset);
        let latest = ("devices".to_owned(), 5);
        assert_eq!(waiting(&outbox), [device(1), device(2), latest.clone(), latest]);
        assert_eq!(outbox.take_conflated(), 8);
    }

    #[test]
    fn where_that_is_not_enough_recoverable_subscriptions_end() {
        let mut outbox = Outbox::new(100);
        outbox.push_batch(ALL, &batch(&[("a", 1), ("a", 2), ("a", 3)]));
        outbox.push_batch(LATEST, &batch(&[("b", 9)]));
        assert_eq!(outbox.bound().unwrap(), BTreeSet::from([2]));
        assert_eq!(waiting(&outbox), [("devices".to_owned(), 9)]);
    }

    #[test]
    fn more_devices_than_fit_are_too_slow() {
        let mut outbox = Outbox::new(100);
        outbox.push_batch(LATEST, &batch(&[("a", 1), ("b", 1), ("c", 1)]));
        assert_eq!(outbox.bound(), Err(TooSlow));
    }

    #[test]
    fn what_waits_of_an_ended_subscription_is_forgotten() {
        let mut outbox = Outbox::new(1_000);
        outbox.push_batch(ALL, &batch(&[("a", 1)]));
        outbox.push_frame(LATEST, &batch(&[("a", 1), ("b", 7)]), 1);
        outbox.drop_live(ALL.subscription);
        assert_eq!(waiting(&outbox), [("devices".to_owned(), 7)]);
        assert!(wire::text_of(&outbox.next(1)[0]).len() + 2 == outbox.live_bytes);
    }
}
