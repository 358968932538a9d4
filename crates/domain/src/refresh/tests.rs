#![allow(clippy::unwrap_used)]

use super::*;
use crate::{
    account::Standing,
    secret::{DerivationKey, DerivationKeys},
};

const T0: i64 = 1_767_323_045_678;
const TTL_MS: i64 = 7 * 24 * 3_600_000;
const STANDING: Standing = Standing { enabled: true, generation: 4 };

fn key(id: u32) -> DerivationKey {
    DerivationKey::from_bytes(KeyId(id), [id as u8; 32])
}

fn keys() -> DerivationKeys {
    DerivationKeys::new(vec![key(2), key(1)]).unwrap()
}

fn new_family() -> NewFamily {
    NewFamily {
        id: FamilyId::from_bytes([5; 16]),
        user_id: UserId(7),
        generation: 4,
        client_id: None,
        salt: Salt::from_bytes([6; 16]),
        client: ClientInfo::new("192.0.2.1", "first"),
        ttl_ms: TTL_MS,
    }
}

fn login() -> (Family, RefreshToken) {
    new_family().begin(&key(1), T0)
}

fn present(family: &Family, token: &RefreshToken, now_ms: i64) -> Decision {
    decide(family, token, STANDING, &ClientInfo::new("::1", "later"), &keys(), now_ms)
}

fn rotate(family: &Family, token: &RefreshToken, now_ms: i64) -> (Family, RefreshToken) {
    match present(family, token, now_ms) {
        Decision::Rotate { next, successor } => (next, successor),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_token_s_text_is_70_characters_and_parses_to_itself() {
    let (_, token) = login();
    let text = token.expose();
    assert_eq!((text.len(), RefreshToken::LENGTH), (70, 70));
    let parsed = RefreshToken::parse(&text).unwrap();
    assert_eq!((parsed.family(), parsed.sequence()), (FamilyId::from_bytes([5; 16]), 1));
    assert_eq!(parsed, token);
    for wrong in ["", &text[1..], &format!("{text}A"), &"é".repeat(35), &"a.b.c".repeat(14)] {
        assert_eq!(RefreshToken::parse(wrong).unwrap_err(), InvalidRefreshToken, "{wrong}");
    }
    assert!(!format!("{token:?}").contains(&text[30..]));
}

#[test]
fn the_head_is_rotated() {
    let (family, token) = login();
    let (next, successor) = rotate(&family, &token, T0 + 1_000);
    assert_eq!((next.head_sequence, next.version, next.last_used_at_ms), (2, 2, T0 + 1_000));
    assert_eq!((next.head_hash, next.client.user_agent()), (successor.digest(), "later"));
    assert_eq!((next.expires_at_ms, next.created_at_ms), (T0 + TTL_MS, T0));
    assert_ne!(successor, token);
    rotate(&next, &successor, T0 + 2_000);
}

#[test]
fn the_parent_gets_the_same_unused_successor_for_ten_seconds() {
    let (family, first) = login();
    let (family, second) = rotate(&family, &first, T0);
    for now_ms in [T0, T0 + 5_000, T0 + 9_999] {
        assert_eq!(present(&family, &first, now_ms), Decision::Again { successor: second.clone() });
    }
    assert_eq!(present(&family, &first, T0 + 10_000), Decision::Reuse);
}

#[test]
fn an_ancestor_whose_successor_was_used_is_refused_for_ten_seconds() {
    let (family, first) = login();
    let (family, second) = rotate(&family, &first, T0);
    let (family, third) = rotate(&family, &second, T0 + 3_000);
    assert_eq!(present(&family, &first, T0 + 9_999), Decision::Refused(Refusal::Replaced));
    assert_eq!(present(&family, &first, T0 + 10_000), Decision::Reuse);
    assert_eq!(present(&family, &second, T0 + 12_999), Decision::Again { successor: third });
    assert_eq!(present(&family, &second, T0 + 13_000), Decision::Reuse);
}

#[test]
fn an_ancestor_of_long_ago_is_a_reuse_however_busy_the_family_is() {
    let (mut family, first) = login();
    let mut token = first.clone();
    for number in 0..2_000 {
        (family, token) = rotate(&family, &token, T0 + number * 20);
        assert!(family.replaced.len() <= Family::REPLACED_MAX);
    }
    assert_eq!(present(&family, &first, T0 + 40_000), Decision::Reuse);
}

#[test]
fn no_token_of_a_fast_client_is_taken_for_a_reuse_within_ten_seconds() {
    let (mut family, mut token) = login();
    let mut given = Vec::new();
    for number in 0..1_000 {
        given.push(token.clone());
        (family, token) = rotate(&family, &token, T0 + number * 9);
    }
    for ancestor in &given {
        assert_ne!(present(&family, ancestor, T0 + 9_999), Decision::Reuse, "{ancestor:?}");
    }
}

#[test]
fn a_rotation_forgets_no_token_that_still_has_leniency() {
    let (family, first) = login();
    let (family, second) = rotate(&family, &first, T0);
    let (family, third) = rotate(&family, &second, T0 + 900);
    let (family, _) = rotate(&family, &third, T0 + 10_500);
    assert_eq!(present(&family, &second, T0 + 10_500), Decision::Refused(Refusal::Replaced));
    assert_eq!(present(&family, &second, T0 + 10_900), Decision::Reuse);
}

#[test]
fn what_was_never_given_out_is_forged() {
    let (family, first) = login();
    let (family, second) = rotate(&family, &first, T0);
    let (_, beyond) = rotate(&family, &second, T0);
    let (_, other_salt) = NewFamily { salt: Salt::from_bytes([0; 16]), ..new_family() }.begin(&key(1), T0);
    let (_, other_key) = new_family().begin(&key(2), T0);
    let zeroth = RefreshToken::derive(&key(1), family.id, family.salt, 0);
    let last = RefreshToken::derive(&key(1), family.id, family.salt, u32::MAX);
    for token in [&beyond, &other_salt, &other_key, &zeroth, &last] {
        assert_eq!(present(&family, token, T0 + 60_000), Decision::Refused(Refusal::Forged), "{token:?}");
    }
    let lost = Family { head_hash: first.digest(), ..family.clone() };
    assert_eq!(present(&lost, &second, T0), Decision::Refused(Refusal::Forged), "the stored hash counts too");
}

#[test]
fn a_family_out_of_a_backup_ends_when_a_token_shows_that_it_is_behind() {
    let (family, first) = login();
    let (later, second) = rotate(&family, &first, T0);
    let (_, third) = rotate(&later, &second, T0);
    let restored = Family { is_restored: true, ..family };
    // Its head works once; in what follows it is still known where the family came from.
    let (followed, again) = rotate(&restored, &first, T0 + 60_000);
    assert_eq!(again, second, "it is derived, not drawn");
    for family in [&restored, &followed] {
        assert_eq!(present(family, &third, T0 + 60_000), Decision::Reuse);
    }
    let forged = RefreshToken::derive(&key(2), restored.id, restored.salt, 9);
    assert_eq!(present(&restored, &forged, T0), Decision::Refused(Refusal::Forged));
    assert_eq!(present(&restored, &third, T0 + TTL_MS), Decision::Refused(Refusal::Expired));
}

#[test]
fn a_family_ends_at_its_expiry_whatever_was_rotated() {
    let (family, first) = login();
    let (family, second) = rotate(&family, &first, T0 + TTL_MS - 1);
    for token in [&first, &second] {
        assert_eq!(present(&family, token, T0 + TTL_MS), Decision::Refused(Refusal::Expired));
    }
}

#[test]
fn a_disabled_account_or_an_older_generation_is_refused() {
    let (family, token) = login();
    for standing in [
        Standing { enabled: false, ..STANDING },
        Standing { generation: 5, ..STANDING },
        Standing { generation: 3, ..STANDING },
    ] {
        let decision = decide(&family, &token, standing, &ClientInfo::default(), &keys(), T0);
        assert_eq!(decision, Decision::Refused(Refusal::Ended));
    }
}

#[test]
fn a_family_whose_key_is_gone_is_refused() {
    let (family, token) = login();
    let others = DerivationKeys::new(vec![key(2)]).unwrap();
    let decision = decide(&family, &token, STANDING, &ClientInfo::default(), &others, T0);
    assert_eq!(decision, Decision::Refused(Refusal::KeyGone));
}

#[test]
fn the_last_sequence_needs_a_new_login() {
    let (family, _) = login();
    let token = RefreshToken::derive(&key(1), family.id, family.salt, u32::MAX);
    let family = Family { head_sequence: u32::MAX, head_hash: token.digest(), ..family };
    assert_eq!(present(&family, &token, T0), Decision::Refused(Refusal::Expired));
}

#[test]
fn a_record_is_stored_as_it_was_and_holds_no_token() {
    let (family, first) = login();
    let (family, second) = rotate(&family, &first, T0);
    let text = serde_json::to_string(&family).unwrap();
    assert_eq!(serde_json::from_str::<Family>(&text).unwrap(), family);
    for token in [first, second] {
        assert!(!text.contains(&token.expose()[28..]), "{text}");
    }
    assert_eq!(FamilyId::parse(&family.id.to_string()), Ok(family.id));
    assert_eq!(family.id.to_string().len(), 22);
}
