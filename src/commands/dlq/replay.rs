//! `orinoco dlq replay`: payloads go the way of a device's message again.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use clap::Args;
use indicatif::ProgressBar;
use orinoco_domain::{Axis, DeviceId, RawRecord, partition_of};
use orinoco_ports::{RecordLog, StoredDeadLetter};
use serde::Serialize;

use super::letters::{Letters, find};
use super::publisher::{Publish, Publisher};
use super::show::printable;
use crate::commands::Output;
use crate::config::{Backend, Config};

const TOPIC_BYTES_MAX: usize = 65_535;

/// Flags of `orinoco dlq replay`.
#[derive(Debug, Clone, Args)]
pub(super) struct ReplayArgs {
    /// Letters, as `list` shows them.
    #[arg(value_name = "CURSOR", required_unless_present = "all", conflicts_with = "all")]
    cursors: Vec<String>,
    /// All that are there now.
    #[arg(long)]
    all: bool,
    /// With --all: only those after this one.
    #[arg(long, value_name = "CURSOR", requires = "all")]
    after: Option<String>,
    /// The device of letters that came from Kafka and not from MQTT: a letter holds a record's value, not its key.
    #[arg(long, value_name = "DEVICE", value_parser = |name: &str| DeviceId::parse(name))]
    device: Option<DeviceId>,
    /// One JSON object a line: cursor, topic, outcome, and why a letter was skipped.
    #[arg(long)]
    json: bool,
}

/// What became of a letter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "camelCase")]
enum Outcome {
    /// On its MQTT topic.
    Published,
    /// Into its Kafka topic.
    Produced,
    /// It can't be done; why.
    Skipped { reason: String },
}

#[derive(Serialize)]
struct Line<'a> {
    cursor: &'a str,
    topic: &'a str,
    #[serde(flatten)]
    outcome: &'a Outcome,
}

/// Where payloads go.
struct Targets<'a> {
    publisher: &'a dyn Publish,
    log: &'a dyn RecordLog,
    /// Whether records of other producers can be written: the embedded log is the daemon's alone.
    is_log_writable: bool,
    device: Option<&'a DeviceId>,
}

/// # Errors
/// A cursor names no letter, the log or the broker can't be reached: what was replayed before stays so.
pub(super) async fn run(
    args: &ReplayArgs,
    config: &Config,
    log: Arc<dyn RecordLog>,
    output: &mut Output,
) -> anyhow::Result<ExitCode> {
    let mut chosen = Vec::with_capacity(args.cursors.len());
    for cursor in &args.cursors {
        chosen.push(find(&*log, cursor).await?);
    }
    let publisher = Publisher::connect(config).await?;
    let targets = Targets {
        publisher: &publisher,
        log: &*log,
        is_log_writable: config.kafka.backend == Backend::Service,
        device: args.device.as_ref(),
    };
    let mut tally = Tally { json: args.json, ..Tally::default() };
    if args.all {
        all(args.after.as_deref(), &targets, &mut tally, output).await?;
    } else {
        for letter in &chosen {
            tally.one(letter, &targets, output).await?;
        }
    }
    publisher.disconnect().await;
    if !args.json {
        output.line(format_args!("{} replayed, {} skipped", tally.replayed, tally.skipped))?;
    }
    Ok(if tally.skipped == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Stops at the letter that is the last one now: a payload that is still not understood becomes a further letter, and
/// replaying that one as well would never end.
async fn all(after: Option<&str>, targets: &Targets<'_>, tally: &mut Tally, output: &mut Output) -> anyhow::Result<()> {
    if let Some(after) = after {
        find(targets.log, after).await?;
    }
    let mut letters = Letters::new(targets.log);
    let mut last = None;
    while let Some(letter) = letters.next().await? {
        last = Some(letter.cursor);
    }
    // Drawn on a terminal only.
    let progress = ProgressBar::new_spinner();
    progress.enable_steady_tick(Duration::from_millis(200));
    let mut letters = Letters::new(targets.log);
    let mut is_before = after.is_some();
    while let (Some(letter), Some(last)) = (letters.next().await?, &last) {
        let is_last = letter.cursor == *last;
        if is_before {
            is_before = Some(letter.cursor.as_str()) != after;
        } else {
            tally.one(&letter, targets, output).await?;
            progress.set_message(format!("{} replayed, {} skipped", tally.replayed, tally.skipped));
        }
        if is_last {
            break;
        }
    }
    progress.finish_and_clear();
    Ok(())
}

#[derive(Debug, Default)]
struct Tally {
    json: bool,
    replayed: u64,
    skipped: u64,
}

impl Tally {
    async fn one(
        &mut self,
        letter: &StoredDeadLetter,
        targets: &Targets<'_>,
        output: &mut Output,
    ) -> anyhow::Result<()> {
        let StoredDeadLetter { cursor, letter: content, .. } = letter;
        let outcome = targets.replay(letter).await.with_context(|| {
            format!("{} were replayed; the first one that may not have been is {cursor}", self.replayed)
        })?;
        if let Outcome::Skipped { .. } = outcome {
            self.skipped += 1;
        } else {
            self.replayed += 1;
        }
        if self.json {
            return output.json(&Line { cursor, topic: &content.topic, outcome: &outcome });
        }
        let topic = printable(&content.topic);
        match outcome {
            Outcome::Published => output.line(format_args!("{cursor}  published on {topic}")),
            Outcome::Produced => output.line(format_args!("{cursor}  produced again, from {topic}")),
            Outcome::Skipped { reason } => output.line(format_args!("{cursor}  skipped, from {topic}: {reason}")),
        }
    }
}

impl Targets<'_> {
    async fn replay(&self, letter: &StoredDeadLetter) -> anyhow::Result<Outcome> {
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
            return Ok(skipped("a letter holds a record's value, not its key; name the device by --device"));
        };
        let partition = partition_of(device.as_str().as_bytes(), self.log.partitions().await?);
        let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let record = RawRecord {
            key: Some(device.as_str().as_bytes().to_vec()),
            value,
            headers: Vec::new(),
            timestamp_ms: i64::try_from(since_1970.as_millis()).unwrap_or(i64::MAX),
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
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Mutex;

    use anyhow::bail;
    use async_trait::async_trait;

    use super::super::letters::tests::{FixedLog, letter};
    use super::*;
    use crate::commands::output::tests::Captured;

    /// Takes so many payloads, and then no more.
    struct Broker {
        taken: Mutex<Vec<(String, Vec<u8>)>>,
        taken_max: usize,
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

    fn broker(taken_max: usize) -> Broker {
        Broker { taken: Mutex::default(), taken_max }
    }

    fn targets<'a>(broker: &'a Broker, log: &'a FixedLog, device: Option<&'a DeviceId>) -> Targets<'a> {
        Targets { publisher: broker, log, is_log_writable: true, device }
    }

    async fn replay_all(log: &FixedLog, broker: &Broker, after: Option<&str>) -> (anyhow::Result<()>, Tally, String) {
        let captured = Captured::default();
        let mut tally = Tally::default();
        let outcome = all(after, &targets(broker, log, None), &mut tally, &mut captured.output()).await;
        (outcome, tally, captured.text())
    }

    #[tokio::test]
    async fn all_letters_are_published_raw_and_in_order() {
        let log = FixedLog::new([letter(0, "a", b"1"), letter(1, "b", b"\xff"), letter(2, "a", b"")]);
        let broker = broker(9);
        let (outcome, tally, text) = replay_all(&log, &broker, None).await;
        outcome.unwrap();
        assert_eq!((tally.replayed, tally.skipped), (3, 0));
        let taken = [("a", b"1".to_vec()), ("b", b"\xff".to_vec()), ("a", Vec::new())];
        assert_eq!(*broker.taken.lock().unwrap(), taken.map(|(topic, payload)| (topic.to_owned(), payload)));
        assert!(text.starts_with("0  published on a\n"), "{text}");
    }

    #[tokio::test]
    async fn all_can_go_on_after_a_letter() {
        let log = FixedLog::new([letter(0, "a", b"0"), letter(1, "a", b"1"), letter(2, "a", b"2")]);
        let broker = broker(9);
        let (outcome, tally, _) = replay_all(&log, &broker, Some("1")).await;
        outcome.unwrap();
        assert_eq!(tally.replayed, 1);
        assert_eq!(broker.taken.lock().unwrap()[0].1, b"2");
        assert!(replay_all(&log, &broker, Some("9")).await.0.is_err());
    }

    #[tokio::test]
    async fn a_broker_that_goes_away_ends_it_and_says_where() {
        let log = FixedLog::new([letter(0, "a", b"0"), letter(1, "a", b"1"), letter(2, "a", b"2")]);
        let (outcome, tally, _) = replay_all(&log, &broker(2), None).await;
        assert_eq!(tally.replayed, 2);
        let error = format!("{:#}", outcome.unwrap_err());
        assert_eq!(error, "2 were replayed; the first one that may not have been is 2: away");
    }

    #[tokio::test]
    async fn topics_that_no_client_may_publish_on_are_skipped() {
        let topics = ["", "a/+", "#", "a\0b", "$SYS/x", &"t".repeat(65_536)];
        let letters: Vec<StoredDeadLetter> =
            (0..).zip(topics).map(|(number, topic)| letter(number, topic, b"")).collect();
        let broker = broker(9);
        let (outcome, tally, text) = replay_all(&FixedLog::new(letters), &broker, None).await;
        outcome.unwrap();
        assert_eq!((tally.replayed, tally.skipped), (0, 6));
        assert!(text.contains("1  skipped, from a/+: its topic holds a wildcard\n"), "{text}");
    }

    #[tokio::test]
    async fn a_record_from_kafka_is_produced_again_under_the_device_that_is_named() {
        let log = FixedLog::new([]);
        let broker = broker(0);
        let device = DeviceId::parse("samu31").unwrap();
        let record = letter(0, "kafka:coordY/2/77", b"{}");
        let without = targets(&broker, &log, None).replay(&record).await.unwrap();
        assert!(matches!(&without, Outcome::Skipped { reason } if reason.contains("--device")), "{without:?}");
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
        let text = |outcome| serde_json::to_string(&Line { cursor: "1", topic: "t", outcome: &outcome }).unwrap();
        assert_eq!(text(Outcome::Published), r#"{"cursor":"1","topic":"t","outcome":"published"}"#);
        let skipped = text(skipped("why"));
        assert_eq!(skipped, r#"{"cursor":"1","topic":"t","outcome":"skipped","reason":"why"}"#);
    }
}
