//! What the writes of one transaction share: their time, what is published once they are committed, and the sweep.

use std::sync::Arc;

use async_trait::async_trait;
use orinoco_ports::{LoginEvent, LoginStoreError, LoginSubscription};
use rusqlite::{Connection, params};
use tokio::sync::broadcast;

use super::clock::StoreClock;
use crate::sqlite::{Unit, rows};

/// Records whose time is up that a transaction removes, for each of its writes and once more: far more than it adds, so that the file
/// does not grow; and so few that nobody waits for it.
const SWEPT_PER_WRITE_MAX: usize = 8;

pub(super) struct Transitions {
    clock: Arc<StoreClock>,
    events: broadcast::Sender<LoginEvent>,
    now_ms: i64,
    unpublished: Vec<LoginEvent>,
}

impl Transitions {
    pub(super) fn new(clock: Arc<StoreClock>, events: broadcast::Sender<LoginEvent>) -> Self {
        Self { clock, events, now_ms: 0, unpublished: Vec::new() }
    }

    /// The time of all writes of the transaction; no load that one of them was decided on was later.
    pub(super) fn now_ms(&self) -> i64 {
        self.now_ms
    }

    pub(super) fn publish(&mut self, event: LoginEvent) {
        self.unpublished.push(event);
    }
}

impl Unit for Transitions {
    fn begin(&mut self) {
        self.unpublished.clear();
        self.now_ms = self.clock.now_ms();
    }

    fn before_commit(&mut self, connection: &Connection, writes: usize) -> rusqlite::Result<()> {
        connection.prepare_cached("UPDATE clock SET highest_ms = ?1")?.execute([self.now_ms])?;
        sweep(connection, self.now_ms, SWEPT_PER_WRITE_MAX * (writes + 1))
    }

    fn committed(&mut self) {
        for event in self.unpublished.drain(..) {
            // Without subscribers it goes nowhere.
            let _ = self.events.send(event);
        }
    }
}

/// Removes records whose time was up at `now_ms`, up to `rows_max` of each kind.
fn sweep(connection: &Connection, now_ms: i64, rows_max: usize) -> rusqlite::Result<()> {
    for delete in [
        "DELETE FROM challenge WHERE id IN
         (SELECT id FROM challenge WHERE purge_at_ms <= ?1 ORDER BY purge_at_ms LIMIT ?2)",
        "DELETE FROM family WHERE id IN
         (SELECT id FROM family WHERE expires_at_ms <= ?1 ORDER BY expires_at_ms LIMIT ?2)",
    ] {
        connection.prepare_cached(delete)?.execute(params![now_ms, rows(rows_max)])?;
    }
    Ok(())
}

pub(super) struct Subscriber {
    /// `None` once it has ended.
    receiver: Option<broadcast::Receiver<LoginEvent>>,
    place: String,
}

impl Subscriber {
    pub(super) fn new(receiver: broadcast::Receiver<LoginEvent>, place: String) -> Self {
        Self { receiver: Some(receiver), place }
    }
}

#[async_trait]
impl LoginSubscription for Subscriber {
    async fn next(&mut self) -> Result<LoginEvent, LoginStoreError> {
        let received = match &mut self.receiver {
            Some(receiver) => receiver.recv().await.map_err(|error| error.to_string()),
            None => Err("the subscription has ended".to_owned()),
        };
        received.map_err(|reason| {
            self.receiver = None;
            LoginStoreError::Unavailable { place: self.place.clone(), reason }
        })
    }
}
