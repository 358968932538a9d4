//! Passing messages on to subscribers, bounded.
//!
//! In rmqtt each session has an unbounded channel before its bounded queue, and empties it only between two packets to its
//! client: a client that reads slowly would make it grow without end. So each copy of a message for a
//! subscriber carries a [`Ticket`] inside its payload, which is given back when the last trace of the copy is gone, wherever
//! in rmqtt that is. A subscriber without tickets left gets no more copies.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use rmqtt::context::ServerContext;
use rmqtt::session::Session;
use rmqtt::shared::{DefaultShared, Entry, RetainLoadCallback, Shared};
use rmqtt::types::{
    ClientId, ForwardedCount, ForwardedRecipients, From, Id, MsgID, NodeId, Publish, Reason, SessionStatus,
    SubRelations, SubRelationsMap, SubsSearchParams, SubsSearchResult, To, TopicFilter,
};

use super::authentication::Decided;
use super::counters::Counters;
use super::entries::PatientEntry;
use super::options::BrokerOptions;

/// How many messages there are for somebody.
#[derive(Debug, Clone, Default)]
pub(super) struct Tickets(Arc<AtomicUsize>);

/// A payload that counts as long as somebody holds it.
struct Ticket {
    payload: Bytes,
    tickets: Tickets,
}

impl Tickets {
    /// The payload with a ticket; `None` if `max` are given out. Callers at the same time may exceed it by their number.
    pub(super) fn take(&self, payload: &Bytes, max: usize) -> Option<Bytes> {
        if self.0.load(Ordering::Acquire) >= max {
            return None;
        }
        self.0.fetch_add(1, Ordering::AcqRel);
        Some(Bytes::from_owner(Ticket { payload: payload.clone(), tickets: self.clone() }))
    }
}

impl AsRef<[u8]> for Ticket {
    fn as_ref(&self) -> &[u8] {
        &self.payload
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.tickets.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The tickets of each subscriber that has been sent anything, until its session ends.
pub(super) struct Subscribers {
    tickets: Mutex<HashMap<ClientId, Tickets>>,
    tickets_max: usize,
    counters: Arc<Counters>,
}

impl Subscribers {
    pub(super) fn new(options: &BrokerOptions, counters: Arc<Counters>) -> Arc<Self> {
        // In flight, in rmqtt's queue (which has its own policy when it is full), and as many before that.
        let tickets_max = usize::from(options.inflight_max) + 2 * options.queue_messages_max;
        Arc::new(Self { tickets: Mutex::default(), tickets_max, counters })
    }

    pub(super) fn forget(&self, client_id: &ClientId) {
        self.tickets.lock().unwrap_or_else(PoisonError::into_inner).remove(client_id);
    }

    /// The copy for one subscriber, if it may have one more.
    fn copy(&self, publish: &Publish, client_id: &ClientId) -> Option<Publish> {
        let tickets = {
            let mut tickets = self.tickets.lock().unwrap_or_else(PoisonError::into_inner);
            match tickets.get(client_id) {
                Some(tickets) => tickets.clone(),
                None => tickets.entry(client_id.clone()).or_default().clone(),
            }
        };
        let Some(payload) = tickets.take(&publish.payload, self.tickets_max) else {
            self.counters.queue_full.increment();
            return None;
        };
        let mut copy = publish.clone();
        copy.payload = payload;
        Some(copy)
    }
}

/// rmqtt's table of sessions, with tickets for what is forwarded.
pub(super) struct BoundedFanOut {
    inner: DefaultShared,
    context: ServerContext,
    subscribers: Arc<Subscribers>,
    decided: Arc<Decided>,
}

impl BoundedFanOut {
    pub(super) fn new(context: ServerContext, subscribers: Arc<Subscribers>, decided: Arc<Decided>) -> Self {
        Self { inner: DefaultShared::new(Some(context.clone())), context, subscribers, decided }
    }
}

type Failures = Vec<(To, From, Publish, Reason)>;

#[async_trait]
impl Shared for BoundedFanOut {
    async fn forwards(
        &self,
        _: Option<MsgID>,
        from: From,
        publish: Publish,
    ) -> Result<ForwardedCount, (ForwardedCount, Failures)> {
        if publish.target_clientid.is_some() {
            return Ok(0); // Nobody: see `hooks::for_nobody`.
        }
        let Ok(matches) = self.context.extends.router().await.matches(from.id.clone(), &publish.topic).await else {
            return Ok(0);
        };
        let (mut count, mut failures) = (0, Vec::new());
        for relation in matches.into_values().flatten() {
            let Some(copy) = self.subscribers.copy(&publish, &relation.1) else { continue };
            match self.inner.forwards_to(from.clone(), &copy, vec![relation], None).await {
                Ok(recipients) => count += recipients.len(),
                Err((recipients, failed)) => {
                    count += recipients.len();
                    failures.extend(failed);
                }
            }
        }
        if failures.is_empty() { Ok(count) } else { Err((count, failures)) }
    }

    fn entry(&self, id: Id) -> Box<dyn Entry> {
        Box::new(PatientEntry::new(self.inner.entry(id), self.decided.clone()))
    }

    fn exist(&self, client_id: &str) -> bool {
        self.inner.exist(client_id)
    }

    async fn forwards_and_get_shareds(
        &self,
        from: From,
        publish: Publish,
    ) -> Result<(SubRelationsMap, ForwardedRecipients), (ForwardedRecipients, Failures)> {
        self.inner.forwards_and_get_shareds(from, publish).await
    }

    async fn forwards_to(
        &self,
        from: From,
        publish: &Publish,
        relations: SubRelations,
        message_id: Option<MsgID>,
    ) -> Result<ForwardedRecipients, (ForwardedRecipients, Failures)> {
        self.inner.forwards_to(from, publish, relations, message_id).await
    }

    fn iter(&self) -> Box<dyn Iterator<Item = Box<dyn Entry>> + Sync + Send + '_> {
        self.inner.iter()
    }

    fn random_session(&self) -> Option<Session> {
        self.inner.random_session()
    }

    async fn session_status(&self, client_id: &str) -> Option<SessionStatus> {
        self.inner.session_status(client_id).await
    }

    async fn client_states_count(&self) -> usize {
        self.inner.client_states_count().await
    }

    fn sessions_count(&self) -> usize {
        self.inner.sessions_count()
    }

    async fn query_subscriptions(&self, query: &SubsSearchParams) -> Vec<SubsSearchResult> {
        self.inner.query_subscriptions(query).await
    }

    async fn subscriptions_count(&self) -> usize {
        self.inner.subscriptions_count().await
    }

    async fn retain_load_with(
        &self,
        filter: &TopicFilter,
        callback: Arc<dyn RetainLoadCallback>,
    ) -> rmqtt::Result<Vec<(NodeId, MsgID)>> {
        self.inner.retain_load_with(filter, callback).await
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_ticket_comes_back_with_the_last_copy() {
        let tickets = Tickets::default();
        let payload = Bytes::from_static(b"12.5");
        let first = tickets.take(&payload, 1).unwrap();
        assert_eq!(first, payload);
        assert_eq!(tickets.take(&payload, 1), None);
        let copy = first.clone();
        drop(first);
        assert_eq!(tickets.take(&payload, 1), None);
        drop(copy);
        assert!(tickets.take(&Bytes::new(), 1).is_some());
        assert!(tickets.take(&payload, 1).is_some(), "an empty payload gives its ticket back too");
    }
}
