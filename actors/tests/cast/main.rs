//! The cast at work, on models of the outside in memory, in paused time: from a device's message to a socket, with actors being killed.
#![allow(clippy::unwrap_used)]

mod distant;
mod flow;
mod kills;
mod login;
mod seed;
mod sockets;
mod stream;
mod world;
