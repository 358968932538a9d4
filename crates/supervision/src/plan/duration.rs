//! Durations as the file writes them: `50ms`, `1.5s`, `2m`, `1h`, `7d`.

use std::time::Duration;

use serde::{Serialize, Serializer};

/// The longest duration a plan takes: a year. Timers beyond two years do not work in tokio's wheel.
const DURATION_MAX: Duration = Duration::from_secs(366 * 24 * 3600);

/// Nanoseconds of each unit, longest suffix first where one ends in another.
const UNITS: [(&str, u128); 6] = [
    ("ms", 1_000_000),
    ("us", 1_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
    ("d", 86_400_000_000_000),
];

/// More digits than a duration of a year in nanoseconds has.
const DIGITS_MAX: usize = 17;

/// A wait that may have no end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timeout {
    /// At most this long.
    After(Duration),
    /// `"infinity"`.
    Infinity,
}

impl Timeout {
    /// The duration, if there is one.
    pub fn duration(self) -> Option<Duration> {
        match self {
            Self::After(duration) => Some(duration),
            Self::Infinity => None,
        }
    }
}

impl std::fmt::Display for Timeout {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::After(duration) => f.write_str(&format_duration(*duration)),
            Self::Infinity => f.write_str("infinity"),
        }
    }
}

impl Serialize for Timeout {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Reads a duration: a decimal number and a unit (`us`, `ms`, `s`, `m`, `h`, `d`), up to 366 days.
///
/// # Errors
/// What is wrong with it, as a sentence for the person who wrote it.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is no duration; write for instance \"50ms\", \"1.5s\", \"2m\", \"1h\" or \"7d\"");
    let (number, unit_ns) = UNITS
        .iter()
        .find_map(|(unit, unit_ns)| text.strip_suffix(unit).map(|number| (number, *unit_ns)))
        .ok_or_else(wrong)?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let plain = |digits: &str| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if !plain(whole) || !plain(fraction) {
        return Err(wrong());
    }
    let too_long = || format!("`{text}` is too long; the longest duration is \"366d\"");
    if whole.len() > DIGITS_MAX || fraction.len() > DIGITS_MAX {
        return Err(too_long());
    }
    // Both parts have at most 17 digits: neither the parsing nor the products overflow.
    let parse = |digits: &str| digits.parse::<u128>().unwrap_or(0);
    let ns = parse(whole) * unit_ns + parse(fraction) * unit_ns / 10u128.pow(fraction.len() as u32);
    match u64::try_from(ns).map(Duration::from_nanos) {
        Ok(duration) if duration <= DURATION_MAX => Ok(duration),
        _ => Err(too_long()),
    }
}

/// The shortest way to write a duration exactly, for whole microseconds.
pub(crate) fn format_duration(duration: Duration) -> String {
    let us = duration.as_micros();
    let shortest = [("d", 86_400_000_000), ("h", 3_600_000_000), ("m", 60_000_000), ("s", 1_000_000), ("ms", 1_000)];
    let exact = shortest.into_iter().find(|(_, unit_us)| us.is_multiple_of(*unit_us));
    let (value, unit) = match exact {
        _ if us == 0 => (0, "s"),
        Some((unit, unit_us)) => (us / unit_us, unit),
        None => (us, "us"),
    };
    format!("{value}{unit}")
}

pub(crate) fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format_duration(*duration))
}

pub(crate) fn serialize_option<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    match duration {
        Some(duration) => serialize(duration, serializer),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_unit_is_read() {
        for (text, us) in [
            ("7us", 7),
            ("50ms", 50_000),
            ("1.5s", 1_500_000),
            ("2m", 120_000_000),
            ("1h", 3_600_000_000),
            ("7d", 604_800_000_000),
        ] {
            assert_eq!(parse_duration(text).unwrap(), Duration::from_micros(us), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in ["", "s", "5", "-1s", "+1s", "1e3s", "5 s", "5s ", "1.2.3s", "infs", "nans", "400d", "five"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_written_duration_reads_back_the_same(ms in 0u64..31_536_000_000) {
            let duration = Duration::from_millis(ms);
            prop_assert_eq!(parse_duration(&format_duration(duration)), Ok(duration));
        }
    }
}
