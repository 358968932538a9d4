//! The decision about a presented refresh token.

use super::{Family, LENIENCY_MS, RefreshToken, Replaced};
use crate::{
    account::Standing,
    client::ClientInfo,
    secret::{DerivationKey, DerivationKeys},
};

/// What to do with a presented token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Write `next` by compare-and-set, then give out `successor`. A writer that comes too late decides again on what the store holds.
    Rotate { next: Family, successor: RefreshToken },
    /// Give out the unused successor that was given out before; nothing to write.
    Again { successor: RefreshToken },
    /// 401, and the family goes on (where there is one).
    Refused(Refusal),
    /// 401; an ancestor that was replaced long ago is in somebody's hands: end the family, write an audit line, tell the user's logins.
    /// So it is where a family out of a backup sees a token that was given out after that: its head is such an ancestor.
    Reuse,
}

/// Why; for the log. The client is told none of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("it was never given out")]
    Forged,
    #[error("the key that it was derived with is gone")]
    KeyGone,
    #[error("its login has expired")]
    Expired,
    #[error("its account is disabled, or ended its logins")]
    Ended,
    #[error("it was replaced a moment ago, and so was its successor")]
    Replaced,
}

/// What becomes of `token`, presented by `client` at `now_ms` of the store's clock. `family` is the record that it names, `standing` its
/// account's, read before.
#[must_use]
pub fn decide(
    family: &Family,
    token: &RefreshToken,
    standing: Standing,
    client: &ClientInfo,
    keys: &DerivationKeys,
    now_ms: i64,
) -> Decision {
    let Some(key) = keys.get(family.key_id) else { return Decision::Refused(Refusal::KeyGone) };
    let is_lost = family.is_restored && is_beyond_head(family, token, key);
    if !is_lost && !is_genuine(family, token, key) {
        return Decision::Refused(Refusal::Forged);
    }
    if now_ms >= family.expires_at_ms {
        return Decision::Refused(Refusal::Expired);
    }
    if !standing.enabled || standing.generation != family.generation {
        return Decision::Refused(Refusal::Ended);
    }
    if is_lost {
        return Decision::Reuse;
    }
    if token.sequence() == family.head_sequence {
        return rotate(family, client, key, now_ms);
    }
    let recent = replaced_until_ms(family, token.sequence())
        .is_some_and(|replaced_ms| now_ms.saturating_sub(replaced_ms) < LENIENCY_MS);
    match recent {
        false => Decision::Reuse,
        true if token.sequence() + 1 == family.head_sequence => {
            Decision::Again { successor: RefreshToken::derive(key, family.id, family.salt, family.head_sequence) }
        }
        true => Decision::Refused(Refusal::Replaced),
    }
}

/// Whether this family gave the token out. One beyond the head was given out too, but the store lost it: it is refused, as nobody can
/// say what became of it.
fn is_genuine(family: &Family, token: &RefreshToken, key: &DerivationKey) -> bool {
    let sequence = token.sequence();
    let in_range = (Family::FIRST_SEQUENCE..=family.head_sequence).contains(&sequence);
    let derived = *token == RefreshToken::derive(key, family.id, family.salt, sequence);
    let is_head = sequence == family.head_sequence;
    in_range && derived && (!is_head || token.digest() == family.head_hash)
}

/// Whether the family gave the token out before its record went back to an earlier one.
fn is_beyond_head(family: &Family, token: &RefreshToken, key: &DerivationKey) -> bool {
    let sequence = token.sequence();
    sequence > family.head_sequence && *token == RefreshToken::derive(key, family.id, family.salt, sequence)
}

fn rotate(family: &Family, client: &ClientInfo, key: &DerivationKey, now_ms: i64) -> Decision {
    // After four thousand million rotations a login is needed.
    let Some(head_sequence) = family.head_sequence.checked_add(1) else {
        return Decision::Refused(Refusal::Expired);
    };
    let successor = RefreshToken::derive(key, family.id, family.salt, head_sequence);
    let next = Family {
        head_sequence,
        head_hash: successor.digest(),
        replaced: with_replaced(&family.replaced, family.head_sequence, now_ms),
        last_used_at_ms: now_ms,
        client: client.clone(),
        version: family.version + 1,
        ..family.clone()
    };
    Decision::Rotate { next, successor }
}

/// The list with one more token, replaced at `now_ms`; what needs no leniency any more is left out.
fn with_replaced(replaced: &[Replaced], sequence: u32, now_ms: i64) -> Vec<Replaced> {
    let needed = |entry: &&Replaced| now_ms.saturating_sub(entry.until_ms) < LENIENCY_MS;
    let mut list: Vec<Replaced> = replaced.iter().filter(needed).copied().collect();
    match list.last_mut() {
        Some(last) if now_ms.saturating_sub(last.from_ms) < Replaced::SPAN_MS => {
            *last = Replaced { last_sequence: sequence, until_ms: last.until_ms.max(now_ms), ..*last };
        }
        _ => {
            list.push(Replaced { first_sequence: sequence, last_sequence: sequence, from_ms: now_ms, until_ms: now_ms })
        }
    }
    list
}

/// When an ancestor was replaced, or up to [`Replaced::SPAN_MS`] later; `None` where that is longer ago than anybody asks.
fn replaced_until_ms(family: &Family, sequence: u32) -> Option<i64> {
    let holds = |entry: &&Replaced| (entry.first_sequence..=entry.last_sequence).contains(&sequence);
    family.replaced.iter().find(holds).map(|entry| entry.until_ms)
}
