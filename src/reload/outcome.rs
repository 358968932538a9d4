//! What came of an order to read the files again.

use serde::{Deserialize, Serialize};

/// As the control socket has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case", rename_all_fields = "camelCase")]
pub enum Outcome {
    /// The daemon is that of the files now.
    Applied {
        /// What changed, a line each.
        lines: Vec<String>,
        /// Whether the actors that had to stop or start have done so. If not, they are still at it.
        is_carried_out: bool,
    },
    /// The files are what runs.
    Unchanged,
    /// Nothing changed.
    Refused {
        /// Each with its file and line, or its variable.
        lines: Vec<String>,
        /// Whether the daemon would not start with these files either.
        is_bad_configuration: bool,
    },
    /// The files were not looked at.
    Ignored { reason: String },
}

impl Outcome {
    /// In metrics.
    pub(super) const NAMES: [&'static str; 4] = ["applied", "unchanged", "refused", "ignored"];

    pub(super) fn ignored(reason: impl Into<String>) -> Self {
        Self::Ignored { reason: reason.into() }
    }

    /// Its name in metrics.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Applied { .. } => "applied",
            Self::Unchanged => "unchanged",
            Self::Refused { .. } => "refused",
            Self::Ignored { .. } => "ignored",
        }
    }
}
