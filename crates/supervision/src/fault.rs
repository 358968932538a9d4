//! Named points at which a test may make the program fail. Without the cargo feature `faults` a point is nothing: a future of no
//! size that is ready, and calls that are inlined away.
//!
//! Points of this crate: `actor.pre_start`, `actor.handle` (before each message), `actor.reply` (before an answer goes out),
//! `actor.post_stop`, `supervisor.start` (in the task that starts a worker, restarts included), `supervisor.backoff` (a child
//! failed and waits for its restart; nothing can be done to the supervisor there, but to others by the hook). Programs add their
//! own between the steps whose order matters, for instance between writing and acknowledging.

#[cfg(feature = "faults")]
mod enabled;
#[cfg(feature = "faults")]
mod strike;

#[cfg(feature = "faults")]
pub use enabled::{Fault, Place, Reached, Scoped, clear, hits, point, scoped, set};

#[cfg(feature = "faults")]
pub use strike::{Missed, Moment, Order, Struck};

#[cfg(feature = "faults")]
pub(crate) use strike::{Work, strike};

#[cfg(feature = "faults")]
pub(crate) use enabled::{drops_reply, notice, point_at, scope};

#[cfg(not(feature = "faults"))]
mod disabled;

#[cfg(not(feature = "faults"))]
pub use disabled::{Place, point};

#[cfg(not(feature = "faults"))]
pub(crate) use disabled::{drops_reply, notice, point_at, scope};
