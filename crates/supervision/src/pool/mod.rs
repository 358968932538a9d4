//! Children of one kind, started while the tree runs: OTP's `simple_one_for_one`, spread over partitions.
//!
//! A pool is a supervisor whose children are its partitions; each partition is a ractor actor that supervises its share
//! of the children. A child is started by whoever asks for it, in that caller's task, so a slow `pre_start` holds up
//! nobody else; its end is told to the partition by ractor's supervision events.
//!
//! Invariants: at most `max_children` exist, those that start or wait for a restart included; keys are unique among
//! them; a child that ended leaves nothing behind.

mod child;
mod life;
mod partition;
mod runtime;
mod start;

use std::sync::Arc;
use std::time::Duration;

use crate::actor::{Actor, Failure};
use crate::address::Address;

pub use child::Key;
pub(crate) use runtime::{PoolRuntime, PoolSetup};
pub use start::ChildStart;

use runtime::PoolInner;

/// Why a child was not started.
#[derive(Debug, thiserror::Error)]
pub enum StartChildError {
    /// The pool has as many children as it may: shed the load.
    #[error("the pool is full: it has max_children = {max_children}")]
    PoolFull {
        /// The limit of the file.
        max_children: usize,
    },
    /// A child with this key exists; [`Pool::get`] has its address.
    #[error("a child with the key `{key}` exists")]
    AlreadyStarted {
        /// The key.
        key: String,
    },
    /// The pool does not run at present: it starts, waits for a restart, or shuts down.
    #[error("the pool is down")]
    Down,
    /// `pre_start` failed. A first start is not tried again: the caller decides.
    #[error("the child could not start: {0}")]
    Failed(Failure),
    /// `pre_start` took longer than `start_timeout`.
    #[error("the child did not start within {0:?}")]
    Timeout(Duration),
    /// The file lets these children be restarted, which takes arguments that can be made again.
    #[error(
        "the children of this pool are restarted: start them with arguments that can be made again, or set restart = \"temporary\""
    )]
    ArgumentsOnce,
}

/// The handle that starts children of a pool; cheap to clone.
pub struct Pool<A: Actor>(Arc<PoolInner<A>>);

impl<A: Actor> Clone for Pool<A> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<A: Actor> Pool<A> {
    pub(crate) fn new(actor: impl Fn() -> A + Send + Sync + 'static) -> Self {
        Self(Arc::new(PoolInner::new(Box::new(actor))))
    }

    pub(crate) fn runtime(&self) -> Arc<dyn PoolRuntime> {
        Arc::clone(&self.0) as Arc<dyn PoolRuntime>
    }

    /// Starts a child and waits until it runs. `arguments` is called at each start, restarts included. Dropping the
    /// future gives the start up.
    ///
    /// # Errors
    /// See [`StartChildError`].
    pub async fn start_child(
        &self,
        key: impl Into<Key>,
        arguments: impl Fn() -> A::Arguments + Send + Sync + 'static,
    ) -> Result<Address<A::Message>, StartChildError> {
        self.start_child_with(key, ChildStart::with(arguments)).await
    }

    /// As [`Pool::start_child`], with all that can be said about the child.
    ///
    /// # Errors
    /// See [`StartChildError`].
    pub async fn start_child_with(
        &self,
        key: impl Into<Key>,
        start: ChildStart<A>,
    ) -> Result<Address<A::Message>, StartChildError> {
        self.0.start_child(key.into(), start).await
    }

    /// The address of a child, whether it runs, starts or waits for a restart.
    pub fn get(&self, key: impl Into<Key>) -> Option<Address<A::Message>> {
        self.0.get(&key.into())
    }

    /// Stops a child in the orderly way of its spec and does not restart it; false when there is none. It does not
    /// wait for the end.
    pub fn stop_child(&self, key: impl Into<Key>) -> bool {
        self.0.stop_child(&key.into())
    }

    /// The addresses of all children, those that start or wait for a restart included, in no order.
    pub fn addresses(&self) -> Vec<Address<A::Message>> {
        self.0.addresses()
    }

    /// How many children there are, those that start or wait for a restart included.
    pub fn live(&self) -> usize {
        self.0.live_count()
    }

    /// How many there may be; 0 before the tree is started.
    pub fn max_children(&self) -> usize {
        self.0.max_children()
    }

    /// Whether every partition takes children at present.
    pub fn is_up(&self) -> bool {
        self.0.is_up()
    }
}
