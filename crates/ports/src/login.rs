//! Challenges and logins (families of refresh tokens): Redis "QR", or a file of our own. One port, because an exchange ends a challenge
//! and begins a login in one step.
//!
//! Invariants: each write is one compare-and-set on a record's version, so that of those who race one wins and the others learn what won;
//! the clock is the store's own, and a record is gone when its time is up, whoever runs or restarts; revoking removes the record, so that
//! a rotation that began before finds it gone. The store never derives, compares or holds a usable secret.

use async_trait::async_trait;
use orinoco_domain::{
    account::UserId,
    challenge::{Challenge, ChallengeKey, NewChallenge, Status},
    refresh::{Family, FamilyId},
};

use crate::BackendInfo;

/// Logins of one user that are kept, unless the adapter was told another number; beyond it the one that would end first makes room in the
/// same step, and its end is published ([`EndReason::Displaced`]).
pub const FAMILIES_PER_USER_MAX: usize = 10_000;

/// A record, if there is one, and the store's clock when it was read: what [`decide`](orinoco_domain::challenge::decide()) is asked with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded<T> {
    pub record: Option<T>,
    /// ms since 1970.
    pub now_ms: i64,
}

/// What became of a compare-and-set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Swap<T> {
    Swapped,
    /// The store holds this; nothing changed. Decide again, with this clock.
    Conflict {
        current: T,
        now_ms: i64,
    },
    /// There is no such record (any more); nothing changed.
    Gone,
}

/// Why logins ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EndReason {
    /// By the login itself.
    Logout,
    /// By another of the user's logins, or an administrator: one of them, or all.
    Revoked,
    /// A refresh token that had been replaced came again. The user's other logins are told.
    Reuse,
    /// The account was disabled.
    Disabled,
    /// The password was changed.
    PasswordChanged,
    /// For a newer one: the user had [`FAMILIES_PER_USER_MAX`].
    Displaced,
}

impl EndReason {
    pub const ALL: [Self; 6] =
        [Self::Logout, Self::Revoked, Self::Reuse, Self::Disabled, Self::PasswordChanged, Self::Displaced];

    /// As it travels between daemons: `password_changed`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Logout => "logout",
            Self::Revoked => "revoked",
            Self::Reuse => "reuse",
            Self::Disabled => "disabled",
            Self::PasswordChanged => "password_changed",
            Self::Displaced => "displaced",
        }
    }

    /// `None` for any other text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == text)
    }
}

/// A change, as published to all daemons, at most once. Those of one challenge come in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoginEvent {
    /// A challenge has this version and status now. Expiry by the clock alone is not published: a deadline is known beforehand. Neither is
    /// the making of a challenge.
    ChallengeChanged { key: ChallengeKey, version: u64, status: Status },
    /// A login ended before its time (`family`), or all of a user's did (`None`).
    LoginsEnded { user_id: UserId, family: Option<FamilyId>, reason: EndReason },
}

/// A running subscription to all changes.
#[async_trait]
pub trait LoginSubscription: Send + 'static {
    /// The next change. Cancel safe.
    ///
    /// # Errors
    /// [`LoginStoreError::Unavailable`]: the subscription has ended, changes may have been missed; subscribe anew, then load what matters.
    async fn next(&mut self) -> Result<LoginEvent, LoginStoreError>;
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FamilyPage {
    /// The latest to end first; with one lifetime for all that is newest first.
    pub families: Vec<Family>,
    /// Opaque; `None` after the last page.
    pub next: Option<String>,
}

/// Where a writing method fails with [`LoginStoreError::Unavailable`] it is not known whether it was done; loading tells.
#[async_trait]
pub trait LoginStore: Send + Sync + 'static {
    /// The store's clock, ms since 1970: for the times of a new family.
    ///
    /// # Errors
    /// [`LoginStoreError`].
    async fn now_ms(&self) -> Result<i64, LoginStoreError>;

    /// Writes [`NewChallenge::at`] the store's time, and returns it. How many may live at once is the caller's to bound.
    ///
    /// # Errors
    /// `Taken` where there is one with this key; else as all.
    async fn create_challenge(&self, new: &NewChallenge) -> Result<Challenge, LoginStoreError>;

    /// As last written: a record past its deadline may still say otherwise (see `Challenge::status_at`). It is gone from
    /// `Challenge::purge_at_ms` on.
    ///
    /// # Errors
    /// [`LoginStoreError`].
    async fn load_challenge(&self, key: &ChallengeKey) -> Result<Loaded<Challenge>, LoginStoreError>;

    /// One atomic step: writes `next` if the record has the version before (`next.version - 1`), and if its deadline agrees, by the
    /// store's clock: `next` is EXPIRED if and only if the deadline of the record that it follows (`deadline_ms`) has passed; else it is a
    /// conflict. `began` is the login that an exchange begins; it is written in the same step or not at all. The change is published.
    ///
    /// # Errors
    /// [`LoginStoreError`]. `Taken` where a family with this id is there, and nothing was changed.
    async fn swap_challenge(
        &self,
        next: &Challenge,
        began: Option<&Family>,
    ) -> Result<Swap<Challenge>, LoginStoreError>;

    /// Writes a login of version 1, until its `expires_at_ms`.
    ///
    /// # Errors
    /// `Taken` where there is one with this id; else as all.
    async fn create_family(&self, family: &Family) -> Result<(), LoginStoreError>;

    /// Gone from its `expires_at_ms` on.
    ///
    /// # Errors
    /// [`LoginStoreError`].
    async fn load_family(&self, id: &FamilyId) -> Result<Loaded<Family>, LoginStoreError>;

    /// One atomic step: writes `next` if the record has the version before (`next.version - 1`). Its user and its expiry don't change.
    ///
    /// # Errors
    /// [`LoginStoreError`].
    async fn swap_family(&self, next: &Family) -> Result<Swap<Family>, LoginStoreError>;

    /// Live logins of a user, a page at a time. Some may be missed or come twice where logins begin or end between the pages.
    ///
    /// # Errors
    /// [`LoginStoreError`].
    async fn families_of(
        &self,
        user_id: UserId,
        cursor: Option<&str>,
        families_max: usize,
    ) -> Result<FamilyPage, LoginStoreError>;

    /// Ends a login, and publishes that; the login that ended, `None` where there was none (any more).
    ///
    /// # Errors
    /// [`LoginStoreError`].
    async fn end_family(&self, id: &FamilyId, reason: EndReason) -> Result<Option<Family>, LoginStoreError>;

    /// Ends all logins of a user, and publishes that once, whether there were any or not; how many there were. A login that begins
    /// meanwhile may survive: whoever ends all moves the account's generation first, which ends that one at its next refresh.
    ///
    /// # Errors
    /// [`LoginStoreError`]. Some may have ended; doing it again ends the others.
    async fn end_families_of(&self, user_id: UserId, reason: EndReason) -> Result<u64, LoginStoreError>;

    /// All changes from now on.
    ///
    /// # Errors
    /// [`LoginStoreError`].
    async fn subscribe(&self) -> Result<Box<dyn LoginSubscription>, LoginStoreError>;

    /// # Errors
    /// [`LoginStoreError`].
    async fn probe(&self) -> Result<BackendInfo, LoginStoreError>;
}

#[derive(Debug, thiserror::Error)]
pub enum LoginStoreError {
    /// There is a record of this name, which is random: draw another.
    #[error("login store {place} has a record of this name")]
    Taken { place: String },
    /// Try again later. Also where the store has no room.
    #[error("login store {place} can't be reached: {reason}")]
    Unavailable { place: String, reason: String },
    /// What is stored can't be understood: somebody must look.
    #[error("login store {place} holds what can't be read: {reason}")]
    Corrupt { place: String, reason: String },
}
