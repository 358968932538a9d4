//! Leases in PostgreSQL, by its clock.
//!
//! Invariant: renewing and taking is one statement, so that a lease has one owner whoever asks at the same time.

use std::{fmt, time::Duration};

use async_trait::async_trait;
use orinoco_ports::{BackendInfo, Lease, LeaseError, Leases};
use tokio_postgres::{
    Client, Error, Row,
    error::SqlState,
    types::{ToSql, Type},
};

use super::{Place, query, schema, text_of};
use crate::pool::Pool;

/// `with .. insert .. on conflict` with `clock_timestamp()` is older; 14 is the oldest that is still maintained.
const VERSION_NUMBER_MIN: i32 = 140_000;

/// Who holds, and where.
#[derive(Clone)]
pub struct PostgresLeasesOptions {
    /// `postgres://user:password@host:port/database`.
    pub url: String,
    /// Identity of this daemon, the same over restarts: the next run takes its leases over at once.
    pub owner: String,
    /// What any call may take, connecting included.
    pub call_timeout: Duration,
}

impl PostgresLeasesOptions {
    #[must_use]
    pub fn new(url: impl Into<String>, owner: impl Into<String>) -> Self {
        Self { url: url.into(), owner: owner.into(), call_timeout: Duration::from_millis(2_000) }
    }
}

impl fmt::Debug for PostgresLeasesOptions {
    /// Without the URL, which may hold a password.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = formatter.debug_struct("PostgresLeasesOptions");
        text.field("owner", &self.owner).field("call_timeout", &self.call_timeout).finish_non_exhaustive()
    }
}

/// [`Leases`] in table `lease`. Must be made and used inside a tokio runtime.
#[derive(Debug)]
pub struct PostgresLeases {
    pool: Pool<Place>,
    place: String,
    owner: String,
    session: String,
}

impl PostgresLeases {
    /// A new run of the owner. Connects when first used.
    ///
    /// # Errors
    /// [`LeaseError::Unavailable`] for a URL that can't be understood.
    pub fn new(options: &PostgresLeasesOptions) -> Result<Self, LeaseError> {
        let place = Place::parse(&options.url)
            .map_err(|reason| LeaseError::Unavailable { place: "at postgres.url".to_owned(), reason })?;
        Ok(Self {
            place: place.text.clone(),
            // One actor asks; a second connection serves a probe meanwhile.
            pool: Pool::new(place, 2, options.call_timeout),
            owner: options.owner.clone(),
            session: format!("{:032x}", fastrand::u128(..)),
        })
    }

    async fn ask(&self, sql: &str, arguments: &[(&(dyn ToSql + Sync), Type)]) -> Result<Vec<Row>, LeaseError> {
        let mut held = self.pool.get().await.map_err(|reason| self.unavailable(reason))?;
        let timeout = self.pool.call_timeout();
        let answer = tokio::time::timeout(timeout, query(held.begin(), sql, arguments)).await;
        let answer = answer.map_err(|_| self.unavailable(format!("no answer within {} ms", timeout.as_millis())))?;
        if answer.as_ref().err().is_none_or(|error| error.as_db_error().is_some()) {
            held.answered();
        }
        answer.map_err(|error| self.refused(&error))
    }

    fn refused(&self, error: &Error) -> LeaseError {
        if error.code() == Some(&SqlState::UNDEFINED_TABLE) || error.code() == Some(&SqlState::UNDEFINED_COLUMN) {
            return self.wrong_schema(None);
        }
        self.unavailable(text_of(error))
    }

    fn wrong_schema(&self, found: Option<i32>) -> LeaseError {
        LeaseError::Schema {
            place: self.place.clone(),
            found: schema::found_text(found),
            needed: schema::schema_version_needed().to_string(),
        }
    }

    fn unavailable(&self, reason: String) -> LeaseError {
        LeaseError::Unavailable { place: self.place.clone(), reason }
    }

    async fn schema_version(&self) -> Result<Option<i32>, LeaseError> {
        let mut held = self.pool.get().await.map_err(|reason| self.unavailable(reason))?;
        let client: &Client = held.begin();
        let version = schema::version_of(client).await.map_err(|reason| self.unavailable(reason))?;
        held.answered();
        Ok(version)
    }
}

#[async_trait]
impl Leases for PostgresLeases {
    async fn hold(&self, wanted: &[String], time_to_live: Duration) -> Result<Vec<Lease>, LeaseError> {
        let time_to_live_ms = i64::try_from(time_to_live.as_millis()).unwrap_or(i64::MAX);
        let arguments: [(&(dyn ToSql + Sync), Type); 4] = [
            (&wanted, Type::TEXT_ARRAY),
            (&self.owner, Type::TEXT),
            (&self.session, Type::TEXT),
            (&time_to_live_ms, Type::INT8),
        ];
        let rows = self.ask(include_str!("hold.sql"), &arguments).await?;
        // The table's check keeps epochs positive.
        let lease = |row: &Row| Lease { name: row.get(0), epoch: row.get::<_, i64>(1).unsigned_abs() };
        Ok(rows.iter().map(lease).collect())
    }

    async fn release(&self, names: &[String]) -> Result<(), LeaseError> {
        let sql = "update lease set expires_at = '-infinity' where name = any ($1) and owner = $2 and session = $3";
        let arguments: [(&(dyn ToSql + Sync), Type); 3] =
            [(&names, Type::TEXT_ARRAY), (&self.owner, Type::TEXT), (&self.session, Type::TEXT)];
        self.ask(sql, &arguments).await.map(drop)
    }

    async fn probe(&self) -> Result<BackendInfo, LeaseError> {
        let sql = "select current_setting('server_version'), current_setting('server_version_num')::int, \
            pg_is_in_recovery()";
        let rows = self.ask(sql, &[]).await?;
        let row = rows.first().ok_or_else(|| self.unavailable("the answer to a probe is empty".to_owned()))?;
        let (version, number, is_replica): (String, i32, bool) = (row.get(0), row.get(1), row.get(2));
        let found = self.schema_version().await?;
        if found != Some(schema::schema_version_needed()) {
            return Err(self.wrong_schema(found));
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
}
