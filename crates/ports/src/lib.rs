//! The outside world as orinoco sees it: one trait a port, with the errors that a caller treats differently.
//!
//! Each port has two adapters (`orinoco-embedded`, `orinoco-services`), and one conformance suite (feature `conformance`)
//! that runs on both; but for [`SpanExporter`], which has one adapter. Client libraries' types stay behind these traits.

mod accounts;
mod clock;
mod intake;
mod journal;
mod lease;
mod log;
mod login;
mod server;
mod socket;
mod store;
mod trace;

#[cfg(feature = "conformance")]
pub mod conformance;

pub use accounts::{
    AccountPage, Accounts, AccountsError, AuditPage, DeviceCredential, DeviceCredentialPage, NewAccount, Rehash,
};
pub use clock::{Clock, SystemClock};
pub use intake::{InboundMessage, Intake, MqttError, MqttLink, MqttSource, Refused};
pub use journal::{Journal, JournalDepth, JournalEntry, JournalError, JournalRecord};
pub use lease::{Holding, Lease, LeaseError, Leases, Sharing};
pub use log::{DeadLetterPage, Fetched, FetchedRecord, LogError, RecordLog, StoredDeadLetter};
pub use login::{
    EndReason, FAMILIES_PER_USER_MAX, FamilyPage, Loaded, LoginEvent, LoginStore, LoginStoreError, LoginSubscription,
    Swap,
};
pub use server::{Running, Server, ServerError};
pub use socket::ClientSocket;
pub use store::{
    Applied, Batch, CoordinateStore, DeviceUpdate, HistoryPage, PartitionState, Publication, PublishedFrame,
    SnapshotEntry, SnapshotPage, StoreError, Subscription,
};
pub use trace::{ExportError, Span, SpanExporter, SpanKind, SpanValue};

/// A backend as `/readyz` and `orinoco doctor` speak of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackendInfo {
    /// Product and version, as the backend itself says.
    pub version: String,
    /// What to mend, in a sentence each; empty when all is well.
    pub advice: Vec<String>,
}
