//! What could not be understood, kept with its raw bytes and the reason.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};

use crate::{HEADER_ID, RawRecord, RecordId};

/// The value of a record of `coord.dlq`: `{"topic","payloadBase64","reason","time"}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeadLetter {
    /// The MQTT topic, or `kafka:TOPIC/PARTITION/OFFSET` for a record that another producer wrote.
    pub topic: String,
    pub payload_base64: String,
    /// One sentence.
    pub reason: String,
    /// RFC 3339, when it arrived.
    pub time: String,
}

impl DeadLetter {
    #[must_use]
    pub fn new(topic: impl Into<String>, payload: &[u8], reason: impl ToString, time: impl Into<String>) -> Self {
        Self {
            topic: topic.into(),
            payload_base64: STANDARD.encode(payload),
            reason: reason.to_string(),
            time: time.into(),
        }
    }

    /// The raw bytes.
    ///
    /// # Errors
    /// Where `payload_base64` is not base64 (RFC 4648, section 4).
    pub fn payload(&self) -> Result<Vec<u8>, base64::DecodeError> {
        STANDARD.decode(&self.payload_base64)
    }

    /// The record for `coord.dlq`; the id lets a reader see that a retry wrote the same letter twice.
    #[must_use]
    pub fn encode(&self, id: &RecordId, timestamp_ms: i64) -> RawRecord {
        RawRecord {
            key: None,
            // Four strings always serialise.
            value: serde_json::to_vec(self).unwrap_or_default(),
            headers: vec![(HEADER_ID.to_owned(), id.to_string().into_bytes())],
            timestamp_ms,
        }
    }
}
