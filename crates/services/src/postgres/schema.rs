//! The schema: migrations/ of the repository, embedded, applied by refinery.

use std::time::Duration;

use refinery::{Runner, embed_migrations};
use tokio_postgres::{Client, error::SqlState};

use super::{Place, PostgresAccess, query, text_of};

embed_migrations!("../../migrations");

/// A migration that rewrites a large table takes its time; one that hangs must end all the same.
const MIGRATION_TIMEOUT: Duration = Duration::from_secs(600);
const QUERY_TIMEOUT: Duration = Duration::from_secs(5);

/// Key of the advisory lock under which one daemon at a time migrates; any number that others don't use.
const MIGRATION_LOCK: &str = "select pg_advisory_lock(7239031905)";

/// Why the schema is not, or can't be made, what this program needs.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// Try again later, or mend `postgres.url`.
    #[error("postgresql {place} can't be reached: {reason}")]
    Unavailable { place: String, reason: String },
    /// `orinoco migrate` brings an older one up; for a newer one this program is too old.
    #[error("postgresql {place} has schema {found}, this program needs {needed}; {remedy}")]
    Mismatch { place: String, found: String, needed: i32, remedy: &'static str },
    /// Somebody must look; what was applied before stays.
    #[error("postgresql {place} could not be migrated: {reason}")]
    Failed { place: String, reason: String },
}

/// The version that this program works with.
#[must_use]
pub fn schema_version_needed() -> i32 {
    runner().get_migrations().iter().map(refinery::Migration::version).max().unwrap_or(0)
}

/// Applies what is missing, and returns the version reached. Several daemons may do so at once: one does it, the others wait.
///
/// # Errors
/// [`SchemaError::Unavailable`]; [`SchemaError::Failed`], also where the database holds a migration that this program does not
/// know, or another one under the same version.
pub async fn migrate(access: impl Into<PostgresAccess>) -> Result<i32, SchemaError> {
    let place = parse(&access.into())?;
    let mut client = connect(&place).await?;
    let failed = |reason: String| SchemaError::Failed { place: place.text.clone(), reason };
    let migrating = async {
        client.batch_execute(MIGRATION_LOCK).await.map_err(|error| failed(text_of(&error)))?;
        runner().run_async(&mut client).await.map_err(|error| failed(error_chain(&error)))
    };
    let report = tokio::time::timeout(MIGRATION_TIMEOUT, migrating)
        .await
        .map_err(|_| failed(format!("not done within {} s", MIGRATION_TIMEOUT.as_secs())))??;
    for migration in report.applied_migrations() {
        tracing::info!(version = migration.version(), name = migration.name(), "migration applied");
    }
    // The lock goes with the connection.
    Ok(schema_version_needed())
}

/// The version of the database; `None` where it was never migrated.
///
/// # Errors
/// [`SchemaError::Unavailable`].
pub async fn schema_version(access: impl Into<PostgresAccess>) -> Result<Option<i32>, SchemaError> {
    let place = parse(&access.into())?;
    let client = connect(&place).await?;
    version_of(&client).await.map_err(|reason| SchemaError::Unavailable { place: place.text, reason })
}

/// Whether the database has exactly the version that this program needs.
///
/// # Errors
/// [`SchemaError::Unavailable`], [`SchemaError::Mismatch`].
pub async fn check_schema(access: impl Into<PostgresAccess>) -> Result<(), SchemaError> {
    let access = access.into();
    let place = parse(&access)?.text;
    let found = schema_version(access).await?;
    let needed = schema_version_needed();
    if found == Some(needed) {
        return Ok(());
    }
    let newer = found.is_some_and(|found| found > needed);
    let remedy = if newer { "upgrade orinoco" } else { "run `orinoco migrate`" };
    Err(SchemaError::Mismatch { place, found: found_text(found), needed, remedy })
}

pub(super) fn found_text(found: Option<i32>) -> String {
    found.map_or_else(|| "none".to_owned(), |version| version.to_string())
}

pub(super) async fn version_of(client: &Client) -> Result<Option<i32>, String> {
    let asking = query(client, "select max(version)::int from refinery_schema_history", &[]);
    let answer = tokio::time::timeout(QUERY_TIMEOUT, asking).await;
    let rows = match answer.map_err(|_| format!("no answer within {} s", QUERY_TIMEOUT.as_secs()))? {
        Ok(rows) => rows,
        Err(error) if error.code() == Some(&SqlState::UNDEFINED_TABLE) => return Ok(None),
        Err(error) => return Err(text_of(&error)),
    };
    Ok(rows.first().and_then(|row| row.get(0)))
}

fn runner() -> Runner {
    migrations::runner()
}

fn parse(access: &PostgresAccess) -> Result<Place, SchemaError> {
    Place::parse(access).map_err(|reason| SchemaError::Unavailable { place: "at postgres.url".to_owned(), reason })
}

async fn connect(place: &Place) -> Result<Client, SchemaError> {
    let unavailable = |reason| SchemaError::Unavailable { place: place.text.clone(), reason };
    place.connect_in_time().await.map_err(unavailable)
}

fn error_chain(error: &refinery::Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}
