//! Values and decisions of orinoco, pure: no clock, no I/O, no runtime.
//!
//! A value is parsed once, at the edge, into a type that can't be wrong (`DeviceId`, `Email`, `Timestamp`); a decision
//! (pairing, partitioning, a challenge's step, a refresh token's rotation) is a function of its arguments. Everything here is tested
//! without a server.

pub mod account;
pub mod audit;
mod axis;
pub mod challenge;
mod client;
mod dead_letter;
mod device;
mod frame;
pub mod pairing;
mod partition;
mod reading;
mod record;
mod record_id;
pub mod refresh;
pub mod secret;
mod timestamp;
mod topic;
mod trace;

pub use axis::Axis;
pub use client::ClientInfo;
pub use dead_letter::DeadLetter;
pub use device::{DeviceId, InvalidDeviceId};
pub use frame::{CoordinateData, Frame};
pub use partition::{Position, fair_share, partition_of};
pub use reading::{PayloadError, Reading};
pub use record::{
    CoordinateRecord, HEADER_ID, HEADER_REDELIVERED, HEADER_TRACEPARENT, RawRecord, RecordError, RecordValue,
};
pub use record_id::{InvalidRecordId, Origin, RecordId};
pub use timestamp::{InvalidTimestamp, Timestamp};
pub use topic::{Subscriptions, TopicError, TopicFilters};
pub use trace::{TraceContext, mix};
