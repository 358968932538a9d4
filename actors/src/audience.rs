//! Who watches a partition, and what they were given. It outlives the [`StreamHub`](crate::StreamHub): what went out to sockets is a
//! fact about sockets, and a restarted hub must go on from there.
//!
//! Invariant: each frame of a device goes to the audience once, in order of offset. Memory: 16 bytes and a name a device, an address
//! a session.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use orinoco_domain::DeviceId;

use crate::stream_hub::{HubBatch, HubEvent, HubFrame, HubWatcher, HubWatcherId, Told, View};

/// One that lags behind is told so within ten seconds, or is beyond telling.
const LAGGED_RETRY_AFTER: Duration = Duration::from_millis(50);
const LAGGED_TRIES_MAX: u32 = 200;

/// The audience of one partition.
#[derive(Default)]
pub struct Audience(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    /// Those who see all devices.
    all: HashMap<HubWatcherId, HubWatcher>,
    /// Those who see one, by device.
    by_device: HashMap<DeviceId, HashMap<HubWatcherId, HubWatcher>>,
    /// Offset of the last frame given out, by device.
    heads: HashMap<DeviceId, u64>,
    epoch: Option<Arc<str>>,
    /// Counts what was given out.
    sequence: u64,
    last: Option<Arc<HubBatch>>,
}

impl Audience {
    pub(crate) fn join(&self, watcher: HubWatcher, view: &View) {
        let mut inner = self.inner();
        match view {
            View::All => inner.all.insert(watcher.id(), watcher),
            View::Device(device) => inner.by_device.entry(device.clone()).or_default().insert(watcher.id(), watcher),
        };
    }

    pub(crate) fn leave(&self, watcher: HubWatcherId, view: &View) {
        let mut inner = self.inner();
        match view {
            View::All => drop(inner.all.remove(&watcher)),
            View::Device(device) => {
                if let Some(watchers) = inner.by_device.get_mut(device) {
                    watchers.remove(&watcher);
                    if watchers.is_empty() {
                        inner.by_device.remove(device);
                    }
                }
            }
        }
    }

    pub(crate) fn sequence(&self) -> u64 {
        self.inner().sequence
    }

    pub(crate) fn epoch(&self) -> Option<Arc<str>> {
        self.inner().epoch.clone()
    }

    /// Offset of the device's last frame that was given out; 0 before any.
    pub(crate) fn head(&self, device: &DeviceId) -> u64 {
        self.inner().heads.get(device).copied().unwrap_or(0)
    }

    /// A device whose frames up to `head` nobody needs any more: new sessions get them with the snapshot.
    pub(crate) fn assume(&self, device: &DeviceId, head: u64) {
        self.inner().heads.insert(device.clone(), head);
    }

    /// The stream begins (again): offsets of before mean nothing. Sessions are told, unless it is the first epoch.
    pub(crate) fn begin(&self, partition: u32, epoch: Arc<str>) {
        let mut inner = self.inner();
        let is_first = inner.epoch.is_none();
        inner.epoch = Some(epoch);
        inner.heads.clear();
        inner.last = None;
        if !is_first {
            inner.tell_all(|| HubEvent::Reset { partition });
        }
    }

    /// A hub started anew: it repeats what its predecessor may have given out in part only, and asks for lost requests.
    pub(crate) fn hub_started(&self, partition: u32) {
        let mut inner = self.inner();
        if let Some(last) = inner.last.clone() {
            inner.fan_out(&last);
        }
        inner.tell_all(|| HubEvent::HubStarted { partition });
    }

    /// Gives frames out; nothing in here waits, so a kill can't part it.
    pub(crate) fn deliver(&self, partition: u32, frames: Vec<HubFrame>) {
        if frames.is_empty() {
            return;
        }
        let mut inner = self.inner();
        for frame in &frames {
            match inner.heads.get_mut(&frame.device) {
                Some(head) => *head = frame.offset,
                None => drop(inner.heads.insert(frame.device.clone(), frame.offset)),
            }
        }
        inner.sequence += 1;
        let batch = Arc::new(HubBatch::new(partition, inner.sequence, frames));
        inner.last = Some(Arc::clone(&batch));
        inner.fan_out(&batch);
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn fan_out(&mut self, batch: &Arc<HubBatch>) {
        self.all.retain(|_, watcher| offer(watcher, HubEvent::Live(Arc::clone(batch))));
        if self.by_device.is_empty() {
            return;
        }
        for (device, part) in batch.by_device(|device| self.by_device.contains_key(device)) {
            let part = Arc::new(part);
            if let Some(watchers) = self.by_device.get_mut(&device) {
                watchers.retain(|_, watcher| offer(watcher, HubEvent::Live(Arc::clone(&part))));
            }
        }
    }

    fn tell_all(&mut self, event: impl Fn() -> HubEvent) {
        self.all.retain(|_, watcher| offer(watcher, event()));
        for watchers in self.by_device.values_mut() {
            watchers.retain(|_, watcher| offer(watcher, event()));
        }
    }
}

/// Says whether it stays in the audience. One whose mailbox is full lags behind for good: it is told, out of the others' way.
fn offer(watcher: &HubWatcher, event: HubEvent) -> bool {
    match watcher.tell(event) {
        Told::Taken => true,
        Told::Down => false,
        Told::Full => {
            let watcher = watcher.clone();
            tokio::spawn(async move {
                // Room comes, or the session ends: its handlers do not wait.
                for _ in 0..LAGGED_TRIES_MAX {
                    tokio::time::sleep(LAGGED_RETRY_AFTER).await;
                    if watcher.tell(HubEvent::Lagged) != Told::Full {
                        return;
                    }
                }
            });
            false
        }
    }
}
