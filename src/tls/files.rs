//! A certificate and its key: read from PEM files, checked against each other.

use std::{
    fmt,
    fs::File,
    io::{self, Read},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use sha2::{Digest, Sha256};
use tokio_rustls::rustls::{
    Error, ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

use super::validity::Validity;

/// Of one file; a longer one is none that was meant.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// What everybody on the machine may do with a file.
const MODE_OF_OTHERS: u32 = 0o007;

/// Where a listener's certificate is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// PEM: the server's own certificate, then those that lead to its authority.
    pub certificate: PathBuf,
    /// PEM: its private key, without a passphrase (PKCS #8, PKCS #1 or SEC 1).
    pub key: PathBuf,
}

/// Why a certificate can't be used. Says the file and the remedy, and nothing of what a key file holds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    #[error("{} can't be read: {reason}; the daemon's user must be able to", .path.display())]
    CertificateUnreadable { path: PathBuf, reason: String },
    #[error("{} can't be read: {reason}; the daemon's user must be able to", .path.display())]
    KeyUnreadable { path: PathBuf, reason: String },
    #[error("{} holds no certificate in PEM; write the server's own into it, then those that lead to its authority", .path.display())]
    NoCertificate { path: PathBuf },
    #[error("{} holds no certificate that can be used: {reason}; have it issued again, for TLS servers", .path.display())]
    BadCertificate { path: PathBuf, reason: String },
    #[error("{} holds no private key in PEM that can be used; it must be without a passphrase, and RSA, ECDSA (P-256, P-384) or Ed25519", .path.display())]
    NoKey { path: PathBuf },
    #[error("the key in {} is not that of the first certificate in {}; put the pair that was issued together there", .key.display(), .certificate.display())]
    Mismatch { certificate: PathBuf, key: PathBuf },
}

impl CertificateError {
    /// Whether the file of the key is to blame.
    pub(super) fn is_of_key(&self) -> bool {
        matches!(self, Self::KeyUnreadable { .. } | Self::NoKey { .. } | Self::Mismatch { .. })
    }
}

/// Which contents were read. Tells whether files have changed, and holds nothing of them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Contents([u8; 32]);

/// What was read and can be used.
pub(super) struct Pair {
    pub(super) config: Arc<ServerConfig>,
    pub(super) validity: Validity,
    pub(super) contents: Contents,
    /// The key's file is open to everybody on the machine.
    pub(super) is_key_open: bool,
}

impl fmt::Debug for Pair {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Pair").field("validity", &self.validity).finish_non_exhaustive()
    }
}

/// The bytes of both files.
pub(super) struct Bytes {
    certificate: Vec<u8>,
    key: Vec<u8>,
    is_key_open: bool,
}

impl CertificateFiles {
    /// Reads both files; what they hold is looked at later.
    ///
    /// # Errors
    /// One can't be read.
    pub(super) fn read(&self) -> Result<Bytes, CertificateError> {
        let (certificate, _) = read(&self.certificate).map_err(|error| CertificateError::CertificateUnreadable {
            path: self.certificate.clone(),
            reason: error.to_string(),
        })?;
        let (key, mode) = read(&self.key)
            .map_err(|error| CertificateError::KeyUnreadable { path: self.key.clone(), reason: error.to_string() })?;
        Ok(Bytes { certificate, key, is_key_open: mode & MODE_OF_OTHERS != 0 })
    }

    /// Makes them what a listener can use. `protocols`: ALPN (RFC 7301); none where there is nothing to choose from.
    ///
    /// # Errors
    /// They hold no certificate and key that fit.
    pub(super) fn pair(&self, bytes: &Bytes, protocols: &[&[u8]]) -> Result<Pair, CertificateError> {
        let path = || self.certificate.clone();
        let bad = |reason: String| CertificateError::BadCertificate { path: path(), reason };
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&bytes.certificate)
            .collect::<Result<_, _>>()
            .map_err(|error| bad(error.to_string()))?;
        let first = chain.first().ok_or_else(|| CertificateError::NoCertificate { path: path() })?;
        let validity = Validity::of(first).map_err(|error| bad(error.to_string()))?;
        let no_key = || CertificateError::NoKey { path: self.key.clone() };
        // What the library says of a key is not repeated.
        let key = PrivateKeyDer::from_pem_slice(&bytes.key).map_err(|_| no_key())?;
        let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().map_err(|error| bad(error.to_string()))?;
        let mut config = builder.with_no_client_auth().with_single_cert(chain, key).map_err(|error| match error {
            Error::InconsistentKeys(_) => {
                CertificateError::Mismatch { certificate: self.certificate.clone(), key: self.key.clone() }
            }
            Error::InvalidCertificate(reason) => bad(format!("{reason:?}")),
            _ => no_key(),
        })?;
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        Ok(Pair { config: Arc::new(config), validity, contents: bytes.contents(), is_key_open: bytes.is_key_open })
    }
}

impl Bytes {
    pub(super) fn contents(&self) -> Contents {
        let mut digest = Sha256::new();
        // The lengths keep the two apart.
        for part in [&self.certificate, &self.key] {
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        }
        Contents(digest.finalize().into())
    }
}

/// The file's bytes, and its mode.
fn read(path: &Path) -> io::Result<(Vec<u8>, u32)> {
    let file = File::open(path)?;
    let mode = file.metadata()?.permissions().mode();
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::other(format!("it is longer than {FILE_BYTES_MAX} bytes")));
    }
    Ok((bytes, mode))
}
