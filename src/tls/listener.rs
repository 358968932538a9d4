//! The certificate of one listener.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
};

use async_trait::async_trait;
use orinoco_embedded::broker::{Duplex, Encryption};
use orinoco_ports::{Clock as _, SystemClock};
use time::OffsetDateTime;
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig, server::TlsStream};

use super::{
    EXPIRY_WARNING,
    files::{CertificateError, CertificateFiles, Contents, Pair},
};

/// What reading the files again came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reload {
    /// They hold what they held.
    Unchanged,
    /// New handshakes get another certificate, or a certificate with another key.
    Changed,
}

/// See the module.
pub struct ListenerTls {
    listener: &'static str,
    files: CertificateFiles,
    protocols: &'static [&'static [u8]],
    state: RwLock<State>,
    /// Held from reading the files until what they hold is in use: an older pair must not replace a newer one.
    looking: Mutex<()>,
}

struct State {
    pair: Pair,
    /// Why what the files held at the last look can't be used.
    refused: Option<(Refused, Told)>,
}

/// Files that are replaced one after the other don't fit for a moment: the periodic look tells only what it finds twice, and that once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    NotYet,
    Told,
}

#[derive(PartialEq, Eq)]
struct Refused {
    error: CertificateError,
    /// None where they can't be read.
    contents: Option<Contents>,
}

impl ListenerTls {
    /// `listener`: the section of its keys, `http`, `ws` or `mqtt`. `protocols`: ALPN.
    ///
    /// # Errors
    /// The files can't be used.
    pub fn open(
        listener: &'static str,
        files: CertificateFiles,
        protocols: &'static [&'static [u8]],
    ) -> Result<Self, CertificateError> {
        let pair = files.pair(&files.read()?, protocols)?;
        Ok(Self {
            listener,
            files,
            protocols,
            state: RwLock::new(State { pair, refused: None }),
            looking: Mutex::default(),
        })
    }

    /// `http`, `ws` or `mqtt`.
    #[must_use]
    pub fn listener(&self) -> &'static str {
        self.listener
    }

    /// Where its certificate is read from.
    #[must_use]
    pub fn files(&self) -> &CertificateFiles {
        &self.files
    }

    /// The end of the certificate in use (notAfter), Unix time in seconds.
    #[must_use]
    pub fn expires_at_s(&self) -> i64 {
        self.with(|state| state.pair.validity.expires_at_s)
    }

    /// The same, for people: a day.
    #[must_use]
    pub fn expires_on(&self) -> String {
        date(self.expires_at_s())
    }

    /// What could be better about the files in use, a sentence each.
    #[must_use]
    pub fn advice(&self) -> Vec<String> {
        self.with(|state| advice(&self.files, &state.pair, now_s()))
    }

    /// Reads the files again, and says in the log and the metrics what came of it. Blocks for as long as that takes.
    ///
    /// # Errors
    /// They can't be used; the listener goes on with what it has.
    pub fn reload(&self) -> Result<Reload, CertificateError> {
        let _looking = self.looking();
        match self.read() {
            Ok(read) => Ok(self.settle(read)),
            Err(refused) => {
                self.tell(&refused.error);
                let error = refused.error.clone();
                self.remember(refused, Told::Told);
                Err(error)
            }
        }
    }

    /// The same, periodically.
    pub(super) fn look(&self) {
        let _looking = self.looking();
        match self.read() {
            Ok(read) => {
                self.settle(read);
            }
            Err(refused) => {
                let before = self.with(|state| {
                    state.refused.as_ref().filter(|(before, _)| *before == refused).map(|(_, told)| *told)
                });
                if before == Some(Told::NotYet) {
                    self.tell(&refused.error);
                }
                self.remember(refused, if before.is_some() { Told::Told } else { Told::NotYet });
            }
        }
    }

    fn looking(&self) -> MutexGuard<'_, ()> {
        self.looking.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What they hold; `None` where that is in use.
    fn read(&self) -> Result<Option<Pair>, Refused> {
        let bytes = self.files.read().map_err(|error| Refused { error, contents: None })?;
        let contents = bytes.contents();
        if self.with(|state| state.pair.contents == contents) {
            return Ok(None);
        }
        let pair = self.files.pair(&bytes, self.protocols);
        pair.map(Some).map_err(|error| Refused { error, contents: Some(contents) })
    }

    fn settle(&self, read: Option<Pair>) -> Reload {
        let Some(pair) = read else {
            self.change(|state| state.refused = None);
            return Reload::Unchanged;
        };
        let advice = advice(&self.files, &pair, now_s());
        let expires = date(pair.validity.expires_at_s);
        self.change(|state| *state = State { pair, refused: None });
        tracing::info!(listener = self.listener, %expires, "new handshakes get the certificate that was read now");
        for advice in advice {
            tracing::warn!(listener = self.listener, "{advice}");
        }
        self.count("changed");
        Reload::Changed
    }

    fn remember(&self, refused: Refused, told: Told) {
        self.change(|state| state.refused = Some((refused, told)));
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.write().unwrap_or_else(PoisonError::into_inner));
    }

    fn tell(&self, error: &CertificateError) {
        tracing::error!(listener = self.listener, %error, "the certificate can't be read again; the one in use stays");
        self.count("failed");
    }

    fn count(&self, outcome: &'static str) {
        metrics::counter!("orinoco_tls_reloads_total", "listener" => self.listener, "outcome" => outcome).increment(1);
    }

    fn with<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn config(&self) -> Arc<ServerConfig> {
        self.with(|state| Arc::clone(&state.pair.config))
    }

    /// Shakes hands, for as long as that takes: the caller bounds it.
    ///
    /// # Errors
    /// The client speaks no TLS, or none that we do, or has gone.
    pub(super) async fn shake_hands(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        TlsAcceptor::from(self.config()).accept(stream).await
    }
}

#[async_trait]
impl Encryption for ListenerTls {
    async fn accept(&self, stream: TcpStream) -> io::Result<Box<dyn Duplex>> {
        Ok(Box::new(self.shake_hands(stream).await?))
    }
}

fn advice(files: &CertificateFiles, pair: &Pair, now_s: i64) -> Vec<String> {
    let mut advice = Vec::new();
    let place = files.certificate.display();
    let (begins_at_s, expires_at_s) = (pair.validity.begins_at_s, pair.validity.expires_at_s);
    let left_s = expires_at_s - now_s;
    if left_s <= 0 {
        let expired = date(expires_at_s);
        advice.push(format!("the certificate in {place} expired on {expired} and clients refuse it; replace it"));
    } else if left_s < EXPIRY_WARNING.as_secs() as i64 {
        let (days, end) = (left_s / 86_400, date(expires_at_s));
        advice.push(format!("the certificate in {place} expires on {end}, in {days} days; replace it"));
    }
    if begins_at_s > now_s {
        let begins = date(begins_at_s);
        advice.push(format!("the certificate in {place} begins on {begins}, and clients refuse it until then"));
    }
    if pair.is_key_open {
        let key = files.key.display();
        advice.push(format!("everybody on this machine may open the private key in {key}; chmod 600 {key}"));
    }
    advice
}

fn now_s() -> i64 {
    SystemClock.now_ms() / 1_000
}

fn date(at_s: i64) -> String {
    OffsetDateTime::from_unix_timestamp(at_s)
        .map_or_else(|_| "a day far off".to_owned(), |time| time.date().to_string())
}
