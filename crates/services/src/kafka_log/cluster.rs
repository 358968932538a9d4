//! Connections to Kafka: bounded in time, made anew after any trouble, with errors in the port's terms.
//!
//! rskafka keeps a connection until it is told that it is broken; one that merely hangs it keeps for ever. So after any error that is
//! not an answer of the broker, the client and all that was made of it is dropped.

use std::{fmt, future::Future, sync::Arc, time::Duration};

use orinoco_ports::LogError;
use rskafka::{
    BackoffConfig,
    client::{
        Client, ClientBuilder,
        error::{Error, ProtocolError, RequestError},
        partition::{PartitionClient, UnknownTopicHandling},
    },
};
use tokio::sync::Mutex;

use super::connection::Security;
use crate::tls::TlsKeys;

/// rskafka's own retries: of what passes by itself (a new leader, a connection that was closed), and no longer than this. Short, as they nest
/// (a connection within metadata within a produce), and as those above try again themselves, and say meanwhile that Kafka is away.
const RETRY_DEADLINE: Duration = Duration::from_millis(250);
/// Between two of them: almost steady, so that a broker that is back is noticed soon, and is asked ten times a second a partition at most.
const RETRY_AFTER_MIN: Duration = Duration::from_millis(50);
const RETRY_AFTER_MAX: Duration = Duration::from_millis(150);

/// A Kafka cluster as one role (fetching, producing) uses it: a client of its own, so that long polls hold up nobody else.
pub(super) struct Cluster {
    brokers: Vec<String>,
    security: Security,
    call_timeout: Duration,
    client: Mutex<Option<Arc<Client>>>,
}

impl fmt::Debug for Cluster {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Cluster").field("brokers", &self.brokers).finish_non_exhaustive()
    }
}

impl Cluster {
    pub(super) fn new(brokers: Vec<String>, security: Security, call_timeout: Duration) -> Self {
        Self { brokers, security, call_timeout, client: Mutex::new(None) }
    }

    /// For connections of our own.
    pub(super) fn security(&self) -> &Security {
        &self.security
    }

    pub(super) fn place(&self) -> String {
        self.brokers.join(",")
    }

    /// One that connects as the files of TLS say at this moment.
    ///
    /// # Errors
    /// [`LogError::Unavailable`], [`LogError::Misconfigured`].
    pub(super) async fn client(&self) -> Result<Arc<Client>, LogError> {
        let mut held = self.client.lock().await;
        if let Some(client) = &*held {
            return Ok(Arc::clone(client));
        }
        let backoff = BackoffConfig {
            init_backoff: RETRY_AFTER_MIN,
            max_backoff: RETRY_AFTER_MAX,
            base: 2.0,
            deadline: Some(RETRY_DEADLINE),
        };
        let mut builder = ClientBuilder::new(self.brokers.clone()).client_id("orinoco").backoff_config(backoff);
        if let Some(tls) = &self.security.tls {
            let config = tls.client_config().await.map_err(|error| self.unavailable(error))?;
            builder = builder.tls_config(Arc::new(config));
        }
        if let Some(sasl) = &self.security.sasl {
            builder = builder.sasl_config(sasl.config());
        }
        let client = Arc::new(self.bounded(builder.build()).await.map_err(|trouble| self.error(trouble))?);
        *held = Some(Arc::clone(&client));
        Ok(client)
    }

    /// A connection of its own to the partition's leader.
    ///
    /// # Errors
    /// As [`Cluster::client`].
    pub(super) async fn partition(&self, topic: &str, partition: u32) -> Result<PartitionClient, LogError> {
        let client = self.client().await?;
        let number = i32::try_from(partition)
            .map_err(|_| LogError::Misconfigured(format!("topic {topic} has no partition {partition}")))?;
        let opening = client.partition_client(topic, number, UnknownTopicHandling::Error);
        match self.bounded(opening).await {
            Ok(opened) => Ok(opened),
            Err(trouble) => {
                self.forget().await;
                Err(self.error(trouble))
            }
        }
    }

    /// The next call connects anew.
    pub(super) async fn forget(&self) {
        self.client.lock().await.take();
    }

    /// Runs a call to the broker, for as long as a call may take.
    ///
    /// # Errors
    /// [`Trouble`].
    pub(super) async fn bounded<T>(&self, call: impl Future<Output = Result<T, Error>>) -> Result<T, Trouble> {
        bounded(self.call_timeout, call).await
    }

    pub(super) fn call_timeout(&self) -> Duration {
        self.call_timeout
    }

    pub(super) fn error(&self, trouble: Trouble) -> LogError {
        match trouble {
            Trouble::Misconfigured(reason) => LogError::Misconfigured(format!("Kafka {}: {reason}", self.place())),
            Trouble::OutOfRange => self.unavailable("offset is out of range"),
            Trouble::TooLarge(reason) | Trouble::Unreadable(reason) | Trouble::Unavailable(reason) => {
                self.unavailable(reason)
            }
        }
    }

    pub(super) fn unavailable(&self, reason: impl fmt::Display) -> LogError {
        let reason = with_remedy(reason.to_string());
        LogError::Unavailable { place: format!("Kafka {}", self.place()), reason }
    }
}

/// What to do where the broker does not let us in.
fn with_remedy(reason: String) -> String {
    if reason.contains("UnsupportedSaslMechanism") || reason.contains("unsupported sasl mechanism") {
        return format!(
            "{reason}; set kafka.sasl_mechanism to one that the broker has turned on (sasl.enabled.mechanisms)"
        );
    }
    if reason.contains("Sasl") || reason.contains("SASL") {
        return format!("{reason}; check kafka.sasl_username, kafka.sasl_password and kafka.sasl_mechanism");
    }
    TlsKeys::KAFKA.with_remedy(reason)
}

pub(super) async fn bounded<T>(timeout: Duration, call: impl Future<Output = Result<T, Error>>) -> Result<T, Trouble> {
    match tokio::time::timeout(timeout, call).await {
        Ok(answer) => answer.map_err(Trouble::from),
        Err(_) => Err(Trouble::Unavailable(format!("no answer within {} ms", timeout.as_millis()))),
    }
}

/// What went wrong, by what is to be done about it.
#[derive(Debug)]
pub(super) enum Trouble {
    OutOfRange,
    /// The batch, or the record, can never be written as it is.
    TooLarge(String),
    /// What the broker answered can't be decoded; it will answer the same next time.
    Unreadable(String),
    Misconfigured(String),
    /// Passes by itself, or with a new connection.
    Unavailable(String),
}

impl Trouble {
    /// Whether the broker itself answered, on a connection that is good for more.
    pub(super) fn is_answer(&self) -> bool {
        matches!(self, Self::OutOfRange | Self::TooLarge(_))
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        match &error {
            Error::ServerError { protocol_error, .. } => Self::from_protocol(*protocol_error, error.to_string()),
            Error::Request(RequestError::NoVersionMatch { .. }) => {
                Self::Misconfigured(format!("{error}; Kafka 0.11 or newer is needed"))
            }
            Error::Request(
                RequestError::ReadError(_) | RequestError::ReadVersionedError(_) | RequestError::TooMuchData { .. },
            )
            | Error::InvalidResponse(_) => Self::Unreadable(error.to_string()),
            _ => Self::Unavailable(error.to_string()),
        }
    }
}

impl Trouble {
    fn from_protocol(code: ProtocolError, text: String) -> Self {
        match code {
            ProtocolError::OffsetOutOfRange => Self::OutOfRange,
            ProtocolError::MessageTooLarge | ProtocolError::RecordListTooLarge => {
                Self::TooLarge("it is larger than the topic's max.message.bytes".to_owned())
            }
            ProtocolError::InvalidRecord | ProtocolError::InvalidTimestamp => {
                Self::TooLarge(format!("the topic's configuration does not allow it: {code:?}"))
            }
            ProtocolError::UnknownTopicOrPartition => {
                Self::Misconfigured(format!("{text}; create the topic, or set kafka.create_topics = true"))
            }
            ProtocolError::TopicAuthorizationFailed | ProtocolError::ClusterAuthorizationFailed => {
                Self::Misconfigured(format!("{text}; check the access rules of Kafka"))
            }
            ProtocolError::InvalidReplicationFactor => {
                Self::Misconfigured("kafka.replication_factor is larger than the number of brokers".to_owned())
            }
            ProtocolError::InvalidPartitions
            | ProtocolError::InvalidTopicException
            | ProtocolError::PolicyViolation => Self::Misconfigured(text),
            _ => Self::Unavailable(text),
        }
    }
}
