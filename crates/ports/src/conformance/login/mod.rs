//! What any [`LoginStore`] must do; and, in [`super::shared_login`], what those do that several daemons share.

mod challenges;
mod ending;
mod expiring;
mod families;
mod fixture;
mod following;
pub mod memory;
mod racing;
mod reopening;
pub(super) mod shared;

use std::sync::Arc;

use async_trait::async_trait;

use crate::LoginStore;

pub use challenges::*;
pub use ending::*;
pub use expiring::*;
pub use families::*;
pub use following::*;
pub use racing::*;
pub use reopening::*;

/// One set of records, empty at first, and the adapter on it.
#[async_trait]
pub trait LoginStoreFactory: Send + Sync {
    /// Opens the adapter on the factory's records. Where one process at a time may have them, every store opened before is dropped
    /// already; the suite [`super::shared_login`] opens two at once.
    async fn open(&self) -> Arc<dyn LoginStore>;

    /// Opens what a kill -9 of the process at this moment would leave, while stores opened before are still there: with records in files,
    /// a copy of them; with records in a server, a new connection.
    async fn open_as_after_kill(&self) -> Arc<dyn LoginStore>;

    /// The logins that the adapter keeps of one user. Of a test's adapter 10 to 1,000, so that the bound can be reached.
    fn families_per_user_max(&self) -> usize;

    /// Moves the store's clock on, where the factory has it in hand (see [`ManualClock`](super::clock::ManualClock)). Where it is a server's
    /// there is nothing to do: the cases then wait until it has moved, half a second at most.
    async fn advance(&self, _by_ms: i64) {}
}
