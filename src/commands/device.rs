//! `orinoco device`: credentials of devices, whether the daemon runs or not.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use orinoco_domain::{DeviceId, audit::AuditEvent};
use orinoco_ports::Accounts;
use serde_json::json;

use super::{Output, mosquitto::MosquittoFiles};
use crate::{
    auth::{Audit, Passwords, device_secret},
    config::Config,
};

/// Commands of `orinoco device`.
#[derive(Debug, Clone, Args)]
pub struct DeviceArgs {
    #[command(subcommand)]
    command: DeviceCommand,
}

#[derive(Debug, Clone, Subcommand)]
enum DeviceCommand {
    /// Gives a device a new secret, in place of any before, and prints it this once.
    Add {
        #[arg(value_name = "D")]
        device: String,
        /// Writes mosquitto's password_file and acl_file in this folder too.
        #[arg(long, value_name = "DIR")]
        mosquitto: Option<PathBuf>,
        /// One JSON object: orinId, secret.
        #[arg(long)]
        json: bool,
    },
    /// Takes a device's secret away; it doesn't become open to everybody.
    Revoke {
        #[arg(value_name = "D")]
        device: String,
        /// Writes mosquitto's password_file and acl_file in this folder too.
        #[arg(long, value_name = "DIR")]
        mosquitto: Option<PathBuf>,
        /// One JSON object: orinId, revoked.
        #[arg(long)]
        json: bool,
    },
}

/// What the command works on.
pub struct DeviceDeps {
    pub accounts: Arc<dyn Accounts>,
    pub passwords: Passwords,
    pub config: Config,
}

/// # Errors
/// No such device, or the accounts can't be reached.
pub async fn run(args: &DeviceArgs, deps: &DeviceDeps, output: &mut Output) -> anyhow::Result<ExitCode> {
    let audit = Audit::new(&*deps.accounts, deps.config.auth.audit_entries_max);
    match &args.command {
        DeviceCommand::Add { device, mosquitto, json } => {
            let device = DeviceId::parse(device)?;
            let files = files(mosquitto.as_deref(), &device, deps)?;
            let (secret, hash) = device_secret(&deps.passwords).await?;
            deps.accounts.put_device_credential(&device, &hash).await?;
            audit.write(AuditEvent::TokenCreated, None, None, &format!("device {device} got a secret")).await;
            if *json {
                output.json(&json!({ "orinId": device, "secret": secret }))?;
            } else {
                output.line(format_args!("secret of device {device}, shown this once: {secret}"))?;
            }
            if let Some(files) = files {
                files.put(Some(&secret))?;
                tell(&files, *json, output)?;
            }
        }
        DeviceCommand::Revoke { device, mosquitto, json } => {
            let device = DeviceId::parse(device)?;
            let files = files(mosquitto.as_deref(), &device, deps)?;
            let revoked = deps.accounts.revoke_device_credential(&device).await?;
            revoked.with_context(|| format!("device {device} never had a secret"))?;
            let detail = format!("the secret of device {device} was revoked");
            audit.write(AuditEvent::TokenRevoked, None, None, &detail).await;
            if *json {
                output.json(&json!({ "orinId": device, "revoked": true }))?;
            } else {
                output.line(format_args!("device {device} has no secret any more"))?;
            }
            if let Some(files) = files {
                files.put(None)?;
                tell(&files, *json, output)?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn files(folder: Option<&Path>, device: &DeviceId, deps: &DeviceDeps) -> anyhow::Result<Option<MosquittoFiles>> {
    folder.map(|folder| MosquittoFiles::open(folder, &deps.config, device)).transpose()
}

fn tell(files: &MosquittoFiles, json: bool, output: &mut Output) -> anyhow::Result<()> {
    if json {
        return Ok(());
    }
    let (passwords, acl) = files.paths();
    output.line(format_args!("written: {}, {}; mosquitto reads them on SIGHUP", passwords.display(), acl.display()))?;
    Ok(())
}
