//! `orinoco reload`: the daemon that runs on the data directory reads its files again.

use std::process::ExitCode;

use anyhow::bail;
use clap::Args;

use super::{EXIT_BAD_CONFIGURATION, Output};
use crate::{config::Config, control::Client, reload::Outcome};

/// Flags of `orinoco reload`.
#[derive(Debug, Clone, Args)]
pub struct ReloadArgs {
    /// What came of it, as one JSON object.
    #[arg(long)]
    json: bool,
}

/// Waits until the daemon has taken its files over, and prints what changed, or why they are refused.
///
/// # Errors
/// `ControlError`: no daemon runs there; it starts or stops; `OutputClosed`.
pub async fn run(args: &ReloadArgs, config: &Config, output: &mut Output) -> anyhow::Result<ExitCode> {
    let outcome = Client::connect(&config.control_socket()).await?.reload().await?;
    if args.json {
        output.json(&outcome)?;
        return Ok(exit_code(&outcome));
    }
    match &outcome {
        Outcome::Applied { lines, is_carried_out } => {
            for line in lines {
                output.line(line)?;
            }
            if !is_carried_out {
                output.line("some actors are still stopping and starting; `orinoco tree` shows them")?;
            }
        }
        Outcome::Unchanged => output.line("nothing changed")?,
        Outcome::Refused { lines, .. } => {
            let mut errors = Output::to(std::io::stderr());
            for line in lines {
                errors.line(line)?;
            }
        }
        Outcome::Ignored { reason } => bail!("not reloaded: {reason}"),
    }
    Ok(exit_code(&outcome))
}

fn exit_code(outcome: &Outcome) -> ExitCode {
    match outcome {
        Outcome::Applied { .. } | Outcome::Unchanged => ExitCode::SUCCESS,
        Outcome::Refused { is_bad_configuration: true, .. } => ExitCode::from(EXIT_BAD_CONFIGURATION),
        Outcome::Refused { .. } | Outcome::Ignored { .. } => ExitCode::FAILURE,
    }
}
