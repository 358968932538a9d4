//! `orinoco device`: credentials of devices, whether the daemon runs or not.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use orinoco_domain::{DeviceId, audit::AuditEvent};
use orinoco_ports::Accounts;
use serde_json::json;

use super::Output;
use crate::auth::{Audit, Passwords, device_secret};

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
        /// One JSON object: orinId, secret.
        #[arg(long)]
        json: bool,
    },
    /// Takes a device's secret away; it doesn't become open to everybody.
    Revoke {
        #[arg(value_name = "D")]
        device: String,
        /// One JSON object: orinId, revoked.
        #[arg(long)]
        json: bool,
    },
}

/// What the command works on.
pub struct DeviceDeps {
    pub accounts: Arc<dyn Accounts>,
    pub passwords: Passwords,
    pub audit_entries_max: u32,
}

/// # Errors
/// No such device, or the accounts can't be reached.
pub async fn run(args: &DeviceArgs, deps: &DeviceDeps, output: &mut Output) -> anyhow::Result<ExitCode> {
    let audit = Audit::new(&*deps.accounts, deps.audit_entries_max);
    match &args.command {
        DeviceCommand::Add { device, json } => {
            let device = DeviceId::parse(device)?;
            let (secret, hash) = device_secret(&deps.passwords).await?;
            deps.accounts.put_device_credential(&device, &hash).await?;
            audit.write(AuditEvent::TokenCreated, None, None, &format!("device {device} got a secret")).await;
            if *json {
                output.json(&json!({ "orinId": device, "secret": secret }))?;
            } else {
                output.line(format_args!("secret of device {device}, shown this once: {secret}"))?;
            }
        }
        DeviceCommand::Revoke { device, json } => {
            let device = DeviceId::parse(device)?;
            let revoked = deps.accounts.revoke_device_credential(&device).await?;
            revoked.with_context(|| format!("device {device} never had a secret"))?;
            let detail = format!("the secret of device {device} was revoked");
            audit.write(AuditEvent::TokenRevoked, None, None, &detail).await;
            if *json {
                output.json(&json!({ "orinId": device, "revoked": true }))?;
            } else {
                output.line(format_args!("device {device} has no secret any more"))?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
