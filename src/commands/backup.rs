//! `orinoco backup`: the data directory in one file, whether the daemon runs or not.

use std::{
    io,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use anyhow::Context as _;
use clap::Args;
use orinoco_embedded::backup::{BackupSummary, BackupTarget, back_up};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use super::Output;
use crate::{
    auth::now_ms,
    config::{Backend, Config},
};

/// Writes to the standard output.
const STANDARD_OUTPUT: &str = "-";
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Flags of `orinoco backup`.
#[derive(Debug, Clone, Args)]
pub struct BackupArgs {
    /// Where the archive goes, a tar file that holds secrets: mode 0600. `-`: the standard output, and nothing else is printed.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// One JSON object: file, files, bytes, createdMs, running.
    #[arg(long)]
    json: bool,
}

/// # Errors
/// `BackupError`: nothing stands under the name of the archive.
pub async fn run(args: BackupArgs, config: Config, output: &mut Output) -> anyhow::Result<ExitCode> {
    warn_of_the_rest(&config);
    let data_dir = config.data_dir().to_owned();
    if args.file.as_os_str() == STANDARD_OUTPUT {
        // A signal ends the process, as it may wait for its reader. Only while a database is copied has anything a name that would stay.
        tokio::task::spawn_blocking(move || save_to_output(&data_dir)).await.context("the backup ended early")??;
        return Ok(ExitCode::SUCCESS);
    }
    let file = args.file.clone();
    let save = move |cancelled: &AtomicBool| {
        let target = BackupTarget::File(&file);
        Ok(back_up(&data_dir, target, VERSION, now_ms(), cancelled)?)
    };
    let BackupSummary { label, files, bytes, is_running } = until_cancelled(save).await?;
    if args.json {
        output.json(&json!({
            "file": args.file,
            "files": files,
            "bytes": bytes,
            "createdMs": label.created_ms,
            "running": is_running,
        }))?;
    } else {
        let state = if is_running { "in use" } else { "not in use" };
        let from = config.data_dir().display();
        output.line(format_args!("{}: {files} files, {bytes} bytes, of {from}, {state}", args.file.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn save_to_output(data_dir: &Path) -> anyhow::Result<()> {
    let (mut out, folder) = (io::stdout().lock(), std::env::temp_dir());
    let target = BackupTarget::Stream { out: &mut out, folder: &folder };
    back_up(data_dir, target, VERSION, now_ms(), &AtomicBool::new(false))?;
    Ok(())
}

/// Does `work` beside the runtime. At SIGINT and SIGTERM it is told to end, and tidies up after itself.
pub(super) async fn until_cancelled<T: Send + 'static>(
    work: impl FnOnce(&AtomicBool) -> anyhow::Result<T> + Send + 'static,
) -> anyhow::Result<T> {
    let mut terminate = signal(SignalKind::terminate())?;
    let cancelled = Arc::new(AtomicBool::new(false));
    let mut task = {
        let cancelled = Arc::clone(&cancelled);
        tokio::task::spawn_blocking(move || work(&cancelled))
    };
    tokio::select! {
        outcome = &mut task => return outcome.context("it ended early")?,
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    cancelled.store(true, Ordering::Relaxed);
    task.await.context("it ended early")?
}

/// What the daemon needs and the archive has not.
fn warn_of_the_rest(config: &Config) {
    for (section, backend) in config.backends() {
        if backend == Backend::Service && section != "mqtt" {
            tracing::warn!("{section} is a server of its own: it is not in this backup, save it with its own tools");
        }
    }
    let key_file = config.key_file();
    if key_file != config.data_dir().join("keys.json") {
        tracing::warn!(key_file = %key_file.display(), "the keys are not in data_dir, and so not in this backup: save them as well");
    }
}
