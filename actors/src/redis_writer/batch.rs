//! One step of a partition in the making.

use std::collections::BTreeMap;

use orinoco_domain::{
    Axis, CoordinateRecord, DeviceId, Position, RecordId,
    pairing::{self, Effect, Yielded},
};
use orinoco_ports::{Batch, DeviceUpdate, PublishedFrame};

use super::{RedisWriterArguments, Replica, repeats::Repeats};

pub(super) struct Building<'a> {
    replica: &'a mut Replica,
    arguments: &'a RedisWriterArguments,
    partition: u32,
    now_ms: i64,
    /// Frames by device; a device without frames has a new state only. Ordered, so that equal input gives equal steps.
    changed: BTreeMap<DeviceId, Vec<Yielded>>,
    marks: BTreeMap<String, u64>,
    /// Of the records that are fed.
    repeats: Repeats,
    repeated: u64,
}

impl<'a> Building<'a> {
    pub(super) fn new(
        replica: &'a mut Replica,
        arguments: &'a RedisWriterArguments,
        partition: u32,
        repeats: Repeats,
    ) -> Self {
        Self {
            now_ms: arguments.clock.now_ms(),
            replica,
            arguments,
            partition,
            changed: BTreeMap::new(),
            marks: BTreeMap::new(),
            repeats,
            repeated: 0,
        }
    }

    /// Records that were in effect already.
    pub(super) fn repeated(&self) -> u64 {
        self.repeated
    }

    pub(super) fn feed(&mut self, record: CoordinateRecord) {
        if record.id.as_ref().is_some_and(|id| !self.is_new(record.axis, id)) || self.is_repeat(&record) {
            self.repeated += 1;
        } else {
            self.advance(record);
        }
    }

    fn is_repeat(&self, record: &CoordinateRecord) -> bool {
        let Some(state) = self.replica.devices.get(&record.device) else { return false };
        pairing::may_be_repeat(state, record)
            && (pairing::is_held(state, record) || self.repeats.contain(record) || self.has_yielded(record))
    }

    /// In this step.
    fn has_yielded(&self, record: &CoordinateRecord) -> bool {
        let effect = Effect::of(record);
        let mut yielded = self.changed.get(&record.device).into_iter().flatten();
        yielded.any(|yielded| Effect::shown_by(&yielded.data, self.arguments.rule.pairing).any(|shown| shown == effect))
    }

    /// Marks of records that are known by their place in the axis's topic mean nothing any more.
    pub(super) fn forget_offsets(&mut self, axis: Axis) {
        let places = RecordId::mark_keys_of_topic(axis.name());
        let places = format!("{}:{places}", axis.name());
        for (key, mark) in self.replica.marks.iter_mut().filter(|(key, _)| key.starts_with(&places)) {
            *mark = 0;
            self.marks.insert(key.clone(), 0);
        }
    }

    /// One highest mark an origin and axis: an origin's records come in order, retries included.
    fn is_new(&mut self, axis: Axis, id: &RecordId) -> bool {
        let key = format!("{}:{}", axis.name(), id.mark_key());
        let mark = self.replica.marks.entry(key.clone()).or_insert(0);
        // Kafka offsets start at 0; a mark is one more than the last sequence.
        if id.sequence < *mark {
            return false;
        }
        *mark = id.sequence + 1;
        self.marks.insert(key, *mark);
        true
    }

    fn advance(&mut self, record: CoordinateRecord) {
        let device = record.device.clone();
        let state = self.replica.devices.entry(device.clone()).or_default();
        let yielded = pairing::advance(state, record, &self.arguments.rule, &self.replica.epoch, self.now_ms);
        if state.pending.is_empty() {
            self.replica.waiting.remove(&device);
        } else {
            self.replica.waiting.insert(device.clone());
        }
        self.changed.entry(device).or_default().extend(yielded);
    }

    /// Yields what has waited long enough; says whether there was anything.
    pub(super) fn expire(&mut self) -> bool {
        let waiting: Vec<DeviceId> = self.replica.waiting.iter().cloned().collect();
        for device in waiting {
            let Some(state) = self.replica.devices.get_mut(&device) else { continue };
            let before = state.pending.len();
            let yielded = pairing::expire(state, &device, &self.arguments.rule, &self.replica.epoch, self.now_ms);
            let after = state.pending.len();
            if after == 0 {
                self.replica.waiting.remove(&device);
            }
            if after != before {
                self.changed.entry(device).or_default().extend(yielded);
            }
        }
        !self.changed.is_empty()
    }

    pub(super) fn finish(self, from: Position, to: Position) -> Batch {
        let replica = self.replica;
        let update = |(device, yielded): (DeviceId, Vec<Yielded>)| DeviceUpdate {
            state: replica.devices.get(&device).cloned().unwrap_or_default(),
            frames: yielded
                .iter()
                .map(|yielded| PublishedFrame { frame: yielded.data.encode(), is_latest: yielded.is_latest })
                .collect(),
            device,
        };
        Batch {
            partition: self.partition,
            fence: replica.fence,
            revision: replica.revision,
            from,
            to,
            marks: self.marks.into_iter().collect(),
            devices: self.changed.into_iter().map(update).collect(),
            history_max: self.arguments.history_max,
        }
    }
}
