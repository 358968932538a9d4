//! The login store as an SQLite file: challenges and logins (families of refresh tokens); publication in memory.
//!
//! What waits for the writing thread is committed together: a crowd costs a few syncs of the disk, not one each.
//!
//! Invariants: what a call was answered for survives a power cut, a logout above all, and no load sees a change that may yet be lost;
//! each compare-and-set is decided in the transaction that writes it; a record is gone at its time by the store's clock, which never runs
//! backwards (see `clock`), and its row is removed by one of the next writes. Nothing of a record is kept in memory but SQLite's
//! pages, of which there is a bound.

mod challenges;
mod clock;
mod families;
mod schema;
#[cfg(test)]
mod tests;
mod transitions;

use std::{fmt, path::Path, sync::Arc};

use async_trait::async_trait;
use orinoco_domain::{
    account::UserId,
    challenge::{Challenge, ChallengeKey, NewChallenge},
    refresh::{Family, FamilyId},
};
use orinoco_ports::{
    BackendInfo, Clock, EndReason, FAMILIES_PER_USER_MAX, FamilyPage, Loaded, LoginEvent, LoginStore, LoginStoreError,
    LoginSubscription, Swap, SystemClock,
};
use rusqlite::Connection;
use serde::de::DeserializeOwned;
use tokio::sync::broadcast;

pub(crate) use self::schema::database;
use self::{
    challenges::Swapped,
    clock::StoreClock,
    families::{Cursor, EncodedFamily},
    transitions::{Subscriber, Transitions},
};
use crate::sqlite::{Fault, Reader, Writer, page_limit, take_page};

/// Limits of a login store.
#[derive(Debug, Clone, Copy)]
pub struct EmbeddedLoginOptions {
    /// Calls that may wait for a thread; further ones wait for their turn. Default 1,024.
    pub requests_max: usize,
    /// Changes that a subscriber may be behind, before its subscription ends. Default 8,192.
    pub events_max: usize,
    /// Logins of one user that are kept. Default [`FAMILIES_PER_USER_MAX`].
    pub families_per_user_max: usize,
}

impl Default for EmbeddedLoginOptions {
    fn default() -> Self {
        Self { requests_max: 1_024, events_max: 8_192, families_per_user_max: FAMILIES_PER_USER_MAX }
    }
}

/// The embedded login store. One to a file, as its changes are published inside the process.
pub struct EmbeddedLoginStore {
    place: String,
    // Dropped before the writer, which tidies the file up.
    reader: Reader,
    writer: Writer<Transitions>,
    clock: Arc<StoreClock>,
    events: broadcast::Sender<LoginEvent>,
    families_max: usize,
}

/// The machine's clock may lie so far behind before somebody is told.
const BEHIND_MS_MAX: i64 = 1_000;

impl EmbeddedLoginStore {
    /// Opens the database file `path`, made if missing.
    ///
    /// # Errors
    /// [`LoginStoreError::Unavailable`]; [`LoginStoreError::Corrupt`] where it is damaged, or was made by a newer program.
    pub fn open(path: &Path, options: EmbeddedLoginOptions) -> Result<Self, LoginStoreError> {
        Self::open_with_clock(path, options, Arc::new(SystemClock))
    }

    /// The same, in place of the machine's clock with this one.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_with_clock(
        path: &Path,
        options: EmbeddedLoginOptions,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, LoginStoreError> {
        let place = path.display().to_string();
        Self::start(path, place.clone(), options, clock).map_err(|fault| error_at(&place, fault))
    }

    fn start(path: &Path, place: String, options: EmbeddedLoginOptions, clock: Arc<dyn Clock>) -> Result<Self, Fault> {
        let database = schema::database(path);
        let writing = database.open_for_writing()?;
        let clock = Arc::new(StoreClock::new(clock, schema::highest_ms(&writing)?));
        let events = broadcast::Sender::new(options.events_max);
        let transitions = Transitions::new(Arc::clone(&clock), events.clone());
        let reader = Reader::start("orinoco-login-r", database.open_for_reading()?, options.requests_max)?;
        let writer = Writer::start("orinoco-login-w", writing, transitions, options.requests_max)?;
        Ok(Self { place, reader, writer, clock, events, families_max: options.families_per_user_max })
    }

    /// What was read, and a time that is not before it.
    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<(T, i64), LoginStoreError> {
        let clock = Arc::clone(&self.clock);
        let read = self.reader.read(move |connection| Ok((read(connection)?, clock.now_ms()))).await;
        read.map_err(|fault| error_at(&self.place, fault))
    }

    async fn write<T: Send + 'static>(
        &self,
        write: impl FnMut(&Connection, &mut Transitions) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, LoginStoreError> {
        self.writer.write(write).await.map_err(|fault| error_at(&self.place, fault))
    }

    fn taken(&self) -> LoginStoreError {
        LoginStoreError::Taken { place: self.place.clone() }
    }

    fn decode<T: DeserializeOwned>(&self, record: &str) -> Result<T, LoginStoreError> {
        serde_json::from_str(record).map_err(|error| error_at(&self.place, Fault::Damaged(error.to_string())))
    }

    /// The record, unless it is gone by now.
    fn loaded<T: DeserializeOwned>(
        &self,
        (found, now_ms): (Option<(String, i64)>, i64),
    ) -> Result<Loaded<T>, LoginStoreError> {
        let live = found.filter(|(_, gone_at_ms)| now_ms < *gone_at_ms);
        let record = live.map(|(record, _)| self.decode(&record)).transpose()?;
        Ok(Loaded { record, now_ms })
    }

    fn swapped<T: DeserializeOwned>(&self, swapped: Swapped) -> Result<Swap<T>, LoginStoreError> {
        match swapped {
            Swapped::Done => Ok(Swap::Swapped),
            Swapped::Conflict { record, now_ms } => Ok(Swap::Conflict { current: self.decode(&record)?, now_ms }),
            Swapped::Gone => Ok(Swap::Gone),
            Swapped::FamilyTaken => Err(self.taken()),
        }
    }
}

impl fmt::Debug for EmbeddedLoginStore {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("EmbeddedLoginStore").field("place", &self.place).finish_non_exhaustive()
    }
}

fn error_at(place: &str, fault: Fault) -> LoginStoreError {
    let place = place.to_owned();
    match fault {
        Fault::Unavailable(reason) => LoginStoreError::Unavailable { place, reason },
        Fault::Damaged(reason) => {
            let reason = format!("{reason}; move the file away to begin anew: all logins end then");
            LoginStoreError::Corrupt { place, reason }
        }
        Fault::Newer { found, needed } => {
            let reason = format!("it has schema {found}, this program knows {needed}; use the program that made it");
            LoginStoreError::Corrupt { place, reason }
        }
    }
}

#[async_trait]
impl LoginStore for EmbeddedLoginStore {
    async fn now_ms(&self) -> Result<i64, LoginStoreError> {
        Ok(self.clock.now_ms())
    }

    async fn create_challenge(&self, new: &NewChallenge) -> Result<Challenge, LoginStoreError> {
        let new = new.clone();
        let made = self.write(move |connection, transitions| challenges::create(connection, transitions, &new)).await?;
        made.ok_or_else(|| self.taken())
    }

    async fn load_challenge(&self, key: &ChallengeKey) -> Result<Loaded<Challenge>, LoginStoreError> {
        let key = *key;
        self.loaded(self.read(move |connection| challenges::load(connection, &key)).await?)
    }

    async fn swap_challenge(
        &self,
        next: &Challenge,
        began: Option<&Family>,
    ) -> Result<Swap<Challenge>, LoginStoreError> {
        let (next, began, families_max) = (next.clone(), began.map(EncodedFamily::new), self.families_max);
        let record = challenges::encode(&next);
        let swap = move |connection: &Connection, transitions: &mut Transitions| {
            challenges::swap(connection, transitions, &next, &record, began.as_ref(), families_max)
        };
        self.swapped(self.write(swap).await?)
    }

    async fn create_family(&self, family: &Family) -> Result<(), LoginStoreError> {
        let (family, families_max) = (EncodedFamily::new(family), self.families_max);
        let create = move |connection: &Connection, transitions: &mut Transitions| {
            families::create(connection, transitions, &family, families_max)
        };
        if self.write(create).await? { Ok(()) } else { Err(self.taken()) }
    }

    async fn load_family(&self, id: &FamilyId) -> Result<Loaded<Family>, LoginStoreError> {
        let id = *id;
        self.loaded(self.read(move |connection| families::load(connection, &id)).await?)
    }

    async fn swap_family(&self, next: &Family) -> Result<Swap<Family>, LoginStoreError> {
        let next = EncodedFamily::new(next);
        let swapped = self.write(move |connection, transitions| families::swap(connection, transitions, &next));
        self.swapped(swapped.await?)
    }

    /// A cursor that no page gave leads to an empty page.
    async fn families_of(
        &self,
        user_id: UserId,
        cursor: Option<&str>,
        families_max: usize,
    ) -> Result<FamilyPage, LoginStoreError> {
        let from = cursor.map(Cursor::parse);
        if from == Some(None) {
            return Ok(FamilyPage::default());
        }
        let (limit, now_ms) = (page_limit(families_max), self.clock.now_ms());
        let list = move |connection: &Connection| families::list(connection, user_id, from.flatten(), limit, now_ms);
        let (mut records, _) = self.read(list).await?;
        let has_more = take_page(&mut records, families_max);
        let families = records.iter().map(|record| self.decode(record)).collect::<Result<Vec<Family>, _>>()?;
        let next = families.last().filter(|_| has_more).map(|last| Cursor::behind(last).to_string());
        Ok(FamilyPage { families, next })
    }

    async fn end_family(&self, id: &FamilyId, reason: EndReason) -> Result<Option<Family>, LoginStoreError> {
        let id = *id;
        let end = move |connection: &Connection, transitions: &mut Transitions| {
            families::end(connection, transitions, id, reason)
        };
        self.write(end).await?.map(|record| self.decode(&record)).transpose()
    }

    async fn end_families_of(&self, user_id: UserId, reason: EndReason) -> Result<u64, LoginStoreError> {
        let end = move |connection: &Connection, transitions: &mut Transitions| {
            families::end_all_of(connection, transitions, user_id, reason)
        };
        self.write(end).await
    }

    async fn subscribe(&self) -> Result<Box<dyn LoginSubscription>, LoginStoreError> {
        Ok(Box::new(Subscriber::new(self.events.subscribe(), self.place.clone())))
    }

    async fn probe(&self) -> Result<BackendInfo, LoginStoreError> {
        // Something of the file is read, so that one that has gone is noticed.
        let ask = "SELECT sqlite_version() FROM clock";
        let (version, _) = self.read(|connection| connection.query_row(ask, [], |row| row.get::<_, String>(0))).await?;
        let behind_ms = self.clock.behind_ms();
        let advice = (behind_ms > BEHIND_MS_MAX).then(|| {
            format!(
                "this machine's clock is {} s behind the latest time in {}; set it, and keep it by NTP",
                behind_ms / 1_000,
                self.place
            )
        });
        let version = format!("SQLite {version}, in {}", self.place);
        Ok(BackendInfo { version, advice: advice.into_iter().collect() })
    }
}
