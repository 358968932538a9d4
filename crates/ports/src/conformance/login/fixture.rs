//! Challenges and logins as tests make them, and their users: each acts as the actors do, by load, decide, compare-and-set, and decide
//! again on what won.

use std::collections::BTreeSet;

use orinoco_domain::{
    ClientInfo,
    account::{Standing, UserId},
    challenge::{self, Challenge, ChallengeKey, DeviceGrant, Event, NewChallenge, Phone, Refusal, Status},
    refresh::{self, Family, FamilyId, NewFamily, RefreshToken},
    secret::{Binding, ChallengeId, CookieSecret, DerivationKey, DerivationKeys, KeyId, Proof, Salt},
};

use crate::{LoginEvent, LoginStore, LoginSubscription, Swap, conformance::within_deadline};

pub(super) const ADA: UserId = UserId(1);
pub(super) const EVE: UserId = UserId(2);
/// No case lasts so long.
pub(super) const LONG_MS: i64 = 3_600_000;
/// What a case waits out where the store's clock can't be moved.
pub(super) const SHORT_MS: i64 = 400;

pub(super) fn keys() -> DerivationKeys {
    DerivationKeys::new(vec![DerivationKey::from_bytes(KeyId(7), [42; 32])]).unwrap()
}

fn random<const LENGTH: usize>() -> [u8; LENGTH] {
    std::array::from_fn(|_| fastrand::u8(..))
}

/// A browser, and the challenge that it asks for.
pub(super) struct Browser {
    pub(super) new: NewChallenge,
    pub(super) proof: Proof,
}

impl Browser {
    pub(super) fn new(ttl_ms: i64) -> Self {
        let id = ChallengeId::from_bytes(random());
        let cookie = CookieSecret::from_bytes(random());
        let new = NewChallenge {
            key: ChallengeKey::of(&id),
            salt: Salt::from_bytes(random()),
            key_id: keys().current().id(),
            binding: Binding::to_cookie(&cookie),
            creator: ClientInfo::new("192.0.2.7", "Mozilla/5.0 (\"'\\ é\u{1f511} %00) {}"),
            device_grant: Some(DeviceGrant::new("orinoco-cli")),
            ttl_ms,
        };
        Self { new, proof: Proof::Cookie(cookie) }
    }

    pub(super) fn key(&self) -> ChallengeKey {
        self.new.key
    }
}

/// Makes a challenge that lasts.
pub(super) async fn browser(store: &dyn LoginStore) -> Browser {
    let browser = Browser::new(LONG_MS);
    store.create_challenge(&browser.new).await.unwrap();
    browser
}

pub(super) fn phone() -> Phone {
    Phone { user_id: ADA, session: FamilyId::from_bytes([9; 16]) }
}

pub(super) fn new_family(user_id: UserId, ttl_ms: i64) -> NewFamily {
    NewFamily {
        id: FamilyId::from_bytes(random()),
        user_id,
        generation: 3,
        client_id: Some("orinoco-cli".into()),
        salt: Salt::from_bytes(random()),
        client: ClientInfo::new("2001:db8::1", "curl/8 \"'\\ é\u{1f511}"),
        ttl_ms,
    }
}

/// Logs a user in.
pub(super) async fn log_in(store: &dyn LoginStore, user_id: UserId, ttl_ms: i64) -> (Family, RefreshToken) {
    let now_ms = store.now_ms().await.unwrap();
    let (family, token) = new_family(user_id, ttl_ms).begin(keys().current(), now_ms);
    store.create_family(&family).await.unwrap();
    (family, token)
}

pub(super) async fn load(store: &dyn LoginStore, key: ChallengeKey) -> Challenge {
    store.load_challenge(&key).await.unwrap().record.unwrap()
}

pub(super) async fn load_family(store: &dyn LoginStore, id: FamilyId) -> Option<Family> {
    store.load_family(&id).await.unwrap().record
}

pub(super) async fn approved(store: &dyn LoginStore) -> Browser {
    let browser = browser(store).await;
    for act in [Act::Scan, Act::Approve] {
        act_on(store, &browser, act).await.unwrap();
    }
    browser
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    Scan,
    Approve,
    Deny,
    Cancel,
    Exchange,
    /// Of the clock: what the timer of a challenge's actor does.
    Expire,
}

/// The challenge as an act left it, with the login that an exchange began; or why not.
pub(super) type Answer = Result<(Challenge, Option<Family>), Refusal>;

pub(super) async fn act_on(store: &dyn LoginStore, browser: &Browser, act: Act) -> Answer {
    let loaded = store.load_challenge(&browser.key()).await.unwrap();
    let (mut current, mut now_ms) = (loaded.record.ok_or(Refusal::NotFound)?, loaded.now_ms);
    loop {
        let decision = decide(&current, browser, act, now_ms);
        let Some(next) = decision.next else {
            return decision.answer.map(|()| (current, None));
        };
        let family = (next.status == Status::Exchanged)
            .then(|| new_family(next.user_id.unwrap(), LONG_MS).begin(keys().current(), now_ms).0);
        match store.swap_challenge(&next, family.as_ref()).await.unwrap() {
            Swap::Swapped => return decision.answer.map(|()| (next, family)),
            Swap::Gone => return Err(Refusal::NotFound),
            Swap::Conflict { current: winner, now_ms: later_ms } => {
                assert_ne!((&winner, later_ms), (&current, now_ms), "a conflict that changed nothing");
                (current, now_ms) = (winner, later_ms);
            }
        }
    }
}

fn decide(challenge: &Challenge, browser: &Browser, act: Act, now_ms: i64) -> challenge::Decision {
    let keys = keys();
    let nonce = challenge.nonce(&keys).unwrap();
    let proof = &browser.proof;
    // Where there is no otc, any other value is presented.
    let otc = challenge.otc(&keys, now_ms).unwrap_or_else(|| orinoco_domain::secret::Otc::from_bytes([0; 32]));
    let event = match act {
        Act::Scan => Event::Scan { nonce: &nonce, phone: phone() },
        Act::Approve => Event::Approve { phone: phone() },
        Act::Deny => Event::Deny { phone: phone() },
        Act::Cancel => Event::Cancel { proof },
        Act::Exchange => Event::Exchange { proof, otc: &otc },
        Act::Expire => {
            let next = challenge::expire(challenge, now_ms);
            let refusal = Refusal::Conflict(challenge.status);
            let answer = if next.is_some() { Ok(()) } else { Err(refusal) };
            return challenge::Decision { next, answer };
        }
    };
    challenge::decide(challenge, event, &keys, now_ms)
}

/// What a presented token gets: its successor and whether this call wrote it, or `None` for a refusal. A reuse ends the case.
pub(super) async fn refresh(store: &dyn LoginStore, token: &RefreshToken) -> Option<(RefreshToken, bool)> {
    let loaded = store.load_family(&token.family()).await.unwrap();
    let (mut current, mut now_ms) = (loaded.record?, loaded.now_ms);
    let standing = Standing { enabled: true, generation: current.generation };
    loop {
        match refresh::decide(&current, token, standing, &ClientInfo::new("::1", "tab"), &keys(), now_ms) {
            refresh::Decision::Rotate { next, successor } => match store.swap_family(&next).await.unwrap() {
                Swap::Swapped => return Some((successor, true)),
                Swap::Gone => return None,
                Swap::Conflict { current: winner, now_ms: later_ms } => {
                    assert!(winner.version > current.version, "a conflict that changed nothing");
                    (current, now_ms) = (winner, later_ms);
                }
            },
            refresh::Decision::Again { successor } => return Some((successor, false)),
            refresh::Decision::Refused(_) => return None,
            refresh::Decision::Reuse => panic!("taken for reuse at {now_ms}: {current:?}"),
        }
    }
}

/// All live logins of a user, each once.
pub(super) async fn families_of(store: &dyn LoginStore, user_id: UserId, page_max: usize) -> Vec<Family> {
    let mut all: Vec<Family> = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let page = store.families_of(user_id, cursor.as_deref(), page_max).await.unwrap();
        assert!(page.families.len() <= page_max);
        all.extend(page.families);
        cursor = page.next;
        if cursor.is_none() {
            let ids: BTreeSet<FamilyId> = all.iter().map(|family| family.id).collect();
            assert_eq!(ids.len(), all.len(), "a login came twice");
            assert!(all.iter().all(|family| family.user_id == user_id));
            return all;
        }
        assert!(all.len() < 100_000, "pages without end");
    }
}

pub(super) async fn next_event(subscription: &mut dyn LoginSubscription) -> LoginEvent {
    within_deadline("a published change", subscription.next()).await.unwrap()
}

pub(super) fn changed(challenge: &Challenge) -> LoginEvent {
    let Challenge { key, version, status, .. } = *challenge;
    LoginEvent::ChallengeChanged { key, version, status }
}
