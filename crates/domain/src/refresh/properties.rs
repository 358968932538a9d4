//! Tokens presented in random order at random times, against a model that remembers everything.

#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;
use crate::{
    account::Standing,
    secret::{DerivationKey, DerivationKeys},
};

const T0: i64 = 1_767_323_045_678;
const TTL_MS: i64 = 600_000;
const STANDING: Standing = Standing { enabled: true, generation: 0 };

/// How far behind the head the presented token is, and how long after the one before it comes, ms.
fn presentations() -> impl Strategy<Value = Vec<(usize, i64)>> {
    let behind = prop_oneof![6 => Just(0), 3 => Just(1), 1 => 2..20_usize];
    let later_ms = prop_oneof![4 => 0..300_i64, 2 => 300..3_000_i64, 1 => 3_000..15_000_i64];
    prop::collection::vec((behind, later_ms), 1..80)
}

/// A token given out, and when it was replaced.
struct Given {
    token: RefreshToken,
    replaced_at_ms: Option<i64>,
}

fn keys() -> DerivationKeys {
    DerivationKeys::new(vec![DerivationKey::from_bytes(KeyId(1), [3; 32])]).unwrap()
}

fn login() -> (Family, RefreshToken) {
    let new = NewFamily {
        id: FamilyId::from_bytes([5; 16]),
        user_id: UserId(7),
        generation: 0,
        client_id: None,
        salt: Salt::from_bytes([6; 16]),
        client: ClientInfo::default(),
        ttl_ms: TTL_MS,
    };
    new.begin(keys().current(), T0)
}

/// What the rules say, with every time known exactly; `true`: there is a second between refusal and reuse where both are right.
fn expected(given: &[Given], index: usize, now_ms: i64, decision: &Decision) -> bool {
    let Given { replaced_at_ms: Some(replaced_at_ms), .. } = given[index] else {
        return matches!(decision, Decision::Rotate { .. });
    };
    let age_ms = now_ms - replaced_at_ms;
    let is_parent = index + 2 == given.len();
    match decision {
        Decision::Again { successor } => is_parent && age_ms < LENIENCY_MS && *successor == given[index + 1].token,
        Decision::Refused(Refusal::Replaced) => !is_parent && age_ms < LENIENCY_MS + Replaced::SPAN_MS,
        Decision::Reuse => age_ms >= LENIENCY_MS,
        Decision::Rotate { .. } | Decision::Refused(_) => false,
    }
}

proptest! {
    #[test]
    fn every_presentation_gets_what_the_rules_say(presentations in presentations()) {
        let (mut family, token) = login();
        let mut given = vec![Given { token, replaced_at_ms: None }];
        let mut now_ms = T0;
        for (behind, later_ms) in presentations {
            now_ms += later_ms;
            let index = given.len().saturating_sub(behind + 1);
            let decision = decide(&family, &given[index].token, STANDING, &ClientInfo::default(), &keys(), now_ms);
            if now_ms >= T0 + TTL_MS {
                prop_assert_eq!(decision, Decision::Refused(Refusal::Expired));
                continue;
            }
            prop_assert!(expected(&given, index, now_ms, &decision), "{}: {:?}, {:?}", index, decision, family);
            if let Decision::Rotate { next, successor } = decision {
                prop_assert_eq!(next.version, family.version + 1);
                prop_assert_eq!((next.expires_at_ms, next.user_id), (family.expires_at_ms, family.user_id));
                prop_assert!(next.replaced.len() <= Family::REPLACED_MAX);
                prop_assert!(given.iter().all(|held| held.token != successor), "a token came twice");
                given[index].replaced_at_ms = Some(now_ms);
                given.push(Given { token: successor, replaced_at_ms: None });
                family = next;
            }
        }
    }

    /// All present one token within the leniency, and write in any order: who comes too late decides again.
    #[test]
    fn concurrent_use_of_one_token_gives_one_successor_and_never_a_reuse(delays in prop::collection::vec(0..LENIENCY_MS, 1..30)) {
        let (first, token) = login();
        let mut family = first.clone();
        let mut successors = Vec::new();
        let mut rotations = 0;
        for delay_ms in delays {
            let present = |family: &Family| decide(family, &token, STANDING, &ClientInfo::default(), &keys(), T0 + delay_ms);
            // Everybody decided on the first record before anybody wrote.
            let decision = match present(&first) {
                Decision::Rotate { next, successor } if next.version == family.version + 1 => {
                    Decision::Rotate { next, successor }
                }
                _ => present(&family),
            };
            match decision {
                Decision::Rotate { next, successor } => {
                    rotations += 1;
                    family = next;
                    successors.push(successor);
                }
                Decision::Again { successor } => successors.push(successor),
                other => prop_assert!(false, "{:?}", other),
            }
        }
        prop_assert_eq!(rotations, 1);
        prop_assert!(successors.iter().all(|successor| *successor == successors[0]));
    }

    #[test]
    fn no_other_bytes_are_a_token_of_the_family(sequence in 0..4_u32, secret in any::<[u8; 32]>(), flip in 0..52_usize, bit in 0..8_u8) {
        let (family, token) = login();
        let present = |text: &str| {
            let token = RefreshToken::parse(text).unwrap();
            decide(&family, &token, STANDING, &ClientInfo::default(), &keys(), T0)
        };
        let mut bytes = [0; 52];
        bytes[..16].copy_from_slice(family.id.as_bytes());
        bytes[16..20].copy_from_slice(&sequence.to_be_bytes());
        bytes[20..].copy_from_slice(&secret);
        prop_assert_eq!(present(&secret::encode(&bytes)), Decision::Refused(Refusal::Forged));
        let mut bytes: [u8; 52] = secret::decode(&token.expose()).unwrap();
        bytes[flip] ^= 1 << bit;
        prop_assert_eq!(present(&secret::encode(&bytes)), Decision::Refused(Refusal::Forged));
    }
}
