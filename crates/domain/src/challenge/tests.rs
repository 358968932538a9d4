#![allow(clippy::unwrap_used)]

use super::*;
use crate::secret::{DerivationKey, DerivationKeys, Otc, Proof, Verifier};

const T0: i64 = 1_767_323_045_678;
const TTL_MS: i64 = 120_000;

fn keys() -> DerivationKeys {
    DerivationKeys::new(vec![DerivationKey::from_bytes(KeyId(3), [7; 32])]).unwrap()
}

fn creator() -> Proof {
    Proof::Verifier(Verifier::from_bytes([1; 32]))
}

fn stranger() -> Proof {
    Proof::Verifier(Verifier::from_bytes([2; 32]))
}

fn phone(session: u8) -> Phone {
    Phone { user_id: UserId(5), session: FamilyId::from_bytes([session; 16]) }
}

fn new_challenge() -> NewChallenge {
    NewChallenge {
        key: ChallengeKey::of(&ChallengeId::from_bytes([9; 32])),
        salt: Salt::from_bytes([8; 16]),
        key_id: KeyId(3),
        binding: Binding::Verifier(Verifier::from_bytes([1; 32]).code_challenge()),
        creator: ClientInfo::new("192.0.2.1", "curl"),
        device_grant: None,
        ttl_ms: TTL_MS,
    }
}

fn pending() -> Challenge {
    new_challenge().at(T0)
}

fn step(challenge: &Challenge, event: Event<'_>, now_ms: i64) -> Challenge {
    let decision = decide(challenge, event, &keys(), now_ms);
    assert_eq!(decision.answer, Ok(()));
    decision.next.unwrap()
}

fn scanned() -> Challenge {
    let nonce = pending().nonce(&keys()).unwrap();
    step(&pending(), Event::Scan { nonce: &nonce, phone: phone(1) }, T0 + 1_000)
}

fn approved() -> Challenge {
    step(&scanned(), Event::Approve { phone: phone(1) }, T0 + 2_000)
}

fn exchanged() -> Challenge {
    let otc = approved().otc(&keys(), T0 + 3_000).unwrap();
    step(&approved(), Event::Exchange { proof: &creator(), otc: &otc }, T0 + 3_000)
}

fn answer(challenge: &Challenge, event: Event<'_>, now_ms: i64) -> Result<(), Refusal> {
    let decision = decide(challenge, event, &keys(), now_ms);
    if decision.answer.is_err() {
        assert_eq!(decision.next, None, "a refusal that writes");
    }
    decision.answer
}

/// Every event that its rightful actor can send.
fn each_event(check: impl Fn(Event<'_>)) {
    let nonce = pending().nonce(&keys()).unwrap();
    let otc = approved().otc(&keys(), T0 + 2_000).unwrap();
    check(Event::Scan { nonce: &nonce, phone: phone(1) });
    check(Event::Approve { phone: phone(1) });
    check(Event::Deny { phone: phone(1) });
    check(Event::Cancel { proof: &creator() });
    check(Event::Exchange { proof: &creator(), otc: &otc });
}

#[test]
fn a_new_challenge_is_pending_until_its_deadline() {
    let challenge = pending();
    assert_eq!((challenge.status, challenge.version), (Status::Pending, 1));
    assert_eq!((challenge.created_at_ms, challenge.deadline_ms), (T0, T0 + TTL_MS));
    assert_eq!(challenge.status_at(T0 + TTL_MS - 1), Status::Pending);
    assert_eq!(challenge.status_at(T0 + TTL_MS), Status::Expired);
    assert_eq!(challenge.purge_at_ms(), T0 + TTL_MS + 60_000);
}

#[test]
fn the_whole_way_leads_to_a_login() {
    assert_eq!((scanned().status, scanned().scanner, scanned().version), (Status::Scanned, Some(phone(1)), 2));
    let approved = approved();
    assert_eq!((approved.status, approved.user_id, approved.version), (Status::Approved, Some(UserId(5)), 3));
    assert_eq!(approved.approved_at_ms, Some(T0 + 2_000));
    let exchanged = exchanged();
    assert_eq!((exchanged.status, exchanged.user_id, exchanged.version), (Status::Exchanged, Some(UserId(5)), 4));
    assert_eq!(exchanged.exchanged_at_ms(), Some(T0 + 3_000));
    assert_eq!(exchanged.purge_at_ms(), T0 + 63_000);
}

#[test]
fn the_exchange_has_sixty_seconds_or_what_is_left() {
    assert_eq!(approved().deadline_ms, T0 + 62_000);
    let late = step(&scanned(), Event::Approve { phone: phone(1) }, T0 + 100_000);
    assert_eq!(late.deadline_ms, T0 + TTL_MS);
}

#[test]
fn an_otc_exists_only_while_it_is_approved() {
    for challenge in [pending(), scanned(), exchanged()] {
        assert_eq!(challenge.otc(&keys(), T0 + 3_000), None);
    }
    let approved = approved();
    assert!(approved.otc(&keys(), T0 + 61_999).is_some());
    assert_eq!(approved.otc(&keys(), T0 + 62_000), None);
    assert_ne!(approved.otc(&keys(), T0 + 3_000).unwrap().expose(), approved.nonce(&keys()).unwrap().expose());
}

#[test]
fn nonce_and_otc_are_gone_with_their_key() {
    let others = DerivationKeys::new(vec![DerivationKey::from_bytes(KeyId(4), [7; 32])]).unwrap();
    assert_eq!((pending().nonce(&others), approved().otc(&others, T0 + 3_000)), (None, None));
    let nonce = pending().nonce(&keys()).unwrap();
    let scan = decide(&pending(), Event::Scan { nonce: &nonce, phone: phone(1) }, &others, T0);
    assert_eq!(scan.answer, Err(Refusal::NotFound));
}

#[test]
fn who_may_not_see_a_challenge_is_told_that_there_is_none() {
    let otc = approved().otc(&keys(), T0 + 2_000).unwrap();
    let wrong = Nonce::from_bytes([0; 32]);
    let other = Phone { user_id: UserId(5), session: FamilyId::from_bytes([2; 16]) };
    let ended = pending().ended(Status::Denied, T0);
    for challenge in [pending(), scanned(), approved(), exchanged(), ended] {
        for now_ms in [T0 + 3_000, T0 + TTL_MS] {
            for event in [
                Event::Scan { nonce: &wrong, phone: phone(1) },
                Event::Approve { phone: other },
                Event::Deny { phone: other },
                Event::Cancel { proof: &stranger() },
                Event::Exchange { proof: &stranger(), otc: &otc },
            ] {
                assert_eq!(answer(&challenge, event, now_ms), Err(Refusal::NotFound), "{event:?}");
            }
        }
    }
    // Nor does a phone that has not scanned see a pending one.
    assert_eq!(answer(&pending(), Event::Approve { phone: phone(1) }, T0), Err(Refusal::NotFound));
}

#[test]
fn scanning_again_by_the_same_phone_is_answered_alike_and_by_another_is_a_conflict() {
    let nonce = pending().nonce(&keys()).unwrap();
    let again = decide(&scanned(), Event::Scan { nonce: &nonce, phone: phone(1) }, &keys(), T0 + 5_000);
    assert_eq!(again, Decision { next: None, answer: Ok(()) });
    let other = Event::Scan { nonce: &nonce, phone: phone(2) };
    assert_eq!(answer(&scanned(), other, T0 + 5_000), Err(Refusal::Conflict(Status::Scanned)));
    let same = Event::Scan { nonce: &nonce, phone: phone(1) };
    assert_eq!(answer(&approved(), same, T0 + 5_000), Err(Refusal::Conflict(Status::Approved)));
}

#[test]
fn a_terminal_challenge_answers_everything_with_its_status() {
    for status in [Status::Exchanged, Status::Denied, Status::Cancelled, Status::Expired] {
        let challenge = scanned().ended(status, T0 + 3_000);
        each_event(|event| {
            for now_ms in [T0 + 3_000, T0 + 10 * TTL_MS] {
                assert_eq!(answer(&challenge, event, now_ms), Err(Refusal::Conflict(status)), "{event:?}");
            }
        });
        assert_eq!(expire(&challenge, T0 + 10 * TTL_MS), None);
    }
}

#[test]
fn past_its_deadline_every_event_finds_it_expired() {
    for challenge in [scanned(), approved()] {
        each_event(|event| {
            let decision = decide(&challenge, event, &keys(), challenge.deadline_ms);
            assert_eq!(decision.answer, Err(Refusal::Conflict(Status::Expired)));
            let next = decision.next.unwrap();
            assert_eq!((next.status, next.version), (Status::Expired, challenge.version + 1));
            assert_eq!(next.ended_at_ms, Some(challenge.deadline_ms));
        });
        assert_eq!(expire(&challenge, challenge.deadline_ms - 1), None);
    }
}

#[test]
fn what_comes_too_early_is_told_the_status() {
    let otc = Otc::from_bytes([0; 32]);
    for (challenge, status) in [(pending(), Status::Pending), (scanned(), Status::Scanned)] {
        let exchange = Event::Exchange { proof: &creator(), otc: &otc };
        assert_eq!(answer(&challenge, exchange, T0 + 1_500), Err(Refusal::Conflict(status)));
    }
    for event in [Event::Approve { phone: phone(1) }, Event::Deny { phone: phone(1) }] {
        assert_eq!(answer(&approved(), event, T0 + 3_000), Err(Refusal::Conflict(Status::Approved)));
    }
}

#[test]
fn its_creator_may_cancel_until_the_exchange() {
    for challenge in [pending(), scanned(), approved()] {
        let cancelled = step(&challenge, Event::Cancel { proof: &creator() }, T0 + 3_000);
        assert_eq!((cancelled.status, cancelled.ended_at_ms), (Status::Cancelled, Some(T0 + 3_000)));
    }
}

#[test]
fn five_wrong_otc_from_its_creator_end_it() {
    let wrong = Otc::from_bytes([0; 32]);
    let mut challenge = approved();
    for tries_left in (0..5).rev() {
        let decision = decide(&challenge, Event::Exchange { proof: &creator(), otc: &wrong }, &keys(), T0 + 3_000);
        assert_eq!(decision.answer, Err(Refusal::WrongOtc { tries_left }));
        challenge = decision.next.unwrap();
    }
    assert_eq!((challenge.status, challenge.wrong_otc_count), (Status::Cancelled, 5));
    let otc = approved().otc(&keys(), T0 + 3_000).unwrap();
    let right = Event::Exchange { proof: &creator(), otc: &otc };
    assert_eq!(answer(&challenge, right, T0 + 3_000), Err(Refusal::Conflict(Status::Cancelled)));
}

#[test]
fn four_wrong_otc_leave_room_for_the_right_one() {
    let wrong = Otc::from_bytes([0; 32]);
    let mut challenge = approved();
    for _ in 0..4 {
        let event = Event::Exchange { proof: &creator(), otc: &wrong };
        challenge = decide(&challenge, event, &keys(), T0 + 3_000).next.unwrap();
    }
    assert_eq!((challenge.deadline_ms, challenge.status), (approved().deadline_ms, Status::Approved));
    let otc = challenge.otc(&keys(), T0 + 3_000).unwrap();
    assert_eq!(
        step(&challenge, Event::Exchange { proof: &creator(), otc: &otc }, T0 + 3_000).status,
        Status::Exchanged
    );
}

#[test]
fn an_early_poll_slows_down_for_good() {
    let polled = NewChallenge { device_grant: Some(DeviceGrant::new("orinoco-cli")), ..new_challenge() }.at(T0);
    let mut challenge = polled;
    // (seconds after creation, whether it was early, the interval from then on)
    for (after_ms, early, interval_ms) in [
        (100, false, 5_000),
        (5_100, false, 5_000),
        (6_000, true, 10_000),
        (16_000, false, 10_000),
        (24_000, true, 15_000),
    ] {
        let Poll::Wait { next, slow_down } = poll(&challenge, T0 + after_ms) else { panic!("{after_ms}") };
        assert_eq!((slow_down, next.device_grant.as_ref().unwrap().interval_ms), (early, interval_ms), "{after_ms}");
        assert_eq!((next.version, next.deadline_ms), (challenge.version + 1, challenge.deadline_ms));
        challenge = *next;
    }
    assert_eq!(poll(&challenge, T0 + TTL_MS), Poll::Decided(Status::Expired));
    assert_eq!(poll(&pending(), T0), Poll::Decided(Status::Pending), "not of the device grant");
    let approved = Challenge { device_grant: challenge.device_grant.clone(), ..approved() };
    assert_eq!(poll(&approved, T0 + 24_001), Poll::Decided(Status::Approved));
}

#[test]
fn a_record_is_stored_as_it_was_and_holds_nothing_usable() {
    let id = ChallengeId::from_bytes([9; 32]);
    for challenge in [pending(), scanned(), approved(), exchanged()] {
        let text = serde_json::to_string(&challenge).unwrap();
        assert_eq!(serde_json::from_str::<Challenge>(&text).unwrap(), challenge);
        let nonce = challenge.nonce(&keys()).unwrap();
        let otc = approved().otc(&keys(), T0 + 2_000).unwrap();
        for secret in [id.expose(), nonce.expose(), otc.expose()] {
            assert!(!text.contains(&secret), "{text}");
        }
    }
    assert_eq!(ChallengeKey::parse(&ChallengeKey::of(&id).to_string()), Ok(ChallengeKey::of(&id)));
}
