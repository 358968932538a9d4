//! The two axes of a coordinate; each has a topic of its own.

use serde::{Deserialize, Serialize};

/// One axis. Its name is the last level of the MQTT topic, the Kafka topic and the `source` of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Axis {
    #[serde(rename = "coordX")]
    X,
    #[serde(rename = "coordY")]
    Y,
}

impl Axis {
    pub const BOTH: [Self; 2] = [Self::X, Self::Y];

    /// `coordX` or `coordY`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::X => "coordX",
            Self::Y => "coordY",
        }
    }

    /// The axis called `name`, if there is one.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "coordX" => Some(Self::X),
            "coordY" => Some(Self::Y),
            _ => None,
        }
    }

    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::X => Self::Y,
            Self::Y => Self::X,
        }
    }
}
