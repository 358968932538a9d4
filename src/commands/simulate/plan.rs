//! What is sent when, pure.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use orinoco_domain::Axis;
use serde::Serialize;

/// One message and its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Planned {
    /// Since the beginning.
    pub(super) at: Duration,
    pub(super) device: Arc<str>,
    /// Counts devices from zero in the order of their first message.
    pub(super) device_index: usize,
    pub(super) axis: Axis,
    pub(super) payload: Vec<u8>,
}

impl Planned {
    pub(super) fn topic(&self) -> String {
        format!("devices/{}/{}", self.device, self.axis.name())
    }
}

/// How fast it goes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Pace {
    /// By the timestamps, `speed` times as fast.
    Recorded { speed: f64 },
    /// So many messages a second.
    Even { per_second: NonZeroU32 },
}

impl Pace {
    /// The time of the message with that number, which was recorded that long after the beginning.
    pub(super) fn at(self, number: u64, recorded: Duration) -> Duration {
        match self {
            // Too slow for a Duration is never.
            Self::Recorded { speed } => {
                Duration::try_from_secs_f64(recorded.as_secs_f64() / speed).unwrap_or(Duration::MAX)
            }
            Self::Even { per_second } => even(number, per_second),
        }
    }
}

/// `number / per_second` seconds, to the nanosecond.
pub(super) fn even(number: u64, per_second: NonZeroU32) -> Duration {
    let nanoseconds = u128::from(number) * 1_000_000_000 / u128::from(per_second.get());
    Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
}

#[derive(Serialize)]
struct Payload<'a> {
    message: &'a str,
    timestamp: &'a str,
}

/// `{"message":"...","timestamp":"..."}`, both as text.
pub(super) fn payload(message: &str, timestamp: &str) -> Vec<u8> {
    serde_json::json!(Payload { message, timestamp }).to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_even_pace_does_not_drift() {
        let pace = Pace::Even { per_second: NonZeroU32::new(3).unwrap() };
        assert_eq!(pace.at(0, Duration::MAX), Duration::ZERO);
        assert_eq!(pace.at(3_000_000, Duration::MAX), Duration::from_secs(1_000_000));
    }

    #[test]
    fn a_recorded_pace_is_divided_by_its_speed() {
        let pace = Pace::Recorded { speed: 4.0 };
        assert_eq!(pace.at(7, Duration::from_secs(10)), Duration::from_millis(2_500));
        assert_eq!(Pace::Recorded { speed: 1e-300 }.at(7, Duration::from_secs(10)), Duration::MAX);
    }

    #[test]
    fn the_payload_holds_both_texts_as_they_are() {
        assert_eq!(payload("1.50", "t"), br#"{"message":"1.50","timestamp":"t"}"#);
    }
}
