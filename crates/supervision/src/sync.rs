//! Locking that survives a panic elsewhere: every critical section here leaves its data consistent, so a poisoned
//! lock carries no information.

use std::sync::{Mutex, MutexGuard, PoisonError};

pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
