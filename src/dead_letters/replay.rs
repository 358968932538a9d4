//! What becomes of a letter that is replayed: published on its topic again, or produced into its Kafka topic.

use orinoco_domain::{Axis, DeviceId, RawRecord, partition_of};
use orinoco_ports::{Clock as _, RecordLog, StoredDeadLetter, SystemClock};
use serde::Serialize;

use super::publisher::Publish;

const TOPIC_BYTES_MAX: usize = 65_535;

/// What became of a letter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "camelCase")]
pub(crate) enum Outcome {
    /// On its MQTT topic.
    Published,
    /// Into its Kafka topic.
    Produced,
    /// It can't be done; why.
    Skipped { reason: String },
}

/// A letter, and what became of it.
#[derive(Serialize)]
pub(crate) struct Replayed<'a> {
    pub(crate) cursor: &'a str,
    pub(crate) topic: &'a str,
    #[serde(flatten)]
    pub(crate) outcome: &'a Outcome,
}

/// Where payloads go.
pub(crate) struct Targets<'a> {
    pub(crate) publisher: &'a dyn Publish,
    pub(crate) log: &'a dyn RecordLog,
    /// Whether records of other producers can be written: the embedded log is the daemon's alone.
    pub(crate) is_log_writable: bool,
    pub(crate) device: Option<&'a DeviceId>,
}

impl Targets<'_> {
    /// # Errors
    /// The broker or the log can't be reached: it may or may not have been taken.
    pub(crate) async fn replay(&self, letter: &StoredDeadLetter) -> anyhow::Result<Outcome> {
        let content = &letter.letter;
        let payload = match content.payload() {
            Ok(payload) => payload,
            Err(error) => return Ok(skipped(format!("its payload is no base64: {error}"))),
        };
        match content.topic.strip_prefix("kafka:") {
            Some(place) => self.produce(place, payload).await,
            None => match topic_problem(&content.topic) {
                Some(problem) => Ok(skipped(problem)),
                None => self.publisher.publish(&content.topic, payload).await.map(|()| Outcome::Published),
            },
        }
    }

    /// `place`: `TOPIC/PARTITION/OFFSET` of a record that another producer wrote.
    async fn produce(&self, place: &str, value: Vec<u8>) -> anyhow::Result<Outcome> {
        let Some(axis) = place.split('/').next().and_then(Axis::from_name) else {
            return Ok(skipped("it is from no topic of coordinates"));
        };
        if !self.is_log_writable {
            return Ok(skipped("the embedded log is written by the daemon alone"));
        }
        let Some(device) = self.device else {
            return Ok(skipped("a letter holds a record's value, not its key; name the device (`--device`, `device`)"));
        };
        let partition = partition_of(device.as_str().as_bytes(), self.log.partitions().await?);
        let record = RawRecord {
            key: Some(device.as_str().as_bytes().to_vec()),
            value,
            headers: Vec::new(),
            timestamp_ms: SystemClock.now_ms(),
        };
        self.log.produce(partition, &[(axis, record)]).await?;
        Ok(Outcome::Produced)
    }
}

fn skipped(reason: impl Into<String>) -> Outcome {
    Outcome::Skipped { reason: reason.into() }
}

/// Why a topic can't be published on (MQTT 5.0, section 4.7): some brokers let devices do what clients' libraries refuse.
fn topic_problem(topic: &str) -> Option<&'static str> {
    match topic {
        "" => Some("its topic is empty"),
        _ if topic.len() > TOPIC_BYTES_MAX => Some("its topic is longer than MQTT allows"),
        _ if topic.contains(['+', '#']) => Some("its topic holds a wildcard"),
        _ if topic.contains('\0') => Some("its topic holds a NUL"),
        _ if topic.starts_with('$') => Some("its topic begins with $, which is the broker's own"),
        _ => None,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Mutex;

    use anyhow::bail;
    use async_trait::async_trait;

    use super::super::letters::tests::{FixedLog, letter};
    use super::*;

    /// Takes so many payloads, and then no more.
    pub(crate) struct Broker {
        pub(crate) taken: Mutex<Vec<(String, Vec<u8>)>>,
        pub(crate) taken_max: usize,
    }

    #[async_trait]
    impl Publish for Broker {
        async fn publish(&self, topic: &str, payload: Vec<u8>) -> anyhow::Result<()> {
            let mut taken = self.taken.lock().unwrap();
            if taken.len() == self.taken_max {
                bail!("away");
            }
            taken.push((topic.to_owned(), payload));
            Ok(())
        }
    }

    pub(crate) fn broker(taken_max: usize) -> Broker {
        Broker { taken: Mutex::default(), taken_max }
    }

    pub(crate) fn targets<'a>(broker: &'a Broker, log: &'a FixedLog, device: Option<&'a DeviceId>) -> Targets<'a> {
        Targets { publisher: broker, log, is_log_writable: true, device }
    }

    #[tokio::test]
    async fn a_record_from_kafka_is_produced_again_under_the_device_that_is_named() {
        let log = FixedLog::new([]);
        let broker = broker(0);
        let device = DeviceId::parse("samu31").unwrap();
        let record = letter(0, "kafka:coordY/2/77", b"{}");
        let without = targets(&broker, &log, None).replay(&record).await.unwrap();
        assert!(matches!(&without, Outcome::Skipped { reason } if reason.contains("name the device")), "{without:?}");
        let with = targets(&broker, &log, Some(&device));
        assert_eq!(with.replay(&record).await.unwrap(), Outcome::Produced);
        let (partition, axis, produced) = log.produced.lock().unwrap().pop().unwrap();
        assert_eq!((partition, axis), (partition_of(b"samu31", 4), Axis::Y));
        assert_eq!((produced.key.as_deref(), produced.value.as_slice()), (Some(&b"samu31"[..]), &b"{}"[..]));
        let embedded = Targets { is_log_writable: false, ..with };
        assert!(matches!(embedded.replay(&record).await.unwrap(), Outcome::Skipped { .. }));
        let foreign = letter(1, "kafka:other/0/1", b"");
        assert!(matches!(embedded.replay(&foreign).await.unwrap(), Outcome::Skipped { .. }));
    }

    #[test]
    fn json_says_what_became_of_a_letter() {
        let text = |outcome| serde_json::to_string(&Replayed { cursor: "1", topic: "t", outcome: &outcome }).unwrap();
        assert_eq!(text(Outcome::Published), r#"{"cursor":"1","topic":"t","outcome":"published"}"#);
        let skipped = text(skipped("why"));
        assert_eq!(skipped, r#"{"cursor":"1","topic":"t","outcome":"skipped","reason":"why"}"#);
    }
}
