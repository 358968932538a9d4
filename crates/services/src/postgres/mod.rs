//! PostgreSQL: connections, the schema, leases, accounts.

mod accounts;
mod leases;
mod schema;
mod server;
mod tls;

use std::{fmt, future::Future, str::FromStr, time::Duration};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_postgres::{
    Client, Config, Connection, Error, NoTls, Row,
    config::Host,
    types::{ToSql, Type},
};
use tokio_postgres_rustls::MakeRustlsConnect;

pub use accounts::{PostgresAccounts, PostgresAccountsOptions};
pub use leases::{PostgresLeases, PostgresLeasesOptions};
pub use schema::{SchemaError, check_schema, migrate, schema_version, schema_version_needed};

pub use self::tls::SslMode;
use crate::{
    pool::Dial,
    tls::{TlsKeys, TlsOptions},
};

/// What connecting may take, outside of a pool.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How to reach PostgreSQL.
#[derive(Clone)]
pub struct PostgresAccess {
    /// `postgres://user:password@host:port/database[?sslmode=...]`.
    pub url: String,
    /// For `sslmode=require` and what is stricter.
    pub tls: TlsOptions,
}

impl From<&str> for PostgresAccess {
    fn from(url: &str) -> Self {
        Self { url: url.to_owned(), tls: TlsOptions::default() }
    }
}

impl fmt::Debug for PostgresAccess {
    /// Without the URL, which may hold a password.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("PostgresAccess").field("tls", &self.tls).finish_non_exhaustive()
    }
}

/// Where PostgreSQL is, and how to get there.
#[derive(Debug)]
struct Place {
    /// Without user and password.
    text: String,
    config: Config,
    mode: SslMode,
    tls: TlsOptions,
}

impl Place {
    /// # Errors
    /// The URL can't be understood; the text does not repeat it, as it may hold a password.
    fn parse(access: &PostgresAccess) -> Result<Self, String> {
        let how = "write it as postgres://user:password@host:port/database, with ?sslmode= for TLS";
        let (mode, url) = SslMode::extract(&access.url)?;
        let mut config = Config::from_str(&url).map_err(|error| format!("{}; {how}", text_of(&error)))?;
        config.application_name("orinoco").keepalives_idle(Duration::from_secs(30));
        let host = match config.get_hosts().first() {
            Some(Host::Tcp(host)) => host.clone(),
            #[cfg(unix)]
            Some(Host::Unix(path)) => path.display().to_string(),
            None => return Err(format!("it names no host; {how}")),
        };
        let port = config.get_ports().first().copied().unwrap_or(5432);
        let database = config.get_dbname().unwrap_or_default();
        let text = format!("postgres://{host}:{port}/{database}");
        Ok(Self { text, config, mode, tls: access.tls.clone() })
    }

    async fn connect(&self) -> Result<Client, String> {
        let tls = match self.mode {
            SslMode::Disable => None,
            SslMode::Prefer => Some(tls::unverified().map_err(|error| error.to_string())?),
            SslMode::Verified => Some(self.tls.client_config().await.map_err(|error| error.to_string())?),
        };
        let connected = match tls {
            None => self.config.connect(NoTls).await.map(|(client, connection)| drive(client, connection)),
            Some(tls) => {
                let connected = self.config.connect(MakeRustlsConnect::new(tls)).await;
                connected.map(|(client, connection)| drive(client, connection))
            }
        };
        connected.map_err(|error| match self.mode {
            SslMode::Disable => text_of(&error),
            SslMode::Prefer | SslMode::Verified => TlsKeys::POSTGRES.with_remedy(text_of(&error)),
        })
    }

    /// # Errors
    /// Why there is no connection.
    async fn connect_in_time(&self) -> Result<Client, String> {
        let connecting = tokio::time::timeout(CONNECT_TIMEOUT, self.connect());
        connecting.await.unwrap_or_else(|_| Err(format!("no connection within {} s", CONNECT_TIMEOUT.as_secs())))
    }
}

impl Dial for Place {
    type Connection = Client;

    fn dial(&self) -> impl Future<Output = Result<Client, String>> + Send {
        self.connect()
    }

    fn is_closed(client: &Client) -> bool {
        client.is_closed()
    }

    /// An empty statement.
    async fn check(client: &mut Client) -> Result<(), String> {
        client.simple_query("").await.map(drop).map_err(|error| text_of(&error))
    }
}

/// The connection works in a task of its own, for as long as its client is there.
fn drive<S, T>(client: Client, connection: Connection<S, T>) -> Client
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    tokio::spawn(async move {
        // Whoever waits for an answer gets the same error.
        if let Err(error) = connection.await {
            tracing::debug!(error = text_of(&error), "connection to postgresql ended");
        }
    });
    client
}

/// A statement in one round trip: parsed, bound and run at once, without a prepared statement.
async fn query(client: &Client, sql: &str, arguments: &[(&(dyn ToSql + Sync), Type)]) -> Result<Vec<Row>, Error> {
    client.query_typed(sql, arguments).await
}

/// tokio-postgres keeps the server's own words, and the operating system's, in the source.
fn text_of(error: &Error) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
