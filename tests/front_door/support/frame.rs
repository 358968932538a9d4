//! One CoordinateData as the contract has it, to the letter.

use serde::Deserialize;

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Frame {
    #[serde(rename = "coordX")]
    pub(crate) x: f64,
    #[serde(rename = "coordY")]
    pub(crate) y: f64,
    pub(crate) timestamp: String,
    pub(crate) source: String,
    pub(crate) device: String,
    pub(crate) offset: u64,
    pub(crate) epoch: String,
    #[serde(default)]
    pub(crate) unpaired: bool,
    #[serde(default)]
    pub(crate) late: bool,
}

impl Frame {
    pub(crate) fn parse(text: &str) -> Self {
        serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// The coordinate of the axis that moved.
    pub(crate) fn moved(&self) -> f64 {
        if self.source == "coordX" { self.x } else { self.y }
    }

    /// The coordinate of the other axis.
    pub(crate) fn kept(&self) -> f64 {
        if self.source == "coordX" { self.y } else { self.x }
    }
}
