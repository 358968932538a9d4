//! Accounts, tokens, QR login, and who may see what.

mod access;
mod flow;
mod kills;
mod outages;
mod races;
mod secrets;
mod tokens;

use crate::support::{Mode, Setup, World};

/// A daemon that lets anybody sign up.
fn open() -> Setup {
    Setup::default().set("auth.signup", "open").set("stream.public", "false")
}

async fn world(mode: Mode) -> World {
    World::start(mode, open()).await
}
