//! The HTTP port as its clients see it.

#![allow(clippy::unwrap_used)]

mod connections;
mod reading;
mod store;
pub(crate) mod world;
