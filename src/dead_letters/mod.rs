//! Dead letters: reading them, and sending them the way of a device's message again.
//!
//! | file | holds |
//! |---|---|
//! | `letters` | all letters of a log, each once |
//! | `replay` | what becomes of one letter |
//! | `publisher` | a connection to the broker that devices publish to |
//!
//! Invariant: a letter is never deleted. What was replayed and is still not understood becomes a further one.

mod letters;
mod publisher;
mod replay;

pub(crate) use letters::Letters;
pub(crate) use publisher::Publisher;
pub use publisher::{KeptPublisher, Publish};
pub(crate) use replay::{Outcome, Replayed, Targets};

#[cfg(test)]
pub(crate) mod fixtures {
    pub(crate) use super::letters::tests::{FixedLog, letter};
    pub(crate) use super::replay::tests::{Broker, broker, targets};
}
