//! An MQTT 5.0 broker, through Eclipse paho: a client that keeps its session.
//!
//! Invariants: a message is acknowledged after `Intake::accept_blocking` returned `Ok`, as paho sends the PUBACK behind its message
//! callback; one that is refused is not, as the socket is shut down before the callback returns (see `sockets`). The callback is installed
//! before connecting, and paho keeps no messages of its own.
//!
//! paho's C library has one thread for the callbacks of all clients of the process: while one source's intake waits (a full journal),
//! every other source waits too, and none sends a PINGREQ. A broker that then gives the connection up redelivers, with the same packet
//! identifiers.

mod connection;
mod delivery;
mod metadata;
mod sockets;
mod tls;

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use orinoco_ports::{BackendInfo, Intake, MqttError, MqttLink, MqttSource};
use paho_mqtt::{
    ConnectOptions, ConnectOptionsBuilder, CreateOptions, CreateOptionsBuilder, Error, Properties, PropertyCode,
    ReasonCode, SubscribeManyToken,
};

use self::{connection::Connection, delivery::Delivery};
use crate::tls::TlsOptions;

pub use self::tls::{diagnose_mqtts, is_mqtts, paho_ssl_options};

/// How long a broker is given to tell its version.
const VERSION_WAIT: Duration = Duration::from_millis(500);

/// How to reach the broker, and as whom.
#[derive(Clone)]
pub struct PahoSourceOptions {
    /// `mqtt://host:port`, or `mqtts://` for TLS.
    pub url: String,
    /// For `mqtts://`.
    pub tls: TlsOptions,
    /// The session's name: the same over restarts and owners.
    pub client_id: String,
    pub username: Option<String>,
    pub password: Option<String>,
    /// Topic filters, subscribed to at QoS 1.
    pub filters: Vec<String>,
    /// Topic filters that a session may still have from another configuration: given up once those above are granted.
    pub superseded: Vec<String>,
    /// For how long the broker keeps the session, and what comes meanwhile, while nobody is connected (MQTT 5.0, section 3.1.2.11.2).
    pub session_expiry: Duration,
    /// Messages on their way to us without a PUBACK, at most (section 3.1.2.11.3).
    pub receive_maximum: u16,
    /// Seconds are what the protocol knows.
    pub keep_alive: Duration,
    /// Until CONNACK and SUBACK are there.
    pub connect_timeout: Duration,
    /// Larger packets are kept from us by the broker (section 3.1.2.11.4).
    pub packet_size_max: u32,
}

impl PahoSourceOptions {
    #[must_use]
    pub fn new(url: impl Into<String>, client_id: impl Into<String>, filters: Vec<String>) -> Self {
        Self {
            url: url.into(),
            tls: TlsOptions::default(),
            client_id: client_id.into(),
            username: None,
            password: None,
            filters,
            superseded: Vec::new(),
            session_expiry: Duration::from_secs(24 * 3_600),
            receive_maximum: 1_000,
            keep_alive: Duration::from_secs(20),
            connect_timeout: Duration::from_secs(5),
            packet_size_max: 1 << 20,
        }
    }
}

impl fmt::Debug for PahoSourceOptions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = formatter.debug_struct("PahoSourceOptions");
        text.field("url", &self.url).field("client_id", &self.client_id).field("filters", &self.filters);
        text.field("username", &self.username).field("password", &self.password.as_ref().map(|_| "***"));
        text.field("session_expiry", &self.session_expiry).field("receive_maximum", &self.receive_maximum);
        text.field("keep_alive", &self.keep_alive).finish_non_exhaustive()
    }
}

/// [`MqttSource`] on a broker that speaks MQTT 5.0.
#[derive(Debug)]
pub struct PahoSource {
    options: PahoSourceOptions,
    port: u16,
}

impl PahoSource {
    /// Connects when told to.
    ///
    /// # Errors
    /// [`MqttError::Rejected`] for a URL that can't be understood.
    pub fn new(options: PahoSourceOptions) -> Result<Self, MqttError> {
        match port_of(&options.url) {
            Some(port) => Ok(Self { options, port }),
            None => Err(MqttError::Rejected {
                // It may hold a password.
                url: "at mqtt.url".to_owned(),
                reason: "it can't be understood; write it as mqtt://host:port, or mqtts://host:port".to_owned(),
            }),
        }
    }

    /// Whether the broker lets us in, and what it says of itself (`$SYS/broker/version`), under another client id, so that the session
    /// stays untouched.
    ///
    /// # Errors
    /// [`MqttError`].
    pub async fn probe(&self) -> Result<BackendInfo, MqttError> {
        let version = Arc::new(probe::VersionIntake::default());
        let session = Session {
            client_id: format!("{}-probe-{:08x}", self.options.client_id, fastrand::u32(..)),
            is_kept: false,
            filters: vec!["$SYS/broker/version".to_owned()],
        };
        let connection = self.open(session, Arc::clone(&version) as _).await?;
        let version = tokio::time::timeout(VERSION_WAIT, version.heard()).await;
        connection.close().await;
        let version = version.unwrap_or_else(|_| format!("MQTT 5.0 broker at {}", self.options.url));
        Ok(BackendInfo { version, advice: Vec::new() })
    }

    async fn open(&self, session: Session, intake: Arc<dyn Intake>) -> Result<Connection, MqttError> {
        // The bound of it all; the library's own ones end earlier, with a better reason, but can be held up by a callback that waits.
        let limit = 2 * self.options.connect_timeout + Duration::from_secs(5);
        match tokio::time::timeout(limit, self.open_unbounded(session, intake)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(self.unavailable(format!("no connection within {} s", limit.as_secs()))),
        }
    }

    async fn open_unbounded(&self, session: Session, intake: Arc<dyn Intake>) -> Result<Connection, MqttError> {
        if is_mqtts(&self.options.url) {
            self.options.tls.client_config().await.map_err(|error| self.unavailable(error.to_string()))?;
        }
        let turn = connection::turn().await;
        let (create, connect) = (self.create_options(&session), self.connect_options(&session));
        let (create, connect) = (create, connect.map_err(|error| self.error(&error))?);
        let (port, timeout) = (self.port, self.options.connect_timeout);
        let (receive_maximum, keep_alive) = (self.options.receive_maximum, self.options.keep_alive);
        let begin = move || {
            let delivery = Arc::new(Delivery::new(intake, port, receive_maximum, keep_alive));
            Connection::begin(turn, create, connect, delivery, timeout)
        };
        let begun = tokio::task::spawn_blocking(begin).await.map_err(|error| self.unavailable(error.to_string()))?;
        let mut connection = begun.map_err(|error| self.error(&error))?;
        let session_present = match connection.connected().await {
            Ok(session_present) => session_present,
            Err(error) => return Err(self.not_connected(&error).await),
        };
        self.subscribe(&connection, &session, session_present).await?;
        Ok(connection)
    }

    /// A session that the broker kept has its subscriptions: they are renewed, but not waited for, as the SUBACK comes behind all
    /// messages that were kept, and these may have to wait for the intake.
    async fn subscribe(
        &self,
        connection: &Connection,
        session: &Session,
        session_present: bool,
    ) -> Result<(), MqttError> {
        let Some(token) = connection.subscribe(&session.filters) else { return Ok(()) };
        let filters = session.filters.clone();
        if session_present {
            let delivery = Arc::clone(connection.delivery());
            // Sent behind SUBSCRIBE, so that no topic is without a subscription in between.
            let given_up = connection.unsubscribe(&self.options.superseded);
            tokio::spawn(async move {
                let subscribed = async {
                    granted(token, &filters).await?;
                    let Some(given_up) = given_up else { return Ok(()) };
                    // Reason code 0x11, no such subscription, is no error (MQTT 5.0, section 3.11.3).
                    given_up.await.map(drop).map_err(NotGranted::GivenUp)
                };
                if let Err(error) = subscribed.await {
                    delivery.lose(&error.to_string());
                }
            });
            return Ok(());
        }
        match tokio::time::timeout(self.options.connect_timeout, granted(token, &filters)).await {
            Ok(outcome) => outcome.map_err(|refused| match refused {
                NotGranted::Failed(error) | NotGranted::GivenUp(error) => self.error(&error),
                NotGranted::Refused(_) => self.rejected(refused.to_string()),
            }),
            Err(_) => Err(self.unavailable("no answer to SUBSCRIBE".to_owned())),
        }
    }

    fn create_options(&self, session: &Session) -> CreateOptions {
        CreateOptionsBuilder::new()
            .server_uri(&self.options.url)
            .client_id(&session.client_id)
            .mqtt_version(paho_mqtt::MqttVersion::V5)
            .persistence(paho_mqtt::PersistenceType::None)
            .finalize()
    }

    fn connect_options(&self, session: &Session) -> Result<ConnectOptions, Error> {
        let expiry_s = if session.is_kept { self.options.session_expiry.as_secs() } else { 0 };
        let mut properties = Properties::new();
        properties.push_u32(PropertyCode::SessionExpiryInterval, u32::try_from(expiry_s).unwrap_or(u32::MAX))?;
        properties.push_u16(PropertyCode::ReceiveMaximum, self.options.receive_maximum.max(1))?;
        properties.push_u32(PropertyCode::MaximumPacketSize, self.options.packet_size_max.max(1_024))?;
        let mut builder = ConnectOptionsBuilder::new_v5();
        builder
            .clean_start(!session.is_kept)
            .keep_alive_interval(self.options.keep_alive)
            .connect_timeout(self.options.connect_timeout)
            .properties(properties);
        if is_mqtts(&self.options.url) {
            builder.ssl_options(paho_ssl_options(&self.options.tls)?);
        }
        if let Some(username) = &self.options.username {
            builder.user_name(username);
        }
        if let Some(password) = &self.options.password {
            builder.password(password.as_str());
        }
        Ok(builder.finalize())
    }

    /// paho does not say what is wrong with TLS.
    async fn not_connected(&self, error: &Error) -> MqttError {
        let MqttError::Unavailable { url, reason } = self.error(error) else { return self.error(error) };
        let why = diagnose_mqtts(&url, &self.options.tls).await;
        let reason = why.map_or(reason.clone(), |why| format!("{reason}: {why}"));
        MqttError::Unavailable { url, reason }
    }

    fn error(&self, error: &Error) -> MqttError {
        use ReasonCode as Code;
        match error {
            Error::ReasonCode(
                Code::NotAuthorized
                | Code::BadUserNameOrPassword
                | Code::ClientIdentifierNotValid
                | Code::BadAuthenticationMethod
                | Code::Banned
                | Code::TopicFilterInvalid,
                _,
            )
            | Error::BadTopicFilter
            | Error::BadUtf8String
            | Error::Nul(_)
            | Error::MissingSslOptions
            | Error::BadProtocol => self.rejected(error.to_string()),
            Error::ReasonCode(Code::UnsupportedProtocolVersion, _) | Error::ConnectReturn(_) => {
                self.rejected(format!("{error}; it must speak MQTT 5.0"))
            }
            _ => self.unavailable(error.to_string()),
        }
    }

    fn rejected(&self, reason: String) -> MqttError {
        MqttError::Rejected { url: self.options.url.clone(), reason }
    }

    fn unavailable(&self, reason: String) -> MqttError {
        MqttError::Unavailable { url: self.options.url.clone(), reason }
    }
}

#[async_trait]
impl MqttSource for PahoSource {
    async fn connect(&self, intake: Arc<dyn Intake>) -> Result<Box<dyn MqttLink>, MqttError> {
        let session =
            Session { client_id: self.options.client_id.clone(), is_kept: true, filters: self.options.filters.clone() };
        let connection = self.open(session, intake).await?;
        Ok(Box::new(PahoLink { connection, url: self.options.url.clone() }))
    }
}

/// Under which name, for how long, and of what.
struct Session {
    client_id: String,
    is_kept: bool,
    filters: Vec<String>,
}

/// A connection that delivers.
struct PahoLink {
    connection: Connection,
    url: String,
}

#[async_trait]
impl MqttLink for PahoLink {
    async fn lost(&mut self) -> MqttError {
        let reason = self.connection.delivery().lost().await;
        MqttError::Unavailable { url: self.url.clone(), reason }
    }

    async fn disconnect(self: Box<Self>) {
        self.connection.close().await;
    }
}

/// Why a subscription is not what we need.
#[derive(Debug, thiserror::Error)]
enum NotGranted {
    #[error("SUBSCRIBE: {0}")]
    Failed(Error),
    #[error("UNSUBSCRIBE: {0}")]
    GivenUp(Error),
    #[error("the subscription to {0} was not granted at QoS 1")]
    Refused(String),
}

/// Waits for SUBACK; each filter must have been granted QoS 1 (MQTT 5.0, section 3.9.3).
async fn granted(token: SubscribeManyToken, filters: &[String]) -> Result<(), NotGranted> {
    let answer = token.await.map_err(NotGranted::Failed)?;
    let codes = answer.subscribe_many_response().unwrap_or_default();
    match filters.iter().zip(&codes).find(|(_, code)| **code != 1) {
        Some((filter, code)) => Err(NotGranted::Refused(format!("{filter} (reason code {code})"))),
        None => Ok(()),
    }
}

/// Port of `mqtt://host:port`; 1883 where it names none, and 8883 for `mqtts://`.
fn port_of(url: &str) -> Option<u16> {
    let usual = if is_mqtts(url) { tls::MQTTS_PORT } else { 1883 };
    let schemes = ["mqtt://", "tcp://", "mqtts://"];
    let address = schemes.iter().find_map(|scheme| url.strip_prefix(scheme))?;
    let address = address.trim_end_matches('/');
    if address.is_empty() || address.contains(['@', '/', ' ', '\0']) {
        return None;
    }
    match address.rsplit_once(':') {
        // An IPv6 address in brackets, without a port.
        Some((_, port)) if port.ends_with(']') => Some(usual),
        Some((host, port)) if !host.is_empty() => port.parse().ok().filter(|port| *port != 0),
        Some(_) => None,
        None => Some(usual),
    }
}

mod probe {
    //! Hears what a broker says of itself.

    use async_trait::async_trait;
    use orinoco_ports::{InboundMessage, Intake, Refused};
    use tokio::sync::watch;

    #[derive(Default)]
    pub(super) struct VersionIntake(watch::Sender<Option<String>>);

    impl VersionIntake {
        pub(super) async fn heard(&self) -> String {
            let mut heard = self.0.subscribe();
            let version = heard.wait_for(Option::is_some).await.map(|version| version.clone());
            version.ok().flatten().unwrap_or_default()
        }
    }

    #[async_trait]
    impl Intake for VersionIntake {
        fn accept_blocking(&self, message: InboundMessage<'_>) -> Result<(), Refused> {
            let text: String = String::from_utf8_lossy(message.payload).chars().take(100).collect();
            self.0.send_replace(Some(text));
            Ok(())
        }

        async fn accept(&self, message: InboundMessage<'_>) -> Result<(), Refused> {
            self.accept_blocking(message)
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_url_names_its_port_and_holds_no_secret() {
        for (url, port) in [
            ("mqtt://127.0.0.1:3123", Some(3123)),
            ("tcp://broker:1", Some(1)),
            ("mqtt://broker", Some(1883)),
            ("mqtts://broker", Some(8883)),
            ("mqtts://broker:1", Some(1)),
            ("mqtt://[::1]:3123/", Some(3123)),
            ("mqtt://[::1]", Some(1883)),
            ("mqtt://", None),
            ("mqtt://:3123", None),
            ("mqtt://broker:0", None),
            ("mqtt://broker:99999", None),
            ("mqtt://user:s3cret@broker:1", None),
            ("http://broker:1", None),
            ("broker:1", None),
        ] {
            assert_eq!(port_of(url), port, "{url}");
        }
        let refused = PahoSource::new(PahoSourceOptions::new("mqtt://user:s3cret@broker:1", "id", Vec::new()));
        let text = refused.unwrap_err().to_string();
        assert!(text.contains("mqtt://host:port") && !text.contains("s3cret"), "{text}");
        let mut options = PahoSourceOptions::new("mqtt://broker:1", "id", Vec::new());
        options.password = Some("s3cret".to_owned());
        assert!(!format!("{options:?}").contains("s3cret"));
    }
}
