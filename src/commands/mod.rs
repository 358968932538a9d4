//! The commands of `orinoco`.
//!
//! Exit codes: 0 done, 1 failed, 2 wrong usage (clap's), 64 bad configuration. The configuration is read and checked before any command
//! does anything.

pub mod backup;
pub mod check;
mod demo_accounts;
pub mod descriptors;
pub mod device;
pub mod dlq;
pub mod doctor;
pub mod migrate;
mod mosquitto;
mod output;
pub mod reload;
pub mod restore;
pub mod serve;
pub mod simulate;
pub mod tree;
pub mod user;

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use orinoco_supervision::{PlanError, TreeError};

use crate::config::{self, Config, ConfigError, Flags, Loaded, Telemetry};
use crate::{telemetry, wiring};

pub use output::{Output, OutputClosed};

/// The configuration, supervision.toml included, is wrong (sysexits(3) calls it EX_USAGE).
pub const EXIT_BAD_CONFIGURATION: u8 = 64;

/// Coordinates from devices to browsers: MQTT, Kafka, Redis, WebSocket.
#[derive(Debug, Parser)]
#[command(name = "orinoco", version, about, arg_required_else_help = true)]
struct Cli {
    #[command(flatten)]
    global: GlobalArgs,
    #[command(subcommand)]
    command: Command,
}

/// Flags of every command.
#[derive(Debug, Clone, Args)]
struct GlobalArgs {
    /// The configuration file [default: orinoco.toml, if it is there].
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Which backends are used by default.
    #[arg(long, global = true, value_name = "MODE", value_parser = ["embedded", "services"])]
    mode: Option<String>,
    /// The folder of everything that is kept in files.
    #[arg(long, global = true, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the daemon.
    Serve(serve::ServeArgs),
    /// Validates the configuration and supervision.toml and prints the resolved tree; starts nothing.
    Check(check::CheckArgs),
    /// Reaches every backend, and says what to do about what is wrong.
    Doctor(doctor::DoctorArgs),
    /// Brings the database to the schema that this program needs.
    Migrate(migrate::MigrateArgs),
    /// Accounts: add, disable, list.
    User(user::UserArgs),
    /// Credentials of devices: add, revoke.
    Device(device::DeviceArgs),
    /// Publishes as devices do: a recording, or made-up tracks.
    Simulate(simulate::SimulateArgs),
    /// Shows the live actor tree of a running daemon.
    Tree(tree::TreeArgs),
    /// Has a running daemon read orinoco.toml and supervision.toml again.
    Reload(reload::ReloadArgs),
    /// Dead letters: what could not be understood.
    Dlq(dlq::DlqArgs),
    /// Saves the data directory in one file, whether the daemon runs or not.
    Backup(backup::BackupArgs),
    /// Makes a data directory from such a file.
    Restore(restore::RestoreArgs),
}

impl Command {
    /// What a command says is its output: its logs are of interest where something is odd, unless they were asked for.
    fn telemetry(&self, loaded: &Loaded) -> Telemetry {
        let mut telemetry = loaded.config.telemetry.clone();
        if !matches!(self, Self::Serve(_) | Self::Migrate(_)) && !loaded.is_set("telemetry.log") {
            "warn".clone_into(&mut telemetry.log);
        }
        telemetry
    }
}

/// Threads for what blocks are woken in turn: with the usual ten seconds, one job a second would keep ten of them for ever.
const IDLE_THREAD_KEPT: Duration = Duration::from_secs(2);

/// Runs the command that the process's arguments name.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli) {
        Ok(code) => code,
        Err(error) => report(&error),
    }
}

fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let flags = Flags { config: cli.global.config, mode: cli.global.mode, data_dir: cli.global.data_dir };
    let loaded = config::load(&flags)?;
    let log = telemetry::init(&cli.command.telemetry(&loaded))?;
    if let Command::Check(args) = &cli.command {
        return check::run(args, &loaded, &mut Output::stdout());
    }
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().thread_keep_alive(IDLE_THREAD_KEPT).build()?;
    runtime.block_on(dispatch(cli.command, loaded, serve::Origins { flags, log }))
}

async fn dispatch(command: Command, loaded: Loaded, origins: serve::Origins) -> anyhow::Result<ExitCode> {
    let output = &mut Output::stdout();
    match command {
        Command::Serve(args) => {
            raise_descriptor_limit(&loaded.config);
            serve::run(&args, loaded, origins).await
        }
        Command::Check(args) => check::run(&args, &loaded, output),
        Command::Doctor(args) => doctor::run(&args, &loaded, wiring::probes(&loaded.config)?, output).await,
        Command::Migrate(args) => migrate::run(&args, &loaded.config, output).await,
        Command::User(args) => user::run(&args, &user_deps(&loaded.config)?, output).await,
        Command::Device(args) => {
            let deps = device::DeviceDeps {
                accounts: wiring::accounts(&loaded.config)?,
                passwords: wiring::passwords(&loaded.config)?,
                config: loaded.config,
            };
            device::run(&args, &deps, output).await
        }
        Command::Dlq(args) => dlq::run(&args, &loaded.config, wiring::dead_letters(&loaded.config), output).await,
        Command::Simulate(args) => simulate::run(&args, simulate_defaults(&loaded.config), output).await,
        Command::Tree(args) => tree::run(&args, &loaded.config, output).await,
        Command::Backup(args) => {
            descriptors::raise();
            backup::run(args, loaded.config, output).await
        }
        Command::Restore(args) => restore::run(args, loaded.config, output).await,
        Command::Reload(args) => reload::run(&args, &loaded.config, output).await,
    }
}

fn user_deps(config: &Config) -> anyhow::Result<user::UserDeps> {
    Ok(user::UserDeps {
        accounts: wiring::accounts(config)?,
        logins: wiring::shared_logins(config)?,
        passwords: wiring::passwords(config)?,
        audit_entries_max: config.auth.audit_entries_max,
    })
}

/// The usual limit of 1024 would be full with a thousand sockets.
fn raise_descriptor_limit(config: &Config) {
    let (limit, needed) = (descriptors::raise(), descriptors::needed(config));
    if limit < needed {
        tracing::warn!(
            limit,
            needed,
            "fewer file descriptors than clients are configured; raise the limit (ulimit -Hn)"
        );
    }
}

/// The broker that devices publish to.
fn simulate_defaults(config: &Config) -> simulate::SimulateDefaults {
    simulate::SimulateDefaults {
        url: config.mqtt_url(),
        tls: wiring::mqtt_tls(config),
        username: config.mqtt.username.clone(),
        password: config.mqtt.password.as_ref().map(|password| password.expose().to_owned()),
    }
}

/// Says what went wrong, a line for each mistake, and chooses the exit code.
fn report(error: &anyhow::Error) -> ExitCode {
    if error.is::<OutputClosed>() {
        return ExitCode::SUCCESS; // The reader has seen enough, as in `orinoco dlq list | head`.
    }
    // Nobody is left to tell if this fails.
    let _ = if is_bad_configuration(error) {
        writeln!(io::stderr(), "{error}")
    } else {
        writeln!(io::stderr(), "orinoco: {error:#}")
    };
    if is_bad_configuration(error) { ExitCode::from(EXIT_BAD_CONFIGURATION) } else { ExitCode::FAILURE }
}

fn is_bad_configuration(error: &anyhow::Error) -> bool {
    let plan = |error: &TreeError| matches!(error, TreeError::Plan(_));
    error.is::<ConfigError>() || error.is::<PlanError>() || error.downcast_ref().is_some_and(plan)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn global_flags_are_taken_before_and_after_the_command() {
        for arguments in [["orinoco", "--mode", "services", "check"], ["orinoco", "check", "--mode", "services"]] {
            assert_eq!(Cli::try_parse_from(arguments).unwrap().global.mode.as_deref(), Some("services"));
        }
        assert!(Cli::try_parse_from(["orinoco", "check", "--mode", "both"]).is_err());
    }

    #[test]
    fn the_exit_code_says_whether_the_configuration_or_something_else_is_wrong() {
        let flags = Flags { config: Some("no/such/file".into()), ..Flags::default() };
        let configuration = config::load_from(&flags, [], std::path::Path::new("no/such/file")).unwrap_err();
        let plan = || orinoco_supervision::Plan::parse("colour = 1", "tree.toml").unwrap_err();
        for error in [configuration.into(), plan().into(), TreeError::Plan(plan()).into()] {
            assert_eq!(report(&error), ExitCode::from(64), "{error}");
        }
        assert_eq!(report(&anyhow::anyhow!("away")), ExitCode::FAILURE);
        assert_eq!(report(&OutputClosed.into()), ExitCode::SUCCESS);
    }
}
