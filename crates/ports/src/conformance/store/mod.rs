//! What any [`CoordinateStore`] must do.

mod applying;
mod fixture;
mod following;
pub mod memory;
mod model;
mod random;
mod reading;
mod reopening;
mod scale;

use std::sync::Arc;

use async_trait::async_trait;

use crate::CoordinateStore;

pub use applying::*;
pub use following::*;
pub use random::*;
pub use reading::*;
pub use reopening::*;
pub use scale::*;

/// One set of data, empty at first, and the adapter on it.
#[async_trait]
pub trait StoreFactory: Send + Sync {
    /// Opens the adapter on the factory's data. Where one process at a time may have the data, every store opened before is dropped
    /// already.
    async fn open(&self) -> Arc<dyn CoordinateStore>;

    /// Opens what a kill -9 of the process at this moment would leave, while stores opened before are still there: with data in files, a
    /// copy of them; with data in a server, a new connection.
    async fn open_as_after_kill(&self) -> Arc<dyn CoordinateStore>;
}
