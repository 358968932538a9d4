//! The connections, and which device takes which.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Context as _;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::link::{Broker, Link};
use super::plan::Planned;

const LINKS_MAX: u64 = 8;
/// Messages without PUBACK, of all connections together.
const IN_FLIGHT_MAX: usize = 1_000;
/// Messages that wait for a place in flight, a connection; then the sender waits.
const WAITING_MAX: usize = 100;

/// What has been sent and acknowledged, each message once.
#[derive(Debug, Default)]
pub(super) struct Tally {
    sent: AtomicU64,
    acknowledged: AtomicU64,
    reconnections: AtomicU64,
}

impl Tally {
    pub(super) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Acquire)
    }

    pub(super) fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Acquire)
    }

    pub(super) fn reconnections(&self) -> u64 {
        self.reconnections.load(Ordering::Acquire)
    }

    pub(super) fn count_sent(&self) {
        self.sent.fetch_add(1, Ordering::AcqRel);
    }

    pub(super) fn count_acknowledged(&self) {
        self.acknowledged.fetch_add(1, Ordering::AcqRel);
    }

    pub(super) fn count_reconnection(&self) {
        self.reconnections.fetch_add(1, Ordering::AcqRel);
    }
}

/// A device's messages take the connection of its index, always.
pub(super) struct Fleet {
    queues: Vec<mpsc::Sender<Planned>>,
    links: JoinSet<anyhow::Result<()>>,
    tally: Arc<Tally>,
}

impl Fleet {
    /// # Errors
    /// The broker can't be reached or refused us.
    pub(super) async fn connect(broker: &Broker, devices: u64) -> anyhow::Result<Self> {
        let count = usize::try_from(devices.clamp(1, LINKS_MAX)).unwrap_or(1);
        let tally = Arc::<Tally>::default();
        let mut fleet = Self { queues: Vec::new(), links: JoinSet::new(), tally: Arc::clone(&tally) };
        for number in 0..count {
            let link = Link::connect(broker, number, IN_FLIGHT_MAX / count, Arc::clone(&tally)).await?;
            let (queue, messages) = mpsc::channel(WAITING_MAX);
            fleet.queues.push(queue);
            fleet.links.spawn(link.deliver(messages));
        }
        Ok(fleet)
    }

    pub(super) fn tally(&self) -> Arc<Tally> {
        Arc::clone(&self.tally)
    }

    /// Waits for a place in the queue.
    ///
    /// # Errors
    /// The connection has given up; `finish` says why.
    pub(super) async fn send(&self, message: Planned) -> anyhow::Result<()> {
        let queue = &self.queues[message.device_index % self.queues.len()];
        queue.send(message).await.ok().context("the connection to the MQTT broker has given up")
    }

    /// Waits for the last acknowledgements; the first connection that gave up says why.
    pub(super) async fn finish(mut self) -> (Arc<Tally>, anyhow::Result<()>) {
        self.queues.clear();
        let mut outcome = Ok(());
        while let Some(ended) = self.links.join_next().await {
            outcome = outcome.and(ended.unwrap_or_else(|error| Err(error.into())));
        }
        (self.tally, outcome)
    }
}
