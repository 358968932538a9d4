//! A challenge's stream of events (WHATWG HTML, section 9.2), to its creator.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use http::{HeaderName, HeaderValue, header::CONTENT_TYPE};
use orinoco_actors::{SseRender, SseStream};
use orinoco_domain::challenge::ChallengeKey;
use warp::{Reply as _, reply::Response};

use super::{
    challenges::{own, shown},
    creator::proof,
    no_content,
    request::Request,
    streams::StreamPlace,
};
use crate::{
    auth::{AuthError, Limited, TooMany},
    http::{listen::Draining, problem::Problem},
};

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
const EVENT_STREAM: HeaderValue = HeaderValue::from_static("text/event-stream");
/// nginx must not gather events.
const BUFFERING: (HeaderName, HeaderValue) =
    (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));

pub(super) async fn open(request: &Request) -> Result<Response, Problem> {
    request.no_query()?;
    let auth = request.auth();
    let address = request.caller.address;
    auth.limits.check(Limited::Stream, address).map_err(AuthError::from)?;
    let (id, view) = own(request, proof(request).as_ref()).await?;
    // A client that has seen the end would connect again for ever: 204 tells it not to.
    let last_seen = request.headers.get(LAST_EVENT_ID).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if view.record.status.is_terminal() && last_seen.is_some_and(|seen| seen >= view.record.version) {
        return Ok(no_content());
    }
    let key = ChallengeKey::of(&id);
    let place = request.deps.streams_open.admit(key, address, auth.limits.per_client());
    let place = place.ok_or(AuthError::TooMany(TooMany { retry_after_s: 5 }))?;
    let (id, keys) = (id.expose(), Arc::clone(auth.derivation()));
    let render: SseRender = Arc::new(move |view| shown(view, &id, &keys).to_string());
    let stream = request.deps.streams.open(key, render).await?;
    let drain = begun(request.draining.clone());
    let body = Body { stream, _place: place }.take_until(Box::pin(drain));
    let mut response = warp::reply::stream(body).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, EVENT_STREAM);
    headers.insert(BUFFERING.0, BUFFERING.1);
    Ok(response)
}

/// Waits until the port drains: EventSource connects again, elsewhere.
async fn begun(draining: Option<Draining>) {
    match draining {
        Some(mut draining) => draining.begun().await,
        None => std::future::pending().await,
    }
}

/// Counts until it is dropped.
struct Body {
    stream: SseStream,
    _place: StreamPlace,
}

impl Stream for Body {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut self.stream).poll_next(context).map(|chunk| chunk.map(Ok))
    }
}
