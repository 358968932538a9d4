//! Leases: who owns a partition, or the ingest. PostgreSQL's clock decides; embedded, there is one owner.

use std::time::Duration;

use async_trait::async_trait;

use crate::BackendInfo;

/// Ownership until it is not renewed for its time to live.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// `ingest`, or `partition/3`.
    pub name: String,
    /// Grows with each change of owner, across all restarts, never repeats: the fencing token.
    pub epoch: u64,
}

/// A lease that somebody holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holding {
    /// `ingest`, or `partition/3`.
    pub name: String,
    /// The identity that its holder's [`Leases`] were made with.
    pub owner: String,
    pub epoch: u64,
}

/// Who shares the leases at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sharing {
    /// Owners that take part, this one among them: at least 1.
    pub owners: u32,
    /// Place of this owner among them, from 0; all see one order.
    pub rank: u32,
}

/// One holder's view of the leases; made with the owner's identity.
#[async_trait]
pub trait Leases: Send + Sync + 'static {
    /// Makes this owner known to the others for `time_to_live`, and says how many share the leases with it.
    ///
    /// # Errors
    /// [`LeaseError::Unavailable`].
    async fn take_part(&self, time_to_live: Duration) -> Result<Sharing, LeaseError>;

    /// Renews those of `wanted` that this owner holds, takes those that are free, expired, or held by an earlier run of this same owner (with
    /// a higher epoch) until it has `held_max` of them, and returns all that it now holds. The epoch of a lease held on without a break stays the
    /// same.
    ///
    /// # Errors
    /// [`LeaseError::Unavailable`]: nothing is known; leases held so far go on until fenced off.
    async fn hold(&self, wanted: &[String], held_max: u32, time_to_live: Duration) -> Result<Vec<Lease>, LeaseError>;

    /// Gives leases back at once, for the next owner. Those that are not held any more are passed over.
    ///
    /// # Errors
    /// [`LeaseError::Unavailable`]: they run out by themselves.
    async fn release(&self, names: &[String]) -> Result<(), LeaseError>;

    /// Gives all leases back, and takes part no more: the others need not wait until it is forgotten.
    ///
    /// # Errors
    /// [`LeaseError::Unavailable`]: they run out by themselves.
    async fn leave(&self) -> Result<(), LeaseError>;

    /// Who holds what now, in order of name: for people to look at. A decision on it would be one on the past.
    ///
    /// # Errors
    /// [`LeaseError::Unavailable`].
    async fn holdings(&self) -> Result<Vec<Holding>, LeaseError>;

    /// # Errors
    /// [`LeaseError::Unavailable`].
    async fn probe(&self) -> Result<BackendInfo, LeaseError>;
}

#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    #[error("lease store {place} can't be reached: {reason}")]
    Unavailable { place: String, reason: String },
    #[error("lease store {place} has schema {found}, this program needs {needed}; run `orinoco migrate`")]
    Schema { place: String, found: String, needed: String },
}
