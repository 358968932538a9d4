//! Vectors: what is taken for a token, and what is not.
#![allow(clippy::unwrap_used)]

use jsonwebtoken::EncodingKey;
use orinoco_domain::account::{Email, PasswordHash};
use serde_json::{Value, json};

use super::*;
use crate::auth::{key_ring::Rotation, now_ms};

const ISSUER: &str = "http://127.0.0.1:8090";
const TTL_MS: i64 = 300_000;

struct World {
    _folder: tempfile::TempDir,
    ring: Arc<KeyRing>,
    tokens: AccessTokens,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let rotation = Rotation { period_ms: 90 * 86_400_000, token_ttl_ms: TTL_MS };
        let ring = Arc::new(KeyRing::open(folder.path().join("keys.json"), rotation, 0).unwrap());
        Self { _folder: folder, tokens: AccessTokens::new(Arc::clone(&ring), ISSUER.to_owned(), TTL_MS), ring }
    }

    fn key(&self) -> Arc<super::super::key_ring::SigningKey> {
        self.ring.signing_at(0).unwrap()
    }

    fn header(&self) -> Value {
        json!({ "alg": "EdDSA", "typ": "at+jwt", "kid": self.key().kid })
    }

    /// A token of any header and claims, rightly signed.
    fn signed(&self, header: &Value, claims: &Value) -> String {
        let message = message(header, claims);
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &self.key().encoding, Algorithm::EdDSA).unwrap();
        format!("{message}.{signature}")
    }

    fn verify(&self, token: &str) -> Result<Claims, InvalidToken> {
        self.tokens.verify(token, now_ms())
    }

    /// The claims, with some of them changed; null removes one.
    fn with_claims(&self, changes: Value) -> Result<Claims, InvalidToken> {
        self.verify(&self.signed(&self.header(), &merged(claims(), changes)))
    }

    fn with_header(&self, changes: Value) -> Result<Claims, InvalidToken> {
        self.verify(&self.signed(&merged(self.header(), changes), &claims()))
    }
}

fn message(header: &Value, claims: &Value) -> String {
    format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(claims.to_string()))
}

fn claims() -> Value {
    let now_s = now_ms() / 1000;
    let sid = FamilyId::from_bytes([7; 16]).to_string();
    json!({
        "iss": ISSUER, "sub": "7", "aud": "orinoco", "exp": now_s + 300, "iat": now_s, "jti": "j", "client_id": "orinoco",
        "sid": sid, "roles": ["USER"], "orinId": "d1",
    })
}

fn merged(mut object: Value, changes: Value) -> Value {
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            object.as_object_mut().unwrap().remove(name);
        } else {
            object[name] = value.clone();
        }
    }
    object
}

fn account() -> Account {
    Account {
        id: UserId(7),
        email: Email::parse("a@b").unwrap(),
        password_hash: PasswordHash::from_phc("x"),
        orin_id: Some(DeviceId::parse("d1").unwrap()),
        roles: BTreeSet::from([Role::User, Role::Admin]),
        enabled: true,
        generation: 0,
        created_at_ms: 0,
        updated_at_ms: 0,
    }
}

#[test]
fn a_token_of_ours_says_what_it_was_made_from() {
    let world = World::new();
    let now_ms = now_ms();
    let session = FamilyId::from_bytes([9; 16]);
    let token = world.tokens.issue(&account(), session, None, now_ms).unwrap();
    let claims = world.verify(&token).unwrap();
    assert_eq!((claims.user_id, claims.session, claims.roles.len()), (UserId(7), session, 2));
    assert_eq!(claims.orin_id.unwrap().as_str(), "d1");
    assert_eq!(claims.expires_at_ms, (now_ms + TTL_MS) / 1000 * 1000);
    let header: Value =
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap()).unwrap();
    assert_eq!(header, json!({ "alg": "EdDSA", "typ": "at+jwt", "kid": world.key().kid }));
}

#[test]
fn the_vector_that_the_others_are_made_from_is_taken() {
    let world = World::new();
    assert!(world.with_claims(json!({})).is_ok());
    let beside = world.with_claims(json!({ "iss": "http://localhost:9999" })).unwrap();
    assert_eq!(beside.issuer, "http://localhost:9999", "another daemon of this machine");
    assert!(world.with_header(json!({ "typ": "application/AT+JWT" })).is_ok());
}

#[test]
fn headers_of_others_are_refused() {
    let world = World::new();
    let jwk = world.ring.jwks()["keys"][0].clone();
    for changes in [
        json!({ "typ": "JWT" }),
        json!({ "typ": null }),
        json!({ "kid": null }),
        json!({ "alg": "HS256" }),
        json!({ "alg": "ES256" }),
        json!({ "alg": "none" }),
        json!({ "alg": "eddsa" }),
        json!({ "jku": "https://evil.example/jwks.json" }),
        json!({ "jwk": jwk }),
        json!({ "x5u": "https://evil.example/x.pem" }),
        json!({ "x5c": ["AA=="] }),
        json!({ "crit": ["exp"] }),
        json!({ "b64": false }),
    ] {
        assert_eq!(world.with_header(changes.clone()), Err(InvalidToken::Header), "{changes}");
    }
    assert_eq!(world.with_header(json!({ "kid": "../../etc/passwd" })), Err(InvalidToken::UnknownKey));
}

#[test]
fn signatures_of_others_are_refused() {
    let world = World::new();
    let none = message(&json!({ "alg": "none", "typ": "at+jwt", "kid": world.key().kid }), &claims());
    assert!(world.verify(&format!("{none}.")).is_err(), "alg none");
    let unsigned = message(&world.header(), &claims());
    assert_eq!(world.verify(&format!("{unsigned}.")), Err(InvalidToken::Claims));

    // The public key taken for a secret of HMAC.
    let public = world.ring.jwks()["keys"][0]["x"].as_str().unwrap().to_owned();
    for secret in [public.clone().into_bytes(), URL_SAFE_NO_PAD.decode(public).unwrap()] {
        let message = message(&json!({ "alg": "HS256", "typ": "at+jwt", "kid": world.key().kid }), &claims());
        let key = EncodingKey::from_secret(&secret);
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::HS256).unwrap();
        assert_eq!(world.verify(&format!("{message}.{signature}")), Err(InvalidToken::Header));
    }

    let other = World::new();
    let foreign = other.signed(&world.header(), &claims());
    assert_eq!(world.verify(&foreign), Err(InvalidToken::Claims), "another's key under our key's name");
    let good = world.signed(&world.header(), &claims());
    let (message, signature) = good.rsplit_once('.').unwrap();
    let flipped = if signature.starts_with('A') { "B" } else { "A" };
    assert_eq!(world.verify(&format!("{message}.{flipped}{}", &signature[1..])), Err(InvalidToken::Claims));
}

#[test]
fn claims_of_others_are_refused() {
    let world = World::new();
    for changes in [
        json!({ "iss": "https://evil.example" }),
        json!({ "iss": "http://127.0.0.1.evil.example:80" }),
        json!({ "iss": null }),
        json!({ "aud": "other" }),
        json!({ "aud": null }),
        json!({ "sub": null }),
        json!({ "sub": "x" }),
        json!({ "exp": null }),
        json!({ "sid": null }),
        json!({ "sid": "x" }),
        json!({ "roles": ["ROOT"] }),
        json!({ "roles": null }),
        json!({ "orinId": "a b" }),
    ] {
        assert_eq!(world.with_claims(changes.clone()), Err(InvalidToken::Claims), "{changes}");
    }
}

#[test]
fn times_may_be_a_minute_off_and_no_more() {
    let world = World::new();
    let now_s = now_ms() / 1000;
    assert!(world.with_claims(json!({ "exp": now_s - 50 })).is_ok());
    assert!(world.with_claims(json!({ "exp": now_s - 62 })).is_err());
    assert!(world.with_claims(json!({ "iat": now_s + 50 })).is_ok());
    assert_eq!(world.with_claims(json!({ "iat": now_s + 65 })), Err(InvalidToken::Future));
    assert!(world.with_claims(json!({ "nbf": now_s + 65 })).is_err());
}

#[test]
fn what_is_no_token_is_refused() {
    let world = World::new();
    for text in ["", ".", "..", "a.b.c", "a.b.c.d", &"x".repeat(10_000), "e30.e30.e30", "Bearer x"] {
        assert!(world.verify(text).is_err(), "{text}");
    }
}
