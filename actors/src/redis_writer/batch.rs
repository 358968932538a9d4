//! One step of a partition in the making.

use std::collections::{BTreeMap, HashMap};

use orinoco_domain::{
    Axis, CoordinateData, CoordinateRecord, DeviceId, Frame, Position, RecordId,
    pairing::{self, Yielded},
};
use orinoco_ports::{Batch, DeviceUpdate, PublishedFrame, StoreError};

use super::{RedisWriterArguments, Replica};

pub(super) struct Building<'a> {
    replica: &'a mut Replica,
    arguments: &'a RedisWriterArguments,
    partition: u32,
    now_ms: i64,
    /// Frames by device; a device without frames has a new state only. Ordered, so that equal input gives equal steps.
    changed: BTreeMap<DeviceId, Vec<Yielded>>,
    marks: BTreeMap<String, u64>,
    /// What the store holds of devices with a record that may be a repeat, before this step.
    histories: HashMap<DeviceId, Vec<CoordinateData>>,
    repeated: u64,
}

impl<'a> Building<'a> {
    pub(super) fn new(replica: &'a mut Replica, arguments: &'a RedisWriterArguments, partition: u32) -> Self {
        Self {
            now_ms: arguments.clock.now_ms(),
            replica,
            arguments,
            partition,
            changed: BTreeMap::new(),
            marks: BTreeMap::new(),
            histories: HashMap::new(),
            repeated: 0,
        }
    }

    /// Records that were in effect already.
    pub(super) fn repeated(&self) -> u64 {
        self.repeated
    }

    /// # Errors
    /// History could not be read: nothing may be applied.
    pub(super) async fn feed(&mut self, record: CoordinateRecord) -> Result<(), StoreError> {
        if let Some(id) = &record.id
            && !self.is_new(&record, id)
        {
            self.repeated += 1;
            return Ok(());
        }
        if self.may_be_repeat(&record) && self.is_repeat(&record).await? {
            self.repeated += 1;
            return Ok(());
        }
        self.advance(record);
        Ok(())
    }

    fn may_be_repeat(&self, record: &CoordinateRecord) -> bool {
        let state = self.replica.devices.get(&record.device);
        record.redelivered || state.is_some_and(|state| pairing::is_late(state, record))
    }

    async fn is_repeat(&mut self, record: &CoordinateRecord) -> Result<bool, StoreError> {
        let device = &record.device;
        if !self.histories.contains_key(device) {
            let history = self.history(device).await?;
            self.histories.insert(device.clone(), history);
        }
        let Some(state) = self.replica.devices.get(device) else { return Ok(false) };
        let rule = self.arguments.rule.pairing;
        let here: Vec<CoordinateData> =
            self.changed.get(device).into_iter().flatten().map(|yielded| yielded.data.clone()).collect();
        let stored = self.histories.get(device).map_or(&[][..], Vec::as_slice);
        Ok(pairing::is_repeat(state, record, rule, stored) || pairing::is_repeat(state, record, rule, &here))
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
    fn is_new(&mut self, record: &CoordinateRecord, id: &RecordId) -> bool {
        let key = format!("{}:{}", record.axis.name(), id.mark_key());
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

    /// What the store holds of the device.
    async fn history(&self, device: &DeviceId) -> Result<Vec<CoordinateData>, StoreError> {
        let page = self.arguments.store.history(self.partition, device, 0, self.arguments.history_max).await?;
        let decode = |frame: &Frame| {
            frame.decode().map_err(|error| StoreError::Corrupt {
                place: format!("history of {device}"),
                reason: error.to_string(),
            })
        };
        page.frames.iter().map(decode).collect()
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
