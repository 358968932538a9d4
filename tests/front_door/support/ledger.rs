//! What devices sent, and whether exactly that came out.

use std::collections::BTreeMap;

use super::{Frame, World, until};

const AXES: [&str; 2] = ["coordX", "coordY"];
const PAGE: usize = 1_000;
/// 2026-01-02T03:04:05Z.
const FIRST_TIME_MS: usize = 1_767_323_045_000;

/// How often a message that was sent more than once may show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repeats {
    /// Once: the broker kept it, and what it delivers again is recognised.
    Never,
    /// As often as the device sent it.
    OfWhatWasSentAgain,
}

/// Numbers of sends. Message `n` of a list of devices is value `v` of one axis of one device, round and round.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    devices: Vec<String>,
    /// By device and axis: how often each value was sent.
    sends: BTreeMap<(String, &'static str), Vec<u32>>,
}

impl Ledger {
    pub(crate) fn new(devices: Vec<String>) -> Self {
        Self { devices, sends: BTreeMap::new() }
    }

    pub(crate) fn extend(&mut self, other: Self) {
        self.devices.extend(other.devices);
        self.sends.extend(other.sends);
    }

    pub(crate) fn devices(&self) -> &[String] {
        &self.devices
    }

    /// Messages, each counted once.
    pub(crate) fn messages(&self) -> usize {
        self.sends.values().map(Vec::len).sum()
    }

    /// Offset of each device's last frame, if each message took effect once: all but the very first yield a frame.
    pub(crate) fn heads(&self) -> BTreeMap<String, u64> {
        let mut heads = BTreeMap::new();
        for ((device, _), sends) in &self.sends {
            *heads.entry(device.clone()).or_default() += sends.len() as u64;
        }
        heads.values_mut().for_each(|head| *head -= 1);
        heads
    }

    /// Topic and payload of a message, which is sent now.
    pub(crate) fn record(&mut self, number: usize) -> (String, String) {
        let axis = AXES[number % 2];
        let index = number / 2 % self.devices.len();
        let value = number / 2 / self.devices.len();
        let device = &self.devices[index];
        let sends = self.sends.entry((device.clone(), axis)).or_default();
        if sends.len() == value {
            sends.push(0);
        }
        sends[value] += 1;
        let payload = if index.is_multiple_of(2) {
            value.to_string()
        } else {
            format!(r#"{{"message":"{value}","timestamp":{}}}"#, FIRST_TIME_MS + value)
        };
        (format!("devices/{device}/{axis}"), payload)
    }

    /// Waits until all has come out, and compares the whole history of each device.
    pub(crate) async fn assert_all_came_out(&self, world: &World, repeats: Repeats) {
        let lost = self.lost(world, repeats).await;
        assert!(lost.is_empty(), "lost {lost:?}");
    }

    /// Waits until the last of each device has come out, compares the whole history of each, and says which messages are not there.
    pub(crate) async fn lost(&self, world: &World, repeats: Repeats) -> Vec<String> {
        let mut lost = Vec::new();
        for device in &self.devices {
            let sends = AXES.map(|axis| self.sends.get(&(device.clone(), axis)).map_or(&[][..], Vec::as_slice));
            if sends.iter().any(|sends| sends.is_empty()) {
                continue;
            }
            let last = sends.map(|sends| (sends.len() - 1) as f64);
            // As long as it moves, it is on its way, however slow the machine.
            let mut reached = 0;
            while reached != u64::MAX {
                reached = until(&format!("{device} to move on to {last:?}"), async || {
                    let latest = latest(world, device).await?;
                    let is_there = [latest.x, latest.y] == last;
                    (is_there || latest.offset > reached).then_some(if is_there { u64::MAX } else { latest.offset })
                })
                .await;
            }
            let frames = history(world, device).await;
            assert_offsets(&frames);
            assert_pairs(&frames);
            let missing = missing_values(device, &frames, sends, repeats);
            let (first, missing): (Vec<_>, Vec<_>) = missing.into_iter().partition(|value| value.ends_with(" 0"));
            assert_eq!(first.len(), 1, "{device}: the very first message found no partner");
            lost.extend(missing.into_iter().map(|value| format!("{device} {value}")));
        }
        lost
    }
}

/// The latest value, by REST; `None` where there is none, or no answer.
pub(crate) async fn latest(world: &World, device: &str) -> Option<Frame> {
    let answer = world.daemon.get(&format!("/api/v1/devices/{device}/coordinates/latest")).await.ok()?;
    (answer.status == 200).then(|| Frame::parse(&answer.body))
}

/// All that history holds of a device, by REST, page by page.
pub(crate) async fn history(world: &World, device: &str) -> Vec<Frame> {
    let mut frames: Vec<Frame> = Vec::new();
    loop {
        let after = frames.last().map_or(0, |frame| frame.offset);
        let page = world.get(&format!("/api/v1/devices/{device}/coordinates?limit={PAGE}&after={after}")).await;
        assert_eq!(page.status, 200, "{page:?}");
        let mut page = page.json();
        let coordinates = page["coordinates"].take();
        frames.extend(serde_json::from_value::<Vec<Frame>>(coordinates).unwrap());
        if page["next"].is_null() {
            return frames;
        }
    }
}

fn assert_offsets(frames: &[Frame]) {
    let offsets = frames.iter().map(|frame| frame.offset);
    assert!(offsets.eq(1..=frames.len() as u64), "offsets of {} have gaps", frames[0].device);
    assert!(frames.iter().all(|frame| frame.epoch == frames[0].epoch), "{} began anew", frames[0].device);
}

/// Each frame shows the other axis as it was; late ones are no part of that.
fn assert_pairs(frames: &[Frame]) {
    let mut before: Option<&Frame> = None;
    for frame in frames.iter().filter(|frame| !frame.late) {
        if let Some(before) = before {
            let kept = if frame.source == "coordX" { before.y } else { before.x };
            assert_eq!(frame.kept(), kept, "{frame:?} after {before:?}");
        }
        before = Some(frame);
    }
}

/// The values that no frame shows, least first of each axis; each of the others shows in order, and not too often.
fn missing_values(device: &str, frames: &[Frame], sends: [&[u32]; 2], repeats: Repeats) -> Vec<String> {
    let mut missing = Vec::new();
    for (axis, sends) in AXES.iter().zip(sends) {
        let mut seen = vec![0_u32; sends.len()];
        let mut newest = None;
        for frame in frames.iter().filter(|frame| frame.source == *axis) {
            let value = frame.moved() as usize;
            seen[value] += 1;
            if seen[value] == 1 && !frame.late {
                assert!(newest < Some(value), "{device} {axis}: {value} after {newest:?}");
                newest = Some(value);
            }
        }
        for (value, (seen, sends)) in seen.iter().zip(sends).enumerate() {
            let most = if repeats == Repeats::Never { 1 } else { *sends };
            assert!(*seen <= most, "{device} {axis} {value} came {seen} times, was sent {sends} times");
            if *seen == 0 {
                missing.push(format!("{axis} {value}"));
            }
        }
    }
    missing
}
