//! The key file: what signs access tokens, and what nonces, otc and refresh tokens are derived from.
//!
//! ```json
//! {"version":1,
//!  "signing":[{"seed":"BASE64URL of 32 bytes","activeFromMs":0}],
//!  "derivation":[{"id":1,"key":"BASE64URL of 32 bytes"}]}
//! ```
//!
//! Invariants: it is complete whenever it is there (written beside, then linked or renamed), readable by its owner alone, and never
//! overwritten by a daemon that finds another's: of several that make it at once one wins, and all use that one's. The first derivation key
//! is the current one; whoever replaces it by hand leaves the old one behind it until what was derived with it is gone.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use orinoco_domain::secret::{DerivationKey, DerivationKeys, KeyId};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use super::random::{NoRandom, random};

const VERSION: u32 = 1;
/// A file of all keys that may be in it is far smaller.
const FILE_BYTES_MAX: u64 = 64 * 1024;
/// Signing keys in a file.
pub(super) const SIGNING_KEYS_MAX: usize = 16;

#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    #[error("key file {path} can't be read: {source}")]
    Read { path: PathBuf, source: io::Error },
    #[error("key file {path} can't be written: {source}")]
    Write { path: PathBuf, source: io::Error },
    /// Somebody must look: making another one would end all logins.
    #[error("key file {path} is damaged: {reason}; put it back from a backup, or remove it, which ends all logins")]
    Damaged { path: PathBuf, reason: String },
    #[error(transparent)]
    Random(#[from] NoRandom),
}

/// The file's content.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct KeyFile {
    version: u32,
    /// By `activeFromMs`, rising.
    pub(super) signing: Vec<SigningSeed>,
    derivation: Vec<DerivationSeed>,
}

/// An Ed25519 private key (RFC 8032, section 5.1.5).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct SigningSeed {
    seed: Bytes256,
    /// From when on it signs, ms since 1970; until the next one's.
    pub(super) active_from_ms: i64,
}

impl SigningSeed {
    pub(super) fn new(active_from_ms: i64) -> Result<Self, NoRandom> {
        Ok(Self { seed: Bytes256(random()?), active_from_ms })
    }

    pub(super) fn bytes(&self) -> &[u8; 32] {
        &self.seed.0
    }

    #[cfg(test)]
    pub(super) fn of(bytes: [u8; 32], active_from_ms: i64) -> Self {
        Self { seed: Bytes256(bytes), active_from_ms }
    }
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DerivationSeed {
    id: u32,
    key: Bytes256,
}

#[derive(Clone, PartialEq, Eq)]
struct Bytes256([u8; 32]);

impl Serialize for Bytes256 {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl<'de> Deserialize<'de> for Bytes256 {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = URL_SAFE_NO_PAD.decode(text).ok().and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or_else(|| serde::de::Error::custom("not 32 bytes in BASE64URL"))
    }
}

impl KeyFile {
    fn generate(now_ms: i64) -> Result<Self, NoRandom> {
        Ok(Self {
            version: VERSION,
            signing: vec![SigningSeed::new(now_ms)?],
            derivation: vec![DerivationSeed { id: 1, key: Bytes256(random()?) }],
        })
    }

    /// The same with one signing key, a new one: what the others signed is refused.
    pub(super) fn with_new_signing_key(&self, now_ms: i64) -> Result<Self, NoRandom> {
        Ok(Self { signing: vec![SigningSeed::new(now_ms)?], ..self.clone() })
    }

    /// What derives.
    ///
    /// # Errors
    /// What is wrong with the keys.
    pub(super) fn derivation_keys(&self) -> Result<DerivationKeys, String> {
        let keys = self.derivation.iter().map(|key| DerivationKey::from_bytes(KeyId(key.id), key.key.0));
        DerivationKeys::new(keys.collect()).map_err(|error| error.to_string())
    }

    fn check(&self) -> Result<(), String> {
        if self.version != VERSION {
            return Err(format!("it has version {}, this program knows {VERSION}", self.version));
        }
        if !(1..=SIGNING_KEYS_MAX).contains(&self.signing.len()) {
            return Err(format!("it has {} signing keys; 1 to {SIGNING_KEYS_MAX} may be", self.signing.len()));
        }
        if !self.signing.is_sorted_by(|one, next| one.active_from_ms < next.active_from_ms) {
            return Err("its signing keys are not in the order of activeFromMs".to_owned());
        }
        self.derivation_keys().map(drop)
    }
}

/// Reads the file, and makes it where it is missing.
///
/// # Errors
/// [`KeyFileError`].
pub(super) fn open(path: &Path, now_ms: i64) -> Result<KeyFile, KeyFileError> {
    if let Some(file) = read(path)? {
        return Ok(file);
    }
    let made = KeyFile::generate(now_ms)?;
    let failed = |source| KeyFileError::Write { path: path.to_owned(), source };
    let beside = write_beside(path, &made).map_err(failed)?;
    let linked = fs::hard_link(&beside, path);
    // Its other name, if it has got one, stays.
    let _ = fs::remove_file(&beside);
    match linked {
        Ok(()) => {
            sync_directory(path).map_err(failed)?;
            tracing::info!(path = %path.display(), "key file made");
            Ok(made)
        }
        // Another daemon was faster.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let gone = || io::Error::new(io::ErrorKind::NotFound, "it was there and is gone again");
            read(path)?.ok_or_else(|| KeyFileError::Read { path: path.to_owned(), source: gone() })
        }
        Err(source) => Err(failed(source)),
    }
}

/// Changes the file, if `change` wants it, while no other daemon does; returns it as it is afterwards.
///
/// # Errors
/// [`KeyFileError`].
pub(super) fn update(
    path: &Path,
    change: impl FnOnce(&KeyFile) -> Result<Option<KeyFile>, NoRandom>,
) -> Result<Option<KeyFile>, KeyFileError> {
    let failed = |source| KeyFileError::Write { path: path.to_owned(), source };
    let lock_path = sibling(path, "lock");
    let lock = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&lock_path);
    let lock = lock.map_err(failed)?;
    // Held by another daemon: that one does it.
    if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
        return read(path);
    }
    let Some(found) = read(path)? else { return Ok(None) };
    let Some(changed) = change(&found)? else { return Ok(Some(found)) };
    let beside = write_beside(path, &changed).map_err(failed)?;
    fs::rename(&beside, path).and_then(|()| sync_directory(path)).map_err(failed)?;
    Ok(Some(changed))
}

/// Makes the signing keys of the file at `path` anew, where there is one: access tokens that were given out are refused from now on, and
/// clients refresh them. What is derived stays as it is.
///
/// # Errors
/// [`KeyFileError`].
pub fn renew_signing_keys(path: &Path, now_ms: i64) -> Result<(), KeyFileError> {
    update(path, |file| file.with_new_signing_key(now_ms).map(Some)).map(drop)
}

/// `None` where there is no file.
pub(super) fn read(path: &Path) -> Result<Option<KeyFile>, KeyFileError> {
    let failed = |source| KeyFileError::Read { path: path.to_owned(), source };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(failed(source)),
    };
    warn_if_others_read(path, &file);
    let mut text = String::new();
    file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(failed)?;
    let damaged = |reason: String| KeyFileError::Damaged { path: path.to_owned(), reason };
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(damaged(format!("it is longer than {FILE_BYTES_MAX} bytes")));
    }
    // Only the place: what stands there is a secret.
    let place =
        |error: serde_json::Error| format!("line {}, column {} is not as expected", error.line(), error.column());
    let content: KeyFile = serde_json::from_str(&text).map_err(|error| damaged(place(error)))?;
    content.check().map_err(damaged)?;
    Ok(Some(content))
}

fn warn_if_others_read(path: &Path, file: &File) {
    if file.metadata().is_ok_and(|metadata| metadata.mode() & 0o077 != 0) {
        tracing::warn!(path = %path.display(), "others than its owner can read the key file; chmod 600 it");
    }
}

fn write_beside(path: &Path, content: &KeyFile) -> io::Result<PathBuf> {
    if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
        fs::create_dir_all(directory)?;
    }
    let unique: [u8; 8] = random().map_err(|error| io::Error::other(error.to_string()))?;
    let beside = sibling(path, &format!("{:016x}.new", u64::from_be_bytes(unique)));
    let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&beside)?;
    let written = serde_json::to_vec_pretty(content)
        .map_err(io::Error::other)
        .and_then(|text| file.write_all(&text))
        .and_then(|()| file.sync_all());
    match written {
        Ok(()) => Ok(beside),
        Err(error) => {
            // What was begun is of no use.
            let _ = fs::remove_file(&beside);
            Err(error)
        }
    }
}

fn sibling(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".");
    name.push(suffix);
    path.with_file_name(name)
}

fn sync_directory(path: &Path) -> io::Result<()> {
    let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty());
    File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_missing_file_is_made_for_its_owner_alone_and_read_again_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/keys.json");
        let made = open(&path, 7).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        let again = open(&path, 8).unwrap();
        assert_eq!(again.signing[0].bytes(), made.signing[0].bytes());
        assert_eq!(again.signing[0].active_from_ms, 7);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn of_many_daemons_that_make_it_at_once_one_wins() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.json");
        let made: Vec<[u8; 32]> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| *open(&path, 1).unwrap().signing[0].bytes())).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(made.iter().all(|seed| *seed == made[0]));
    }

    #[test]
    fn a_damaged_file_is_refused_without_showing_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.json");
        for text in ["", "{}", r#"{"version":1,"signing":[{"seed":"topsecret","activeFromMs":1}],"derivation":[]}"#] {
            fs::write(&path, text).unwrap();
            let error = open(&path, 1).map(drop).unwrap_err().to_string();
            assert!(error.contains("keys.json is damaged") && !error.contains("topsecret"), "{error}");
        }
    }

    #[test]
    fn renewed_keys_sign_with_another_one_and_derive_as_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.json");
        renew_signing_keys(&path, 2).unwrap();
        assert!(!path.exists(), "there was none");
        let made = open(&path, 1).unwrap();
        renew_signing_keys(&path, 2).unwrap();
        let renewed = open(&path, 3).unwrap();
        assert_eq!((renewed.signing.len(), renewed.signing[0].active_from_ms), (1, 2));
        assert_ne!(renewed.signing[0].bytes(), made.signing[0].bytes());
        assert!(renewed.derivation[0].key == made.derivation[0].key);
    }

    #[test]
    fn a_change_is_written_and_one_that_is_not_wanted_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.json");
        open(&path, 1).unwrap();
        let add = |file: &KeyFile| {
            let mut changed = file.clone();
            changed.signing.push(SigningSeed::new(5)?);
            Ok(Some(changed))
        };
        assert_eq!(update(&path, add).unwrap().unwrap().signing.len(), 2);
        assert_eq!(update(&path, |_| Ok(None)).unwrap().unwrap().signing.len(), 2);
    }
}
