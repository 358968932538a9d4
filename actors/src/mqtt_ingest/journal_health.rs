//! What the health board says of the journal: of one board, whoever uses the journal reports here.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use orinoco_ports::JournalError;

use crate::{Health, MqttIngest};

/// Shared by the ingest and the intakes of its connections. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct JournalHealth {
    health: Health,
    is_down: Arc<AtomicBool>,
}

impl JournalHealth {
    pub(super) fn new(health: Health) -> Self {
        Self { health, is_down: Arc::new(AtomicBool::new(true)) }
    }

    pub(super) fn is_down(&self) -> bool {
        self.is_down.load(Ordering::Relaxed)
    }

    /// Keeps the board out of the usual path.
    pub(super) fn up(&self) {
        if self.is_down() && self.is_down.swap(false, Ordering::Relaxed) {
            self.health.up(MqttIngest::JOURNAL_COMPONENT);
        }
    }

    pub(super) fn full(&self) {
        self.is_down.store(true, Ordering::Relaxed);
        self.health.down(MqttIngest::JOURNAL_COMPONENT, "journal.bytes_max is reached");
    }

    pub(super) fn failed(&self, error: &JournalError) {
        self.is_down.store(true, Ordering::Relaxed);
        self.health.down(MqttIngest::JOURNAL_COMPONENT, error);
        if let JournalError::Corrupt { .. } = error {
            self.health.alarm("journal", error);
        }
    }
}
