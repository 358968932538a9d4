//! What OAuth's device grant (RFC 8628) adds to a challenge: whose it is, and how often it may be polled.

use serde::{Deserialize, Serialize};

use super::{Challenge, Status};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeviceGrant {
    /// The OAuth client that asked; the token request must come from the same one.
    pub client_id: Box<str>,
    /// Least time between two polls, ms; shown as seconds.
    pub interval_ms: i64,
    /// `None` before the first poll, which may come at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub polled_at_ms: Option<i64>,
}

impl DeviceGrant {
    /// Where the authorisation response names none (RFC 8628 section 3.2): 5 s.
    pub const INTERVAL_MS: i64 = 5_000;
    /// What each early poll adds (RFC 8628 section 3.5): 5 s.
    pub const SLOW_DOWN_MS: i64 = 5_000;
    /// A client that keeps the interval may seem early by so much, because its last request was under way for longer than this one.
    pub const TOLERANCE_MS: i64 = 500;

    #[must_use]
    pub fn new(client_id: &str) -> Self {
        Self { client_id: client_id.into(), interval_ms: Self::INTERVAL_MS, polled_at_ms: None }
    }
}

/// What a token request finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Poll {
    /// Write `next`, then answer `slow_down` or `authorization_pending`.
    Wait { next: Box<Challenge>, slow_down: bool },
    /// No polling any more: exchange where it is APPROVED, else say how it ended.
    Decided(Status),
}

/// What a token request does to a challenge that its client may not exchange yet, at `now_ms` of the store's clock. The request's proof
/// and client are the caller's to check.
#[must_use]
pub fn poll(challenge: &Challenge, now_ms: i64) -> Poll {
    let status = challenge.status_at(now_ms);
    let Some(grant) = &challenge.device_grant else { return Poll::Decided(status) };
    if !matches!(status, Status::Pending | Status::Scanned) {
        return Poll::Decided(status);
    }
    let last_ms = grant.polled_at_ms.unwrap_or(i64::MIN);
    let slow_down = now_ms.saturating_sub(last_ms) < grant.interval_ms.saturating_sub(DeviceGrant::TOLERANCE_MS);
    let added_ms = if slow_down { DeviceGrant::SLOW_DOWN_MS } else { 0 };
    let grant = DeviceGrant {
        interval_ms: grant.interval_ms.saturating_add(added_ms),
        polled_at_ms: Some(now_ms),
        ..grant.clone()
    };
    Poll::Wait { next: Box::new(Challenge { device_grant: Some(grant), ..challenge.successor() }), slow_down }
}
