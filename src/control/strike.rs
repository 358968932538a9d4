//! Kills in the midst of work, for campaigns. A build for tests only.

use std::time::Duration;

use orinoco_supervision::{
    Tree,
    fault::{Moment, Order},
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::kill::KillError;

/// A campaign's answer may take so long.
const WITHIN_MAX: Duration = Duration::from_secs(60);

/// [`Order`], in a request.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct StrikeRequest {
    target: String,
    /// The target, where it is not said.
    by: Option<String>,
    /// At any moment, where it is not said.
    point: Option<String>,
    #[serde(default)]
    nth: u32,
    #[serde(default)]
    after_us: u64,
    within_ms: u64,
    #[serde(default)]
    restart_max_ms: u64,
}

impl StrikeRequest {
    fn order(self) -> Order {
        let moment = match self.point {
            Some(name) => Moment::Point { name, nth: self.nth },
            None => Moment::AtWork { after: Duration::from_micros(self.after_us).min(WITHIN_MAX) },
        };
        Order {
            by: self.by.unwrap_or_else(|| self.target.clone()),
            target: self.target,
            moment,
            within: Duration::from_millis(self.within_ms).min(WITHIN_MAX),
            restart_max: Duration::from_millis(self.restart_max_ms).min(WITHIN_MAX),
        }
    }
}

/// Waits for the moment, kills, and waits for the restart, where supervision.toml allows it.
pub(super) async fn strike(tree: &Tree, request: StrikeRequest) -> Value {
    if !tree.chaos().allow_kill {
        return json!({ "error": KillError::NotAllowed.to_string() });
    }
    match tree.strike(request.order()).await {
        Ok(struck) => json!({ "struck": {
            "path": struck.path,
            "by": struck.by,
            "handling": struck.handling,
            "depth": struck.depth,
            "restartUs": struck.restart.map(|restart| u64::try_from(restart.as_micros()).unwrap_or(u64::MAX)),
        } }),
        Err(missed) => json!({ "error": missed.to_string() }),
    }
}
