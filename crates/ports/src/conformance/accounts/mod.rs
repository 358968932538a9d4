//! What any [`Accounts`] must do.

mod auditing;
mod changing;
mod creating;
mod devices;
mod fixture;
pub mod memory;
mod reopening;

use std::sync::Arc;

use async_trait::async_trait;

use crate::Accounts;

pub use auditing::*;
pub use changing::*;
pub use creating::*;
pub use devices::*;
pub use reopening::*;

/// One set of accounts, empty at first, and the adapter on it.
#[async_trait]
pub trait AccountsFactory: Send + Sync {
    /// Opens the adapter on the factory's accounts. Where one process at a time may have them, every store opened before is dropped already.
    async fn open(&self) -> Arc<dyn Accounts>;

    /// Opens what a kill -9 of the process at this moment would leave, while stores opened before are still there: with accounts in
    /// files, a copy of them; with accounts in a server, a new connection.
    async fn open_as_after_kill(&self) -> Arc<dyn Accounts>;
}
