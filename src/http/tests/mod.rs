//! The HTTP port as its clients see it.

#![allow(clippy::unwrap_used)]

mod accounts;
mod administration;
mod challenges;
mod connections;
mod console;
mod login;
mod oauth;
mod openapi;
mod reading;
mod store;
pub(crate) mod world;
