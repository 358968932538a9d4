#![allow(clippy::unwrap_used)]
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::{CoordinateRecord, DeviceId, Timestamp};

const GRACE_MS: i64 = 1_000;

fn rule(pairing: Pairing) -> PairingRule {
    PairingRule { pairing, grace_ms: GRACE_MS, pending_max: 8 }
}

fn record(axis: Axis, value: f64, epoch_ms: i64) -> CoordinateRecord {
    CoordinateRecord {
        device: DeviceId::parse("d").unwrap(),
        axis,
        message: value.to_string(),
        value,
        timestamp: Timestamp::from_epoch_ms(epoch_ms).unwrap(),
        id: None,
        redelivered: false,
    }
}

fn epoch() -> Arc<str> {
    "e".into()
}

fn feed(state: &mut DeviceState, rule: &PairingRule, record: CoordinateRecord, now_ms: i64) -> Vec<Yielded> {
    advance(state, record, rule, &epoch(), now_ms)
}

fn summary(yielded: &[Yielded]) -> Vec<(f64, f64, Axis, u64, bool)> {
    yielded.iter().map(|y| (y.data.coord_x, y.data.coord_y, y.data.source, y.data.offset, y.data.unpaired)).collect()
}

#[test]
fn latest_yields_nothing_until_both_axes_are_known_then_one_a_message() {
    let (mut state, rule) = (DeviceState::default(), rule(Pairing::Latest));
    assert_eq!(feed(&mut state, &rule, record(Axis::X, 1.0, 10), 0), []);
    assert_eq!(feed(&mut state, &rule, record(Axis::X, 2.0, 11), 0), []);
    let yielded = feed(&mut state, &rule, record(Axis::Y, 3.0, 12), 0);
    assert_eq!(summary(&yielded), [(2.0, 3.0, Axis::Y, 1, false)]);
    let yielded = feed(&mut state, &rule, record(Axis::X, 4.0, 5), 0);
    assert_eq!(summary(&yielded), [(4.0, 3.0, Axis::X, 2, false)]);
    assert!(yielded[0].is_latest, "in `latest`, order of arrival counts, not the device's clock");
}

#[test]
fn timestamp_joins_halves_in_any_order_of_arrival() {
    let (mut state, rule) = (DeviceState::default(), rule(Pairing::Timestamp));
    assert_eq!(feed(&mut state, &rule, record(Axis::Y, 1.0, 10), 0), []);
    assert_eq!(feed(&mut state, &rule, record(Axis::X, 2.0, 11), 0), []);
    let yielded = feed(&mut state, &rule, record(Axis::X, 3.0, 10), 0);
    assert_eq!(summary(&yielded), [(3.0, 1.0, Axis::X, 1, false)]);
    let yielded = feed(&mut state, &rule, record(Axis::Y, 4.0, 11), 0);
    assert_eq!(summary(&yielded), [(2.0, 4.0, Axis::Y, 2, false)]);
    assert_eq!(state.pending, []);
}

#[test]
fn a_half_alone_is_yielded_unpaired_by_the_clock_alone() {
    let (mut state, rule) = (DeviceState::default(), rule(Pairing::Timestamp));
    feed(&mut state, &rule, record(Axis::X, 1.0, 10), 0);
    feed(&mut state, &rule, record(Axis::Y, 2.0, 10), 0);
    feed(&mut state, &rule, record(Axis::X, 5.0, 20), 100);
    let device = DeviceId::parse("d").unwrap();
    assert_eq!(next_expiry_ms(&state, &rule), Some(1_100));
    assert_eq!(expire(&mut state, &device, &rule, &epoch(), 1_099), []);
    let yielded = expire(&mut state, &device, &rule, &epoch(), 1_100);
    assert_eq!(summary(&yielded), [(5.0, 2.0, Axis::X, 2, true)]);
    assert_eq!(next_expiry_ms(&state, &rule), None);
}

#[test]
fn a_late_half_is_yielded_but_never_regresses_the_latest_value() {
    let (mut state, rule) = (DeviceState::default(), rule(Pairing::Timestamp));
    feed(&mut state, &rule, record(Axis::X, 1.0, 100), 0);
    feed(&mut state, &rule, record(Axis::Y, 2.0, 100), 0);
    feed(&mut state, &rule, record(Axis::X, 9.0, 50), 0);
    let yielded = feed(&mut state, &rule, record(Axis::Y, 8.0, 50), 0);
    assert_eq!(summary(&yielded), [(9.0, 8.0, Axis::Y, 2, false)]);
    assert!(!yielded[0].is_latest);
    assert_eq!(state.x.as_ref().map(|x| x.value), Some(1.0));
}

#[test]
fn at_the_bound_the_oldest_half_is_yielded_at_once() {
    let (mut state, rule) = (DeviceState::default(), PairingRule { pending_max: 2, ..rule(Pairing::Timestamp) });
    feed(&mut state, &rule, record(Axis::X, 1.0, 1), 0);
    feed(&mut state, &rule, record(Axis::Y, 1.0, 1), 0);
    for instant in 2..4 {
        assert_eq!(feed(&mut state, &rule, record(Axis::X, 2.0, instant), 0), []);
    }
    let yielded = feed(&mut state, &rule, record(Axis::X, 3.0, 9), 0);
    assert_eq!(summary(&yielded), [(2.0, 1.0, Axis::X, 2, true)]);
    assert_eq!(state.pending.len(), 2);
}

#[test]
fn what_an_older_ingest_owner_wrote_is_marked_late() {
    let (mut state, rule) = (DeviceState::default(), rule(Pairing::Latest));
    let owned = |axis, value, ingest_epoch: u64, sequence: u64| {
        let id = format!("mqtt/{ingest_epoch}/j{ingest_epoch}/{sequence}").parse().unwrap();
        CoordinateRecord { id: Some(id), ..record(axis, value, 10) }
    };
    feed(&mut state, &rule, owned(Axis::X, 1.0, 2, 1), 0);
    feed(&mut state, &rule, owned(Axis::Y, 2.0, 2, 2), 0);
    let yielded = feed(&mut state, &rule, owned(Axis::X, 7.0, 1, 1), 0);
    assert!(yielded[0].data.late && !yielded[0].is_latest);
    assert_eq!(yielded[0].data.offset, 2);
    assert_eq!(state.x.as_ref().map(|x| x.value), Some(1.0));
}

/// Whether a writer that read all of history would skip it.
fn is_repeat(state: &DeviceState, record: &CoordinateRecord, pairing: Pairing, history: &[CoordinateData]) -> bool {
    let effect = Effect::of(record);
    is_held(state, record) || history.iter().any(|data| Effect::shown_by(data, pairing).any(|shown| shown == effect))
}

#[test]
fn a_repeat_is_told_by_axis_timestamp_and_number() {
    let (mut state, rule) = (DeviceState::default(), rule(Pairing::Latest));
    feed(&mut state, &rule, record(Axis::X, 1.0, 10), 0);
    let history = feed(&mut state, &rule, record(Axis::Y, 2.0, 11), 0);
    feed(&mut state, &rule, record(Axis::Y, 3.0, 12), 0);
    let history: Vec<_> = history.into_iter().map(|yielded| yielded.data).collect();
    assert!(is_repeat(&state, &record(Axis::X, 1.0, 10), Pairing::Latest, &history));
    assert!(is_repeat(&state, &record(Axis::Y, 2.0, 11), Pairing::Latest, &history));
    assert!(!is_repeat(&state, &record(Axis::Y, 2.0, 13), Pairing::Latest, &history));
    assert!(!is_repeat(&state, &record(Axis::X, 5.0, 10), Pairing::Latest, &history));
}

#[test]
fn only_what_is_redelivered_and_not_later_than_all_before_may_be_a_repeat() {
    let (mut state, rule) = (DeviceState::default(), rule(Pairing::Latest));
    let redelivered = |axis, instant| CoordinateRecord { redelivered: true, ..record(axis, 1.0, instant) };
    feed(&mut state, &rule, record(Axis::X, 1.0, 10), 0);
    feed(&mut state, &rule, record(Axis::X, 1.0, 5), 0);
    feed(&mut state, &rule, record(Axis::Y, 1.0, 7), 0);
    assert!(may_be_repeat(&state, &redelivered(Axis::X, 10)));
    assert!(!may_be_repeat(&state, &redelivered(Axis::X, 11)));
    assert!(!may_be_repeat(&state, &redelivered(Axis::Y, 8)), "each axis has its own");
    assert!(!may_be_repeat(&state, &record(Axis::X, 1.0, 10)), "the broker delivered it once");
}

#[test]
fn a_state_that_was_stored_without_its_latest_time_could_have_had_any() {
    let stored = r#"{"x":{"value":1.0,"message":"1","timestamp":"2026-01-02T03:04:05Z"},"head":1}"#;
    let state: DeviceState = serde_json::from_str(stored).unwrap();
    let record = CoordinateRecord { redelivered: true, ..record(Axis::X, 1.0, 4_000_000_000_000) };
    assert!(may_be_repeat(&state, &record));
}

fn halves() -> impl Strategy<Value = Vec<(bool, i64, i64)>> {
    proptest::collection::vec((any::<bool>(), 0..12_i64, 0..400_i64), 0..60)
}

proptest! {
    #[test]
    fn offsets_have_no_gap_and_no_half_is_ever_dropped(halves in halves(), by_timestamp: bool) {
        let rule = rule(if by_timestamp { Pairing::Timestamp } else { Pairing::Latest });
        let (mut state, device) = (DeviceState::default(), DeviceId::parse("d").unwrap());
        // Both axes known first, so that each half must show up.
        let mut yielded = feed(&mut state, &rule, record(Axis::X, -1.0, 0), 0);
        yielded.extend(feed(&mut state, &rule, record(Axis::Y, -1.0, 0), 0));
        let known = yielded.len();
        let mut now_ms = 0;
        for (index, (is_x, instant, pause_ms)) in halves.iter().enumerate() {
            now_ms += pause_ms;
            yielded.extend(expire(&mut state, &device, &rule, &epoch(), now_ms));
            let axis = if *is_x { Axis::X } else { Axis::Y };
            yielded.extend(feed(&mut state, &rule, record(axis, index as f64, *instant), now_ms));
            prop_assert!(state.pending.len() <= rule.pending_max);
        }
        yielded.extend(expire(&mut state, &device, &rule, &epoch(), now_ms + GRACE_MS));
        let offsets: Vec<u64> = yielded.iter().map(|y| y.data.offset).collect();
        prop_assert_eq!(offsets, (1..=yielded.len() as u64).collect::<Vec<_>>());
        prop_assert!(state.pending.is_empty());
        let pairs = yielded[known..].iter().filter(|y| by_timestamp && !y.data.unpaired).count();
        prop_assert_eq!(yielded.len() - known + pairs, halves.len());
    }

    #[test]
    fn a_state_that_went_through_the_store_decides_alike(halves in halves()) {
        let rule = rule(Pairing::Timestamp);
        let (mut kept, mut stored) = (DeviceState::default(), DeviceState::default());
        for (index, (is_x, instant, now_ms)) in halves.iter().enumerate() {
            let half = record(if *is_x { Axis::X } else { Axis::Y }, index as f64, *instant);
            let expected = feed(&mut kept, &rule, half.clone(), *now_ms);
            stored = serde_json::from_str(&serde_json::to_string(&stored).unwrap()).unwrap();
            prop_assert_eq!(feed(&mut stored, &rule, half, *now_ms), expected);
        }
        prop_assert_eq!(stored, kept);
    }

    #[test]
    fn no_repeat_is_taken_for_a_new_message(halves in halves(), by_timestamp: bool) {
        let rule = rule(if by_timestamp { Pairing::Timestamp } else { Pairing::Latest });
        let (mut state, mut history) = (DeviceState::default(), Vec::new());
        for (index, (is_x, instant, _)) in halves.iter().enumerate() {
            let half = record(if *is_x { Axis::X } else { Axis::Y }, index as f64, *instant - 5);
            history.extend(feed(&mut state, &rule, half.clone(), 0).into_iter().map(|yielded| yielded.data));
            let again = CoordinateRecord { redelivered: true, ..half };
            prop_assert!(may_be_repeat(&state, &again) && is_repeat(&state, &again, rule.pairing, &history));
        }
    }
}
