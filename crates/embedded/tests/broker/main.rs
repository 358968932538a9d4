//! The embedded broker, from outside: real sockets, real clients.
#![allow(clippy::unwrap_used)]

mod access;
mod client;
mod crash;
mod delivery;
mod encrypted;
mod exactly_once;
mod fan_out;
mod lifecycle;
mod limits;
mod setup;
mod tools;
