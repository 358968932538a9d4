//! Connections of the WebSocket port up to the handshake, and the answer to it.
//!
//! hyper reads the request, warp routes it; the raw upgrade is taken, because warp's own WebSocket holds 128 KiB a socket. hyper's part
//! ends with the answer: a socket is a task of its own from then on.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use async_trait::async_trait;
use http::{HeaderMap, HeaderValue, StatusCode, header::CONNECTION};
use hyper::{server::conn::http1, service::Service, service::service_fn, upgrade::OnUpgrade};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use orinoco_ports::{Running, Server, ServerError};
use tokio::{sync::Semaphore, time::timeout};
use warp::{Filter, filters::BoxedFilter, reply::Response};

use super::{
    WsDeps, centrifuge, connection,
    connection::{Admitted, Sight},
    handshake::{Wish, accept_key, switching_protocols},
    registry::{Place, WsConnections},
};
use crate::{
    http::{
        Denied, bearer_token,
        listen::{Accepted, Port, bind},
        problem::{Problem, internal},
        routes::{Methods, answer, methods, raw_query, with, with_problems},
    },
    tls::{ClientStream, ListenerTls},
};

/// From the connection to the answer, with TLS's own handshake. Slow clients hold up nobody but others that are in their handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
const HANDSHAKES_MAX: usize = 4096;
/// What hyper buffers of a request's head: one of twice the length, at the latest, gets 431.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// What the kernel holds for a client, so that a slow one shows early; without it, up to 4 MiB (`net.ipv4.tcp_wmem`).
const SEND_BUFFER_BYTES: u32 = 128 * 1024;

/// A WebSocket is opened with GET alone (RFC 6455, section 4.1).
const ONLY_GET: Methods = Methods { methods: &[http::Method::GET], allow: "GET" };

/// The WebSocket port.
pub struct WsServer {
    deps: Arc<WsDeps>,
    routes: BoxedFilter<(Response,)>,
    handshakes: Arc<Semaphore>,
}

impl WsServer {
    #[expect(clippy::new_ret_no_self, reason = "what it is used as")]
    #[must_use]
    pub fn new(deps: WsDeps) -> Arc<dyn Server> {
        let deps = Arc::new(deps);
        Arc::new(Self { routes: routes(&deps), deps, handshakes: Arc::new(Semaphore::new(HANDSHAKES_MAX)) })
    }
}

#[async_trait]
impl Server for WsServer {
    async fn start(&self) -> Result<Box<dyn Running>, ServerError> {
        let listener = bind("ws.listen", &self.deps.listen, Some(SEND_BUFFER_BYTES)).await?;
        let routes = self.routes.clone();
        let tls = self.deps.tls.clone();
        let scheme = if tls.is_some() { "wss" } else { "ws" };
        let serve = move |accepted| serve(accepted, tls.clone(), routes.clone());
        let connections = Arc::clone(&self.deps.connections);
        connections.welcome();
        Ok(Box::new(WsPort { port: Port::open(scheme, listener, Arc::clone(&self.handshakes), serve), connections }))
    }
}

/// The port at work, and the sockets that came through it.
struct WsPort {
    port: Port,
    connections: Arc<WsConnections>,
}

#[async_trait]
impl Running for WsPort {
    fn place(&self) -> &str {
        self.port.place()
    }

    async fn failed(&mut self) -> ServerError {
        self.port.failed().await
    }

    /// Nobody comes in any more; those who are here leave one after the other, while the stream goes on for the rest.
    async fn drain(self: Box<Self>) {
        Box::new(self.port).drain().await;
        self.connections.see_off().await;
    }
}

/// One request, and no other on this connection.
async fn serve(accepted: Accepted, tls: Option<Arc<ListenerTls>>, routes: BoxedFilter<(Response,)>) {
    let Accepted { stream, peer, slot: _slot, draining: _draining } = accepted;
    if stream.set_nodelay(true).is_err() {
        // The client has gone.
        return;
    }
    let service = service_fn(move |mut request: http::Request<hyper::body::Incoming>| {
        let version = request.version();
        request.extensions_mut().insert(Arrival { peer, version });
        let answer = TowerToHyperService::new(warp::service(routes.clone())).call(request);
        async move { answer.await.map(last_of_connection) }
    });
    let handshake = async {
        let stream = ClientStream::begin(stream, tls.as_deref()).await?;
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HANDSHAKE_TIMEOUT)
            .max_buf_size(HEAD_BYTES_MAX)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        Ok::<_, anyhow::Error>(connection.await?)
    };
    match timeout(HANDSHAKE_TIMEOUT, handshake).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, %peer, "connection ended in its handshake"),
        Err(_) => tracing::debug!(%peer, "handshake took too long"),
    }
}

/// A client that was refused comes back with another connection.
fn last_of_connection(mut response: Response) -> Response {
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        response.headers_mut().append(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

fn routes(deps: &Arc<WsDeps>) -> BoxedFilter<(Response,)> {
    let plain = warp::path!("ws")
        .and(methods(ONLY_GET))
        .and(with(deps))
        .and(raw_query())
        .and(upgrade())
        .then(|deps, query: String, upgrade| async move { answer(open(deps, &query, upgrade).await) });
    let centrifuge = warp::path!("connection" / "websocket")
        .and(methods(ONLY_GET))
        .and(with(deps))
        .and(upgrade())
        .then(|deps, upgrade| async move { answer(open_centrifuge(deps, upgrade)) });
    with_problems(plain.or(centrifuge).unify().boxed())
}

/// Of a connection, what warp does not hand out.
#[derive(Debug, Clone, Copy)]
struct Arrival {
    peer: SocketAddr,
    version: http::Version,
}

/// What a handshake needs of its request.
struct Upgrade {
    arrival: Option<Arrival>,
    headers: HeaderMap,
    /// `None` where the client does not ask for an upgrade.
    on_upgrade: Option<OnUpgrade>,
}

fn upgrade() -> impl Filter<Extract = (Upgrade,), Error = Infallible> + Clone {
    warp::ext::optional::<Arrival>()
        .and(warp::ext::optional::<OnUpgrade>())
        .and(warp::header::headers_cloned())
        .map(|arrival, on_upgrade, headers| Upgrade { arrival, headers, on_upgrade })
}

/// Opens a socket, or says why not. What is wrong with the request comes before what this daemon can't do at present.
async fn open(deps: Arc<WsDeps>, query: &str, upgrade: Upgrade) -> Result<Response, Problem> {
    let wish = Wish::parse(query)?;
    let arrival = upgrade.arrival.ok_or_else(internal)?;
    let accept_key = accept_key(arrival.version, &upgrade.headers)?;
    let token = bearer_token(&upgrade.headers);
    let sight = match deps.access.viewer(token).await {
        Ok(viewer) => Some(Sight { view: wish.view(&viewer).ok_or_else(not_yours)?, credential: viewer.credential }),
        // Browsers can't set the header: the token may follow in the first message.
        Err(Denied::TokenMissing) => None,
        Err(denied @ (Denied::TokenInvalid | Denied::NoDevice)) => return Err(denied.into()),
    };
    let Admission { on_upgrade, place, response } = admit(&deps, arrival, upgrade, &accept_key)?;
    tokio::spawn(connection::run(on_upgrade, Admitted { wish, sight, place }, deps));
    Ok(response)
}

/// Opens a socket of the Centrifuge protocol, whose first command says who comes. The query says nothing.
fn open_centrifuge(deps: Arc<WsDeps>, upgrade: Upgrade) -> Result<Response, Problem> {
    let arrival = upgrade.arrival.ok_or_else(internal)?;
    let accept_key = accept_key(arrival.version, &upgrade.headers)?;
    let Admission { on_upgrade, place, response } = admit(&deps, arrival, upgrade, &accept_key)?;
    tokio::spawn(centrifuge::run(on_upgrade, place, deps));
    Ok(response)
}

/// A socket that there is room for.
struct Admission {
    on_upgrade: OnUpgrade,
    place: Place,
    response: Response,
}

fn admit(deps: &WsDeps, arrival: Arrival, upgrade: Upgrade, accept_key: &str) -> Result<Admission, Problem> {
    // With the right headers hyper always hands over the connection.
    let on_upgrade = upgrade.on_upgrade.ok_or_else(internal)?;
    if !deps.sessions.is_up() || !deps.centrifuge.sessions.is_up() {
        return Err(Problem::unavailable("the daemon is starting or stopping; connect again"));
    }
    let full =
        || Problem::unavailable("there are as many sockets open as may be (`ws.connections_max`); connect again");
    let place = deps.connections.admit(arrival.peer.ip()).ok_or_else(full)?;
    let response = switching_protocols(accept_key).ok_or_else(internal)?;
    Ok(Admission { on_upgrade, place, response })
}

fn not_yours() -> Problem {
    Problem::new(StatusCode::FORBIDDEN, "this account may see its own device only")
}
