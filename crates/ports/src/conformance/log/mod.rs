//! What any [`RecordLog`] must do; and, in [`super::exact_order_log`], what one that keeps the order of writing does beyond that.

mod dead_letters;
mod fetching;
mod fixture;
pub mod memory;
pub(super) mod order;
mod producing;
mod reopening;

use std::sync::Arc;

use async_trait::async_trait;

use crate::RecordLog;

pub use dead_letters::*;
pub use fetching::*;
pub use order::{
    records_of_one_journal_come_in_the_order_of_their_ids, records_without_ids_come_in_the_order_of_their_times,
};
pub use producing::*;
pub use reopening::*;

/// One set of topics, empty at first and of at least two partitions, and the adapter on them.
#[async_trait]
pub trait LogFactory: Send + Sync {
    /// Opens the adapter on the factory's topics. Where one process at a time may have the data, every log opened before is dropped
    /// already.
    async fn open(&self) -> Arc<dyn RecordLog>;

    /// Opens what a kill -9 of the process at this moment would leave, while logs opened before are still there: with data in files, a
    /// copy of them; with data in a server, a new connection.
    async fn open_as_after_kill(&self) -> Arc<dyn RecordLog>;

    /// Makes the oldest records of both axes in `partition` go, as retention does, some but not all of them; `log` is the one that
    /// wrote them. Returns the log to go on with, which may be a reopened one.
    async fn expire_oldest(&self, log: Arc<dyn RecordLog>, partition: u32) -> Arc<dyn RecordLog>;
}
