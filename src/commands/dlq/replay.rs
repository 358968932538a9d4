//! `orinoco dlq replay`: payloads go the way of a device's message again.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use indicatif::ProgressBar;
use orinoco_domain::DeviceId;
use orinoco_ports::{RecordLog, StoredDeadLetter};

use super::find;
use super::show::printable;
use crate::commands::Output;
use crate::config::{Backend, Config};
use crate::dead_letters::{Letters, Outcome, Publisher, Replayed, Targets};

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
            return output.json(&Replayed { cursor, topic: &content.topic, outcome: &outcome });
        }
        let topic = printable(&content.topic);
        match outcome {
            Outcome::Published => output.line(format_args!("{cursor}  published on {topic}")),
            Outcome::Produced => output.line(format_args!("{cursor}  produced again, from {topic}")),
            Outcome::Skipped { reason } => output.line(format_args!("{cursor}  skipped, from {topic}: {reason}")),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::commands::output::tests::Captured;
    use crate::dead_letters::fixtures::{Broker, FixedLog, broker, letter, targets};

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
}
