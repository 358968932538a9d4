//! Locking that survives a panic elsewhere: every critical section here leaves its data consistent, so a poisoned
//! lock carries no information. And places that one incarnation has at a time.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::OwnedMutexGuard;

pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What one incarnation at a time has, from before its start until its state is dropped. The runtime drops the task of a killed actor
/// when it comes to it, which may be after others were told of its end.
#[derive(Default)]
pub(crate) struct Place(Arc<tokio::sync::Mutex<()>>);

/// The place is taken, until this is dropped.
pub(crate) type Taken = OwnedMutexGuard<()>;

impl Place {
    /// Waits until the last incarnation is gone. Cancel safe.
    pub(crate) async fn take(&self) -> Taken {
        Arc::clone(&self.0).lock_owned().await
    }
}
