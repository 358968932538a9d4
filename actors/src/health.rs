//! What works and what does not, as `/readyz` tells it. Actors report; each change is logged once, here.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde::Serialize;

/// The state of one component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", content = "reason", rename_all = "camelCase")]
pub enum ComponentState {
    Up,
    /// Works, and is behind: `"1234 records behind"`.
    CatchingUp(String),
    Down(String),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Component {
    pub name: String,
    #[serde(flatten)]
    pub state: ComponentState,
}

/// The board that all report to. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Health(Arc<Mutex<Board>>);

#[derive(Debug, Default)]
struct Board {
    components: BTreeMap<String, ComponentState>,
    /// What was lost, by name: stays until the daemon is restarted, and somebody has looked.
    alarms: BTreeMap<String, String>,
}

impl Health {
    /// Makes a component known before it has reported: not ready until it does.
    pub fn expect(&self, name: &str) {
        let down = ComponentState::Down("starting".to_owned());
        self.board().components.entry(name.to_owned()).or_insert(down);
    }

    pub fn up(&self, name: &str) {
        self.set(name, ComponentState::Up);
    }

    pub fn catching_up(&self, name: &str, behind: u64) {
        self.set(name, ComponentState::CatchingUp(format!("{behind} records behind")));
    }

    pub fn down(&self, name: &str, reason: impl ToString) {
        self.set(name, ComponentState::Down(reason.to_string()));
    }

    /// A component that this daemon has no part in at present (another one owns the lease).
    pub fn forget(&self, name: &str) {
        self.board().components.remove(name);
    }

    /// Data was lost outside of this program, or is about to be: for people to look at.
    pub fn alarm(&self, name: &str, what: impl ToString) {
        let what = what.to_string();
        tracing::error!(alarm = name, %what, "alarm");
        metrics::counter!("orinoco_alarms_total", "alarm" => name.to_owned()).increment(1);
        self.board().alarms.insert(name.to_owned(), what);
    }

    #[must_use]
    pub fn components(&self) -> Vec<Component> {
        let board = self.board();
        board.components.iter().map(|(name, state)| Component { name: name.clone(), state: state.clone() }).collect()
    }

    #[must_use]
    pub fn alarms(&self) -> BTreeMap<String, String> {
        self.board().alarms.clone()
    }

    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.board().components.values().all(|state| *state == ComponentState::Up)
    }

    fn set(&self, name: &str, state: ComponentState) {
        let mut board = self.board();
        let before = board.components.get(name);
        if before == Some(&state) {
            return;
        }
        // The reason of an outage may change with each try; one line an outage is enough.
        let same_kind = before.is_some_and(|before| std::mem::discriminant(before) == std::mem::discriminant(&state));
        if !same_kind {
            match &state {
                ComponentState::Up => tracing::info!(component = name, "component is up"),
                ComponentState::CatchingUp(behind) => tracing::info!(component = name, %behind, "component catches up"),
                ComponentState::Down(reason) => tracing::warn!(component = name, %reason, "component is down"),
            }
            let up = if state == ComponentState::Up { 1.0 } else { 0.0 };
            metrics::gauge!("orinoco_component_up", "component" => name.to_owned()).set(up);
        }
        board.components.insert(name.to_owned(), state);
    }

    fn board(&self) -> MutexGuard<'_, Board> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_means_that_all_expected_components_are_up() {
        let health = Health::default();
        health.expect("kafka");
        assert!(!health.is_ready());
        health.catching_up("kafka", 5);
        assert!(!health.is_ready());
        health.up("kafka");
        assert!(health.is_ready());
        health.down("kafka", "connection refused");
        assert!(!health.is_ready());
        health.forget("kafka");
        assert!(health.is_ready());
    }
}
