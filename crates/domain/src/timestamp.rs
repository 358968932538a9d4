//! Times as devices write them.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use time::{OffsetDateTime, format_description::well_known::Rfc3339, macros::format_description};

/// An instant with the text it was given in: RFC 3339, kept to the letter, so that a frame shows what the device said. Two timestamps
/// are the same instant when `unix_ns` is equal, whatever their offsets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timestamp {
    text: String,
    unix_ns: i128,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a timestamp is RFC 3339 (2026-01-02T03:04:05.678Z) or epoch milliseconds")]
pub struct InvalidTimestamp;

impl Timestamp {
    /// Longest text accepted; RFC 3339 with nanoseconds and an offset has 35 characters.
    pub const LENGTH_MAX: usize = 64;

    /// RFC 3339, or a decimal number of milliseconds since 1970 (which is rewritten as RFC 3339, UTC).
    ///
    /// # Errors
    /// [`InvalidTimestamp`] for anything else.
    pub fn parse(text: &str) -> Result<Self, InvalidTimestamp> {
        if text.len() > Self::LENGTH_MAX {
            return Err(InvalidTimestamp);
        }
        if let Ok(epoch_ms) = text.parse::<i64>() {
            return Self::from_epoch_ms(epoch_ms);
        }
        let instant = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| InvalidTimestamp)?;
        Ok(Self { text: text.to_owned(), unix_ns: instant.unix_timestamp_nanos() })
    }

    /// # Errors
    /// [`InvalidTimestamp`] outside of the years 0 to 9999.
    pub fn from_epoch_ms(epoch_ms: i64) -> Result<Self, InvalidTimestamp> {
        let unix_ns = i128::from(epoch_ms) * 1_000_000;
        let instant = OffsetDateTime::from_unix_timestamp_nanos(unix_ns).map_err(|_| InvalidTimestamp)?;
        if !(0..=9999).contains(&instant.year()) {
            return Err(InvalidTimestamp);
        }
        let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
        let text = instant.format(&format).map_err(|_| InvalidTimestamp)?;
        Ok(Self { text, unix_ns })
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Nanoseconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub fn unix_ns(&self) -> i128 {
        self.unix_ns
    }

    /// Milliseconds since 1970-01-01T00:00:00Z, rounded down.
    #[must_use]
    pub fn unix_ms(&self) -> i64 {
        // RFC 3339 has years of four digits.
        self.unix_ns.div_euclid(1_000_000) as i64
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn rfc_3339_is_kept_to_the_letter() {
        let timestamp = Timestamp::parse("2026-01-02T03:04:05.678+09:00").unwrap();
        assert_eq!(timestamp.as_str(), "2026-01-02T03:04:05.678+09:00");
        assert_eq!(timestamp.unix_ns(), Timestamp::parse("2026-01-01T18:04:05.678Z").unwrap().unix_ns());
    }

    #[test]
    fn epoch_milliseconds_become_rfc_3339() {
        assert_eq!(Timestamp::parse("1767323045678").unwrap().as_str(), "2026-01-02T03:04:05.678Z");
        assert_eq!(Timestamp::from_epoch_ms(-1).unwrap().as_str(), "1969-12-31T23:59:59.999Z");
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["", "now", "2026-01-02", "12.5", "9223372036854775807", "2026-13-02T03:04:05Z"] {
            assert!(Timestamp::parse(text).is_err(), "{text:?}");
        }
    }
}
