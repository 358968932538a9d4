//! The decisions.

use std::sync::Arc;

use super::{AxisValue, DeviceState, Half, Pairing, PairingRule, Yielded};
use crate::{Axis, CoordinateData, CoordinateRecord, DeviceId};

/// Feeds one record to its device's state. `now_ms` is the writer's clock, ms since 1970.
pub fn advance(
    state: &mut DeviceState,
    record: CoordinateRecord,
    rule: &PairingRule,
    epoch: &Arc<str>,
    now_ms: i64,
) -> Vec<Yielded> {
    let late = is_late(state, &record);
    if let Some(ingest_epoch) = record.ingest_epoch() {
        state.ingest_epoch = state.ingest_epoch.max(ingest_epoch);
    }
    let CoordinateRecord { device, axis, message, value, timestamp, .. } = record;
    let until_ms = state.until_ms_mut(axis);
    *until_ms = timestamp.unix_ms().max(*until_ms);
    let half = Half { axis, axis_value: AxisValue { value, message, timestamp }, arrived_ms: now_ms };
    let mut out = Output { state, device: &device, epoch, yielded: Vec::new() };
    if late {
        out.late(half);
    } else {
        match rule.pairing {
            Pairing::Latest => out.latest(half),
            Pairing::Timestamp => out.by_timestamp(half, rule.pending_max),
        }
    }
    out.yielded
}

/// Yields the halves whose grace period is over at `now_ms`, in order of arrival.
pub fn expire(
    state: &mut DeviceState,
    device: &DeviceId,
    rule: &PairingRule,
    epoch: &Arc<str>,
    now_ms: i64,
) -> Vec<Yielded> {
    let due = |half: &Half| half.arrived_ms.saturating_add(rule.grace_ms) <= now_ms;
    let (expired, waiting) = std::mem::take(&mut state.pending).into_iter().partition(due);
    state.pending = waiting;
    let mut out = Output { state, device, epoch, yielded: Vec::new() };
    let expired: Vec<Half> = expired;
    for half in expired {
        out.unpaired(half);
    }
    out.yielded
}

/// When [`expire`] has something to do next, ms since 1970.
#[must_use]
pub fn next_expiry_ms(state: &DeviceState, rule: &PairingRule) -> Option<i64> {
    state.pending.iter().map(|half| half.arrived_ms.saturating_add(rule.grace_ms)).min()
}

/// Whether a record has to be compared with what is in effect: the broker may have delivered it twice, or an older ingest owner wrote
/// it, and the axis had messages of its time or later before.
#[must_use]
pub fn may_be_repeat(state: &DeviceState, record: &CoordinateRecord) -> bool {
    (record.redelivered || is_late(state, record)) && record.timestamp.unix_ms() <= state.until_ms(record.axis)
}

/// Whether a record that may be a repeat is equal in axis, timestamp and message to the axis's latest value or to a half that waits.
/// What else is in effect is in history; see [`Effect`](super::Effect).
#[must_use]
pub fn is_held(state: &DeviceState, record: &CoordinateRecord) -> bool {
    let same = |axis: Axis, held: &AxisValue| {
        axis == record.axis && held.timestamp.unix_ns() == record.timestamp.unix_ns() && held.message == record.message
    };
    state.axis(record.axis).is_some_and(|held| same(record.axis, held))
        || state.pending.iter().any(|half| same(half.axis, &half.axis_value))
}

/// Whether the record is from an older ingest owner than one already applied: exempt from order, and compared with history first.
#[must_use]
pub fn is_late(state: &DeviceState, record: &CoordinateRecord) -> bool {
    record.ingest_epoch().is_some_and(|ingest_epoch| ingest_epoch < state.ingest_epoch)
}

struct Output<'a> {
    state: &'a mut DeviceState,
    device: &'a DeviceId,
    epoch: &'a Arc<str>,
    yielded: Vec<Yielded>,
}

impl Output<'_> {
    fn latest(&mut self, half: Half) {
        let axis = half.axis;
        *self.state.axis_mut(axis) = Some(half.axis_value.clone());
        self.emit(axis, &half.axis_value, Flags { is_latest: true, ..Flags::default() });
    }

    fn by_timestamp(&mut self, half: Half, pending_max: usize) {
        let instant = half.axis_value.timestamp.unix_ns();
        let partner =
            self.state.pending.iter().position(|waiting| {
                waiting.axis == half.axis.other() && waiting.axis_value.timestamp.unix_ns() == instant
            });
        if let Some(index) = partner {
            let partner = self.state.pending.remove(index);
            self.pair(half, partner);
            return;
        }
        if self.state.pending.len() >= pending_max.max(1) {
            let oldest = self.state.pending.remove(0);
            self.unpaired(oldest);
        }
        self.state.pending.push(half);
    }

    fn pair(&mut self, half: Half, partner: Half) {
        let moved = self.move_axis(half.axis, &half.axis_value);
        let partner_moved = self.move_axis(partner.axis, &partner.axis_value);
        let flags = Flags { is_latest: moved && partner_moved, ..Flags::default() };
        self.emit_with(half.axis, &half.axis_value, partner.axis_value.value, flags);
    }

    fn unpaired(&mut self, half: Half) {
        let is_latest = self.move_axis(half.axis, &half.axis_value);
        self.emit(half.axis, &half.axis_value, Flags { is_latest, unpaired: true, late: false });
    }

    fn late(&mut self, half: Half) {
        let axis = half.axis;
        // An axis that has no value yet takes even a late one: there is nothing to go back behind.
        let held = self.state.axis_mut(axis);
        if held.is_none() {
            *held = Some(half.axis_value.clone());
        }
        let is_latest = self.state.head == 0;
        self.emit(axis, &half.axis_value, Flags { is_latest, unpaired: false, late: true });
    }

    /// Takes the value as the axis's latest unless that is newer; says whether it did.
    fn move_axis(&mut self, axis: Axis, axis_value: &AxisValue) -> bool {
        let held = self.state.axis_mut(axis);
        let newer = held.as_ref().is_none_or(|held| held.timestamp.unix_ns() <= axis_value.timestamp.unix_ns());
        if newer {
            *held = Some(axis_value.clone());
        }
        newer
    }

    /// Yields with the other axis's latest value; nothing while that is unknown.
    fn emit(&mut self, axis: Axis, moved: &AxisValue, flags: Flags) {
        if let Some(other) = self.state.axis(axis.other()).map(|other| other.value) {
            self.emit_with(axis, moved, other, flags);
        }
    }

    fn emit_with(&mut self, source: Axis, moved: &AxisValue, other: f64, flags: Flags) {
        let (coord_x, coord_y) = match source {
            Axis::X => (moved.value, other),
            Axis::Y => (other, moved.value),
        };
        let first = self.state.head == 0;
        self.state.head += 1;
        let data = CoordinateData {
            coord_x,
            coord_y,
            timestamp: moved.timestamp.clone(),
            source,
            device: self.device.clone(),
            offset: self.state.head,
            epoch: Arc::clone(self.epoch),
            unpaired: flags.unpaired,
            late: flags.late,
        };
        self.yielded.push(Yielded { data, is_latest: flags.is_latest || first });
    }
}

#[derive(Default, Clone, Copy)]
struct Flags {
    is_latest: bool,
    unpaired: bool,
    late: bool,
}
