//! One paho client from its making to its end.
//!
//! paho's C library has one receiving thread and one mutex for all clients of the process; callbacks run under both. So a callback that
//! waits holds up every other call to the library: calls are made on threads that may wait. A client is destroyed on a thread of
//! its own, once no callback and no pending request can refer to it: destroyed in a callback, it would be used after it was freed.

use std::{
    sync::{Arc, LazyLock, OnceLock},
    time::Duration,
};

use paho_mqtt::{AsyncClient, ConnectOptions, ConnectToken, CreateOptions, Error, Properties, SubscribeOptions};
use tokio::sync::{Mutex, OwnedMutexGuard, oneshot};

use super::delivery::Delivery;

/// What DISCONNECT may take.
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// paho looks every 3 s for connects that took too long; after this much more it has forgotten about one.
const CONNECT_SLACK: Duration = Duration::from_secs(30);

/// A client that never connects and is never destroyed. With its last client the C library stops its threads, which takes a second and goes
/// wrong where another client connects meanwhile.
static ANCHOR: OnceLock<Option<AsyncClient>> = OnceLock::new();

static TURNS: LazyLock<Arc<Mutex<()>>> = LazyLock::new(Arc::default);

/// The right to connect, until it is dropped.
pub(super) type Turn = OwnedMutexGuard<()>;

/// Waits for one. Cancel safe.
pub(super) async fn turn() -> Turn {
    Arc::clone(&TURNS).lock_owned().await
}

/// A client with its callbacks; disconnected and destroyed in the background when dropped.
pub(super) struct Connection {
    client: Option<AsyncClient>,
    /// Under way: the C library holds a reference to the client until it is complete.
    connecting: Option<(ConnectToken, Turn)>,
    delivery: Arc<Delivery>,
    connect_timeout: Duration,
}

impl Connection {
    /// Blocks: makes the client, installs the callbacks and only then begins to connect, so that no message finds none.
    ///
    /// # Errors
    /// Options that paho does not accept.
    pub(super) fn begin(
        turn: Turn,
        create: CreateOptions,
        connect: ConnectOptions,
        delivery: Arc<Delivery>,
        connect_timeout: Duration,
    ) -> Result<Self, Error> {
        ANCHOR.get_or_init(|| AsyncClient::new("tcp://anchor").ok());
        let client = AsyncClient::new(create)?;
        let receiver = Arc::clone(&delivery);
        client.set_message_callback(move |_client, message| {
            if let Some(message) = message {
                receiver.deliver(&message);
            }
        });
        let receiver = Arc::clone(&delivery);
        client.set_connection_lost_callback(move |_client| receiver.lose("the connection was lost"));
        let receiver = Arc::clone(&delivery);
        client.set_disconnected_callback(move |_client, _properties, reason| {
            receiver.lose(&format!("the broker disconnected us: {reason}"));
        });
        let connecting = Some((client.connect(connect), turn));
        Ok(Self { client: Some(client), connecting, delivery, connect_timeout })
    }

    /// Waits for CONNACK; says whether the broker had kept the session. Cancel safe.
    ///
    /// # Errors
    /// Why there is no connection.
    pub(super) async fn connected(&mut self) -> Result<bool, Error> {
        let Some((token, _)) = &mut self.connecting else { return Err(Error::Failure) };
        let outcome = token.await;
        let Some((_, turn)) = self.connecting.take() else { return Err(Error::Failure) };
        let delivery = Arc::clone(&self.delivery);
        let session_present = outcome?.connect_response().is_some_and(|response| response.session_present);
        // Reads a few files. The turn ends with it, whether it is waited for or not.
        let noted = tokio::task::spawn_blocking(move || {
            delivery.connected(session_present);
            drop(turn);
        });
        noted.await.map(|()| session_present).map_err(|_| Error::Failure)
    }

    /// Asks for QoS 1. A retained message comes with a new subscription only, not at each connect.
    pub(super) fn subscribe(&self, filters: &[String]) -> Option<paho_mqtt::SubscribeManyToken> {
        let on_new = SubscribeOptions::with_retain_handling(paho_mqtt::RetainHandling::SendRetainedOnNew);
        let (qos, options) = (vec![1; filters.len()], vec![on_new; filters.len()]);
        Some(self.client.as_ref()?.subscribe_many_with_options(filters, &qos, &options, None))
    }

    /// `None` where there is nothing to give up: UNSUBSCRIBE has one filter at least (MQTT 5.0, section 3.10.3).
    pub(super) fn unsubscribe(&self, filters: &[String]) -> Option<paho_mqtt::Token> {
        let client = self.client.as_ref().filter(|_| !filters.is_empty())?;
        Some(client.unsubscribe_many_with_options(filters, Properties::new()))
    }

    pub(super) fn delivery(&self) -> &Arc<Delivery> {
        &self.delivery
    }

    /// Ends in order: what is accepted until then is acknowledged. Returns when no callback will come any more, or when it takes too
    /// long, because a callback waits: then the socket is shut down.
    pub(super) async fn close(mut self) {
        let closed = self.retire();
        if tokio::time::timeout(DISCONNECT_TIMEOUT + Duration::from_secs(1), closed).await.is_err() {
            tracing::warn!("a message waits to be accepted while its connection ends");
            self.delivery.shut_down();
        }
    }

    /// Hands the client over to a thread that ends it; tells when that is done.
    fn retire(&mut self) -> oneshot::Receiver<()> {
        let (done, closed) = oneshot::channel();
        let Some(client) = self.client.take() else { return closed };
        let (connecting, limit) = (self.connecting.take(), self.connect_timeout + CONNECT_SLACK);
        let delivery = Arc::clone(&self.delivery);
        let end = move || {
            let mut turn = None;
            if let Some((token, its_turn)) = connecting {
                turn = Some(its_turn);
                match token.wait_for(limit) {
                    Ok(_) => delivery.connected(false),
                    Err(Error::Timeout) => {
                        tracing::error!("a connect that never ended keeps its client");
                        std::mem::forget(client);
                        return;
                    }
                    Err(_) => {}
                }
            }
            // Disconnected already: an error, and fine.
            let _ = client.disconnect(None).wait_for(DISCONNECT_TIMEOUT);
            drop(turn);
            // Takes the library's mutex: whatever callback was completing a request, and held the client, has returned.
            let _ = client.is_connected();
            drop(client);
            // The other side may not wait.
            let _ = done.send(());
        };
        if let Err(error) = std::thread::Builder::new().name("mqtt-close".to_owned()).spawn(end) {
            tracing::error!(%error, "no thread to end an mqtt connection on");
        }
        closed
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if self.client.is_some() {
            self.delivery.end();
            // Nobody waits for it.
            drop(self.retire());
        }
    }
}
