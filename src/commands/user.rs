//! `orinoco user`: accounts, whether the daemon runs or not.

use std::collections::BTreeSet;
use std::io::{IsTerminal as _, Read as _, Write as _};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use orinoco_domain::{
    DeviceId,
    account::{Account, Email, Role},
    audit::AuditEvent,
};
use orinoco_ports::{Accounts, EndReason, NewAccount};
use serde_json::{Value, json};

use super::Output;
use crate::{
    auth::{Audit, Password, Passwords},
    control::LoginEnder,
};

/// Bytes of a password on the standard input.
const INPUT_BYTES_MAX: u64 = 4096;
/// Accounts of one page.
const PAGE_MAX: usize = 500;

/// Commands of `orinoco user`.
#[derive(Debug, Clone, Args)]
pub struct UserArgs {
    #[command(subcommand)]
    command: UserCommand,
}

#[derive(Debug, Clone, Subcommand)]
enum UserCommand {
    /// Makes an account; its password is the first line of the standard input.
    Add {
        #[arg(long, value_name = "E")]
        email: String,
        /// It sees all, and manages accounts.
        #[arg(long)]
        admin: bool,
        /// The device that it sees.
        #[arg(long, value_name = "D")]
        orin_id: Option<String>,
        /// One JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Ends an account's logins, closes its sockets, and lets it in no more.
    Disable {
        #[command(flatten)]
        who: Who,
        /// One JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Lists accounts, oldest first.
    List {
        /// One JSON object a line.
        #[arg(long)]
        json: bool,
    },
}

/// An account, as `--email E` or as `E`.
#[derive(Debug, Clone, Args)]
#[group(required = true, multiple = false)]
struct Who {
    #[arg(long, value_name = "E")]
    email: Option<String>,
    #[arg(value_name = "EMAIL")]
    account: Option<String>,
}

/// What the command works on.
pub struct UserDeps {
    pub accounts: Arc<dyn Accounts>,
    pub logins: LoginEnder,
    pub passwords: Passwords,
    pub audit_entries_max: u32,
}

/// # Errors
/// What is wrong with the arguments or the password, what is taken, or that the accounts can't be reached.
pub async fn run(args: &UserArgs, deps: &UserDeps, output: &mut Output) -> anyhow::Result<ExitCode> {
    match &args.command {
        UserCommand::Add { email, admin, orin_id, json } => {
            let account = add(deps, email, *admin, orin_id.as_deref()).await?;
            show(&account, *json, output)?;
        }
        UserCommand::Disable { who, json } => {
            let email = who.email.as_ref().or(who.account.as_ref()).map_or("", String::as_str);
            show(&disable(deps, email).await?, *json, output)?;
        }
        UserCommand::List { json } => list(deps, *json, output).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn add(deps: &UserDeps, email: &str, admin: bool, orin_id: Option<&str>) -> anyhow::Result<Account> {
    let email = Email::parse(email).context("--email")?;
    let orin_id = orin_id.map(DeviceId::parse).transpose().context("--orin-id")?;
    let password = Password::new(&read_password()?).context("the password on the standard input")?;
    let password_hash = deps.passwords.hash(password).await?;
    let roles = if admin { BTreeSet::from([Role::User, Role::Admin]) } else { BTreeSet::from([Role::User]) };
    let account = deps.accounts.create(&NewAccount { email, password_hash, orin_id, roles }).await?;
    audit(deps, AuditEvent::UserCreated, &account, "by a command").await;
    Ok(account)
}

async fn disable(deps: &UserDeps, email: &str) -> anyhow::Result<Account> {
    let email = Email::parse(email)?;
    let found = deps.accounts.by_email(&email).await?.with_context(|| format!("there is no account {email}"))?;
    let account = deps.accounts.set_enabled(found.id, false).await?.context("the account is gone")?;
    audit(deps, AuditEvent::UserArchived, &account, "disabled by a command").await;
    let ended = deps.logins.end_all(account.id, EndReason::Disabled).await;
    ended.context(
        "the account is disabled, and its sockets stay until its access tokens expire; do it again to close them",
    )?;
    Ok(account)
}

async fn audit(deps: &UserDeps, event: AuditEvent, account: &Account, detail: &str) {
    Audit::new(&*deps.accounts, deps.audit_entries_max).write(event, Some(account.id), None, detail).await;
}

async fn list(deps: &UserDeps, json: bool, output: &mut Output) -> anyhow::Result<()> {
    let mut after = None;
    loop {
        let page = deps.accounts.list(after, PAGE_MAX).await?;
        for account in &page.accounts {
            show(account, json, output)?;
        }
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(()),
        }
    }
}

fn show(account: &Account, json: bool, output: &mut Output) -> anyhow::Result<()> {
    let roles: Vec<&str> = account.roles.iter().map(|role| role.as_str()).collect();
    if json {
        return output.json(&json!({
            "id": account.id.to_string(),
            "email": account.email,
            "roles": roles,
            "orinId": account.orin_id.as_ref().map_or(Value::Null, |device| device.as_str().into()),
            "enabled": account.enabled,
        }));
    }
    let device = account.orin_id.as_ref().map_or("-", DeviceId::as_str);
    let state = if account.enabled { "enabled" } else { "disabled" };
    output.line(format_args!(
        "{:>6}  {:<40} {:<11} {:<8} {device}",
        account.id.0,
        account.email.as_str(),
        roles.join(","),
        state
    ))
}

/// The first line, without its end.
fn read_password() -> anyhow::Result<String> {
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        // Where nobody sees it, it is typed all the same.
        let _ = write!(std::io::stderr(), "password (it is shown as you type): ");
    }
    let mut text = String::new();
    if stdin.is_terminal() {
        stdin.read_line(&mut text).context("the standard input can't be read")?;
    } else {
        stdin.lock().take(INPUT_BYTES_MAX).read_to_string(&mut text).context("the standard input can't be read")?;
    }
    Ok(text.lines().next().unwrap_or_default().to_owned())
}
