//! The adapters on real servers, each on one of its own or in a corner of a shared one.
#![allow(clippy::unwrap_used)]

mod accounts;
mod conformance;
mod device;
mod kafka_log;
mod login_store;
mod mqtt;
mod postgres;
mod redis_store;
