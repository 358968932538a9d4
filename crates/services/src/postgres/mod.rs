//! PostgreSQL: connections, the schema, leases, accounts.

mod accounts;
mod leases;
mod schema;
mod server;

use std::{future::Future, str::FromStr, time::Duration};

use tokio_postgres::{
    Client, Config, Error, NoTls, Row,
    config::Host,
    types::{ToSql, Type},
};

pub use accounts::{PostgresAccounts, PostgresAccountsOptions};
pub use leases::{PostgresLeases, PostgresLeasesOptions};
pub use schema::{SchemaError, check_schema, migrate, schema_version, schema_version_needed};

use crate::pool::Dial;

/// What connecting may take, outside of a pool.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Where PostgreSQL is, and how to get there.
#[derive(Debug)]
struct Place {
    /// Without user and password.
    text: String,
    config: Config,
}

impl Place {
    /// # Errors
    /// The URL can't be understood; the text does not repeat it, as it may hold a password.
    fn parse(url: &str) -> Result<Self, String> {
        let how = "write it as postgres://user:password@host:port/database";
        let mut config = Config::from_str(url).map_err(|error| format!("{}; {how}", text_of(&error)))?;
        config.application_name("orinoco").keepalives_idle(Duration::from_secs(30));
        let host = match config.get_hosts().first() {
            Some(Host::Tcp(host)) => host.clone(),
            #[cfg(unix)]
            Some(Host::Unix(path)) => path.display().to_string(),
            None => return Err(format!("it names no host; {how}")),
        };
        let port = config.get_ports().first().copied().unwrap_or(5432);
        let database = config.get_dbname().unwrap_or_default();
        Ok(Self { text: format!("postgres://{host}:{port}/{database}"), config })
    }

    async fn connect(&self) -> Result<Client, String> {
        let (client, connection) = self.config.connect(NoTls).await.map_err(|error| text_of(&error))?;
        tokio::spawn(async move {
            // Whoever waits for an answer gets the same error.
            if let Err(error) = connection.await {
                tracing::debug!(error = text_of(&error), "connection to postgresql ended");
            }
        });
        Ok(client)
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
