//! HTTP/1.1 connections, served by hyper and routed by warp.

use std::{
    convert::Infallible,
    net::SocketAddr,
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use futures_util::FutureExt;
use http::{
    Request, StatusCode, Version,
    header::{CONTENT_LENGTH, EXPECT, HOST},
};
use http_body_util::BodyExt;
use hyper::{body::Incoming, server::conn::http1, service::Service, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use orinoco_ports::{Running, Server, ServerError};
use tokio::{net::TcpStream, sync::Semaphore, time::timeout};
use warp::{filters::BoxedFilter, reply::Response};

use super::{
    HttpDeps,
    client::Peer,
    listen::{Accepted, Draining, Port, bind},
    oauth::refusal,
    problem::{Problem, internal},
    routes::{routes, with_security_headers},
    traces::RequestTrace,
};
use crate::tls::{ClientStream, HANDSHAKE_TIMEOUT};

/// How long a request's head may take, from the end of the last answer on: the keep-alive timeout as well.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// What hyper buffers of a request's head: one of twice the length, at the latest, gets 431.
const HEAD_BYTES_MAX: usize = 32 * 1024;
/// How long a client may take nothing of an answer.
const WRITE_STALL_MAX: Duration = Duration::from_secs(30);

/// Of a body that was refused.
const DISCARD_BYTES_MAX: usize = 8 * 1024 * 1024;
const DISCARD_TIMEOUT: Duration = Duration::from_secs(5);

/// The HTTP port.
pub struct HttpServer {
    deps: Arc<HttpDeps>,
    routes: BoxedFilter<(Response,)>,
    slots: Arc<Semaphore>,
}

impl HttpServer {
    #[expect(clippy::new_ret_no_self, reason = "what it is used as")]
    #[must_use]
    pub fn new(deps: HttpDeps) -> Arc<dyn Server> {
        let deps = Arc::new(deps);
        // Tokio's own limit is beyond any number of descriptors.
        let slots = Arc::new(Semaphore::new(deps.connections_max.min(Semaphore::MAX_PERMITS)));
        Arc::new(Self { routes: routes(&deps), deps, slots })
    }
}

#[async_trait]
impl Server for HttpServer {
    async fn start(&self) -> Result<Box<dyn Running>, ServerError> {
        let listener = bind("http.listen", &self.deps.listen, None).await?;
        let (deps, routes) = (Arc::clone(&self.deps), self.routes.clone());
        let serve = move |accepted| serve(accepted, Arc::clone(&deps), routes.clone());
        let scheme = if self.deps.tls.is_some() { "https" } else { "http" };
        Ok(Box::new(Port::open(scheme, listener, Arc::clone(&self.slots), serve)))
    }
}

async fn serve(accepted: Accepted, deps: Arc<HttpDeps>, routes: BoxedFilter<(Response,)>) {
    let Accepted { stream, mut draining, slot, peer } = accepted;
    if let Err(error) = set_up(&stream) {
        tracing::debug!(%error, %peer, "the connection was gone at once");
        return;
    }
    let connections = metrics::gauge!("orinoco_http_connections");
    connections.increment(1.0);
    if let Some(stream) = begin(stream, &deps, &mut draining, peer).await {
        converse(stream, peer, draining, deps, routes).await;
    }
    connections.decrement(1.0);
    drop(slot);
}

/// Shakes hands where the port speaks TLS. `None`: the client does not, takes too long, or has gone; or the port drains.
async fn begin(stream: TcpStream, deps: &HttpDeps, draining: &mut Draining, peer: SocketAddr) -> Option<ClientStream> {
    let begun = tokio::select! {
        begun = timeout(HANDSHAKE_TIMEOUT, ClientStream::begin(stream, deps.tls.as_deref())) => begun,
        () = draining.begun() => return None,
    };
    match begun {
        Ok(Ok(stream)) => return Some(stream),
        Ok(Err(error)) => tracing::debug!(%error, %peer, "TLS handshake failed"),
        Err(_) => tracing::debug!(%peer, "TLS handshake took too long"),
    }
    None
}

async fn converse(
    stream: ClientStream,
    peer: SocketAddr,
    mut draining: Draining,
    deps: Arc<HttpDeps>,
    routes: BoxedFilter<(Response,)>,
) {
    let drain = draining.clone();
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(Peer(peer));
        request.extensions_mut().insert(drain.clone());
        respond(request, Arc::clone(&deps), routes.clone())
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = draining.begun() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        // A client that broke off, or sent what is no HTTP.
        tracing::debug!(%error, %peer, "connection ended");
    }
}

fn set_up(stream: &TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let stall_ms = WRITE_STALL_MAX.as_millis() as u32;
    Ok(rustix::net::sockopt::set_tcp_user_timeout(stream, stall_ms)?)
}

async fn respond(
    request: Request<Incoming>,
    deps: Arc<HttpDeps>,
    routes: BoxedFilter<(Response,)>,
) -> Result<Response, Infallible> {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let begun = Instant::now();
    let trace = RequestTrace::begin(&deps.tracer, &path, request.headers());
    // Only of browsers' pages; those of this interface itself send no `Origin` with most requests.
    let origin = deps.origins.listed_origin(request.headers()).cloned();
    let mut response = if let Some(preflight) = deps.origins.preflight(&method, request.headers()) {
        with_security_headers(preflight)
    } else if let Err(problem) = check_head(&request, deps.body_bytes_max) {
        discard(request).await;
        with_security_headers(refusal(&path, problem))
    } else {
        let routed = TowerToHyperService::new(warp::service(routes)).call(request);
        match AssertUnwindSafe(routed).catch_unwind().await {
            Ok(Ok(response)) => response,
            Err(_) => {
                tracing::error!(%method, "a request's handler panicked");
                with_security_headers(refusal(&path, internal()))
            }
        }
    };
    deps.origins.allow(origin, &mut response);
    let labels = [("method", method_label(&method)), ("status", response.status().as_str().to_owned())];
    metrics::counter!("orinoco_http_requests_total", &labels).increment(1);
    if let Some(trace) = trace {
        trace.finish(&deps.tracer, &labels[0].1, deps.tls.is_some(), response.status());
    }
    // To the head of the answer: a stream of a challenge goes on for minutes.
    metrics::histogram!("orinoco_http_request_duration_seconds", &labels[..1]).record(begun.elapsed());
    Ok(response)
}

/// What holds for every request, whatever its route.
fn check_head(request: &Request<Incoming>, body_bytes_max: usize) -> Result<(), Problem> {
    // RFC 9112, section 3.2.
    if request.version() == Version::HTTP_11 && request.headers().get_all(HOST).iter().count() != 1 {
        return Err(Problem::bad_request("send one header `Host`"));
    }
    let length = request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > body_bytes_max as u64) {
        let detail = format!("the body is longer than {body_bytes_max} bytes; send less");
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail));
    }
    Ok(())
}

/// Reads a body that nobody wants, within bounds: most clients look for an answer only when they have sent all of it, and one that
/// the kernel breaks off in the middle may never see it.
async fn discard(request: Request<Incoming>) {
    if request.headers().contains_key(EXPECT) {
        // It waits for a word before it sends anything (RFC 9110, section 10.1.1).
        return;
    }
    let mut body = request.into_body();
    let reading = async {
        let mut bytes_left = DISCARD_BYTES_MAX;
        while let Some(Ok(frame)) = body.frame().await {
            let length = frame.data_ref().map_or(0, |data| data.len());
            match bytes_left.checked_sub(length) {
                Some(left) => bytes_left = left,
                None => return,
            }
        }
    };
    // In time or not, it is answered.
    let _ = timeout(DISCARD_TIMEOUT, reading).await;
}

/// Clients must not be able to make labels.
fn method_label(method: &http::Method) -> String {
    let known = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    if known.contains(&method.as_str()) { method.as_str().to_owned() } else { "other".to_owned() }
}
