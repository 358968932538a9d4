//! Redis, as both stores use it: pooled calls, scripts, publications, and what it says of itself.
//!
//! Invariant: no text that leaves this module holds a user or a password of the URL.

mod access;
mod connection;
mod info;
mod script;
mod subscription;

use std::fmt;

use redis::RedisError;

pub(crate) use connection::{Server, ServerOptions};
pub(crate) use info::ServerInfo;
pub(crate) use script::Script;
pub(crate) use subscription::Publications;

/// Why a call has no result. Each store says it in its port's terms.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Try again later; whether the call had an effect is not known.
    Unavailable { place: String, reason: String },
    /// The server lets this user not do that: as `Unavailable`, but for who can do without.
    Denied { place: String, reason: String },
    /// What is stored, or answered, can't be understood.
    Corrupt { place: String, reason: String },
}

/// A server, for people.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// Without user and password.
    text: String,
    url_setting: &'static str,
    room_remedy: &'static str,
}

impl Place {
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    pub(crate) fn unavailable(&self, reason: impl fmt::Display) -> Failure {
        Failure::Unavailable { place: self.text.clone(), reason: reason.to_string() }
    }

    pub(crate) fn corrupt(&self, reason: impl fmt::Display) -> Failure {
        Failure::Corrupt { place: self.text.clone(), reason: reason.to_string() }
    }

    /// What Redis itself answered: of some errors it recovers (loading, out of memory, read-only, busy), of others it doesn't.
    fn refused(&self, error: &RedisError) -> Failure {
        match error.code() {
            Some("WRONGTYPE" | "ERR") | None => self.corrupt(error),
            Some("OOM") => self.unavailable(format!("{error}; raise maxmemory, or {}", self.room_remedy)),
            Some("NOAUTH" | "WRONGPASS" | "NOPERM") => {
                let reason = format!("{error}; check {}", self.url_setting);
                Failure::Denied { place: self.text.clone(), reason }
            }
            Some(_) => self.unavailable(error),
        }
    }
}
