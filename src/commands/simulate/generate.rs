//! Made-up tracks: each device flies its own Lissajous figure, which is smooth and never leaves its field.

use std::f64::consts::TAU;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use orinoco_domain::Axis;
use time::OffsetDateTime;
use time::macros::format_description;

use super::plan::{Planned, even, payload};

/// One round of the slower axis takes between these.
const PERIOD_S_MIN: f64 = 60.0;
const PERIOD_S_MAX: f64 = 600.0;
/// Half the width of a figure, in degrees as the recordings have them.
const RADIUS_MIN: f64 = 0.01;
const RADIUS_MAX: f64 = 0.1;

/// A device's figure: position = centre + radius * sin(2π * time / period + phase), for each axis.
#[derive(Debug, Clone, PartialEq)]
struct Track {
    device: Arc<str>,
    centre: [f64; 2],
    radius: [f64; 2],
    period_s: [f64; 2],
    phase: [f64; 2],
}

impl Track {
    fn new(index: u32, seed: u64) -> Self {
        let mut random = SplitMix(seed ^ (u64::from(index) + 1).wrapping_mul(SplitMix::STEP));
        let mut pair = |low, high| [random.between(low, high), random.between(low, high)];
        Self {
            device: format!("sim-{:04}", u64::from(index) + 1).into(),
            centre: [pair(5.0, 12.0)[0], pair(43.0, 49.0)[1]],
            radius: pair(RADIUS_MIN, RADIUS_MAX),
            period_s: pair(PERIOD_S_MIN, PERIOD_S_MAX),
            phase: pair(0.0, TAU),
        }
    }

    fn position(&self, axis: Axis, at: Duration) -> f64 {
        let index = usize::from(axis == Axis::Y);
        let angle = TAU * at.as_secs_f64() / self.period_s[index] + self.phase[index];
        self.centre[index] + self.radius[index] * angle.sin()
    }
}

/// Endless: the devices take turns, each coordX and then coordY. A row's timestamp is when it is due.
pub(super) fn plan(
    devices: u32,
    per_second: NonZeroU32,
    seed: u64,
    began: OffsetDateTime,
) -> impl Iterator<Item = Planned> + Send {
    let tracks: Vec<Track> = (0..devices).map(|index| Track::new(index, seed)).collect();
    (0_u64..).map(move |number| {
        let (row, axis) = (number / 2, if number.is_multiple_of(2) { Axis::X } else { Axis::Y });
        let index = usize::try_from(row % u64::from(devices)).unwrap_or_default();
        let track = &tracks[index];
        // Both halves of a row belong to one place and one moment.
        let moment = even(row * 2, per_second);
        let value = format!("{:.7}", track.position(axis, moment));
        Planned {
            at: even(number, per_second),
            device: Arc::clone(&track.device),
            device_index: index,
            axis,
            payload: payload(&value, &timestamp(began + moment)),
        }
    })
}

fn timestamp(instant: OffsetDateTime) -> String {
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    // The format has no part that a date in UTC lacks.
    instant.format(&format).unwrap_or_default()
}

/// SplitMix64 (Steele, Lea, Flood 2014): enough for figures, and the same on every machine.
struct SplitMix(u64);

impl SplitMix {
    const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(Self::STEP);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn between(&mut self, low: f64, high: f64) -> f64 {
        let unit = (self.next() >> 11) as f64 / (1_u64 << 53) as f64;
        low + unit * (high - low)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use time::macros::datetime;

    use super::*;

    fn first(count: usize, devices: u32, seed: u64) -> Vec<Planned> {
        let began = datetime!(2026-01-02 03:04:05.678 UTC);
        plan(devices, NonZeroU32::new(4).unwrap(), seed, began).take(count).collect()
    }

    #[test]
    fn devices_take_turns_with_both_halves_of_a_row() {
        let planned = first(6, 2, 1);
        let topics: Vec<String> = planned.iter().map(Planned::topic).collect();
        let of = |device: &str| [format!("devices/{device}/coordX"), format!("devices/{device}/coordY")];
        assert_eq!(topics, [of("sim-0001"), of("sim-0002"), of("sim-0001")].concat());
        assert_eq!(planned[5].at, Duration::from_millis(1_250));
        let text = String::from_utf8(planned[3].payload.clone()).unwrap();
        assert!(text.ends_with(r#""timestamp":"2026-01-02T03:04:06.178Z"}"#), "of its row: {text}");
    }

    #[test]
    fn the_same_seed_gives_the_same_tracks_and_another_gives_others() {
        assert_eq!(first(100, 7, 1), first(100, 7, 1));
        assert_ne!(first(100, 7, 1), first(100, 7, 2));
        let track = |index| Track::new(index, 1).centre;
        assert_ne!(track(0), track(1));
    }

    #[test]
    fn tracks_are_smooth_and_stay_in_their_field() {
        let track = Track::new(3, 9);
        let mut last = track.position(Axis::X, Duration::ZERO);
        for second in 1..2_000 {
            let position = track.position(Axis::X, Duration::from_secs(second));
            assert!((position - track.centre[0]).abs() <= RADIUS_MAX);
            assert!((position - last).abs() <= RADIUS_MAX * TAU / PERIOD_S_MIN);
            last = position;
        }
    }
}
