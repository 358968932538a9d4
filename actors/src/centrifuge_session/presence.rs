//! Who has subscribed to which channel, on this daemon, and who is told when that changes.
//!
//! News of joins and leaves are not waited for: a session with much in its mailbox misses them, as does everyone in a channel with more clients
//! than one answer names (each of a crowd would be told of each).

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use orinoco_supervision::Address;

use super::{
    CentrifugeSessionMessage,
    protocol::{client_info, presence_push, quoted},
};

/// Clients that one answer names; of more, only the number is told.
const CLIENTS_MAX: usize = 1_000;

/// Messages that wait for a session which gets news: the rest of its mailbox is for frames and commands.
const DEPTH_MAX: usize = 64;

/// By channel, by client.
type Channels = HashMap<Arc<str>, BTreeMap<Arc<str>, Entry>>;

struct Entry {
    user: Arc<str>,
    listener: Option<Listener>,
}

/// Where news of a channel go: to a subscription that asked for them.
#[derive(Clone)]
pub(super) struct Listener {
    pub(super) session: Address<CentrifugeSessionMessage>,
    pub(super) subscription: u32,
}

/// All channels. Memory: one entry a subscription, whose number is bounded by the sockets and their channels.
#[derive(Default)]
pub struct Presence(Mutex<Channels>);

/// One client in one channel, until it is dropped; so the entry goes with a session that was killed.
pub(super) struct Present {
    presence: Arc<Presence>,
    channel: Arc<str>,
    client: Arc<str>,
}

impl Presence {
    /// Who listens is told of its own coming as well, as by the official server.
    pub(super) fn enter(
        self: &Arc<Self>,
        channel: &str,
        client: &Arc<str>,
        user: &Arc<str>,
        listener: Option<Listener>,
    ) -> Present {
        let channel: Arc<str> = channel.into();
        let mut channels = self.channels();
        let clients = channels.entry(Arc::clone(&channel)).or_default();
        clients.insert(Arc::clone(client), Entry { user: Arc::clone(user), listener });
        tell(clients, || presence_push(&channel, "join", client, user));
        Present { presence: Arc::clone(self), channel, client: Arc::clone(client) }
    }

    /// The result of a presence command; `None` where there are more than one answer names.
    pub(super) fn list(&self, channel: &str) -> Option<String> {
        let channels = self.channels();
        let Some(clients) = channels.get(channel) else { return Some(r#"{"presence":{}}"#.to_owned()) };
        if clients.len() > CLIENTS_MAX {
            return None;
        }
        let entry =
            |(client, entry): (&Arc<str>, &Entry)| format!("{}:{}", quoted(client), client_info(client, &entry.user));
        let entries: Vec<String> = clients.iter().map(entry).collect();
        Some(format!(r#"{{"presence":{{{}}}}}"#, entries.join(",")))
    }

    /// The result of a presence_stats command.
    pub(super) fn stats(&self, channel: &str) -> String {
        let channels = self.channels();
        let clients = channels.get(channel);
        let users: HashSet<&Arc<str>> =
            clients.iter().flat_map(|clients| clients.values()).map(|entry| &entry.user).collect();
        let clients = clients.map_or(0, BTreeMap::len);
        format!(r#"{{"num_clients":{clients},"num_users":{}}}"#, users.len())
    }

    fn channels(&self) -> MutexGuard<'_, Channels> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        let mut channels = self.presence.channels();
        if let Some(clients) = channels.get_mut(&self.channel) {
            if let Some(gone) = clients.remove(&self.client) {
                tell(clients, || presence_push(&self.channel, "leave", &self.client, &gone.user));
            }
            if clients.is_empty() {
                channels.remove(&self.channel);
            }
        }
    }
}

/// Tells those of a channel who listen; the push is made once, if there is anyone.
fn tell(clients: &BTreeMap<Arc<str>, Entry>, push: impl FnOnce() -> Bytes) {
    if clients.len() > CLIENTS_MAX {
        return;
    }
    let mut listeners = clients.values().filter_map(|entry| entry.listener.as_ref()).peekable();
    if listeners.peek().is_none() {
        return;
    }
    let push = push();
    for Listener { session, subscription } in listeners {
        if session.depth() < DEPTH_MAX {
            // Full: it misses this. Down: nobody is there to be told.
            let _ =
                session.try_send(CentrifugeSessionMessage::News { subscription: *subscription, push: push.clone() });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_present_until_it_is_dropped() {
        let presence = Arc::<Presence>::default();
        let one = presence.enter("devices", &"c1".into(), &"7".into(), None);
        let other = presence.enter("devices", &"c2".into(), &"7".into(), None);
        assert_eq!(presence.stats("devices"), r#"{"num_clients":2,"num_users":1}"#);
        drop(one);
        let listed = r#"{"presence":{"c2":{"client":"c2","user":"7"}}}"#;
        assert_eq!(presence.list("devices").as_deref(), Some(listed));
        drop(other);
        assert!(presence.channels().is_empty());
        assert_eq!(presence.list("devices").as_deref(), Some(r#"{"presence":{}}"#));
    }
}
