//! Who may see what. It fails closed: whoever is not known to be allowed sees nothing.

use async_trait::async_trait;
use http::{HeaderMap, header::AUTHORIZATION};
use orinoco_actors::View;
use orinoco_domain::DeviceId;

use crate::auth::{Login, Watch};

/// A client that has been let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Viewer {
    /// The devices that it may see.
    pub view: View,
    /// What it showed; `None` where anyone may watch.
    pub credential: Option<Credential>,
}

/// What of an access token decides for how long its bearer may watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Credential {
    pub login: Login,
    /// ms since 1970.
    pub issued_at_ms: i64,
    /// ms since 1970.
    pub expires_at_ms: i64,
}

impl Viewer {
    /// For as long as it likes.
    #[must_use]
    pub fn of(view: View) -> Self {
        Self { view, credential: None }
    }

    #[must_use]
    pub fn may_see(&self, device: &DeviceId) -> bool {
        match &self.view {
            View::All => true,
            View::Device(own) => own == device,
        }
    }
}

/// Why a client is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    #[error("send an access token, in the header `Authorization: Bearer <token>`")]
    TokenMissing,
    #[error("the access token is not valid; get a new one and try again")]
    TokenInvalid,
    #[error("no device is bound to this account; an administrator can bind one")]
    NoDevice,
}

/// Decides about clients.
#[async_trait]
pub trait Access: Send + Sync + 'static {
    /// Who sees coordinates with this access token, or without one.
    ///
    /// # Errors
    /// [`Denied`]: nobody does.
    async fn viewer(&self, token: Option<&str>) -> Result<Viewer, Denied>;

    /// Tells a client that stays when its login ends; `None` where no login ends.
    fn watch(&self, _credential: Credential) -> Option<Watch> {
        None
    }
}

/// Anyone sees all, or nobody sees anything (`stream.public`).
#[derive(Debug, Clone, Copy)]
pub struct PublicOnly {
    pub public: bool,
}

#[async_trait]
impl Access for PublicOnly {
    async fn viewer(&self, token: Option<&str>) -> Result<Viewer, Denied> {
        match (self.public, token) {
            (true, _) => Ok(Viewer::of(View::All)),
            (false, None) => Err(Denied::TokenMissing),
            (false, Some(_)) => Err(Denied::TokenInvalid),
        }
    }
}

/// The access token of a request (RFC 6750, section 2.1). What is no such header counts as no token.
pub(crate) fn bearer_token(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn headers(authorization: &str) -> HeaderMap {
        HeaderMap::from_iter([(AUTHORIZATION, authorization.parse().unwrap())])
    }

    #[test]
    fn a_token_is_read_from_a_bearer_header_only() {
        assert_eq!(bearer_token(&headers("Bearer abc")), Some("abc"));
        assert_eq!(bearer_token(&headers("bEARER abc")), Some("abc"));
        assert_eq!(bearer_token(&headers("Bearer ")), Some(""));
        assert_eq!(bearer_token(&headers("Bearer")), None);
        assert_eq!(bearer_token(&headers("Basic abc")), None);
        assert_eq!(bearer_token(&HeaderMap::new()), None);
    }

    #[tokio::test]
    async fn a_stream_that_is_not_public_is_closed_to_all() {
        let closed = PublicOnly { public: false };
        assert_eq!(closed.viewer(None).await, Err(Denied::TokenMissing));
        assert_eq!(closed.viewer(Some("abc")).await, Err(Denied::TokenInvalid));
        assert_eq!(PublicOnly { public: true }.viewer(None).await, Ok(Viewer::of(View::All)));
    }

    #[test]
    fn a_viewer_of_one_device_sees_no_other() {
        let device = |name: &str| DeviceId::parse(name).unwrap();
        let viewer = Viewer::of(View::Device(device("a")));
        assert!(viewer.may_see(&device("a")) && !viewer.may_see(&device("b")));
    }
}
