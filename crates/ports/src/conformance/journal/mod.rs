//! What any [`Journal`] must do, in each of its modes.

mod appending;
mod filling;
mod fixture;
pub mod memory;
mod reading;
mod reopening;

use std::sync::Arc;

use async_trait::async_trait;

use crate::Journal;

pub use appending::*;
pub use filling::*;
pub use reading::*;
pub use reopening::*;

/// One directory, empty at first, and the journal in it.
#[async_trait]
pub trait JournalFactory: Send + Sync {
    /// Opens the journal with this bound, which is 1 MiB at least. Every journal opened before is dropped already.
    async fn open(&self, bytes_max: u64) -> Arc<dyn Journal>;

    /// Opens a copy of what a kill -9 of the process at this moment would leave, while the journal opened before is still there and may
    /// be appended to.
    async fn open_as_after_kill(&self, bytes_max: u64) -> Arc<dyn Journal>;
}
