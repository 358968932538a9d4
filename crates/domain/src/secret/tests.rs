#![allow(clippy::unwrap_used)]

use super::*;

fn key(id: u32, byte: u8) -> DerivationKey {
    DerivationKey::from_bytes(KeyId(id), [byte; 32])
}

#[test]
fn a_secret_s_text_is_43_characters_and_parses_to_itself() {
    let nonce = Nonce::from_bytes(std::array::from_fn(|index| index as u8 * 8));
    let text = nonce.expose();
    assert_eq!(text.len(), 43);
    assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'));
    assert_eq!(Nonce::parse(&text).unwrap(), nonce);
    assert_ne!(Nonce::parse(&text).unwrap(), Nonce::from_bytes([0; 32]));
}

#[test]
fn any_other_text_is_no_secret() {
    let text = "A".repeat(43);
    assert!(Otc::parse(&text).is_ok());
    // The last character has two bits more than there are bytes: one value has one text.
    for wrong in
        ["", &text[1..], &format!("{text}="), &format!("{text}A"), &format!("{}B", &text[1..]), &"+".repeat(43)]
    {
        assert_eq!(Otc::parse(wrong).unwrap_err(), InvalidSecret, "{wrong}");
    }
    assert!(Otc::parse(&"A".repeat(1 << 20)).is_err());
}

#[test]
fn no_secret_shows_itself_to_a_log() {
    let (bytes, text) = ([0x41; 32], encode(&[0x41; 32]));
    let verifier = Verifier::from_bytes(bytes);
    let code = UserCode::from_random(12_345);
    let device_code = DeviceCode { challenge: ChallengeId::from_bytes(bytes), verifier: verifier.clone() };
    let keys = DerivationKeys::new(vec![key(1, 0x41)]).unwrap();
    let shown = format!(
        "{:?} {:?} {:?} {:?} {verifier:?} {code:?} {keys:?} {device_code:?} {:?}",
        ChallengeId::from_bytes(bytes),
        Nonce::from_bytes(bytes),
        Otc::from_bytes(bytes),
        CookieSecret::from_bytes(bytes),
        Proof::Cookie(CookieSecret::from_bytes(bytes)),
    );
    assert!(!shown.contains(&text) && !shown.contains("65, 65") && !shown.contains(&code.expose()), "{shown}");
}

#[test]
fn the_code_challenge_is_that_of_rfc_7636_appendix_b() {
    let verifier = Verifier::parse("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk").unwrap();
    let expected = CodeChallenge::parse("E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM").unwrap();
    assert_eq!(verifier.code_challenge(), expected);
}

#[test]
fn verifiers_are_43_to_128_unreserved_characters() {
    for text in ["a".repeat(43), "-._~".repeat(32), "0".repeat(64)] {
        assert_eq!(Verifier::parse(&text).unwrap().expose(), text);
    }
    for text in ["a".repeat(42), "a".repeat(129), format!("{}+", "a".repeat(50)), format!("{}é", "a".repeat(50))] {
        assert!(Verifier::parse(&text).is_err(), "{text}");
    }
}

#[test]
fn only_the_creator_s_own_kind_of_proof_is_accepted() {
    let verifier = Verifier::from_bytes([1; 32]);
    let cookie = CookieSecret::from_bytes([1; 32]);
    let by_verifier = Binding::Verifier(verifier.code_challenge());
    let by_cookie = Binding::to_cookie(&cookie);
    assert!(by_verifier.accepts(&Proof::Verifier(verifier.clone())));
    assert!(by_cookie.accepts(&Proof::Cookie(cookie.clone())));
    // Of the same bytes, and of the same text: neither stands for the other.
    assert!(!by_verifier.accepts(&Proof::Cookie(cookie)));
    assert!(!by_cookie.accepts(&Proof::Verifier(verifier)));
    assert!(!by_verifier.accepts(&Proof::Verifier(Verifier::from_bytes([2; 32]))));
    assert!(!by_cookie.accepts(&Proof::Cookie(CookieSecret::from_bytes([2; 32]))));
}

#[test]
fn a_binding_is_stored_as_it_was() {
    for binding in [
        Binding::Verifier(Verifier::from_bytes([1; 32]).code_challenge()),
        Binding::to_cookie(&CookieSecret::from_bytes([1; 32])),
    ] {
        let text = serde_json::to_string(&binding).unwrap();
        assert_eq!(serde_json::from_str::<Binding>(&text).unwrap(), binding);
    }
}

#[test]
fn a_derived_value_depends_on_each_argument_and_on_where_parts_end() {
    let derived = [
        key(1, 1).derive("nonce", &[b"ab", b"c"]),
        key(1, 2).derive("nonce", &[b"ab", b"c"]),
        key(1, 1).derive("otc", &[b"ab", b"c"]),
        key(1, 1).derive("nonce", &[b"a", b"bc"]),
        key(1, 1).derive("nonce", &[b"abc"]),
        key(1, 1).derive("nonce", &[b"ab", b"c", b""]),
        key(1, 1).derive("nonceab", &[b"c"]),
    ];
    for (index, value) in derived.iter().enumerate() {
        assert!(!derived[..index].contains(value), "{index}");
    }
    assert_eq!(key(1, 1).derive("nonce", &[b"ab", b"c"]), derived[0]);
}

/// Once written, records outlive this program: the derivation must stay as it is. The value was computed with Python's hmac module.
#[test]
fn the_derivation_is_hmac_sha_256_over_length_prefixed_parts() {
    let derived = key(1, 0x0b).derive("nonce", &[b"key", b"salt"]);
    assert_eq!(encode(&derived), "-dHg3G99ogI2G5JKLECa-2LkvEK1lRtk3y_QwoHt0KI");
}

#[test]
fn a_ring_gives_the_current_key_and_finds_older_ones() {
    let keys = DerivationKeys::new(vec![key(5, 1), key(2, 2)]).unwrap();
    assert_eq!(keys.current().id(), KeyId(5));
    assert_eq!(keys.get(KeyId(2)).unwrap().id(), KeyId(2));
    assert!(keys.get(KeyId(1)).is_none());
    assert_eq!(keys.iter().count(), 2);
}

#[test]
fn a_ring_without_a_key_with_too_many_or_with_one_twice_is_refused() {
    assert_eq!(DerivationKeys::new(Vec::new()).unwrap_err(), KeysError::Empty);
    assert_eq!(DerivationKeys::new(vec![key(1, 1), key(1, 2)]).unwrap_err(), KeysError::Duplicate { id: KeyId(1) });
    let many = (0..17).map(|id| key(id, 1)).collect();
    assert_eq!(DerivationKeys::new(many).unwrap_err(), KeysError::TooMany { found: 17 });
}

#[test]
fn a_user_code_is_typed_in_any_way() {
    let code = UserCode::from_random(u64::MAX);
    let shown = code.expose();
    assert_eq!((shown.len(), shown.as_bytes()[4]), (9, b'-'));
    for typed in
        [shown.clone(), shown.to_lowercase(), shown.replace('-', ""), shown.replace('-', " . "), format!(" {shown}\n")]
    {
        assert_eq!(UserCode::parse(&typed).unwrap(), code, "{typed}");
    }
    for typed in ["", "WDJB", "WDJB-MJHA", "WDJB-MJHTX", "WDJB-MJH1", "ＷDJB-MJHT", &"-".repeat(40)] {
        assert_eq!(UserCode::parse(typed).unwrap_err(), InvalidUserCode, "{typed}");
    }
    assert_eq!(UserCode::from_random(0).expose(), "BBBB-BBBB");
    assert_ne!(UserCode::from_random(1), UserCode::from_random(2));
}

#[test]
fn a_user_code_leads_to_its_challenge() {
    let code = UserCode::from_random(7);
    let typed = UserCode::parse(&code.expose().to_lowercase()).unwrap();
    assert_eq!(key(1, 1).challenge_id_of(&code), key(1, 1).challenge_id_of(&typed));
    assert_ne!(key(1, 1).challenge_id_of(&code), key(2, 2).challenge_id_of(&code));
    assert_ne!(key(1, 1).challenge_id_of(&code), key(1, 1).challenge_id_of(&UserCode::from_random(8)));
}

#[test]
fn a_device_code_names_a_challenge_and_proves_its_creator() {
    let code = DeviceCode { challenge: ChallengeId::from_bytes([3; 32]), verifier: Verifier::from_bytes([4; 32]) };
    let parsed = DeviceCode::parse(&code.expose()).unwrap();
    assert_eq!(parsed.challenge, code.challenge);
    assert_eq!(parsed.verifier.expose(), code.verifier.expose());
    for text in ["", ".", "x.y", &code.expose()[1..], &"a".repeat(87)] {
        assert!(DeviceCode::parse(text).is_err(), "{text}");
    }
}
