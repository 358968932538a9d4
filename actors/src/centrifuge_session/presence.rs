//! Who has subscribed to which channel, on this daemon.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::protocol::quoted;

/// Clients that one answer names; of more, only the number is told.
const CLIENTS_MAX: usize = 1_000;

/// By channel: users by client.
type Channels = HashMap<Arc<str>, BTreeMap<Arc<str>, Arc<str>>>;

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
    pub(super) fn enter(self: &Arc<Self>, channel: &str, client: &Arc<str>, user: &Arc<str>) -> Present {
        let channel: Arc<str> = channel.into();
        let mut channels = self.channels();
        channels.entry(Arc::clone(&channel)).or_default().insert(Arc::clone(client), Arc::clone(user));
        Present { presence: Arc::clone(self), channel, client: Arc::clone(client) }
    }

    /// The result of a presence command; `None` where there are more than one answer names.
    pub(super) fn list(&self, channel: &str) -> Option<String> {
        let channels = self.channels();
        let Some(clients) = channels.get(channel) else { return Some(r#"{"presence":{}}"#.to_owned()) };
        if clients.len() > CLIENTS_MAX {
            return None;
        }
        let entry = |(client, user): (&Arc<str>, &Arc<str>)| {
            let (client, user) = (quoted(client), quoted(user));
            format!(r#"{client}:{{"client":{client},"user":{user}}}"#)
        };
        let entries: Vec<String> = clients.iter().map(entry).collect();
        Some(format!(r#"{{"presence":{{{}}}}}"#, entries.join(",")))
    }

    /// The result of a presence_stats command.
    pub(super) fn stats(&self, channel: &str) -> String {
        let channels = self.channels();
        let clients = channels.get(channel);
        let users: HashSet<&Arc<str>> = clients.iter().flat_map(|clients| clients.values()).collect();
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
            clients.remove(&self.client);
            if clients.is_empty() {
                channels.remove(&self.channel);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_present_until_it_is_dropped() {
        let presence = Arc::<Presence>::default();
        let one = presence.enter("devices", &"c1".into(), &"7".into());
        let other = presence.enter("devices", &"c2".into(), &"7".into());
        assert_eq!(presence.stats("devices"), r#"{"num_clients":2,"num_users":1}"#);
        drop(one);
        let listed = r#"{"presence":{"c2":{"client":"c2","user":"7"}}}"#;
        assert_eq!(presence.list("devices").as_deref(), Some(listed));
        drop(other);
        assert!(presence.channels().is_empty());
        assert_eq!(presence.list("devices").as_deref(), Some(r#"{"presence":{}}"#));
    }
}
