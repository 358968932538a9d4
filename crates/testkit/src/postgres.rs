//! PostgreSQL.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use rustix::process::Signal;
use tempfile::TempDir;
use tokio::sync::OnceCell;

use crate::port::free_port;
use crate::process::{Launch, missing_program};
use crate::server::{Address, Server, shared};
use crate::unique_name;

const VERSIONS: &str = "/usr/lib/postgresql";
/// As in docker-compose.yml.
const ACCOUNT: &str = "orinoco";

static SHARED: OnceCell<Postgres> = OnceCell::const_new();

/// A PostgreSQL server of one's own. It doesn't sync to disk: its data survives kill -9, but not a loss of power.
pub type Postgres = Server<PostgresAddress>;

/// Where a PostgreSQL server is, with an account that may create databases.
#[derive(Debug, Clone)]
pub struct PostgresAddress {
    url: String,
}

/// A database of one test, dropped with its handle.
#[derive(Debug)]
pub struct Database {
    server: PostgresAddress,
    name: String,
    url: String,
}

impl Postgres {
    /// Starts a server on a free port, as user `postgres` (or `nobody`) when the tests run as root, which PostgreSQL refuses.
    ///
    /// # Errors
    /// It is not installed, or did not start; with the end of its log.
    pub async fn start() -> anyhow::Result<Self> {
        Self::start_with(None).await
    }

    /// The same, with `ssl=on`: its certificate and its private key, both PEM files. It still takes connections without TLS.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn start_with_tls(certificate: &Path, key: &Path) -> anyhow::Result<Self> {
        Self::start_with(Some((certificate, key))).await
    }

    async fn start_with(tls: Option<(&Path, &Path)>) -> anyhow::Result<Self> {
        let folder = TempDir::with_prefix("orinoco-postgres-")?;
        let (data, log, port) = (folder.path().join("data"), folder.path().join("log"), free_port()?);
        let user = user_to_run_as()?;
        fs::create_dir(&data)?;
        if let Some((user, group)) = user {
            fs::set_permissions(folder.path(), Permissions::from_mode(0o755))?;
            chown(&data, Some(user), Some(group))?;
        }
        let prepare = |program: &str| -> anyhow::Result<Launch> {
            let mut launch = Launch::new(program_path(program)?, Path::new("/"), log.clone());
            launch.user = user;
            Ok(launch.arguments(["-D".as_ref(), data.as_os_str()]))
        };
        let password = folder.path().join("password");
        fs::write(&password, ACCOUNT)?;
        let initdb = prepare("initdb")?
            .arguments(["-U", ACCOUNT, "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"])
            .arguments([format!("--pwfile={}", password.display())]);
        tokio::task::spawn_blocking(move || initdb.run_to_end()).await??;
        // No Unix socket: the default folder belongs to Debian's own server.
        let launch = prepare("postgres")?
            .arguments(["-p", &port.to_string(), "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="])
            .arguments(["-c", "fsync=off", "-c", "max_connections=200"]);
        let launch = match tls {
            Some((certificate, key)) => {
                let own = |path: &Path, name: &str| own_copy(path, &folder.path().join(name), user);
                let (certificate, key) = (own(certificate, "server.crt")?, own(key, "server.key")?);
                let settings =
                    ["ssl=on".to_owned(), format!("ssl_cert_file={certificate}"), format!("ssl_key_file={key}")];
                settings.into_iter().fold(launch, |launch, setting| launch.arguments(["-c".to_owned(), setting]))
            }
            None => launch,
        };
        let address = PostgresAddress { url: format!("postgres://{ACCOUNT}:{ACCOUNT}@127.0.0.1:{port}/postgres") };
        // SIGINT is its fast shutdown: SIGTERM would wait for its clients.
        Self::launch(launch, folder, address, Signal::INT).await
    }

    /// The server that the tests of one run share: `ORINOCO_TEST_POSTGRES_URL`, else one for this process. Take a
    /// [`fresh_database`](PostgresAddress::fresh_database) of it.
    ///
    /// # Errors
    /// It does not answer, or could not be started.
    pub async fn shared() -> anyhow::Result<PostgresAddress> {
        shared("ORINOCO_TEST_POSTGRES_URL", |url| PostgresAddress { url }, &SHARED, Self::start).await
    }
}

impl PostgresAddress {
    /// `postgres://USER:PASSWORD@127.0.0.1:PORT/DATABASE`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Creates an empty database with a name of its own.
    ///
    /// # Errors
    /// The server refused or does not answer.
    pub async fn fresh_database(&self) -> anyhow::Result<Database> {
        let name = unique_name("test").replace('-', "_");
        // template0 has no connections, ever; copying template1 fails while somebody is connected to it.
        self.execute(&format!("create database {name} template template0")).await?;
        let (server, _) = self.url.rsplit_once('/').context("a PostgreSQL URL without a database")?;
        let url = format!("{server}/{name}");
        Ok(Database { server: self.clone(), name, url })
    }

    /// Runs a statement through `psql` and returns its rows, one a line, columns separated by `|`.
    ///
    /// # Errors
    /// What psql says.
    pub async fn execute(&self, statement: &str) -> anyhow::Result<String> {
        let (url, statement) = (self.url.clone(), statement.to_owned());
        tokio::task::spawn_blocking(move || psql(&url, &statement)).await?
    }
}

impl Address for PostgresAddress {
    fn url(&self) -> &str {
        &self.url
    }

    async fn answers(&self) -> anyhow::Result<()> {
        self.execute("select 1").await.map(drop)
    }
}

impl Database {
    /// `postgres://USER:PASSWORD@127.0.0.1:PORT/NAME`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// As [`PostgresAddress::execute`], in this database.
    ///
    /// # Errors
    /// What psql says.
    pub async fn execute(&self, statement: &str) -> anyhow::Result<String> {
        PostgresAddress { url: self.url.clone() }.execute(statement).await
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // A destructor has nobody to tell; the server and its data go anyway at the end of the run.
        let _ = psql(&self.server.url, &format!("drop database if exists {} with (force)", self.name));
    }
}

fn psql(url: &str, statement: &str) -> anyhow::Result<String> {
    let output = Command::new("psql")
        .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", url, "-c", statement])
        .env("PGCONNECT_TIMEOUT", "5")
        .stdin(Stdio::null())
        .output()
        .with_context(|| missing_program(Path::new("psql")))?;
    if !output.status.success() {
        bail!("psql: {}", String::from_utf8_lossy(&output.stderr).trim_end());
    }
    Ok(String::from_utf8(output.stdout)?.trim_end().to_owned())
}

/// Debian keeps the server's programs out of PATH, in a folder for each version: the newest counts.
fn program_path(program: &str) -> anyhow::Result<PathBuf> {
    let versions = fs::read_dir(VERSIONS).into_iter().flatten().flatten();
    let newest = versions
        .filter_map(|version| version.file_name().to_str()?.parse::<u32>().ok())
        .max()
        .with_context(|| missing_program(Path::new(program)))?;
    Ok(Path::new(VERSIONS).join(newest.to_string()).join("bin").join(program))
}

/// PostgreSQL reads a key that nobody else can read.
fn own_copy(path: &Path, copy: &Path, user: Option<(u32, u32)>) -> anyhow::Result<String> {
    fs::copy(path, copy).with_context(|| path.display().to_string())?;
    fs::set_permissions(copy, Permissions::from_mode(0o600))?;
    if let Some((user, group)) = user {
        chown(copy, Some(user), Some(group))?;
    }
    Ok(copy.display().to_string())
}

/// User and group for the server, if the tests themselves run as root.
fn user_to_run_as() -> anyhow::Result<Option<(u32, u32)>> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let accounts = fs::read_to_string("/etc/passwd").context("/etc/passwd")?;
    let ids = |name: &str| {
        let fields: Vec<&str> =
            accounts.lines().map(|line| line.split(':').collect()).find(|fields: &Vec<&str>| fields[0] == name)?;
        Some((fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?))
    };
    let user = ids("postgres").or_else(|| ids("nobody")).context("no user postgres or nobody to run PostgreSQL as")?;
    Ok(Some(user))
}
