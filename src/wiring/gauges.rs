//! What is measured when metrics are asked for: mailboxes, restarts, the journal.

use std::sync::Arc;

use orinoco_actors::DeviceCensus;
use orinoco_ports::Journal;

use crate::ws::WsConnections;

/// Sources of gauges.
#[derive(Clone)]
pub struct Gauges {
    pub journal: Arc<dyn Journal>,
    pub census: DeviceCensus,
    pub connections: Arc<WsConnections>,
}

impl Gauges {
    /// Sets all gauges. Does not block.
    pub fn set(&self) {
        let depth = self.journal.depth();
        metrics::gauge!("orinoco_journal_records").set(depth.records as f64);
        metrics::gauge!("orinoco_journal_bytes").set(depth.bytes as f64);
        metrics::gauge!("orinoco_journal_bytes_max").set(depth.bytes_max as f64);
        metrics::gauge!("orinoco_journal_full").set(f64::from(u8::from(depth.full)));
        metrics::gauge!("orinoco_devices").set(self.census.len() as f64);
        metrics::gauge!("orinoco_websocket_connections").set(self.connections.len() as f64);
    }
}
