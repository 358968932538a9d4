//! A request, taken apart.

use std::sync::Arc;

use http::HeaderMap;
use percent_encoding::percent_decode_str;
use serde::de::DeserializeOwned;

use crate::{
    auth::{Auth, AuthError, Caller, SignedIn},
    http::{HttpDeps, access::bearer_token, body, listen::Draining, problem::Problem, query::Query},
};

/// Entries of a list, where `limit` says nothing.
const LIMIT_DEFAULT: u64 = 100;
const LIMIT_MAX: u64 = 1000;

pub(super) struct Request {
    pub(super) deps: Arc<HttpDeps>,
    /// The variable segments of the path.
    pub(super) ids: Vec<String>,
    pub(super) headers: HeaderMap,
    pub(super) caller: Caller,
    /// Of its connection: what would go on for ever ends when it begins.
    pub(super) draining: Option<Draining>,
    pub(super) query: String,
    pub(super) body: Vec<u8>,
}

impl Request {
    pub(super) fn auth(&self) -> &Auth {
        &self.deps.auth
    }

    pub(super) fn token(&self) -> Option<&str> {
        bearer_token(&self.headers)
    }

    /// The variable segment of the path, decoded (RFC 3986, section 2.1).
    pub(super) fn id(&self) -> String {
        let segment = self.ids.first().map_or("", String::as_str);
        percent_decode_str(segment).decode_utf8_lossy().into_owned()
    }

    /// # Errors
    /// 400 and 415.
    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        body::json(&self.headers, &self.body)
    }

    /// # Errors
    /// 400 and 415.
    pub(super) fn json_or_default<T: DeserializeOwned + Default>(&self) -> Result<T, Problem> {
        body::json_or_default(&self.headers, &self.body)
    }

    /// # Errors
    /// 401, 403, 503.
    pub(super) async fn signed_in(&self) -> Result<SignedIn, AuthError> {
        self.auth().signed_in(self.token()).await
    }

    /// # Errors
    /// 401, 403, 503.
    pub(super) async fn administrator(&self) -> Result<SignedIn, AuthError> {
        self.auth().administrator(self.token(), self.caller.address).await
    }

    /// A request without parameters.
    ///
    /// # Errors
    /// 400.
    pub(super) fn no_query(&self) -> Result<(), Problem> {
        Query::parse(&self.query, &[]).map(drop)
    }

    /// `limit` and `after` of a list.
    ///
    /// # Errors
    /// 400.
    pub(super) fn page(&self) -> Result<(usize, Query), Problem> {
        self.page_of(&[])
    }

    /// The same, and the parameters that say of what.
    ///
    /// # Errors
    /// 400.
    pub(super) fn page_of(&self, what: &[&str]) -> Result<(usize, Query), Problem> {
        let query = Query::parse(&self.query, &[&["limit", "after"], what].concat())?;
        Ok((query.limit(LIMIT_DEFAULT, LIMIT_MAX)?, query))
    }
}
