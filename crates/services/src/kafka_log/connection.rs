//! Connections of our own to a broker, beside rskafka's: by the same TLS and SASL.

use std::{fmt, io};

use rsasl::{
    config::SASLConfig,
    mechanisms::{plain::PLAIN, scram},
    prelude::{Mechanism, SASLClient},
};
use rskafka::client::{Credentials, SaslConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::salvage::wire::{Reader, Writer};
use crate::tls::{self, Stream, TlsOptions};

const SASL_HANDSHAKE: i16 = 17;
/// The first whose authentication goes by `SaslAuthenticate` (KIP-152).
const SASL_HANDSHAKE_VERSION: i16 = 1;
const SASL_AUTHENTICATE: i16 = 36;
const SASL_AUTHENTICATE_VERSION: i16 = 0;
/// `UNSUPPORTED_SASL_MECHANISM`.
const UNSUPPORTED_MECHANISM: i16 = 33;
/// SCRAM takes two.
const STEPS_MAX: usize = 8;
/// A response of Kafka: whole batches come even where they are larger than was asked for.
const RESPONSE_BYTES_MAX: usize = 256 << 20;

/// How a password is shown to Kafka.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SaslMechanism {
    /// RFC 4616: as it is.
    Plain,
    /// RFC 7677.
    ScramSha256,
    /// As SCRAM-SHA-256, with SHA-512.
    ScramSha512,
}

/// Who we are to Kafka.
#[derive(Clone, PartialEq, Eq)]
pub struct KafkaSasl {
    pub mechanism: SaslMechanism,
    pub username: String,
    pub password: String,
}

impl fmt::Debug for KafkaSasl {
    /// Without the password.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = formatter.debug_struct("KafkaSasl");
        text.field("mechanism", &self.mechanism).field("username", &self.username).finish_non_exhaustive()
    }
}

impl KafkaSasl {
    /// For rskafka.
    pub(super) fn config(&self) -> SaslConfig {
        let credentials = Credentials::new(self.username.clone(), self.password.clone());
        match self.mechanism {
            SaslMechanism::Plain => SaslConfig::Plain(credentials),
            SaslMechanism::ScramSha256 => SaslConfig::ScramSha256(credentials),
            SaslMechanism::ScramSha512 => SaslConfig::ScramSha512(credentials),
        }
    }

    fn mechanism(&self) -> &'static Mechanism {
        match self.mechanism {
            SaslMechanism::Plain => &PLAIN,
            SaslMechanism::ScramSha256 => &scram::SCRAM_SHA256,
            SaslMechanism::ScramSha512 => &scram::SCRAM_SHA512,
        }
    }
}

/// How each connection begins.
#[derive(Debug, Clone, Default)]
pub(super) struct Security {
    pub(super) tls: Option<TlsOptions>,
    pub(super) sasl: Option<KafkaSasl>,
}

impl Security {
    /// A connection that may be asked which versions the broker knows, and no more.
    ///
    /// # Errors
    /// The address, or TLS.
    pub(super) async fn connect(&self, address: &str) -> io::Result<Stream> {
        tls::connect(address, self.tls.as_ref()).await
    }

    /// A connection for any request.
    ///
    /// # Errors
    /// As [`Security::connect`], or the broker does not take our password.
    pub(super) async fn connect_as_user(&self, address: &str) -> io::Result<Stream> {
        let mut stream = self.connect(address).await?;
        if let Some(sasl) = &self.sasl {
            authenticate(&mut stream, sasl).await?;
        }
        Ok(stream)
    }
}

async fn authenticate(stream: &mut Stream, sasl: &KafkaSasl) -> io::Result<()> {
    let mechanism = sasl.mechanism();
    let mut request = Writer::default();
    request.string(mechanism.mechanism.as_str());
    let response = exchange(stream, SASL_HANDSHAKE, SASL_HANDSHAKE_VERSION, &request.0).await?;
    match Reader(&response).int16() {
        Some(0) => {}
        Some(UNSUPPORTED_MECHANISM) => return Err(io::Error::other("the broker does not know the SASL mechanism")),
        error => return Err(io::Error::other(format!("a SASL handshake failed with error {error:?}"))),
    }
    let config = SASLConfig::with_credentials(None, sasl.username.clone(), sasl.password.clone());
    let client = SASLClient::new(config.map_err(io::Error::other)?);
    let mut session = client.start_suggested(&[mechanism.mechanism]).map_err(io::Error::other)?;
    let mut challenge: Option<Vec<u8>> = None;
    for _ in 0..STEPS_MAX {
        let mut answer = Vec::new();
        let state = session.step(challenge.as_deref(), &mut answer).map_err(io::Error::other)?;
        if state.has_sent_message() {
            challenge = Some(authenticate_step(stream, &answer).await?);
        }
        if state.is_finished() {
            return Ok(());
        }
    }
    Err(io::Error::other("SASL does not come to an end"))
}

/// SaslAuthenticate, version 0: bytes there, bytes back.
async fn authenticate_step(stream: &mut Stream, bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut request = Writer::default();
    request.bytes(bytes);
    let response = exchange(stream, SASL_AUTHENTICATE, SASL_AUTHENTICATE_VERSION, &request.0).await?;
    let unreadable = || io::Error::other("the answer to SaslAuthenticate can't be read");
    let mut reader = Reader(&response);
    let error = reader.int16().ok_or_else(unreadable)?;
    if error != 0 {
        // Null where there is nothing to say.
        let reason = reader.string().unwrap_or("no reason");
        return Err(io::Error::other(format!("SASL authentication failed: {reason}")));
    }
    // The error's text, null.
    reader.int16().ok_or_else(unreadable)?;
    Ok(reader.nullable_bytes().ok_or_else(unreadable)?.to_vec())
}

/// One request; the body of the response.
///
/// # Errors
/// The connection, or a length that makes no sense.
pub(super) async fn exchange(stream: &mut Stream, api_key: i16, api_version: i16, body: &[u8]) -> io::Result<Vec<u8>> {
    let mut request = Writer::default();
    request.int16(api_key).int16(api_version).int32(1).string("orinoco");
    request.0.extend_from_slice(body);
    stream.write_i32(i32::try_from(request.0.len()).map_err(io::Error::other)?).await?;
    stream.write_all(&request.0).await?;
    stream.flush().await?;
    let length = usize::try_from(stream.read_i32().await?).map_err(io::Error::other)?;
    if !(4..=RESPONSE_BYTES_MAX).contains(&length) {
        return Err(io::Error::other(format!("a response of {length} bytes")));
    }
    let mut response = vec![0; length];
    stream.read_exact(&mut response).await?;
    // Response header, version 0: the correlation id.
    Ok(response.split_off(4))
}
