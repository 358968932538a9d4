//! What is measured when metrics are asked for: the journal, and the actors as the tree sees them.

use std::sync::Arc;

use orinoco_actors::DeviceCensus;
use orinoco_ports::Journal;
use orinoco_supervision::{NodeKind, NodeSnapshot, Status};

use crate::{control::TreeSlot, tls::TlsListeners, ws::WsConnections};

/// Sources of gauges.
#[derive(Clone)]
pub struct Gauges {
    pub journal: Arc<dyn Journal>,
    pub census: DeviceCensus,
    pub connections: Arc<WsConnections>,
    pub tree: TreeSlot,
    pub tls: Arc<TlsListeners>,
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
        self.tls.measure();
        // Not before all has started.
        if let Some(tree) = self.tree.tree() {
            let snapshot = tree.inspect();
            metrics::gauge!("orinoco_actors").set(snapshot.actors as f64);
            set_node(&snapshot.root);
        }
    }
}

/// A pool's partitions are its own business; its children are counted, not named: there may be 100,000.
fn set_node(node: &NodeSnapshot) {
    if node.kind == NodeKind::Partition {
        return;
    }
    let labels = [("actor", node.path.clone())];
    metrics::gauge!("orinoco_actor_up", &labels).set(f64::from(u8::from(node.status == Status::Running)));
    let restarts = node.pool.as_ref().map_or(node.restarts, |pool| pool.restarted);
    metrics::counter!("orinoco_actor_restarts_total", &labels).absolute(restarts);
    if let Some(pool) = &node.pool {
        metrics::gauge!("orinoco_pool_children", &labels).set(pool.live as f64);
    }
    if let Some(mailbox) = &node.mailbox {
        metrics::gauge!("orinoco_actor_mailbox_messages", &labels).set(mailbox.depth as f64);
        metrics::gauge!("orinoco_actor_mailbox_messages_max", &labels).set(mailbox.capacity as f64);
        metrics::counter!("orinoco_actor_messages_refused_total", &labels).absolute(mailbox.rejected + mailbox.dropped);
    }
    if let Some(timing) = &node.timing {
        metrics::counter!("orinoco_actor_messages_handled_total", &labels).absolute(timing.handling.count);
        metrics::counter!("orinoco_actor_hung_total", &labels).absolute(timing.hung);
        metrics::gauge!("orinoco_actor_waiting_p99_seconds", &labels).set(timing.waiting.p99_us as f64 / 1e6);
        metrics::gauge!("orinoco_actor_handling_p99_seconds", &labels).set(timing.handling.p99_us as f64 / 1e6);
    }
    node.children.iter().for_each(set_node);
}
