//! What of a channel a subscription wants: the `data` of its subscribe command. Pure.
//!
//! `{"devices":["a","b"],"boundingBox":{"minX":0,"minY":0,"maxX":9,"maxY":9},"maxRate":2}`, each part optional.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use orinoco_domain::DeviceId;
use serde::Deserialize;
use tokio::time::Instant;

use crate::stream_hub::{ChannelKind, HubBatch, Place};

/// Names in a filter.
const DEVICES_MAX: usize = 256;
/// Publications a second, of one device.
const RATE_MIN: f64 = 0.01;
const RATE_MAX: f64 = 100.0;
/// Looking for what is due costs a look at each device.
const TICK_MIN: Duration = Duration::from_millis(50);

/// What is wrong with a filter is not told: the protocol has one code for it, 107.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct InvalidFilter;

#[derive(Debug, Default)]
pub(super) struct Filter {
    devices: Option<HashSet<DeviceId>>,
    area: Option<Area>,
    /// At least so much is between two publications of a device.
    pub(super) interval: Option<Duration>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WireFilter {
    devices: Option<Vec<String>>,
    bounding_box: Option<Area>,
    max_rate: Option<f64>,
}

/// A box, with its borders.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Area {
    min_x: f64,
    min_y: f64,
    max_x: f64,
    max_y: f64,
}

impl Area {
    fn holds(&self, place: Place) -> bool {
        (self.min_x..=self.max_x).contains(&place.coord_x) && (self.min_y..=self.max_y).contains(&place.coord_y)
    }
}

impl Filter {
    /// # Errors
    /// It is none, or beyond a bound; or it lists devices for a channel of one.
    pub(super) fn parse(data: Option<serde_json::Value>, kind: ChannelKind) -> Result<Self, InvalidFilter> {
        let Some(data) = data else { return Ok(Self::default()) };
        let wire: WireFilter = serde_json::from_value(data).map_err(|_| InvalidFilter)?;
        let is_rate = |rate: &f64| (RATE_MIN..=RATE_MAX).contains(rate);
        if wire.devices.as_ref().is_some_and(|devices| kind == ChannelKind::Device || devices.len() > DEVICES_MAX)
            || wire.bounding_box.is_some_and(|area| area.min_x > area.max_x || area.min_y > area.max_y)
            || !wire.max_rate.iter().all(is_rate)
        {
            return Err(InvalidFilter);
        }
        let parse = |names: Vec<String>| names.iter().map(|name| DeviceId::parse(name)).collect();
        Ok(Self {
            devices: wire.devices.map(parse).transpose().map_err(|_| InvalidFilter)?,
            area: wire.bounding_box,
            interval: wire.max_rate.map(|rate| Duration::from_secs_f64(1.0 / rate)),
        })
    }

    pub(super) fn passes_all(&self) -> bool {
        self.devices.is_none() && self.area.is_none()
    }

    /// Whether a frame is wanted; `place` is asked for only where it matters.
    pub(super) fn passes(&self, device: &DeviceId, place: impl FnOnce() -> Option<Place>) -> bool {
        self.devices.as_ref().is_none_or(|devices| devices.contains(device))
            && self.area.is_none_or(|area| place().is_some_and(|place| area.holds(place)))
    }
}

/// Holds each device to a rate: what comes too early waits, and only the newest of it. Invariant: at most one entry a device; one whose
/// time has passed without anything waiting is forgotten.
pub(super) struct Pace {
    interval: Duration,
    turns: HashMap<DeviceId, Turn>,
    /// Devices with something that waits.
    waiting: usize,
}

struct Turn {
    next_at: Instant,
    /// A frame, by its index.
    waiting: Option<(Arc<HubBatch>, usize)>,
}

impl Pace {
    pub(super) fn new(interval: Duration) -> Self {
        Self { interval, turns: HashMap::new(), waiting: 0 }
    }

    /// Whether a frame goes out now; else it waits, in place of an older one. Late frames, older than the latest value, do not go out.
    pub(super) fn offer(&mut self, now: Instant, batch: &Arc<HubBatch>, index: usize) -> bool {
        let frame = &batch.frames[index];
        if !frame.is_latest {
            return false;
        }
        match self.turns.get_mut(&frame.device) {
            Some(turn) if now < turn.next_at => {
                let older = turn.waiting.replace((Arc::clone(batch), index));
                self.waiting += usize::from(older.is_none());
                false
            }
            Some(turn) => {
                // What waited is older.
                self.waiting -= usize::from(turn.waiting.is_some());
                *turn = Turn { next_at: now + self.interval, waiting: None };
                true
            }
            None => {
                self.turns.insert(frame.device.clone(), Turn { next_at: now + self.interval, waiting: None });
                true
            }
        }
    }

    /// What has waited long enough.
    pub(super) fn due(&mut self, now: Instant) -> Vec<(Arc<HubBatch>, usize)> {
        let mut due = Vec::new();
        let interval = self.interval;
        self.turns.retain(|_, turn| {
            if now < turn.next_at {
                return true;
            }
            let Some(waiting) = turn.waiting.take() else { return false };
            turn.next_at = now + interval;
            due.push(waiting);
            true
        });
        self.waiting -= due.len();
        due
    }

    pub(super) fn is_waiting(&self) -> bool {
        self.waiting > 0
    }

    /// While something waits, [`Pace::due`] is called so often.
    pub(super) fn tick(&self) -> Duration {
        (self.interval / 10).max(TICK_MIN)
    }

    /// Begins anew.
    pub(super) fn clear(&mut self) {
        self.turns.clear();
        self.waiting = 0;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use orinoco_domain::Frame;
    use serde_json::json;

    use super::*;
    use crate::HubFrame;

    fn device(name: &str) -> DeviceId {
        DeviceId::parse(name).unwrap()
    }

    fn batch(frames: &[(&str, u64)]) -> Arc<HubBatch> {
        let frame = |(name, offset): &(&str, u64)| {
            HubFrame::new(&Frame { device: device(name), offset: *offset, json: "{}".into() }, true)
        };
        Arc::new(HubBatch::new(0, 1, frames.iter().map(frame).collect()))
    }

    #[test]
    fn a_filter_takes_devices_and_places_within_its_box() {
        let data = json!({"devices": ["a", "b"], "boundingBox": {"minX": 0, "minY": 0, "maxX": 9.5, "maxY": 9}});
        let filter = Filter::parse(Some(data), ChannelKind::Devices).unwrap();
        let at = |x, y| move || Some(Place { coord_x: x, coord_y: y });
        assert!(filter.passes(&device("a"), at(9.5, 0.0)));
        assert!(!filter.passes(&device("c"), at(1.0, 1.0)));
        assert!(!filter.passes(&device("b"), at(9.6, 1.0)) && !filter.passes(&device("b"), || None));
        assert!(Filter::parse(None, ChannelKind::Device).unwrap().passes_all());
    }

    #[test]
    fn what_is_no_filter_or_beyond_a_bound_is_refused() {
        let names: Vec<String> = (0..=DEVICES_MAX).map(|number| number.to_string()).collect();
        let cases = [
            json!([]),
            json!({"device": "a"}),
            json!({"devices": ["a b"]}),
            json!({"devices": names}),
            json!({"boundingBox": {"minX": 1, "minY": 0, "maxX": 0, "maxY": 0}}),
            json!({"boundingBox": {"minX": 1}}),
            json!({"maxRate": 0}),
            json!({"maxRate": 1000}),
        ];
        for data in cases {
            assert!(Filter::parse(Some(data.clone()), ChannelKind::Devices).is_err(), "{data}");
        }
        assert!(Filter::parse(Some(json!({"devices": ["a"]})), ChannelKind::Device).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_device_is_held_to_its_rate_and_ends_with_the_newest() {
        let mut pace = Pace::new(Duration::from_secs(1));
        let began = Instant::now();
        let batch = batch(&[("a", 1), ("a", 2), ("a", 3), ("b", 1)]);
        let outs: Vec<bool> = (0..4).map(|index| pace.offer(began, &batch, index)).collect();
        assert_eq!(outs, [true, false, false, true]);
        assert!(pace.due(began).is_empty());
        assert!(pace.is_waiting() && pace.tick() == Duration::from_millis(100));
        let next_at = began + Duration::from_secs(1);
        let due: Vec<usize> = pace.due(next_at).into_iter().map(|(_, index)| index).collect();
        assert_eq!(due, [2]);
        assert!(!pace.is_waiting());
        assert!(!pace.offer(next_at, &batch, 1), "one a second");
        assert_eq!(pace.turns.len(), 1, "the other is forgotten");
    }
}
