//! Retained messages, bounded. rmqtt's own storage keeps none.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rmqtt::retain::{RetainStorage, RetainTree};
use rmqtt::topic::Topic;
use rmqtt::types::{Retain, TopicFilter, TopicName};
use tokio::sync::RwLock;
use tokio::time::Instant;

use super::counters::Counters;
use super::fan_out::Tickets;
use super::options::BrokerOptions;
use super::topic_name::can_be_forwarded;

/// Copies of retained messages on their way to subscribers; beyond it a new subscription gets fewer of them.
const COPIES_MAX: usize = 100_000;

/// The last retained message of each topic (MQTT 5.0, section 3.3.1.3).
///
/// At a bound a new topic, or a longer payload, is not kept, which is counted. `set` never fails: rmqtt would close the connection
/// of a message that the intake has accepted already, and the client would send it for ever.
pub(super) struct BoundedRetained {
    table: RwLock<Table>,
    copies: Tickets,
    counters: Arc<Counters>,
    retained_max: usize,
    bytes_max: usize,
    levels_max: usize,
}

#[derive(Default)]
struct Table {
    tree: RetainTree<Arc<Retained>>,
    count: usize,
    bytes: usize,
}

#[derive(Debug)]
struct Retained {
    message: Retain,
    /// Message Expiry Interval (section 3.3.2.3.3).
    expires_at: Option<Instant>,
}

impl Retained {
    fn size(&self) -> usize {
        self.message.publish.topic.len() + self.message.publish.payload.len()
    }

    fn has_expired(&self) -> bool {
        self.expires_at.is_some_and(|at| at <= Instant::now())
    }
}

impl Table {
    fn remove(&mut self, topic: &Topic) {
        if let Some(old) = self.tree.remove(topic) {
            self.count -= 1;
            self.bytes -= old.size();
        }
    }

    fn remove_expired(&mut self) {
        let (mut count, mut bytes) = (0, 0);
        self.tree.retain(usize::MAX, |retained| {
            let keep = !retained.has_expired();
            if !keep {
                count += 1;
                bytes += retained.size();
            }
            keep
        });
        self.count -= count;
        self.bytes -= bytes;
    }
}

impl BoundedRetained {
    pub(super) fn new(options: &BrokerOptions, counters: Arc<Counters>) -> Self {
        Self {
            table: RwLock::default(),
            copies: Tickets::default(),
            counters,
            retained_max: options.retained_max,
            bytes_max: options.retained_bytes_max,
            levels_max: options.topic_levels_max,
        }
    }

    fn has_room(&self, table: &Table, size: usize) -> bool {
        table.count < self.retained_max && table.bytes + size <= self.bytes_max
    }

    async fn set(&self, topic: &TopicName, message: Retain, expiry: Option<Duration>) {
        let Ok(path) = Topic::from_str(topic) else { return };
        if !can_be_forwarded(topic, self.levels_max) {
            return;
        }
        // rmqtt says zero for "does not expire", which is our setting for messages that do not say.
        let expires_at = expiry.filter(|expiry| !expiry.is_zero()).map(|expiry| Instant::now() + expiry);
        let retained = Retained { message, expires_at };
        let mut table = self.table.write().await;
        table.remove(&path);
        if retained.message.publish.payload.is_empty() {
            return;
        }
        if !self.has_room(&table, retained.size()) {
            table.remove_expired();
        }
        if !self.has_room(&table, retained.size()) {
            self.counters.retained_refused.increment();
            return;
        }
        table.count += 1;
        table.bytes += retained.size();
        table.tree.insert(&path, Arc::new(retained));
    }

    async fn get(&self, filter: &TopicFilter) -> Vec<(TopicName, Retain)> {
        let Ok(path) = Topic::from_str(filter) else { return Vec::new() };
        let found = self.table.read().await.tree.matches(&path);
        let current = found.into_iter().filter(|(_, retained)| !retained.has_expired());
        current.filter_map(|(_, retained)| self.copy(&retained.message)).collect()
    }

    fn copy(&self, message: &Retain) -> Option<(TopicName, Retain)> {
        let Some(payload) = self.copies.take(&message.publish.payload, COPIES_MAX) else {
            self.counters.queue_full.increment();
            return None;
        };
        let mut copy = message.clone();
        copy.publish.payload = payload;
        Some((message.publish.topic.clone(), copy))
    }
}

/// rmqtt's view of it; the table itself outlives a restart of the listener.
pub(super) struct SharedRetained(pub(super) Arc<BoundedRetained>);

#[async_trait]
impl RetainStorage for SharedRetained {
    fn enable(&self) -> bool {
        true
    }

    async fn set(&self, topic: &TopicName, message: Retain, expiry: Option<Duration>) -> rmqtt::Result<()> {
        self.0.set(topic, message, expiry).await;
        Ok(())
    }

    async fn get(&self, filter: &TopicFilter) -> rmqtt::Result<Vec<(TopicName, Retain)>> {
        Ok(self.0.get(filter).await)
    }

    async fn count(&self) -> isize {
        isize::try_from(self.0.table.read().await.count).unwrap_or(isize::MAX)
    }

    async fn max(&self) -> isize {
        isize::try_from(self.0.retained_max).unwrap_or(isize::MAX)
    }
}
