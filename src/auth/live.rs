//! Logins that ended while access tokens of theirs are still valid, and the sockets that hang on logins.
//!
//! Each daemon's ChallengeRegistry follows the login store's publications, and notes them here. Invariants: what ended is remembered until the last of its tokens has expired, at
//! most [`ENDED_MAX`] entries, the oldest making room; a socket that watches a login is told once. A publication that was missed (it comes
//! at most once) is made good by the token's expiry, minutes later. The stores themselves are asked where an account is looked at.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use orinoco_domain::{account::UserId, refresh::FamilyId};
use tokio::sync::oneshot;

use super::tokens::LEEWAY_MS;

/// Ended logins that are remembered.
const ENDED_MAX: usize = 100_000;

/// What a socket hangs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Login {
    pub user_id: UserId,
    pub session: FamilyId,
}

/// Which logins live on, as far as this daemon was told.
pub struct LiveLogins {
    token_ttl_ms: i64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// When all logins of a user ended, or one of them: ms since 1970.
    ended: HashMap<(UserId, Option<FamilyId>), i64>,
    /// The same in the order of their end.
    order: VecDeque<(i64, (UserId, Option<FamilyId>))>,
    /// Each watcher has a number of its own.
    last_watcher: u64,
    watchers: HashMap<UserId, Vec<(u64, FamilyId, oneshot::Sender<()>)>>,
}

impl LiveLogins {
    /// `token_ttl_ms`: of access tokens.
    #[must_use]
    pub fn new(token_ttl_ms: i64) -> Arc<Self> {
        Arc::new(Self { token_ttl_ms, state: Mutex::default() })
    }

    /// Whether a token of this login, made at `issued_at_ms`, is of no use any more.
    #[must_use]
    pub fn has_ended(&self, login: Login, issued_at_ms: i64) -> bool {
        self.state().has_ended(login, issued_at_ms)
    }

    /// Told when the login of a token ends, at once where it has ended.
    #[must_use]
    pub fn watch(self: &Arc<Self>, login: Login, issued_at_ms: i64) -> Watch {
        let (told, receiver) = oneshot::channel();
        let mut state = self.state();
        state.last_watcher += 1;
        let number = state.last_watcher;
        if state.has_ended(login, issued_at_ms) {
            // The receiver is ours, a line below.
            let _ = told.send(());
        } else {
            state.watchers.entry(login.user_id).or_default().push((number, login.session, told));
        }
        Watch { live: Arc::clone(self), login, number, receiver }
    }

    /// Notes an end.
    pub fn note(&self, user_id: UserId, family: Option<FamilyId>, now_ms: i64) {
        let mut state = self.state();
        let state = &mut *state;
        while state.order.len() >= ENDED_MAX
            || state.order.front().is_some_and(|(at_ms, _)| now_ms > at_ms + self.token_ttl_ms + LEEWAY_MS)
        {
            let Some((at_ms, key)) = state.order.pop_front() else { break };
            // Unless it ended again since.
            if state.ended.get(&key) == Some(&at_ms) {
                state.ended.remove(&key);
            }
        }
        state.ended.insert((user_id, family), now_ms);
        state.order.push_back((now_ms, (user_id, family)));
        let Some(watchers) = state.watchers.get_mut(&user_id) else { return };
        for (_, _, told) in watchers.extract_if(.., |(_, session, _)| family.is_none_or(|family| family == *session)) {
            // Its socket may be gone.
            let _ = told.send(());
        }
        if watchers.is_empty() {
            state.watchers.remove(&user_id);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn has_ended(&self, login: Login, issued_at_ms: i64) -> bool {
        let one = self.ended.contains_key(&(login.user_id, Some(login.session)));
        // A token's time is in whole seconds: one of the same second may be of a login made after the end of all.
        let of_then = |ended_at_ms: &i64| issued_at_ms < ended_at_ms / 1000 * 1000;
        one || self.ended.get(&(login.user_id, None)).is_some_and(of_then)
    }
}

/// Waits for the end of a login.
pub struct Watch {
    live: Arc<LiveLogins>,
    login: Login,
    number: u64,
    receiver: oneshot::Receiver<()>,
}

impl Watch {
    /// Cancel safe. Must not be called again after it returned.
    pub async fn ended(&mut self) {
        if (&mut self.receiver).await.is_err() {
            // Not told: the table is gone.
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut state = self.live.state();
        if let Some(watchers) = state.watchers.get_mut(&self.login.user_id) {
            watchers.retain(|(number, ..)| *number != self.number);
            if watchers.is_empty() {
                state.watchers.remove(&self.login.user_id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL_MS: i64 = 300_000;
    const USER: UserId = UserId(1);

    fn login(session: u8) -> Login {
        Login { user_id: USER, session: FamilyId::from_bytes([session; 16]) }
    }

    #[tokio::test]
    async fn the_end_of_a_login_is_known_to_its_tokens_and_sockets_and_to_no_others() {
        let live = LiveLogins::new(TTL_MS);
        let (mut one, mut other) = (live.watch(login(1), 999_000), live.watch(login(2), 999_000));
        live.note(USER, Some(login(1).session), 1_000_000);
        one.ended().await;
        assert!(live.has_ended(login(1), 999_000) && !live.has_ended(login(2), 999_000));
        assert!(futures_util::poll!(std::pin::pin!(other.ended())).is_pending());
        // One that comes too late is told at once.
        live.watch(login(1), 999_000).ended().await;
        drop((one, other));
        assert!(live.state().watchers.is_empty());
    }

    #[tokio::test]
    async fn the_end_of_all_logins_does_not_reach_those_that_begin_afterwards() {
        let live = LiveLogins::new(TTL_MS);
        let mut watch = live.watch(login(1), 999_000);
        live.note(USER, None, 1_000_500);
        watch.ended().await;
        assert!(live.has_ended(login(1), 999_000));
        assert!(!live.has_ended(login(2), 1_001_000));
        assert!(!live.has_ended(Login { user_id: UserId(2), ..login(1) }, 0));
    }

    #[test]
    fn what_ended_is_forgotten_with_its_last_token() {
        let live = LiveLogins::new(TTL_MS);
        live.note(USER, Some(login(1).session), 0);
        live.note(USER, Some(login(2).session), TTL_MS + LEEWAY_MS);
        assert!(live.has_ended(login(1), 0));
        live.note(USER, Some(login(3).session), TTL_MS + LEEWAY_MS + 1);
        assert!(!live.has_ended(login(1), 0) && live.has_ended(login(2), 0));
    }
}
