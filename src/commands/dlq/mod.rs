//! `orinoco dlq`: what could not be understood, kept with its raw bytes.
//!
//! Reads the log that the configuration names: Kafka's topic, or the data directory, also while the daemon runs. A retried write may
//! have stored a letter twice; it is shown once. Letters are never deleted: replaying one leaves it where it is.

mod replay;
mod show;

use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Subcommand};
use orinoco_ports::RecordLog;
use serde::Serialize;

use super::Output;
use crate::{config::Config, dead_letters::Letters};
use anyhow::bail;
use orinoco_ports::StoredDeadLetter;

/// Commands of `orinoco dlq`.
#[derive(Debug, Clone, Args)]
pub struct DlqArgs {
    #[command(subcommand)]
    command: DlqCommand,
}

#[derive(Debug, Clone, Subcommand)]
enum DlqCommand {
    /// Lists dead letters, oldest first.
    List {
        /// One JSON object a line: cursor, topic, payloadBase64, reason, time.
        #[arg(long)]
        json: bool,
    },
    /// Shows one letter whole: text as it is, anything else as a hexdump.
    Show {
        /// As `list` shows it.
        cursor: String,
        /// One JSON object, as `list --json` has it.
        #[arg(long)]
        json: bool,
    },
    /// Publishes payloads again on their topics (MQTT, QoS 1). The letters stay where they are; what is still not understood
    /// becomes a further one.
    Replay(replay::ReplayArgs),
}

/// A letter as `--json` has it.
#[derive(Serialize)]
struct Line<'a> {
    cursor: &'a str,
    #[serde(flatten)]
    letter: &'a orinoco_domain::DeadLetter,
}

/// # Errors
/// The log can't be read, a cursor names no letter, or the output is closed.
pub async fn run(
    args: &DlqArgs,
    config: &Config,
    log: Arc<dyn RecordLog>,
    output: &mut Output,
) -> anyhow::Result<ExitCode> {
    match &args.command {
        DlqCommand::List { json } => list(*json, &*log, output).await,
        DlqCommand::Show { cursor, json } => {
            let letter = find(&*log, cursor).await?;
            if *json {
                output.json(&Line { cursor: &letter.cursor, letter: &letter.letter })?;
            } else {
                output.write(&show::render(&letter))?;
            }
            Ok(ExitCode::SUCCESS)
        }
        DlqCommand::Replay(args) => replay::run(args, config, log, output).await,
    }
}

/// The letter that `list` shows with this cursor.
///
/// # Errors
/// There is none, or the log can't be read.
async fn find(log: &dyn RecordLog, cursor: &str) -> anyhow::Result<StoredDeadLetter> {
    let mut letters = Letters::new(log);
    while let Some(letter) = letters.next().await? {
        if letter.cursor == cursor {
            return Ok(letter);
        }
    }
    bail!("there is no dead letter {cursor:?}; `orinoco dlq list` shows those that are there")
}

async fn list(json: bool, log: &dyn RecordLog, output: &mut Output) -> anyhow::Result<ExitCode> {
    let mut letters = Letters::new(log);
    let mut count = 0_u64;
    while let Some(letter) = letters.next().await? {
        count += 1;
        if json {
            output.json(&Line { cursor: &letter.cursor, letter: &letter.letter })?;
        } else {
            output.line(summary(&letter))?;
        }
    }
    if count == 0 && !json {
        output.line("no dead letters")?;
    }
    Ok(ExitCode::SUCCESS)
}

fn summary(letter: &StoredDeadLetter) -> String {
    let StoredDeadLetter { cursor, letter, .. } = letter;
    format!("{cursor}  {}  {}  {}", letter.time, show::printable(&letter.topic), show::printable(&letter.reason))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::commands::output::tests::Captured;
    use crate::dead_letters::fixtures::{FixedLog, letter};

    async fn dlq(command: DlqCommand) -> (anyhow::Result<ExitCode>, String) {
        let letters = [letter(0, "a", b"1"), letter(1, "b/c", b"\xff\x00"), letter(1, "b/c", b"\xff\x00")];
        let captured = Captured::default();
        let log = Arc::new(FixedLog::new(letters));
        let outcome = run(&DlqArgs { command }, &Config::default(), log, &mut captured.output()).await;
        (outcome, captured.text())
    }

    #[tokio::test]
    async fn list_prints_one_object_a_line_and_each_letter_once() {
        let (outcome, text) = dlq(DlqCommand::List { json: true }).await;
        outcome.unwrap();
        let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(
            lines[1],
            serde_json::json!({
                "cursor": "1", "topic": "b/c", "payloadBase64": "/wA=", "reason": "why", "time": "2026-01-02T03:04:05Z"
            })
        );
    }

    #[tokio::test]
    async fn show_prints_the_payload_and_refuses_an_unknown_cursor() {
        let (outcome, text) = dlq(DlqCommand::Show { cursor: "1".to_owned(), json: false }).await;
        outcome.unwrap();
        assert!(text.contains("00000000  ff 00"), "{text}");
        let (outcome, _) = dlq(DlqCommand::Show { cursor: "9".to_owned(), json: false }).await;
        assert!(outcome.unwrap_err().to_string().contains("`orinoco dlq list`"));
    }
}
