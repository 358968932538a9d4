//! Kafka records: what they look like on the wire, and what they mean.

use serde::{Deserialize, Serialize};

use crate::{Axis, DeviceId, InvalidTimestamp, PayloadError, Reading, RecordId, Timestamp, reading::parse_decimal};

/// Header with the [`RecordId`], text.
pub const HEADER_ID: &str = "orinoco-id";
/// Header present (value `1`) when the broker may have delivered the message before: it is compared with history.
pub const HEADER_REDELIVERED: &str = "orinoco-redelivered";
/// W3C Trace Context, from the MQTT user property of the same name.
pub const HEADER_TRACEPARENT: &str = "traceparent";

/// A record as a log keeps it, of the topics `coordX`, `coordY` or the dead letters.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RawRecord {
    pub key: Option<Vec<u8>>,
    pub value: Vec<u8>,
    /// Names are unique among the headers that we read; the last one wins.
    pub headers: Vec<(String, Vec<u8>)>,
    /// Milliseconds since 1970; set by the producer.
    pub timestamp_ms: i64,
}

/// The value of a record of `coordX` or `coordY`: `{"message": string, "timestamp": string}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordValue {
    pub message: String,
    pub timestamp: String,
}

/// One axis value of one device, ready to be paired.
#[derive(Debug, Clone, PartialEq)]
pub struct CoordinateRecord {
    pub device: DeviceId,
    pub axis: Axis,
    pub message: String,
    pub value: f64,
    pub timestamp: Timestamp,
    /// `None` for a record of another producer: its place in the log is its identity.
    pub id: Option<RecordId>,
    pub redelivered: bool,
}

/// Why a record is a dead letter. The texts are the `reason` in `coord.dlq`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    #[error("record key is not a device name (1 to 64 characters of [A-Za-z0-9._-])")]
    Key,
    #[error("record value: {0}")]
    Payload(#[from] PayloadError),
    #[error("record time is out of range")]
    Time(#[from] InvalidTimestamp),
}

impl RawRecord {
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers.iter().rev().find(|(header, _)| header == name).map(|(_, value)| value.as_slice())
    }

    /// The identity that an ingest owner or a re-keying consumer wrote, if it is a valid one.
    #[must_use]
    pub fn id(&self) -> Option<RecordId> {
        self.header(HEADER_ID).and_then(|value| std::str::from_utf8(value).ok()).and_then(|text| text.parse().ok())
    }

    /// The device that the key names; no key means the device `default`.
    ///
    /// # Errors
    /// [`RecordError::Key`] where the key is no device name.
    pub fn device(&self) -> Result<DeviceId, RecordError> {
        match &self.key {
            None => Ok(DeviceId::default_device()),
            Some(key) if key.is_empty() => Ok(DeviceId::default_device()),
            Some(key) => {
                let name = std::str::from_utf8(key).map_err(|_| RecordError::Key)?;
                DeviceId::parse(name).map_err(|_| RecordError::Key)
            }
        }
    }

    /// What the record of topic `axis` says. Records of other producers may hold what an MQTT payload may; without a time in
    /// the value, the record's own stands in.
    ///
    /// # Errors
    /// [`RecordError`]: the record is a dead letter.
    pub fn decode(&self, axis: Axis) -> Result<CoordinateRecord, RecordError> {
        let device = self.device()?;
        let (message, value, timestamp) = self.decode_value()?;
        Ok(CoordinateRecord {
            device,
            axis,
            message,
            value,
            timestamp,
            id: self.id(),
            redelivered: self.header(HEADER_REDELIVERED).is_some(),
        })
    }

    fn decode_value(&self) -> Result<(String, f64, Timestamp), RecordError> {
        // Our own form first: one typed pass, no tree of values.
        if let Ok(own) = serde_json::from_slice::<RecordValue>(&self.value)
            && let Ok(timestamp) = Timestamp::parse(&own.timestamp)
            && let Ok(value) = parse_decimal(&own.message)
        {
            return Ok((own.message, value, timestamp));
        }
        let reading = Reading::parse(&self.value)?;
        let timestamp = match reading.timestamp {
            Some(timestamp) => timestamp,
            None => Timestamp::from_epoch_ms(self.timestamp_ms)?,
        };
        Ok((reading.message, reading.value, timestamp))
    }
}

impl CoordinateRecord {
    /// Under which ingest ownership it was written; `None` for a record that no ingest owner wrote.
    #[must_use]
    pub fn ingest_epoch(&self) -> Option<u64> {
        self.id.as_ref().and_then(RecordId::ingest_epoch)
    }

    /// The record as the log keeps it: key = device, value as in the entity table, headers `orinoco-id` and, when given, `traceparent`.
    #[must_use]
    pub fn encode(&self, timestamp_ms: i64, traceparent: Option<&str>) -> RawRecord {
        let value = RecordValue { message: self.message.clone(), timestamp: self.timestamp.as_str().to_owned() };
        let mut headers = Vec::with_capacity(3);
        if let Some(id) = &self.id {
            headers.push((HEADER_ID.to_owned(), id.to_string().into_bytes()));
        }
        if self.redelivered {
            headers.push((HEADER_REDELIVERED.to_owned(), b"1".to_vec()));
        }
        if let Some(traceparent) = traceparent {
            headers.push((HEADER_TRACEPARENT.to_owned(), traceparent.as_bytes().to_vec()));
        }
        RawRecord {
            key: Some(self.device.as_str().as_bytes().to_vec()),
            // Two strings always serialise.
            value: serde_json::to_vec(&value).unwrap_or_default(),
            headers,
            timestamp_ms,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn record(value: &[u8]) -> RawRecord {
        RawRecord { value: value.to_vec(), timestamp_ms: 1_767_323_045_678, ..RawRecord::default() }
    }

    #[test]
    fn an_encoded_record_decodes_to_itself() {
        let original = CoordinateRecord {
            device: DeviceId::parse("samu31").unwrap(),
            axis: Axis::X,
            message: "12.50".to_owned(),
            value: 12.5,
            timestamp: Timestamp::parse("2026-01-02T03:04:05.678Z").unwrap(),
            id: Some("mqtt/3/9f2c/1234".parse().unwrap()),
            redelivered: true,
        };
        let raw = original.encode(7, Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"));
        assert_eq!(raw.value, br#"{"message":"12.50","timestamp":"2026-01-02T03:04:05.678Z"}"#);
        assert_eq!(raw.decode(Axis::X), Ok(original));
    }

    #[test]
    fn records_of_other_producers_are_accepted() {
        let bare = record(b"3.25").decode(Axis::Y).unwrap();
        assert_eq!((bare.device.as_str(), bare.value), ("default", 3.25));
        assert_eq!(bare.timestamp.as_str(), "2026-01-02T03:04:05.678Z");
        assert_eq!(bare.id, None);
        let numeric = record(br#"{"message":3.25,"timestamp":1767323045000}"#).decode(Axis::Y).unwrap();
        assert_eq!(numeric.timestamp.as_str(), "2026-01-02T03:04:05.000Z");
    }

    #[test]
    fn rubbish_is_a_dead_letter() {
        assert!(matches!(record(b"x").decode(Axis::X), Err(RecordError::Payload(_))));
        assert!(matches!(
            record(br#"{"message":"NaN","timestamp":"1"}"#).decode(Axis::X),
            Err(RecordError::Payload(_))
        ));
        let mut keyed = record(b"1");
        keyed.key = Some(b"a b".to_vec());
        assert_eq!(keyed.decode(Axis::X), Err(RecordError::Key));
    }
}
