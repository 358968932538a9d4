//! Leases in PostgreSQL, by its clock.
//!
//! Invariant: renewing and taking is one statement, so that a lease has one owner whoever asks at the same time.

use std::time::Duration;

use async_trait::async_trait;
use orinoco_ports::{BackendInfo, Holding, Lease, LeaseError, Leases, Sharing};
use tokio_postgres::{Row, types::Type};

use super::{
    PostgresAccess, schema,
    server::{Argument, Failure, Server},
};

/// One actor asks; a second connection serves a probe meanwhile.
const CONNECTIONS_MAX: u32 = 2;

/// Who holds, and where.
#[derive(Debug, Clone)]
pub struct PostgresLeasesOptions {
    pub access: PostgresAccess,
    /// Identity of this daemon, the same over restarts: the next run takes its leases over at once.
    pub owner: String,
    /// What any call may take, connecting included.
    pub call_timeout: Duration,
}

impl PostgresLeasesOptions {
    #[must_use]
    pub fn new(access: impl Into<PostgresAccess>, owner: impl Into<String>) -> Self {
        Self { access: access.into(), owner: owner.into(), call_timeout: Duration::from_millis(2_000) }
    }
}

/// [`Leases`] in table `lease`. Must be made and used inside a tokio runtime.
#[derive(Debug)]
pub struct PostgresLeases {
    server: Server,
    owner: String,
    session: String,
}

impl PostgresLeases {
    /// A new run of the owner. Connects when first used.
    ///
    /// # Errors
    /// [`LeaseError::Unavailable`] for a URL that can't be understood.
    pub fn new(options: &PostgresLeasesOptions) -> Result<Self, LeaseError> {
        let server = Server::new(&options.access, CONNECTIONS_MAX, options.call_timeout)
            .map_err(|reason| LeaseError::Unavailable { place: "at postgres.url".to_owned(), reason })?;
        Ok(Self { server, owner: options.owner.clone(), session: format!("{:032x}", fastrand::u128(..)) })
    }

    async fn ask(&self, sql: &str, arguments: &[Argument<'_>]) -> Result<Vec<Row>, LeaseError> {
        self.server.query(sql, arguments).await.map_err(|failure| self.failed(failure))
    }

    fn failed(&self, failure: Failure) -> LeaseError {
        let place = self.server.place().to_owned();
        match failure {
            Failure::Unavailable { reason } | Failure::Corrupt { reason } => LeaseError::Unavailable { place, reason },
            // No statement of leases can violate one.
            Failure::Taken { constraint } => {
                LeaseError::Unavailable { place, reason: format!("{constraint} is taken") }
            }
            Failure::Schema { found } => LeaseError::Schema {
                place,
                found: schema::found_text(found),
                needed: schema::schema_version_needed().to_string(),
            },
        }
    }
}

#[async_trait]
impl Leases for PostgresLeases {
    async fn take_part(&self, time_to_live: Duration) -> Result<Sharing, LeaseError> {
        let arguments: [Argument<'_>; 2] = [(&self.owner, Type::TEXT), (&milliseconds(time_to_live), Type::INT8)];
        let rows = self.ask(include_str!("take_part.sql"), &arguments).await?;
        let count = |column| rows.first().map_or(0, |row| u32::try_from(row.get::<_, i64>(column)).unwrap_or(u32::MAX));
        Ok(Sharing { owners: count(0).saturating_add(1), rank: count(1) })
    }

    async fn hold(&self, wanted: &[String], held_max: u32, time_to_live: Duration) -> Result<Vec<Lease>, LeaseError> {
        let arguments: [Argument<'_>; 5] = [
            (&wanted, Type::TEXT_ARRAY),
            (&self.owner, Type::TEXT),
            (&self.session, Type::TEXT),
            (&milliseconds(time_to_live), Type::INT8),
            (&i64::from(held_max), Type::INT8),
        ];
        let rows = self.ask(include_str!("hold.sql"), &arguments).await?;
        // The table's check keeps epochs positive.
        let lease = |row: &Row| Lease { name: row.get(0), epoch: row.get::<_, i64>(1).unsigned_abs() };
        Ok(rows.iter().map(lease).collect())
    }

    async fn release(&self, names: &[String]) -> Result<(), LeaseError> {
        let sql = "update lease set expires_at = '-infinity' where name = any ($1) and owner = $2 and session = $3";
        let arguments: [Argument<'_>; 3] =
            [(&names, Type::TEXT_ARRAY), (&self.owner, Type::TEXT), (&self.session, Type::TEXT)];
        self.ask(sql, &arguments).await.map(drop)
    }

    async fn leave(&self) -> Result<(), LeaseError> {
        let arguments: [Argument<'_>; 2] = [(&self.owner, Type::TEXT), (&self.session, Type::TEXT)];
        self.ask(include_str!("leave.sql"), &arguments).await.map(drop)
    }

    async fn holdings(&self) -> Result<Vec<Holding>, LeaseError> {
        let sql = r#"select name, owner, epoch from lease where expires_at > now() order by name collate "C""#;
        let holding =
            |row: &Row| Holding { name: row.get(0), owner: row.get(1), epoch: row.get::<_, i64>(2).unsigned_abs() };
        Ok(self.ask(sql, &[]).await?.iter().map(holding).collect())
    }

    async fn probe(&self) -> Result<BackendInfo, LeaseError> {
        self.server.probe().await.map_err(|failure| self.failed(failure))
    }
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
