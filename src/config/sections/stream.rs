//! What coordinates become on their way to the clients.

use std::time::Duration;

use super::super::kind::{Flag, Number, OneOf, choice, milliseconds};
use super::super::reader::{Fallback::Fixed, Reload::Actors, section};

choice! {
    /// How the two axes are joined.
    PairingMode {
        /// Each message moves its axis and takes the other one's latest value.
        Latest = "latest",
        /// Halves of one device and timestamp belong together.
        Timestamp = "timestamp",
    }
}

section! {
    /// Joining, history, and who may watch.
    Stream = "stream" {
        /// Whether anyone may watch, without an account.
        public: bool = "public", Flag, Fixed("false");
        /// How the two axes are joined: `latest` takes the other one's latest value, `timestamp` joins halves of one device and
        /// timestamp.
        pairing: PairingMode = "pairing", OneOf::new(), Fixed("latest"), Actors(&["RedisWriter"]);
        /// Milliseconds for which a half waits for its partner where `pairing` is `timestamp`.
        pairing_grace: Duration = "pairing_grace_ms", milliseconds(0..=3_600_000), Fixed("2000"), Actors(&["RedisWriter"]);
        /// Halves of one device that wait; at the limit the oldest is yielded unpaired.
        pairing_pending_max: usize = "pairing_pending_max", Number::new(1..=65_536), Fixed("1024"), Actors(&["RedisWriter"]);
        /// Coordinates kept a device, for history and for resuming.
        history_max: usize = "history_max", Number::new(1..=1_000_000), Fixed("1000"), Actors(&["RedisWriter"]);
        /// Devices; a message of a further one becomes a dead letter.
        devices_max: usize = "devices_max", Number::new(1..=10_000_000), Fixed("100000");
    }
}
