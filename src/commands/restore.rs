//! `orinoco restore`: a data directory from what `orinoco backup` made.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::atomic::AtomicBool,
};

use clap::Args;
use orinoco_domain::Timestamp;
use orinoco_embedded::backup::{RestoreSummary, unpack};
use serde_json::json;

use super::{Output, backup::until_cancelled};
use crate::{
    auth::{now_ms, renew_signing_keys},
    config::Config,
};

/// Flags of `orinoco restore`.
#[derive(Debug, Clone, Args)]
pub struct RestoreArgs {
    /// The archive.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The data directory to make; it must be missing or empty [default: data_dir].
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
    /// One JSON object: directory, files, bytes, createdMs, orinoco.
    #[arg(long)]
    json: bool,
}

/// # Errors
/// `RestoreError`: the directory is as it was.
pub async fn run(args: RestoreArgs, config: Config, output: &mut Output) -> anyhow::Result<ExitCode> {
    let directory = args.to.unwrap_or_else(|| config.data_dir().to_owned());
    let (file, to) = (args.file.clone(), directory.clone());
    let restored = until_cancelled(move |cancelled| restore(&file, &to, cancelled)).await?;
    let RestoreSummary { label, files, bytes } = restored;
    if args.json {
        output.json(&json!({
            "directory": directory,
            "files": files,
            "bytes": bytes,
            "createdMs": label.created_ms,
            "orinoco": label.orinoco,
        }))?;
    } else {
        let saved = Timestamp::from_epoch_ms(label.created_ms).map(|time| time.as_str().to_owned()).unwrap_or_default();
        let (directory, made_by) = (directory.display(), label.orinoco);
        output.line(format_args!("{directory}: {files} files, {bytes} bytes, saved {saved} by orinoco {made_by}"))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn restore(file: &Path, to: &Path, cancelled: &AtomicBool) -> anyhow::Result<RestoreSummary> {
    let unpacked = unpack(file, to, cancelled)?;
    renew_signing_keys(&unpacked.path().join("keys.json"), now_ms())?;
    Ok(unpacked.finish()?)
}
