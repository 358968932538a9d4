//! Calls to PostgreSQL: pooled, bounded in time, with errors as all its adapters understand them.
//!
//! Invariant: a transaction that this process leaves open, however it ends, is ended by the server soon.

use std::time::Duration;

use orinoco_ports::BackendInfo;
use tokio_postgres::{
    Client, Error, Row,
    error::SqlState,
    types::{ToSql, Type},
};

use super::{Place, PostgresAccess, query, schema, text_of};
use crate::pool::Pool;

/// `with .. insert .. on conflict` with `clock_timestamp()` is older; 14 is the oldest that is still maintained.
const VERSION_NUMBER_MIN: i32 = 140_000;

/// A statement's argument and its type.
pub(super) type Argument<'a> = (&'a (dyn ToSql + Sync), Type);

/// One statement of a transaction.
#[derive(Clone, Copy)]
pub(super) struct Statement<'a> {
    pub(super) sql: &'a str,
    pub(super) arguments: &'a [Argument<'a>],
}

/// Why a call has no result.
#[derive(Debug)]
pub(super) enum Failure {
    /// Try again later; whether the call had an effect is not known.
    Unavailable { reason: String },
    /// The schema is another one. `found` is `None` where there is none, or where it wasn't asked for.
    Schema { found: Option<i32> },
    /// A unique constraint, by its name; nothing was changed.
    Taken { constraint: String },
    /// The data, not the server: somebody must look.
    Corrupt { reason: String },
}

/// One PostgreSQL server, as an adapter uses it.
#[derive(Debug)]
pub(super) struct Server {
    pool: Pool<Place>,
    place: String,
    /// Begins a transaction which the server ends if we don't.
    begin: String,
}

impl Server {
    /// Connects when first used. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// The URL can't be understood; the text does not repeat it.
    pub(super) fn new(access: &PostgresAccess, connections_max: u32, call_timeout: Duration) -> Result<Self, String> {
        let place = Place::parse(access)?;
        // 0 would be for ever.
        let timeout_ms = call_timeout.as_millis().max(1);
        let begin = format!(
            "begin; set local statement_timeout = {timeout_ms}; \
            set local idle_in_transaction_session_timeout = {timeout_ms}"
        );
        Ok(Self { place: place.text.clone(), pool: Pool::new(place, connections_max, call_timeout), begin })
    }

    /// Without user and password.
    pub(super) fn place(&self) -> &str {
        &self.place
    }

    /// One statement, in one round trip.
    ///
    /// # Errors
    /// [`Failure`].
    pub(super) async fn query(&self, sql: &str, arguments: &[Argument<'_>]) -> Result<Vec<Row>, Failure> {
        let deadline = self.pool.deadline();
        let mut held = self.pool.get(deadline).await.map_err(unavailable)?;
        let answer = tokio::time::timeout_at(deadline, query(held.begin(), sql, arguments)).await;
        let answer = answer.map_err(|_| unavailable(self.pool.no_answer()))?;
        if is_answer(&answer) {
            held.answered();
        }
        answer.map_err(|error| refused(&error))
    }

    /// Statements that take effect together, each of which sees what those that were committed before it began have left. It ends with the
    /// first that yields no row, as does the answer; else the answer is that of the last one.
    ///
    /// # Errors
    /// [`Failure`].
    pub(super) async fn transaction(&self, statements: &[Statement<'_>]) -> Result<Vec<Row>, Failure> {
        let deadline = self.pool.deadline();
        let mut held = self.pool.get(deadline).await.map_err(unavailable)?;
        let running = run(held.begin(), &self.begin, statements);
        let answer = tokio::time::timeout_at(deadline, running).await;
        let answer = answer.map_err(|_| unavailable(self.pool.no_answer()))?;
        if is_answer(&answer) {
            held.answered();
        }
        answer.map_err(|error| refused(&error))
    }

    /// Version, schema, and what to mend.
    ///
    /// # Errors
    /// [`Failure`]; `Schema` for any version but the one that this program needs.
    pub(super) async fn probe(&self) -> Result<BackendInfo, Failure> {
        let sql = "select current_setting('server_version'), current_setting('server_version_num')::int, \
            pg_is_in_recovery()";
        let rows = self.query(sql, &[]).await?;
        let row = rows.first().ok_or_else(|| unavailable("the answer to a probe is empty".to_owned()))?;
        let (version, number, is_replica): (String, i32, bool) = (row.get(0), row.get(1), row.get(2));
        let found = self.schema_version().await?;
        if found != Some(schema::schema_version_needed()) {
            return Err(Failure::Schema { found });
        }
        let mut advice = Vec::new();
        if number < VERSION_NUMBER_MIN {
            advice.push(format!("PostgreSQL {version} is older than 14: upgrade it"));
        }
        if is_replica {
            advice.push("this is a read-only replica: point postgres.url to its primary".to_owned());
        }
        Ok(BackendInfo { version: format!("PostgreSQL {version}"), advice })
    }

    async fn schema_version(&self) -> Result<Option<i32>, Failure> {
        let deadline = self.pool.deadline();
        let mut held = self.pool.get(deadline).await.map_err(unavailable)?;
        let client: &Client = held.begin();
        let version = tokio::time::timeout_at(deadline, schema::version_of(client)).await;
        let version = version.map_err(|_| unavailable(self.pool.no_answer()))?.map_err(unavailable)?;
        held.answered();
        Ok(version)
    }
}

async fn run(client: &Client, begin: &str, statements: &[Statement<'_>]) -> Result<Vec<Row>, Error> {
    client.batch_execute(begin).await?;
    let mut rows = Vec::new();
    for Statement { sql, arguments } in statements {
        match query(client, sql, arguments).await {
            Ok(answer) => rows = answer,
            Err(error) => {
                client.batch_execute("rollback").await?;
                return Err(error);
            }
        }
        if rows.is_empty() {
            break;
        }
    }
    client.batch_execute("commit").await?;
    Ok(rows)
}

/// Whether the server answered, be it by an error, so that the connection may be used on.
fn is_answer<T>(answer: &Result<T, Error>) -> bool {
    answer.as_ref().err().is_none_or(|error| error.as_db_error().is_some())
}

fn unavailable(reason: String) -> Failure {
    Failure::Unavailable { reason }
}

fn refused(error: &Error) -> Failure {
    let Some(refusal) = error.as_db_error() else { return unavailable(text_of(error)) };
    match *refusal.code() {
        SqlState::UNDEFINED_TABLE | SqlState::UNDEFINED_COLUMN => Failure::Schema { found: None },
        SqlState::UNIQUE_VIOLATION => {
            Failure::Taken { constraint: refusal.constraint().unwrap_or_default().to_owned() }
        }
        // Classes 22 (data exception) and 23 (integrity constraint violation).
        ref code if code.code().starts_with("22") || code.code().starts_with("23") => {
            Failure::Corrupt { reason: text_of(error) }
        }
        _ => unavailable(text_of(error)),
    }
}
