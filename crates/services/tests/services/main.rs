//! The adapters on real servers, each on one of its own or in a corner of a shared one.
#![allow(clippy::unwrap_used)]

mod accounts;
// The tests of the daemon use more of it.
#[allow(dead_code)]
#[path = "../../../../tests/front_door/support/authority.rs"]
mod authority;
mod conformance;
mod device;
mod kafka_log;
mod login_store;
mod mqtt;
mod postgres;
mod redis_store;
mod tls;
