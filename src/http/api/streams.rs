//! The streams of challenges that are open: who they are, and how many of one address.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use orinoco_domain::challenge::ChallengeKey;

use crate::auth::now_ms;

/// Streams of one address. Policy at the bound: 429. All together are bounded by the pool of their actors.
const STREAMS_PER_ADDRESS_MAX: usize = 1_000;

/// A stream, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenStream {
    /// Counts streams since the daemon started.
    pub session_id: u64,
    /// The SHA-256 of its challenge's id, with which nothing can be done.
    pub challenge: ChallengeKey,
    pub client_ip: IpAddr,
    /// ms since 1970.
    pub connected_at_ms: i64,
}

/// All open streams.
#[derive(Default)]
pub struct StreamTable(Mutex<State>);

#[derive(Default)]
struct State {
    last_id: u64,
    open: BTreeMap<u64, OpenStream>,
    by_address: HashMap<IpAddr, usize>,
}

impl StreamTable {
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// A page in the order of `session_id`: those after `after`, at most `streams_max`.
    #[must_use]
    pub fn list(&self, after: u64, streams_max: usize) -> Vec<OpenStream> {
        self.state().open.range(after.saturating_add(1)..).take(streams_max).map(|(_, stream)| stream.clone()).collect()
    }

    /// Counts a stream until the place is dropped; `None` where the address has as many as it may (`limited`).
    pub(super) fn admit(
        self: &Arc<Self>,
        challenge: ChallengeKey,
        client_ip: IpAddr,
        limited: bool,
    ) -> Option<StreamPlace> {
        let mut state = self.state();
        let of_address = state.by_address.entry(client_ip).or_default();
        if limited && *of_address >= STREAMS_PER_ADDRESS_MAX {
            return None;
        }
        *of_address += 1;
        state.last_id += 1;
        let session_id = state.last_id;
        let stream = OpenStream { session_id, challenge, client_ip, connected_at_ms: now_ms() };
        state.open.insert(session_id, stream);
        Some(StreamPlace { table: Arc::clone(self), session_id, client_ip })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of one stream.
pub(super) struct StreamPlace {
    table: Arc<StreamTable>,
    session_id: u64,
    client_ip: IpAddr,
}

impl Drop for StreamPlace {
    fn drop(&mut self) {
        let mut state = self.table.state();
        state.open.remove(&self.session_id);
        if let Some(of_address) = state.by_address.get_mut(&self.client_ip) {
            *of_address -= 1;
            if *of_address == 0 {
                state.by_address.remove(&self.client_ip);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use orinoco_domain::secret::ChallengeId;

    use super::*;

    #[test]
    fn an_address_has_so_many_streams_and_others_are_not_touched() {
        let table = StreamTable::new();
        let key = ChallengeKey::of(&ChallengeId::from_bytes([1; 32]));
        let admit = |last: u8| table.admit(key, [192, 0, 2, last].into(), true);
        let mut places: Vec<_> = std::iter::from_fn(|| admit(1)).collect();
        assert_eq!(places.len(), STREAMS_PER_ADDRESS_MAX);
        assert!(admit(2).is_some() && table.admit(key, [192, 0, 2, 1].into(), false).is_some());
        places.pop();
        assert!(admit(1).is_some());
        assert_eq!(table.list(0, 2).len(), 2);
        drop(places);
        assert!(table.list(0, 2).is_empty() && table.state().by_address.is_empty());
    }
}
