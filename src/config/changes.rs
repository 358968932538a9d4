//! What is different between two configurations, key by key.

use serde_json::Value;

use super::error::Origin;
use super::{Loaded, Reload};

/// A key that has another value. Secrets are hidden.
#[derive(Debug, Clone, PartialEq)]
pub struct Changed {
    /// `section.key`.
    pub key: String,
    pub before: Value,
    pub after: Value,
    /// Where the new value was set.
    pub origin: Origin,
    /// What it takes to change it.
    pub reload: Reload,
}

impl std::fmt::Display for Changed {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}: {} -> {}", self.key, self.before, self.after)
    }
}

impl Loaded {
    /// The keys that have another value in `next`, in the order of the documentation.
    #[must_use]
    pub fn changes(&self, next: &Self) -> Vec<Changed> {
        let pairs = self.settings.iter().zip(&next.settings);
        let changed = pairs.filter(|(before, after)| before.whole != after.whole);
        changed
            .map(|(before, after)| Changed {
                key: after.key.clone(),
                before: before.value.clone(),
                after: after.value.clone(),
                origin: after.origin.clone(),
                reload: after.reload,
            })
            .collect()
    }
}
