//! Random events by everybody who could send one, at random times.

#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;
use crate::secret::{DerivationKey, DerivationKeys, Otc, Proof, Verifier};

const T0: i64 = 1_767_323_045_678;
const TTL_MS: i64 = 120_000;

#[derive(Debug, Clone, Copy)]
enum Act {
    Scan { right: bool, session: u8 },
    Approve { session: u8 },
    Deny { session: u8 },
    Cancel { creator: bool },
    Exchange { creator: bool, right: bool },
    Expire,
    Poll,
}

fn acts() -> impl Strategy<Value = Vec<(Act, i64)>> {
    // The likely ones more often, so that a good many sequences come to an end that is not a deadline.
    let act = prop_oneof![
        4 => (prop::bool::weighted(0.9), 1..3_u8).prop_map(|(right, session)| Act::Scan { right, session }),
        4 => (1..3_u8).prop_map(|session| Act::Approve { session }),
        1 => (1..3_u8).prop_map(|session| Act::Deny { session }),
        1 => any::<bool>().prop_map(|creator| Act::Cancel { creator }),
        6 => (any::<bool>(), prop::bool::weighted(0.3)).prop_map(|(creator, right)| Act::Exchange { creator, right }),
        2 => Just(Act::Expire),
        2 => Just(Act::Poll),
    ];
    prop::collection::vec((act, prop_oneof![3 => 0..2_000_i64, 1 => 0..70_000_i64]), 1..40)
}

fn keys() -> DerivationKeys {
    DerivationKeys::new(vec![DerivationKey::from_bytes(KeyId(3), [7; 32])]).unwrap()
}

fn phone(session: u8) -> Phone {
    Phone { user_id: UserId(i64::from(session)), session: FamilyId::from_bytes([session; 16]) }
}

fn proof(creator: bool) -> Proof {
    Proof::Verifier(Verifier::from_bytes([u8::from(creator); 32]))
}

fn pending() -> Challenge {
    let new = NewChallenge {
        key: ChallengeKey::of(&ChallengeId::from_bytes([9; 32])),
        salt: Salt::from_bytes([8; 16]),
        key_id: KeyId(3),
        binding: Binding::Verifier(Verifier::from_bytes([1; 32]).code_challenge()),
        creator: ClientInfo::default(),
        device_grant: Some(DeviceGrant::new("orinoco-cli")),
        ttl_ms: TTL_MS,
    };
    new.at(T0)
}

/// The real otc, which an attacker might have guessed, whatever the status.
fn real_otc(challenge: &Challenge) -> Otc {
    let approved =
        Challenge { status: Status::Approved, ended_at_ms: None, deadline_ms: i64::MAX, ..challenge.clone() };
    approved.otc(&keys(), T0).unwrap()
}

fn apply(challenge: &Challenge, act: Act, now_ms: i64) -> Decision {
    let keys = keys();
    let of = |is_right: bool, right: Otc| if is_right { right } else { Otc::from_bytes([0; 32]) };
    match act {
        Act::Scan { right, session } => {
            let nonce = if right { challenge.nonce(&keys).unwrap() } else { Nonce::from_bytes([0; 32]) };
            decide(challenge, Event::Scan { nonce: &nonce, phone: phone(session) }, &keys, now_ms)
        }
        Act::Approve { session } => decide(challenge, Event::Approve { phone: phone(session) }, &keys, now_ms),
        Act::Deny { session } => decide(challenge, Event::Deny { phone: phone(session) }, &keys, now_ms),
        Act::Cancel { creator } => decide(challenge, Event::Cancel { proof: &proof(creator) }, &keys, now_ms),
        Act::Exchange { creator, right } => {
            let otc = of(right, real_otc(challenge));
            decide(challenge, Event::Exchange { proof: &proof(creator), otc: &otc }, &keys, now_ms)
        }
        Act::Expire => Decision { next: expire(challenge, now_ms), answer: Ok(()) },
        Act::Poll => match poll(challenge, now_ms) {
            Poll::Wait { next, .. } => Decision { next: Some(*next), answer: Ok(()) },
            Poll::Decided(_) => Decision { next: None, answer: Ok(()) },
        },
    }
}

/// What may follow what, other than itself.
fn is_step(from: Status, to: Status) -> bool {
    use Status::{Approved, Cancelled, Denied, Exchanged, Expired, Pending, Scanned};
    matches!(
        (from, to),
        (Pending, Scanned | Cancelled | Expired)
            | (Scanned, Approved | Denied | Cancelled | Expired)
            | (Approved, Exchanged | Cancelled | Expired)
    )
}

fn assert_follows(before: &Challenge, next: &Challenge, act: Act, now_ms: i64) {
    assert_eq!(next.version, before.version + 1);
    assert!(!before.status.is_terminal(), "{act:?} changed a terminal challenge");
    assert!(next.status == before.status || is_step(before.status, next.status), "{act:?}: {before:?} {next:?}");
    assert!(next.deadline_ms <= before.deadline_ms && next.deadline_ms <= T0 + TTL_MS, "time was extended");
    assert!(next.purge_at_ms() <= before.purge_at_ms(), "the record's time was extended");
    assert_eq!((next.created_at_ms, next.key, next.binding), (before.created_at_ms, before.key, before.binding));
    assert_eq!(next.status.is_terminal(), next.ended_at_ms.is_some());
    assert_eq!(next.status == Status::Expired, now_ms >= before.deadline_ms, "the store's rule on deadlines");
    if before.scanner.is_some() {
        assert_eq!(next.scanner, before.scanner, "the first scanner stays");
    }
    match next.status {
        Status::Approved => assert_eq!(next.user_id, next.scanner.map(|phone| phone.user_id)),
        Status::Exchanged => assert!(matches!(act, Act::Exchange { creator: true, right: true })),
        Status::Denied => assert!(matches!(act, Act::Deny { session } if Some(phone(session)) == before.scanner)),
        Status::Pending | Status::Scanned | Status::Cancelled | Status::Expired => {}
    }
}

proptest! {
    #[test]
    fn every_sequence_keeps_the_invariants(acts in acts()) {
        let mut challenge = pending();
        let mut now_ms = T0;
        let mut ends = 0;
        for (act, later_ms) in acts {
            now_ms += later_ms;
            let decision = apply(&challenge, act, now_ms);
            let is_stranger = matches!(
                act,
                Act::Scan { right: false, .. } | Act::Cancel { creator: false } | Act::Exchange { creator: false, .. }
            );
            if is_stranger {
                prop_assert_eq!(&decision, &Decision { next: None, answer: Err(Refusal::NotFound) });
            }
            if let Some(next) = decision.next {
                assert_follows(&challenge, &next, act, now_ms);
                ends += usize::from(next.status.is_terminal());
                challenge = next;
            }
            let otc = challenge.otc(&keys(), now_ms);
            prop_assert_eq!(otc.is_some(), challenge.status == Status::Approved && now_ms < challenge.deadline_ms);
            prop_assert!(challenge.wrong_otc_count <= WRONG_OTC_MAX);
            if challenge.wrong_otc_count == WRONG_OTC_MAX {
                prop_assert_eq!(challenge.status, Status::Cancelled);
            }
        }
        prop_assert_eq!(ends, usize::from(challenge.status.is_terminal()), "one end");
    }

    /// All decide on one record, as those who race do; they write in some order, and who comes too late decides again.
    #[test]
    fn of_those_who_race_one_ends_it(acts in acts(), scanned in any::<bool>()) {
        let mut challenge = pending();
        if scanned {
            challenge = apply(&challenge, Act::Scan { right: true, session: 1 }, T0).next.unwrap();
            challenge = apply(&challenge, Act::Approve { session: 1 }, T0).next.unwrap();
        }
        let snapshot = challenge.clone();
        let mut won = Vec::new();
        for (act, _) in acts {
            let early = apply(&snapshot, act, T0 + 1);
            let decision = if snapshot.version == challenge.version { early } else { apply(&challenge, act, T0 + 1) };
            let Some(next) = decision.next else { continue };
            if decision.answer.is_ok() && next.status.is_terminal() {
                won.push((act, next.status));
            }
            challenge = next;
        }
        prop_assert!(won.len() <= 1, "{:?}", won);
        prop_assert!(won.iter().all(|(_, status)| *status == challenge.status));
    }
}
