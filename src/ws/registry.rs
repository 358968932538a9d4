//! The sockets that are open: their number, and who they are.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use orinoco_domain::account::UserId;
use orinoco_ports::{Clock, SystemClock};
use tokio::{sync::watch, time::Instant};

/// So many are asked to leave in a second, for the sake of the daemons that they go to: each of them costs a handshake and a resume.
const LEAVING_PER_S: usize = 2_000;
/// Beyond what that gives in this time they leave faster.
const LEAVING_MAX: Duration = Duration::from_secs(10);

/// A socket, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WsConnection {
    /// Counts sockets since the daemon started.
    pub session_id: u64,
    pub client_ip: IpAddr,
    /// Whose access token it showed, if any.
    pub user_id: Option<UserId>,
    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub connected_at_ms: i64,
}

/// All open sockets. Policy at the bound: a further one is turned away (503).
pub struct WsConnections {
    connections_max: AtomicUsize,
    open: Mutex<Open>,
    count: watch::Sender<usize>,
    leaving: watch::Sender<Option<Leaving>>,
}

/// All are to leave, one after the other.
#[derive(Debug, Clone, Copy)]
struct Leaving {
    since: Instant,
    during: Duration,
}

#[derive(Default)]
struct Open {
    last_id: u64,
    by_id: BTreeMap<u64, WsConnection>,
}

impl WsConnections {
    #[must_use]
    pub fn new(connections_max: usize) -> Arc<Self> {
        Arc::new(Self {
            connections_max: AtomicUsize::new(connections_max),
            open: Mutex::default(),
            count: watch::Sender::new(0),
            leaving: watch::Sender::new(None),
        })
    }

    #[must_use]
    pub fn len(&self) -> usize {
        *self.count.borrow()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Lets so many in from now on; who is in stays.
    pub fn set_connections_max(&self, connections_max: usize) {
        self.connections_max.store(connections_max, Ordering::Relaxed);
    }

    /// Waits until all are closed: for the daemon's end, after the tree's.
    pub async fn all_closed(&self) {
        let mut count = self.count.subscribe();
        // The sender is ours: it can't be gone.
        let _ = count.wait_for(|count| *count == 0).await;
    }

    /// Asks all to leave, spread over a time that grows with their number; returns when the last has been asked, or all have gone.
    pub(super) async fn see_off(&self) {
        let during = LEAVING_MAX.min(Duration::from_secs(1) * self.len() as u32 / LEAVING_PER_S as u32);
        self.leaving.send_replace(Some(Leaving { since: Instant::now(), during }));
        // Elapsed: who has not gone by then was asked all the same.
        let _ = tokio::time::timeout(during, self.all_closed()).await;
    }

    /// A port that opens again keeps whom it lets in.
    pub(super) fn welcome(&self) {
        self.leaving.send_replace(None);
    }

    /// A page in the order of `session_id`: those after `after`, at most `connections_max`.
    #[must_use]
    pub fn list(&self, after: u64, connections_max: usize) -> Vec<WsConnection> {
        let open = self.open();
        let page = open.by_id.range(after.saturating_add(1)..).take(connections_max);
        page.map(|(_, connection)| connection.clone()).collect()
    }

    /// Lets a socket in; `None` at the bound. It counts until the place is dropped.
    pub(super) fn admit(self: &Arc<Self>, client_ip: IpAddr) -> Option<Place> {
        let mut open = self.open();
        if open.by_id.len() >= self.connections_max.load(Ordering::Relaxed) {
            return None;
        }
        open.last_id += 1;
        let session_id = open.last_id;
        let connected_at_ms = SystemClock.now_ms();
        open.by_id.insert(session_id, WsConnection { session_id, client_ip, user_id: None, connected_at_ms });
        self.publish(&open);
        Some(Place { connections: Arc::clone(self), session_id })
    }

    fn publish(&self, open: &Open) {
        let count = open.by_id.len();
        metrics::gauge!("orinoco_websocket_connections").set(count as f64);
        self.count.send_replace(count);
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of one socket.
pub(super) struct Place {
    connections: Arc<WsConnections>,
    session_id: u64,
}

impl Place {
    pub(super) fn session_id(&self) -> u64 {
        self.session_id
    }

    /// For this socket's own turn to leave.
    pub(super) fn farewell(&self) -> Farewell {
        Farewell { leaving: self.connections.leaving.subscribe(), session_id: self.session_id }
    }

    /// Notes whose socket it is.
    pub(super) fn identify(&self, user_id: UserId) {
        if let Some(connection) = self.connections.open().by_id.get_mut(&self.session_id) {
            connection.user_id = Some(user_id);
        }
    }
}

/// A socket's turn, when all are to leave.
#[derive(Debug, Clone)]
pub(super) struct Farewell {
    leaving: watch::Receiver<Option<Leaving>>,
    session_id: u64,
}

impl Farewell {
    /// Waits for it. Cancel safe.
    pub(super) async fn turn(&mut self) {
        let Ok(Some(leaving)) = self.leaving.wait_for(Option::is_some).await.map(|leaving| *leaving) else {
            return std::future::pending().await;
        };
        // Successive numbers are far apart, and any stretch of them is spread evenly: the golden ratio's multiples, modulo 1.
        let share = self.session_id.wrapping_mul(0x9e37_79b9_7f4a_7c15) as f64 / u64::MAX as f64;
        // On the heap: few of those who wait here ever come to this.
        Box::pin(tokio::time::sleep_until(leaving.since + leaving.during.mul_f64(share))).await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.connections.open();
        open.by_id.remove(&self.session_id);
        self.connections.publish(&open);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::net::Ipv4Addr;

    use super::*;

    const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    #[test]
    fn beyond_the_bound_nobody_is_let_in_until_one_leaves() {
        let connections = WsConnections::new(2);
        let first = connections.admit(CLIENT).unwrap();
        let _second = connections.admit(CLIENT).unwrap();
        assert!(connections.admit(CLIENT).is_none());
        drop(first);
        assert_eq!(connections.admit(CLIENT).unwrap().session_id(), 3);
    }

    #[test]
    fn open_sockets_are_listed_page_by_page() {
        let connections = WsConnections::new(10);
        let _places: Vec<_> = (0..3).map(|_| connections.admit(CLIENT).unwrap()).collect();
        let ids = |after, max| connections.list(after, max).iter().map(|one| one.session_id).collect::<Vec<_>>();
        assert_eq!(ids(0, 2), [1, 2]);
        assert_eq!(ids(2, 2), [3]);
        assert!(ids(3, 2).is_empty());
    }

    #[tokio::test]
    async fn the_end_of_the_last_socket_is_awaited() {
        let connections = WsConnections::new(10);
        let place = connections.admit(CLIENT).unwrap();
        let all_closed = tokio::spawn({
            let connections = Arc::clone(&connections);
            async move { connections.all_closed().await }
        });
        tokio::task::yield_now().await;
        assert!(!all_closed.is_finished());
        drop(place);
        all_closed.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn sockets_leave_one_after_the_other() {
        const SOCKETS: usize = 4_000;
        let connections = WsConnections::new(SOCKETS);
        for _ in 0..SOCKETS {
            let place = connections.admit(CLIENT).unwrap();
            tokio::spawn(async move { place.farewell().turn().await });
        }
        let began = Instant::now();
        let left = tokio::spawn({
            let connections = Arc::clone(&connections);
            async move {
                let mut left = Vec::new();
                while began.elapsed() < Duration::from_secs(2) {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    left.push(SOCKETS - connections.len());
                }
                left
            }
        });
        tokio::task::yield_now().await;
        assert_eq!(connections.len(), SOCKETS, "nobody leaves unasked");
        connections.see_off().await;
        assert!(began.elapsed() <= Duration::from_secs(2));
        let left = left.await.unwrap();
        assert!(left.windows(2).all(|pair| (150..=250).contains(&(pair[1] - pair[0]))), "{left:?}");
        connections.all_closed().await;
    }
}
