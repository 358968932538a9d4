//! The broker at work.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use orinoco_ports::{Running, ServerError};
use rmqtt::context::ServerContext;
use rmqtt::net::Listener;
use rmqtt::server::MqttServer;
use rmqtt::types::Id;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet, spawn_blocking};
use tokio::time::{sleep, timeout};

use super::access::Anonymous;
use super::authentication::Decided;
use super::carried::Carried;
use super::counters::Counters;
use super::encrypted::{self, EncryptedPort};
use super::expulsion::expel;
use super::fan_out::{BoundedFanOut, Subscribers};
use super::gate::Gate;
use super::hooks::Hooks;
use super::keep_alive::KeepAlives;
use super::listener;
use super::options::BrokerOptions;
use super::retained::{BoundedRetained, SharedRetained};
use super::unidentified::UnidentifiedSockets;

/// How long a drain waits for clients' connections to close.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// Between two looks at what a drain waits for.
const DRAIN_INTERVAL: Duration = Duration::from_millis(5);
/// Between two sweeps, at most; half the handshake timeout if that is less.
const SWEEP_INTERVAL_MAX: Duration = Duration::from_secs(5);

pub(super) struct RunningBroker {
    place: String,
    addresses: Addresses,
    context: ServerContext,
    hooks: Arc<Hooks>,
    serving: JoinHandle<rmqtt::Result<()>>,
    encrypted: Option<EncryptedPort>,
    /// End the sweeper and who expels, when dropped too.
    _sweeping: oneshot::Sender<()>,
    _expelling: oneshot::Sender<()>,
    is_drained: bool,
}

impl RunningBroker {
    pub(super) async fn start(
        options: &BrokerOptions,
        gate: &Arc<Gate>,
        counters: &Arc<Counters>,
        retained: &Arc<BoundedRetained>,
    ) -> Result<(Self, oneshot::Receiver<()>), ServerError> {
        let (listening, released) = oneshot::channel::<()>();
        let listening = Arc::new(listening);
        let Ports { listeners, swept, addresses, carried, encrypted } = Ports::bind(options, &listening).await?;
        warn_of_guests(options, addresses);
        let context = ServerContext::new()
            .mqtt_max_sessions(isize::try_from(options.sessions_max).unwrap_or(isize::MAX))
            // Its idea of "busy" is the machine's load average.
            .busy_check_enable(false)
            .build()
            .await;
        *context.extends.retain_mut().await = Box::new(SharedRetained(retained.clone()));
        *context.extends.fitter_mgr_mut().await = Box::new(KeepAlives);
        let decided = Arc::<Decided>::default();
        let subscribers = Subscribers::new(options, counters.clone());
        *context.extends.shared_mut().await =
            Box::new(BoundedFanOut::new(context.clone(), subscribers.clone(), decided.clone()));
        let hooks = Hooks::new(options, gate.clone(), counters.clone(), subscribers, decided, carried);
        hooks.install(&context).await;

        let builder = MqttServer::new(context.clone());
        let server = listeners.into_iter().fold(builder, |builder, listener| builder.listener(listener)).build();
        let serving = tokio::spawn(async move {
            let _listening = listening;
            // Not `start`, which ends the process on an error.
            server.run().await
        });
        let (sweeping, stop) = oneshot::channel();
        tokio::spawn(sweep(context.clone(), swept, options.handshake_timeout, counters.clone(), stop));
        let (expelling, stop) = oneshot::channel();
        if let Some(authenticator) = &options.authenticator {
            tokio::spawn(expel(context.clone(), authenticator.changes(), stop));
        }
        let running = Self {
            place: addresses.place(),
            addresses,
            context,
            hooks,
            serving,
            encrypted,
            _sweeping: sweeping,
            _expelling: expelling,
            is_drained: false,
        };
        Ok((running, released))
    }

    pub(super) fn addresses(&self) -> Addresses {
        self.addresses
    }
}

/// Where it listens.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Addresses {
    pub(super) plain: Option<SocketAddr>,
    pub(super) tls: Option<SocketAddr>,
}

impl Addresses {
    /// For people.
    fn place(self) -> String {
        let places = [("mqtt", self.plain), ("mqtts", self.tls)].into_iter();
        let set = places.filter_map(|(scheme, address)| Some(format!("{scheme}://{}", address?)));
        set.collect::<Vec<_>>().join(", ")
    }
}

/// What is bound. Nothing is served before rmqtt is: what comes earlier waits in the kernel.
struct Ports {
    /// rmqtt's: `mqtt.listen`, and the inner port.
    listeners: Vec<Listener>,
    /// Their addresses, where connections without a session are looked for.
    swept: Vec<SocketAddr>,
    addresses: Addresses,
    carried: Arc<Carried>,
    encrypted: Option<EncryptedPort>,
}

impl Ports {
    async fn bind(options: &BrokerOptions, listening: &Arc<oneshot::Sender<()>>) -> Result<Self, ServerError> {
        let (mut listeners, mut swept) = (Vec::new(), Vec::new());
        let mut addresses = Addresses::default();
        if !options.listen.is_empty() {
            let (listener, address) = listener::bind(options).await?;
            listeners.push(listener);
            swept.push(address);
            addresses.plain = Some(address);
        }
        let Some(tls) = &options.tls else {
            return Ok(Self { listeners, swept, addresses, carried: Carried::new(None), encrypted: None });
        };
        let (listener, inner) = listener::bind_inner(options, addresses.plain).await?;
        listeners.push(listener);
        swept.push(inner);
        let carried = Carried::new(Some(inner));
        let port = EncryptedPort::open(options, tls, &carried, listening.clone()).await?;
        addresses.tls = Some(port.address);
        Ok(Self { listeners, swept, addresses, carried, encrypted: Some(port) })
    }
}

fn warn_of_guests(options: &BrokerOptions, addresses: Addresses) {
    let open = |address: &SocketAddr| options.anonymous == Anonymous::Everywhere && !address.ip().is_loopback();
    for (key, address) in [("mqtt.listen", addresses.plain), (encrypted::KEY, addresses.tls)] {
        if let Some(address) = address.filter(open) {
            tracing::warn!(%address, "{key} is not on loopback and anyone may publish; leave mqtt.anonymous out, or set it to false");
        }
    }
}

#[async_trait]
impl Running for RunningBroker {
    fn place(&self) -> &str {
        &self.place
    }

    async fn failed(&mut self) -> ServerError {
        let encrypted = async {
            match &mut self.encrypted {
                Some(port) => port.failed().await,
                None => std::future::pending().await,
            }
        };
        let reason = tokio::select! {
            served = &mut self.serving => match served {
                Ok(Ok(())) => "the listener ended".to_owned(),
                Ok(Err(error)) => error.to_string(),
                Err(error) => error.to_string(),
            },
            reason = encrypted => reason,
        };
        ServerError::Ended { place: self.place.clone(), reason }
    }

    async fn drain(mut self: Box<Self>) {
        self.hooks.drain();
        self.serving.abort();
        if let Some(port) = &mut self.encrypted {
            port.stop();
        }
        disconnect_all(&self.context).await;
        if let Some(port) = &mut self.encrypted {
            port.ended().await;
        }
        self.is_drained = true;
    }
}

impl Drop for RunningBroker {
    fn drop(&mut self) {
        self.serving.abort();
        if !self.is_drained
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            // Another start has its own sessions: a client must not live on in these.
            self.hooks.drain();
            let context = self.context.clone();
            runtime.spawn(async move { disconnect_all(&context).await });
        }
    }
}

/// Ends every session, those without a connection too, and waits until the connections are closed.
async fn disconnect_all(context: &ServerContext) {
    let deadline = Instant::now() + DRAIN_TIMEOUT;
    loop {
        let mut kicks = JoinSet::new();
        for id in session_ids(context).await {
            let context = context.clone();
            kicks.spawn(async move {
                let mut entry = context.extends.shared().await.entry(id);
                if let Err(error) = entry.kick(true, true, true).await {
                    tracing::debug!(%error, "a session did not answer to its end");
                }
            });
        }
        let left = deadline.saturating_duration_since(Instant::now());
        let _ = timeout(left, async { while kicks.join_next().await.is_some() {} }).await;
        let is_done = context.connections.count() <= 0 && session_ids(context).await.is_empty();
        if is_done || Instant::now() >= deadline {
            return;
        }
        sleep(DRAIN_INTERVAL).await;
    }
}

/// Collected before any is touched: the iterator holds a lock that an entry takes again.
pub(super) async fn session_ids(context: &ServerContext) -> Vec<Id> {
    let shared = context.extends.shared().await;
    shared.iter().map(|entry| entry.id()).collect()
}

/// Closes connections without a CONNECT, and removes sessions whose task is gone (rmqtt leaves them behind after a panic,
/// and they count against `sessions_max`).
async fn sweep(
    context: ServerContext,
    addresses: Vec<SocketAddr>,
    handshake_timeout: Duration,
    counters: Arc<Counters>,
    mut stop: oneshot::Receiver<()>,
) {
    let interval = (handshake_timeout / 2).min(SWEEP_INTERVAL_MAX);
    let mut sockets = match UnidentifiedSockets::new(addresses, handshake_timeout) {
        Ok(sockets) => Some(sockets),
        Err(error) => {
            warn_unidentified(&error);
            None
        }
    };
    let mut dead = HashSet::new();
    loop {
        if timeout(interval, &mut stop).await.is_ok() {
            // What is left open has no session of the next start either, whose sweeper closes it.
            return;
        }
        if let Some(current) = sockets.take() {
            match close_unidentified(&context, current).await {
                Ok((current, closed)) => {
                    counters.connections_unidentified.add(closed as u64);
                    sockets = Some(current);
                }
                Err(error) => warn_unidentified(&error),
            }
        }
        dead = remove_dead(&context, &dead).await;
    }
}

fn warn_unidentified(error: &std::io::Error) {
    tracing::warn!(
        %error,
        "MQTT connections that never send CONNECT can't be closed; allow pidfd_getfd(2) (in a container: cap_add SYS_PTRACE)"
    );
}

async fn close_unidentified(
    context: &ServerContext,
    mut sockets: UnidentifiedSockets,
) -> std::io::Result<(UnidentifiedSockets, usize)> {
    let now = Instant::now();
    let mut sockets = blocking(move || {
        sockets.look(now)?;
        Ok(sockets)
    })
    .await?;
    if !sockets.any_overdue(now) {
        return Ok((sockets, 0));
    }
    let peers: HashSet<SocketAddr> = session_ids(context).await.iter().filter_map(|id| id.remote_addr).collect();
    blocking(move || {
        let closed = sockets.close_overdue(now, |peer| peers.contains(peer))?;
        Ok((sockets, closed))
    })
    .await
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> std::io::Result<T> + Send + 'static) -> std::io::Result<T> {
    spawn_blocking(work).await.map_err(std::io::Error::other)?
}

/// Removes sessions that were dead at the last sweep and still are; returns those that are dead now. Once is not enough: a
/// session that is being taken over is dead for a moment.
async fn remove_dead(context: &ServerContext, before: &HashSet<Id>) -> HashSet<Id> {
    let mut dead = HashSet::new();
    for id in session_ids(context).await {
        let mut entry = context.extends.shared().await.entry(id.clone());
        if entry.id_same() != Some(true) || !entry.tx().is_some_and(|tx| tx.is_closed()) {
            continue;
        }
        if !before.contains(&id) {
            dead.insert(id);
        } else if let Err(error) = entry.remove_with(&id).await {
            tracing::warn!(%error, "a dead MQTT session can't be removed");
        }
    }
    dead
}
