//! The WebSocket port as its clients see it.

#![allow(clippy::unwrap_used)]

mod access;
mod centrifuge;
mod client;
mod encrypted;
mod ending;
mod opening;
mod streaming;
