//! The latest values of a partition's devices, in order of name: what a snapshot's pages are made of.

use std::{collections::BTreeMap, ops::Bound, sync::Arc};

use bytes::Bytes;
use orinoco_domain::{DeviceId, Frame};

use super::HubFrame;

/// Devices of a page of a session's snapshot.
const PAGE_DEVICES_MAX: usize = 128;
/// Late frames kept behind a latest value; beyond it the oldest is left out of snapshots, which shows as a jump of the offset.
const LATE_MAX: usize = 64;

#[derive(Default)]
pub(super) struct Cache(BTreeMap<DeviceId, Cached>);

struct Cached {
    offset: u64,
    latest: Bytes,
    /// Frames after the latest value: late ones.
    late: Vec<Bytes>,
}

/// A page of a session's snapshot, at one position of the hub.
#[derive(Debug, Clone, Default)]
pub struct StreamPage {
    pub partition: u32,
    /// What the audience was given up to here is in the page.
    pub sequence: u64,
    pub epoch: Arc<str>,
    /// The cursor that was asked for.
    pub after: Option<DeviceId>,
    /// In order; a device's latest value, then late ones that followed it.
    pub messages: Vec<Bytes>,
    /// The cursor of the next page; `None` after the last.
    pub next: Option<DeviceId>,
    /// For a view of one device: offset of its last frame.
    pub head: u64,
}

/// A page of device names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DevicePage {
    pub devices: Vec<DeviceId>,
    pub has_more: bool,
}

impl Cache {
    pub(super) fn offset(&self, device: &DeviceId) -> u64 {
        self.0.get(device).map_or(0, |cached| cached.offset)
    }

    pub(super) fn put(&mut self, latest: &Frame) {
        let frame = HubFrame::new(latest, true);
        self.0.insert(latest.device.clone(), Cached { offset: frame.offset, latest: frame.message, late: Vec::new() });
    }

    pub(super) fn put_late<'a>(&mut self, late: impl Iterator<Item = &'a Frame>) {
        for frame in late {
            self.take(&[HubFrame::new(frame, false)]);
        }
    }

    /// Frames that go out, in order.
    pub(super) fn take(&mut self, frames: &[HubFrame]) {
        for frame in frames {
            match self.0.get_mut(&frame.device) {
                Some(cached) if frame.is_latest => {
                    cached.offset = frame.offset;
                    cached.latest = frame.message.clone();
                    cached.late.clear();
                }
                Some(cached) => {
                    if cached.late.len() >= LATE_MAX {
                        cached.late.remove(0);
                    }
                    cached.late.push(frame.message.clone());
                }
                None => {
                    let latest = frame.message.clone();
                    let cached = Cached { offset: frame.offset, latest, late: Vec::new() };
                    self.0.insert(frame.device.clone(), cached);
                }
            }
        }
    }

    pub(super) fn page(&self, after: Option<&DeviceId>) -> StreamPage {
        let mut page = StreamPage::default();
        let mut devices = self.after(after).take(PAGE_DEVICES_MAX + 1);
        let mut last = None;
        for (device, cached) in devices.by_ref().take(PAGE_DEVICES_MAX) {
            page.messages.push(cached.latest.clone());
            page.messages.extend(cached.late.iter().cloned());
            last = Some(device.clone());
        }
        if devices.next().is_some() {
            page.next = last;
        }
        page
    }

    pub(super) fn device_page(&self, device: &DeviceId, snapshot: bool) -> StreamPage {
        let mut page = StreamPage::default();
        if let Some(cached) = self.0.get(device).filter(|_| snapshot) {
            page.messages.push(cached.latest.clone());
            page.messages.extend(cached.late.iter().cloned());
        }
        page
    }

    pub(super) fn devices(&self, after: Option<&DeviceId>, devices_max: usize) -> DevicePage {
        let mut devices: Vec<DeviceId> =
            self.after(after).take(devices_max + 1).map(|(device, _)| device.clone()).collect();
        let has_more = devices.len() > devices_max;
        devices.truncate(devices_max);
        DevicePage { devices, has_more }
    }

    fn after(&self, after: Option<&DeviceId>) -> impl Iterator<Item = (&DeviceId, &Cached)> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.0.range::<DeviceId, _>((start, Bound::Unbounded))
    }
}
