//! Which parts of the chain this daemon does.

use super::super::kind::Flag;
use super::super::reader::{Fallback::Fixed, section};

section! {
    /// Parts of the way from devices to browsers. What is switched off here is done by another daemon, or by the programs that did it
    /// before (docs/migrating.md); it takes a real Kafka between the parts.
    Parts = "parts" {
        /// From MQTT into Kafka.
        ingest: bool = "ingest", Flag, Fixed("true");
        /// From Kafka into Redis, and so to whoever watches.
        consumer: bool = "consumer", Flag, Fixed("true");
    }
}
