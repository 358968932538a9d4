//! Records for the tests of this actor. Its life is tested with the rest of the cast.

use orinoco_domain::{
    ClientInfo,
    account::UserId,
    challenge::{Challenge as Record, ChallengeKey, NewChallenge, Phone, Status},
    refresh::FamilyId,
    secret::{Binding, ChallengeId, KeyId, Proof, Salt, Verifier},
};

pub(super) fn phone() -> Phone {
    Phone { user_id: UserId(1), session: FamilyId::from_bytes([1; 16]) }
}

pub(super) fn other_phone() -> Phone {
    Phone { session: FamilyId::from_bytes([2; 16]), ..phone() }
}

fn verifier() -> Verifier {
    Verifier::from_bytes([3; 32])
}

pub(super) fn proof() -> Proof {
    Proof::Verifier(verifier())
}

/// One in that status, scanned by [`phone`] where that has been.
pub(super) fn record(status: Status) -> Record {
    let new = NewChallenge {
        key: ChallengeKey::of(&ChallengeId::from_bytes([4; 32])),
        salt: Salt::from_bytes([5; 16]),
        key_id: KeyId(7),
        binding: Binding::Verifier(verifier().code_challenge()),
        creator: ClientInfo::new("192.0.2.7", "browser"),
        device_grant: None,
        ttl_ms: 120_000,
    };
    let begun = new.at(1_767_323_045_678);
    let scanner = (status != Status::Pending).then(phone);
    let ended_at_ms = status.is_terminal().then_some(begun.created_at_ms + 10_000);
    Record { status, scanner, ended_at_ms, ..begun }
}
