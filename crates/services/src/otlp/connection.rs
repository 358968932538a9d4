//! One HTTP/1.1 connection to the collector, made when it is needed and kept while it lasts.

use std::io;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, Uri, header::CONTENT_TYPE, header::HOST, header::HeaderValue};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    body::Incoming,
    client::conn::http1::{SendRequest, handshake},
};
use hyper_util::rt::TokioIo;
use tokio::sync::Mutex;

use crate::tls::{self, Stream, TlsOptions};

/// Of an answer; what is longer is no answer to us.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

pub(super) struct Connection {
    uri: Uri,
    headers: HeaderMap,
    tls: TlsOptions,
    kept: Mutex<Option<SendRequest<Full<Bytes>>>>,
}

pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Connection {
    /// `uri` has a host.
    pub(super) fn new(uri: Uri, mut headers: HeaderMap, tls: TlsOptions) -> Self {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        let host = uri.authority().and_then(|authority| HeaderValue::from_str(authority.as_str()).ok());
        headers.extend(host.map(|host| (HOST, host)));
        Self { uri, headers, tls, kept: Mutex::default() }
    }

    /// POST. A kept connection that turns out to be gone is replaced once.
    pub(super) async fn post(&self, body: Bytes) -> io::Result<Answer> {
        let mut kept = self.kept.lock().await;
        let old = kept.take().filter(|sender| !sender.is_closed());
        let (sender, response) = match old {
            Some(mut sender) => match self.send_by(&mut sender, body.clone()).await {
                Ok(response) => (sender, response),
                Err(_gone) => self.send_anew(body).await?,
            },
            None => self.send_anew(body).await?,
        };
        let (head, body) = response.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await.map_err(io::Error::other)?.to_bytes();
        *kept = Some(sender);
        Ok(Answer { status: head.status, headers: head.headers, body })
    }

    async fn send_anew(&self, body: Bytes) -> io::Result<(SendRequest<Full<Bytes>>, http::Response<Incoming>)> {
        let (mut sender, connection) =
            handshake(TokioIo::new(self.connect().await?)).await.map_err(io::Error::other)?;
        // It ends with its sender, and tells the sender of its error.
        tokio::spawn(connection);
        let response = self.send_by(&mut sender, body).await.map_err(io::Error::other)?;
        Ok((sender, response))
    }

    async fn send_by(
        &self,
        sender: &mut SendRequest<Full<Bytes>>,
        body: Bytes,
    ) -> hyper::Result<http::Response<Incoming>> {
        // After an answer the connection takes the next request only when its task has run again.
        sender.ready().await?;
        sender.send_request(self.request(body)).await
    }

    fn request(&self, body: Bytes) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = http::Method::POST;
        *request.uri_mut() = self.uri.path_and_query().map_or_else(Uri::default, |path| Uri::from(path.clone()));
        request.headers_mut().clone_from(&self.headers);
        request
    }

    async fn connect(&self) -> io::Result<Stream> {
        let is_tls = self.uri.scheme_str() == Some("https");
        let port = self.uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        // An IPv6 address has its brackets.
        let address = format!("{}:{port}", self.uri.host().unwrap_or_default());
        tls::connect(&address, is_tls.then_some(&self.tls)).await
    }
}
