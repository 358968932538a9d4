//! Where a Kafka record came from; the ground of "each effect once".

use std::{fmt, str::FromStr};

/// Value of the header `orinoco-id`: unique per MQTT message, and growing along each origin within a partition, so that one highest
/// mark per (axis, origin) tells what was applied before.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RecordId {
    pub origin: Origin,
    /// Journal sequence, or Kafka offset.
    pub sequence: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Origin {
    /// An MQTT message: the journal that took it, under which ingest ownership (fencing epoch of the lease `ingest`).
    Journal { journal: String, ingest_epoch: u64 },
    /// A record of another producer that was produced again, into its device's partition.
    Kafka { topic: String, partition: u32 },
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("orinoco-id is `mqtt/EPOCH/JOURNAL/SEQUENCE` or `kafka/TOPIC/PARTITION/OFFSET`")]
pub struct InvalidRecordId;

impl RecordId {
    /// The key of the highest mark. The ingest epoch is no part of it: one journal counts on, whoever owned the ingest.
    #[must_use]
    pub fn mark_key(&self) -> String {
        match &self.origin {
            Origin::Journal { journal, .. } => format!("mqtt/{journal}"),
            Origin::Kafka { topic, partition } => format!("kafka/{topic}/{partition}"),
        }
    }

    /// What [`mark_key`](Self::mark_key) begins with for all places in a topic.
    #[must_use]
    pub fn mark_keys_of_topic(topic: &str) -> String {
        format!("kafka/{topic}/")
    }

    /// `None` for records that no ingest owner wrote.
    #[must_use]
    pub fn ingest_epoch(&self) -> Option<u64> {
        match self.origin {
            Origin::Journal { ingest_epoch, .. } => Some(ingest_epoch),
            Origin::Kafka { .. } => None,
        }
    }
}

impl fmt::Display for RecordId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Origin::Journal { journal, ingest_epoch } => {
                write!(formatter, "mqtt/{ingest_epoch}/{journal}/{}", self.sequence)
            }
            Origin::Kafka { topic, partition } => write!(formatter, "kafka/{topic}/{partition}/{}", self.sequence),
        }
    }
}

impl FromStr for RecordId {
    type Err = InvalidRecordId;

    fn from_str(text: &str) -> Result<Self, InvalidRecordId> {
        let parts: Vec<&str> = text.split('/').collect();
        let [kind, second, third, sequence] = parts[..] else { return Err(InvalidRecordId) };
        let sequence = sequence.parse().map_err(|_| InvalidRecordId)?;
        let origin = match kind {
            "mqtt" if !third.is_empty() && third.len() <= 64 => Origin::Journal {
                ingest_epoch: second.parse().map_err(|_| InvalidRecordId)?,
                journal: third.to_owned(),
            },
            "kafka" if !second.is_empty() && second.len() <= 249 => {
                Origin::Kafka { topic: second.to_owned(), partition: third.parse().map_err(|_| InvalidRecordId)? }
            }
            _ => return Err(InvalidRecordId),
        };
        Ok(Self { origin, sequence })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn both_forms_survive_a_round_trip() {
        for text in ["mqtt/3/9f2c/1234", "kafka/coordX/3/17"] {
            assert_eq!(text.parse::<RecordId>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["", "x/1/2/3", "mqtt/a/b/c", "mqtt/1//2", "kafka/t/p/1", "mqtt/1/2/3/4"] {
            assert_eq!(text.parse::<RecordId>(), Err(InvalidRecordId), "{text:?}");
        }
    }
}
