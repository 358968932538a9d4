//! Logins that ended while access tokens of theirs are still valid, and the sockets that hang on logins.
//!
//! Each daemon's ChallengeRegistry follows the login store's publications, and notes them here. Invariants: what ended is remembered until
//! the last of its tokens has expired, at most [`ENDED_MAX`] entries, the oldest making room; a socket that watches a login is told once.
//! The end of all of a user's logins leaves its tokens of about that time in doubt, as clocks differ and a token's time is in whole seconds: the
//! stores are asked, and a login that they prove is noted as well. A publication that was missed (it comes at most once) is made good by
//! [`Auth::hear`](super::Auth::hear).

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use orinoco_domain::{account::UserId, refresh::FamilyId};
use tokio::sync::oneshot;

use super::{notices::Notices, tokens::LEEWAY_MS};

/// Ended logins that are remembered.
const ENDED_MAX: usize = 100_000;
/// Logins of one user that were proved to live after the end of all. Policy at the bound: the oldest is in doubt again.
const PROVED_MAX: usize = 64;

/// What a socket hangs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Login {
    pub user_id: UserId,
    pub session: FamilyId,
}

/// Whether a login lives, as far as this daemon was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    Lives,
    Ended,
    /// All of its user's ended at about the time of the token: the stores know.
    InDoubt(Doubt),
}

/// Which end of all a doubt is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Doubt(u64);

/// Which logins live on, as far as this daemon was told.
pub struct LiveLogins {
    token_ttl_ms: i64,
    state: Mutex<State>,
    pub(super) notices: Notices,
}

/// One login of a user, or all.
type Key = (UserId, Option<FamilyId>);

#[derive(Default)]
struct State {
    /// Numbers the ends.
    last_end: u64,
    ended: HashMap<Key, End>,
    /// Number, time (ms since 1970) and key of each, in their order.
    order: VecDeque<(u64, i64, Key)>,
    /// Each watcher has a number of its own.
    last_watcher: u64,
    watchers: HashMap<UserId, Vec<(u64, FamilyId, oneshot::Sender<()>)>>,
}

struct End {
    number: u64,
    /// ms since 1970, by this daemon's clock.
    at_ms: i64,
    /// Logins that the stores had after it. Only of an end of all.
    proved: VecDeque<FamilyId>,
}

impl LiveLogins {
    /// `token_ttl_ms`: of access tokens.
    #[must_use]
    pub fn new(token_ttl_ms: i64) -> Arc<Self> {
        Arc::new(Self { token_ttl_ms, state: Mutex::default(), notices: Notices::default() })
    }

    /// How the login of a token stands that was made at `issued_at_ms`.
    pub(crate) fn standing(&self, login: Login, issued_at_ms: i64) -> Standing {
        self.state().standing(login, issued_at_ms)
    }

    /// Notes that the stores had a login that was in doubt. Nothing where all of its user's ended again meanwhile.
    pub(crate) fn prove(&self, login: Login, doubt: Doubt) {
        let mut state = self.state();
        let Some(end) = state.ended.get_mut(&(login.user_id, None)) else { return };
        if end.number == doubt.0 && !end.proved.contains(&login.session) {
            if end.proved.len() >= PROVED_MAX {
                end.proved.pop_front();
            }
            end.proved.push_back(login.session);
        }
    }

    /// Told when the login of a token ends, at once where it has ended, or is in doubt.
    #[must_use]
    pub fn watch(self: &Arc<Self>, login: Login, issued_at_ms: i64) -> Watch {
        let (told, receiver) = oneshot::channel();
        let mut state = self.state();
        state.last_watcher += 1;
        let number = state.last_watcher;
        if state.standing(login, issued_at_ms) == Standing::Lives {
            state.watchers.entry(login.user_id).or_default().push((number, login.session, told));
        } else {
            // The receiver is ours, a line below.
            let _ = told.send(());
        }
        Watch { live: Arc::clone(self), login, number, receiver }
    }

    /// The logins that sockets hang on.
    pub(super) fn watched(&self) -> HashSet<Login> {
        let state = self.state();
        let sessions = state.watchers.iter().flat_map(|(user_id, watchers)| {
            watchers.iter().map(|(_, session, _)| Login { user_id: *user_id, session: *session })
        });
        sessions.collect()
    }

    /// Notes an end.
    pub fn note(&self, user_id: UserId, family: Option<FamilyId>, now_ms: i64) {
        let mut state = self.state();
        let state = &mut *state;
        // A token's own time may be as far ahead as the leeway.
        let kept_ms = self.token_ttl_ms + 2 * LEEWAY_MS;
        while state.order.len() >= ENDED_MAX
            || state.order.front().is_some_and(|(_, at_ms, _)| now_ms > at_ms + kept_ms)
        {
            let Some((number, _, key)) = state.order.pop_front() else { break };
            // Unless it ended again since.
            if state.ended.get(&key).is_some_and(|end| end.number == number) {
                state.ended.remove(&key);
            }
        }
        state.last_end += 1;
        let number = state.last_end;
        state.ended.insert((user_id, family), End { number, at_ms: now_ms, proved: VecDeque::new() });
        state.order.push_back((number, now_ms, (user_id, family)));
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
    fn standing(&self, login: Login, issued_at_ms: i64) -> Standing {
        if self.ended.contains_key(&(login.user_id, Some(login.session))) {
            return Standing::Ended;
        }
        let Some(end) = self.ended.get(&(login.user_id, None)) else { return Standing::Lives };
        if issued_at_ms > end.at_ms + LEEWAY_MS || end.proved.contains(&login.session) {
            return Standing::Lives;
        }
        // In whole seconds, downwards.
        if issued_at_ms + 1000 + LEEWAY_MS < end.at_ms { Standing::Ended } else { Standing::InDoubt(Doubt(end.number)) }
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

    fn is_ended(live: &LiveLogins, login: Login, issued_at_ms: i64) -> bool {
        live.standing(login, issued_at_ms) == Standing::Ended
    }

    #[tokio::test]
    async fn the_end_of_a_login_is_known_to_its_tokens_and_sockets_and_to_no_others() {
        let live = LiveLogins::new(TTL_MS);
        let (mut one, mut other) = (live.watch(login(1), 999_000), live.watch(login(2), 999_000));
        assert_eq!(live.watched(), HashSet::from([login(1), login(2)]));
        live.note(USER, Some(login(1).session), 1_000_000);
        one.ended().await;
        assert!(is_ended(&live, login(1), 999_000) && !is_ended(&live, login(2), 999_000));
        assert!(futures_util::poll!(std::pin::pin!(other.ended())).is_pending());
        // One that comes too late is told at once.
        live.watch(login(1), 999_000).ended().await;
        drop((one, other));
        assert!(live.state().watchers.is_empty());
    }

    #[tokio::test]
    async fn the_end_of_all_logins_reaches_each_until_the_stores_prove_that_it_began_afterwards() {
        let live = LiveLogins::new(TTL_MS);
        let mut watch = live.watch(login(1), 999_000);
        live.note(USER, None, 1_000_500);
        watch.ended().await;
        assert!(is_ended(&live, login(1), 900_000));
        // Of the same second, and of clocks that differ.
        for issued_at_ms in [999_000, 1_000_000, 1_001_000, 1_060_000] {
            assert!(matches!(live.standing(login(2), issued_at_ms), Standing::InDoubt(_)), "{issued_at_ms}");
        }
        assert_eq!(live.standing(login(2), 1_061_000), Standing::Lives);
        assert_eq!(live.standing(Login { user_id: UserId(2), ..login(1) }, 0), Standing::Lives);

        let Standing::InDoubt(doubt) = live.standing(login(2), 1_000_000) else { panic!("no doubt") };
        live.prove(login(2), doubt);
        assert_eq!(live.standing(login(2), 1_000_000), Standing::Lives);
        assert!(matches!(live.standing(login(1), 1_000_000), Standing::InDoubt(_)), "that one was not proved");
        // What was proved before another end proves nothing.
        live.note(USER, None, 1_000_600);
        live.prove(login(2), doubt);
        assert!(matches!(live.standing(login(2), 1_000_000), Standing::InDoubt(_)));
        live.watch(login(2), 1_000_000).ended().await;
    }

    #[test]
    fn as_many_proofs_as_may_be_are_kept() {
        let live = LiveLogins::new(TTL_MS);
        live.note(USER, None, 0);
        let Standing::InDoubt(doubt) = live.standing(login(0), 0) else { panic!("no doubt") };
        for session in 0..=64 {
            live.prove(login(session), doubt);
        }
        assert!(matches!(live.standing(login(0), 0), Standing::InDoubt(_)));
        assert!((1..=64).all(|session| live.standing(login(session), 0) == Standing::Lives));
    }

    #[test]
    fn what_ended_is_forgotten_with_its_last_token() {
        let live = LiveLogins::new(TTL_MS);
        let kept_ms = TTL_MS + 2 * LEEWAY_MS;
        live.note(USER, Some(login(1).session), 0);
        live.note(USER, Some(login(2).session), kept_ms);
        assert!(is_ended(&live, login(1), 0));
        live.note(USER, Some(login(3).session), kept_ms + 1);
        assert!(!is_ended(&live, login(1), 0) && is_ended(&live, login(2), 0));
    }
}
