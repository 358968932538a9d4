//! What the broker counts, for `/metrics`.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts since the process began, but for `connections`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BrokerCounters {
    /// Clients connected now.
    pub connections: u64,
    /// CONNECTs that were accepted.
    pub connections_accepted: u64,
    /// CONNECTs refused for their credentials, or because these could not be checked.
    pub connections_denied: u64,
    /// Connections closed because no CONNECT came in time.
    pub connections_unidentified: u64,
    /// Messages the intake accepted, wills among them.
    pub accepted: u64,
    /// Messages not accepted; their connections were closed, or a negative PUBACK said so.
    pub refused: u64,
    /// Of the refused, those for a panic of the intake.
    pub panics: u64,
    /// QoS 2 messages that a client repeated and that were acknowledged without a second acceptance.
    pub repeated: u64,
    /// Wills that the intake refused.
    pub wills_lost: u64,
    /// Messages, wills and filters that were not their client's.
    pub unauthorized: u64,
    /// Messages dropped because a subscriber's queue was full.
    pub queue_full: u64,
    /// Retained messages that were not kept, for want of room.
    pub retained_refused: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub(super) fn increment(&self) {
        self.add(1);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) connections_accepted: Counter,
    pub(super) connections_ended: Counter,
    pub(super) connections_denied: Counter,
    pub(super) connections_unidentified: Counter,
    pub(super) accepted: Counter,
    pub(super) refused: Counter,
    pub(super) panics: Counter,
    pub(super) repeated: Counter,
    pub(super) wills_lost: Counter,
    pub(super) unauthorized: Counter,
    pub(super) queue_full: Counter,
    pub(super) retained_refused: Counter,
}

impl Counters {
    pub(super) fn snapshot(&self) -> BrokerCounters {
        let connections_ended = self.connections_ended.get();
        let connections_accepted = self.connections_accepted.get();
        BrokerCounters {
            connections: connections_accepted.saturating_sub(connections_ended),
            connections_accepted,
            connections_denied: self.connections_denied.get(),
            connections_unidentified: self.connections_unidentified.get(),
            accepted: self.accepted.get(),
            refused: self.refused.get(),
            panics: self.panics.get(),
            repeated: self.repeated.get(),
            wills_lost: self.wills_lost.get(),
            unauthorized: self.unauthorized.get(),
            queue_full: self.queue_full.get(),
            retained_refused: self.retained_refused.get(),
        }
    }
}
