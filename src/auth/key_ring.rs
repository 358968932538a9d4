//! The keys in use: which one signs, which ones are published, which are kept.
//!
//! Invariants: a key is published [`PUBLISHED_BEFORE_MS`] before it signs (or half the rotation's period, where that is shorter), so that
//! whoever caches the key set knows it in time; one that no longer signs is kept until the last token that it signed has expired, leeway
//! included. All follow from the file and the time: daemons that share the file agree without a word.

use std::{
    path::PathBuf,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{
    Algorithm, DecodingKey, EncodingKey,
    jwk::{AlgorithmParameters, Jwk},
};
use orinoco_domain::secret::DerivationKeys;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{
    key_file::{self, KeyFile, KeyFileError, SIGNING_KEYS_MAX, SigningSeed},
    random::NoRandom,
    tokens::LEEWAY_MS,
};

/// How long a signing key is published before it signs.
const PUBLISHED_BEFORE_MS: i64 = 3_600_000;
/// How often the file is read again.
const REFRESH_EVERY: Duration = Duration::from_secs(30);
/// Before the seed in PKCS #8 (RFC 8410, section 7).
const PKCS8_PREFIX: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// A key that signs, or did.
pub(super) struct SigningKey {
    /// RFC 7638: the thumbprint of the public key.
    pub(super) kid: String,
    pub(super) encoding: EncodingKey,
    pub(super) decoding: DecodingKey,
    /// The public key, as in a JWK (RFC 8037, section 2).
    x: String,
    active_from_ms: i64,
}

impl SigningKey {
    fn new(seed: &SigningSeed) -> Result<Self, String> {
        let der = [&PKCS8_PREFIX[..], seed.bytes()].concat();
        let encoding = EncodingKey::from_ed_der(&der);
        let jwk = Jwk::from_encoding_key(&encoding, Algorithm::EdDSA).map_err(|error| error.to_string())?;
        let AlgorithmParameters::OctetKeyPair(parameters) = jwk.algorithm else {
            return Err("the key is no Ed25519 key".to_owned());
        };
        let x = parameters.x;
        let decoding = DecodingKey::from_ed_components(&x).map_err(|error| error.to_string())?;
        let thumbprint = Sha256::digest(format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#));
        let kid = URL_SAFE_NO_PAD.encode(thumbprint);
        Ok(Self { kid, encoding, decoding, x, active_from_ms: seed.active_from_ms })
    }

    fn jwk(&self) -> Value {
        json!({ "kty": "OKP", "crv": "Ed25519", "x": self.x, "kid": self.kid, "use": "sig", "alg": "EdDSA" })
    }
}

/// When signing keys change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rotation {
    /// How long a key signs, ms.
    pub period_ms: i64,
    /// How long a token that it signed lives at most, ms.
    pub token_ttl_ms: i64,
}

impl Rotation {
    fn published_before_ms(self) -> i64 {
        PUBLISHED_BEFORE_MS.min(self.period_ms / 2)
    }

    /// Whether a key whose successor signs from `replaced_at_ms` on is needed no more.
    fn is_over(self, replaced_at_ms: i64, now_ms: i64) -> bool {
        now_ms >= replaced_at_ms.saturating_add(self.token_ttl_ms).saturating_add(LEEWAY_MS)
    }

    /// The file as it should be at `now_ms`; `None` where it is.
    fn due(self, file: &KeyFile, now_ms: i64) -> Result<Option<KeyFile>, NoRandom> {
        let mut next = file.clone();
        let successors = file.signing.iter().skip(1).map(|key| key.active_from_ms);
        let over = successors.take_while(|replaced_at_ms| self.is_over(*replaced_at_ms, now_ms)).count();
        next.signing.drain(..over);
        let newest_ms = next.signing.last().map_or(i64::MIN, |key| key.active_from_ms);
        let lead_ms = self.published_before_ms();
        let publish_at_ms = newest_ms.saturating_add(self.period_ms - lead_ms);
        if now_ms >= publish_at_ms && next.signing.len() < SIGNING_KEYS_MAX {
            next.signing.push(SigningSeed::new(now_ms + lead_ms)?);
        }
        Ok((next.signing != file.signing).then_some(next))
    }
}

/// All keys of a daemon.
pub struct KeyRing {
    path: PathBuf,
    rotation: Rotation,
    derivation: Arc<DerivationKeys>,
    /// By the time from which they sign, rising; never empty.
    signing: RwLock<Vec<Arc<SigningKey>>>,
}

impl KeyRing {
    /// Reads the key file, and makes it where it is missing.
    ///
    /// # Errors
    /// [`KeyFileError`].
    pub fn open(path: PathBuf, rotation: Rotation, now_ms: i64) -> Result<Self, KeyFileError> {
        let file = key_file::open(&path, now_ms)?;
        let damaged = |reason| KeyFileError::Damaged { path: path.clone(), reason };
        let derivation = Arc::new(file.derivation_keys().map_err(damaged)?);
        let signing = RwLock::new(signing_keys(&file).map_err(damaged)?);
        Ok(Self { path, rotation, derivation, signing })
    }

    /// What nonces, otc and refresh tokens are derived from.
    #[must_use]
    pub fn derivation(&self) -> &Arc<DerivationKeys> {
        &self.derivation
    }

    /// The key set (RFC 7517, section 5): what signs, what will, and what did and is still needed.
    #[must_use]
    pub fn jwks(&self) -> Value {
        let keys: Vec<Value> = self.signing().iter().map(|key| key.jwk()).collect();
        json!({ "keys": keys })
    }

    /// Reads the file again, and rotates when that is due. Blocks.
    ///
    /// # Errors
    /// [`KeyFileError`]; the keys of before stay in use.
    pub fn refresh(&self, now_ms: i64) -> Result<(), KeyFileError> {
        let damaged = |reason| KeyFileError::Damaged { path: self.path.clone(), reason };
        let mut file = key_file::read(&self.path)?;
        if let Some(found) = &file
            && self.rotation.due(found, now_ms)?.is_some()
        {
            file = key_file::update(&self.path, |file| self.rotation.due(file, now_ms))?;
        }
        // Removed while in use: it is made anew at the next start.
        if let Some(file) = file {
            let keys = signing_keys(&file).map_err(damaged)?;
            *self.signing.write().unwrap_or_else(PoisonError::into_inner) = keys;
        }
        Ok(())
    }

    /// Refreshes for ever.
    pub async fn keep(self: Arc<Self>) {
        loop {
            tokio::time::sleep(REFRESH_EVERY).await;
            let ring = Arc::clone(&self);
            let now_ms = super::now_ms();
            match tokio::task::spawn_blocking(move || ring.refresh(now_ms)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::error!(%error, "going on with the keys of before"),
                Err(error) => tracing::error!(%error, "the keys were not read again"),
            }
        }
    }

    pub(super) fn signing_at(&self, now_ms: i64) -> Option<Arc<SigningKey>> {
        let keys = self.signing();
        // A clock that was set back finds the first.
        keys.iter().rev().find(|key| key.active_from_ms <= now_ms).or(keys.first()).cloned()
    }

    pub(super) fn by_kid(&self, kid: &str) -> Option<Arc<SigningKey>> {
        self.signing().iter().find(|key| key.kid == kid).cloned()
    }

    fn signing(&self) -> std::sync::RwLockReadGuard<'_, Vec<Arc<SigningKey>>> {
        self.signing.read().unwrap_or_else(PoisonError::into_inner)
    }
}

fn signing_keys(file: &KeyFile) -> Result<Vec<Arc<SigningKey>>, String> {
    file.signing.iter().map(|seed| SigningKey::new(seed).map(Arc::new)).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const DAY_MS: i64 = 86_400_000;
    const ROTATION: Rotation = Rotation { period_ms: 90 * DAY_MS, token_ttl_ms: 300_000 };

    fn ring() -> (tempfile::TempDir, KeyRing) {
        let folder = tempfile::tempdir().unwrap();
        let ring = KeyRing::open(folder.path().join("keys.json"), ROTATION, 0).unwrap();
        (folder, ring)
    }

    fn kids(ring: &KeyRing) -> Vec<String> {
        ring.jwks()["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
    }

    /// RFC 8037, appendix A.
    #[test]
    fn keys_are_published_as_in_the_standard() {
        let seed = URL_SAFE_NO_PAD.decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A").unwrap();
        let key = SigningKey::new(&SigningSeed::of(seed.try_into().unwrap(), 0)).unwrap();
        assert_eq!(key.x, "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo");
        assert_eq!(key.kid, "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    }

    #[test]
    fn the_next_key_is_published_before_it_signs_and_the_old_one_kept_until_its_tokens_are_gone() {
        let (_folder, ring) = ring();
        let first = kids(&ring);
        ring.refresh(90 * DAY_MS - PUBLISHED_BEFORE_MS - 1).unwrap();
        assert_eq!(kids(&ring), first);

        let published_at_ms = 90 * DAY_MS - PUBLISHED_BEFORE_MS;
        ring.refresh(published_at_ms).unwrap();
        let both = kids(&ring);
        assert_eq!((both.len(), &both[0]), (2, &first[0]));
        assert_eq!(ring.signing_at(90 * DAY_MS - 1).unwrap().kid, both[0]);
        assert_eq!(ring.signing_at(90 * DAY_MS).unwrap().kid, both[1]);

        ring.refresh(90 * DAY_MS + ROTATION.token_ttl_ms + LEEWAY_MS - 1).unwrap();
        assert_eq!(kids(&ring), both);
        ring.refresh(90 * DAY_MS + ROTATION.token_ttl_ms + LEEWAY_MS).unwrap();
        assert_eq!(kids(&ring), both[1..]);
    }

    #[test]
    fn daemons_that_share_the_file_use_the_same_keys() {
        let (folder, ring) = ring();
        let other = KeyRing::open(folder.path().join("keys.json"), ROTATION, 5).unwrap();
        assert_eq!(kids(&other), kids(&ring));
        ring.refresh(90 * DAY_MS).unwrap();
        other.refresh(90 * DAY_MS + 1).unwrap();
        assert_eq!(kids(&other), kids(&ring));
    }
}
