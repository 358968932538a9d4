//! TLS towards the servers: whom we trust, and who we are. rustls with ring, TLS 1.2 and 1.3.
//!
//! Invariants: the server's certificate and its name are verified, whoever connects (but for `sslmode=prefer`, see `postgres`); the files
//! are read for each connection (Kafka's for each client, as rskafka keeps what it was given), so that what is mended or renewed counts
//! from the next one on; no text holds what is in them.

mod remedy;

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

pub use remedy::TlsKeys;

/// For how long a server may take to refuse our certificate: with TLS 1.3 that comes behind the handshake.
const REFUSAL_WAIT: Duration = Duration::from_millis(500);

/// The authorities of the system, and when they were read.
static SYSTEM_ROOTS: Mutex<Option<(Instant, Arc<RootCertStore>)>> = Mutex::new(None);
const SYSTEM_ROOTS_KEPT_FOR: Duration = Duration::from_secs(60);

/// What there is to say where a server leaves us waiting.
pub(crate) const NO_ANSWER: &str = "tls handshake: no answer";

/// How to speak TLS with one server. All files are PEM (RFC 7468).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsOptions {
    /// The authorities that are trusted; `None`: those of the operating system.
    pub ca: Option<PathBuf>,
    /// What we show to a server that asks; `None`: nothing.
    pub identity: Option<TlsIdentity>,
}

/// A client certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsIdentity {
    /// The certificate, and behind it those between it and its authority.
    pub certificate: PathBuf,
    /// The private key, not encrypted.
    pub key: PathBuf,
}

/// A file that is of no use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} {reason}", path.display())]
pub struct TlsFileError {
    pub path: PathBuf,
    /// Follows the name of the file.
    pub reason: String,
}

impl TlsFileError {
    fn new(path: &Path, reason: impl Into<String>) -> Self {
        Self { path: path.to_owned(), reason: reason.into() }
    }
}

impl TlsOptions {
    /// Whether all files can be read and understood, and certificate and key belong together. Blocks.
    ///
    /// # Errors
    /// The first file that is of no use.
    pub fn check(&self) -> Result<(), TlsFileError> {
        self.read().map(drop)
    }

    /// The files and what they make; blocks.
    fn read(&self) -> Result<ClientConfig, TlsFileError> {
        let roots = match &self.ca {
            Some(path) => Arc::new(roots_in(path)?),
            None => roots_of_system()?,
        };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let nowhere = |error: rustls::Error| TlsFileError::new(Path::new("TLS"), error.to_string());
        let builder = builder.map_err(nowhere)?.with_root_certificates(roots);
        let Some(TlsIdentity { certificate, key }) = &self.identity else {
            return Ok(builder.with_no_client_auth());
        };
        let chain = certificates_in(certificate)?;
        // What the parser says of a key is not repeated.
        let private_key = PrivateKeyDer::from_pem_slice(&read(key)?)
            .map_err(|_| TlsFileError::new(key, "holds no private key in PEM that can be read without a password"))?;
        builder.with_client_auth_cert(chain, private_key).map_err(|error| {
            let reason = format!("does not go with the certificate in {}: {error}", certificate.display());
            TlsFileError::new(key, reason)
        })
    }

    pub(crate) async fn client_config(&self) -> Result<ClientConfig, TlsFileError> {
        let options = self.clone();
        let reading = tokio::task::spawn_blocking(move || options.read()).await;
        reading.unwrap_or_else(|error| Err(TlsFileError::new(Path::new("TLS"), error.to_string())))
    }

    /// Connects to `host:port`, an IPv6 address in brackets.
    ///
    /// # Errors
    /// For people: the address, the handshake, or a file of ours.
    pub(crate) async fn connect(&self, address: &str) -> io::Result<TlsStream<TcpStream>> {
        let config = self.client_config().await.map_err(io::Error::other)?;
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host).trim_matches(['[', ']']);
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let shaken = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
        shaken.map_err(|error| io::Error::new(error.kind(), format!("tls handshake: {error}")))
    }

    /// Why a TLS connection to `host:port` fails, with a remedy that names `keys`: for clients that do not say it themselves. `None` where it
    /// does not fail.
    pub async fn diagnose(&self, address: &str, keys: &TlsKeys, limit: Duration) -> Option<String> {
        let trying = async {
            let mut stream = self.connect(address).await?;
            match tokio::time::timeout(REFUSAL_WAIT, stream.read_u8()).await {
                Ok(Err(error)) => Err(error),
                Ok(Ok(_)) | Err(_) => Ok(()),
            }
        };
        let outcome = tokio::time::timeout(limit, trying).await;
        match outcome {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(keys.with_remedy(error.to_string())),
            Err(_) => Some(keys.with_remedy(NO_ANSWER.to_owned())),
        }
    }
}

/// What a connection carries, encrypted or not.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

pub(crate) type Stream = Box<dyn Duplex>;

/// Connects to `host:port`, an IPv6 address in brackets; in the clear where there is no TLS.
///
/// # Errors
/// As [`TlsOptions::connect`].
pub(crate) async fn connect(address: &str, tls: Option<&TlsOptions>) -> io::Result<Stream> {
    if let Some(tls) = tls {
        return Ok(Box::new(tls.connect(address).await?));
    }
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(Box::new(stream))
}

fn read(path: &Path) -> Result<Vec<u8>, TlsFileError> {
    std::fs::read(path).map_err(|error| TlsFileError::new(path, format!("can't be read: {error}")))
}

fn certificates_in(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsFileError> {
    let pem = read(path)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => Err(TlsFileError::new(path, "holds no certificate in PEM")),
        Err(error) => Err(TlsFileError::new(path, format!("is no PEM: {error}"))),
    }
}

fn roots_in(path: &Path) -> Result<RootCertStore, TlsFileError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates_in(path)? {
        let added = roots.add(certificate);
        added.map_err(|error| TlsFileError::new(path, format!("holds a certificate that is none: {error}")))?;
    }
    Ok(roots)
}

/// More than a hundred, so that they are kept for a while.
fn roots_of_system() -> Result<Arc<RootCertStore>, TlsFileError> {
    let mut kept = SYSTEM_ROOTS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((read_at, roots)) = &*kept
        && read_at.elapsed() < SYSTEM_ROOTS_KEPT_FOR
    {
        return Ok(Arc::clone(roots));
    }
    let mut roots = RootCertStore::empty();
    // One that can't be understood is no reason to trust none of the others.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        let reason = "of the system are missing; install the package ca-certificates, or name an authority (tls_ca)";
        return Err(TlsFileError::new(Path::new("the authorities"), reason));
    }
    let roots = Arc::new(roots);
    *kept = Some((Instant::now(), Arc::clone(&roots)));
    Ok(roots)
}
