//! Holds this daemon's leases and tells the owners.
//!
//! Supervised by `stream`, before those it tells. Invariant: an owner is told an epoch only after the lease store granted it. An outage
//! of the lease store is a state: owners go on with what they hold, since the coordinate store fences a former owner off.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use orinoco_ports::{LeaseError, Leases};
use orinoco_supervision::{Actor, Context, Failure, Group, Message};

use crate::{Health, KafkaConsumerMessage, MqttIngestMessage};

/// The lease of who ingests from MQTT.
pub const INGEST_LEASE: &str = "ingest";

/// The lease of a partition.
#[must_use]
pub fn partition_lease(partition: u32) -> String {
    format!("partition/{partition}")
}

/// All that can happen to a [`LeaseKeeper`].
#[derive(Debug, Clone, Copy)]
pub enum LeaseKeeperMessage {
    /// Time to renew.
    Renew,
    /// An owner started anew and asks what it holds.
    Tell,
}

impl Message for LeaseKeeperMessage {
    fn kind(&self) -> &'static str {
        match self {
            Self::Renew => "renew",
            Self::Tell => "tell",
        }
    }
}

/// What a [`LeaseKeeper`] needs.
pub struct LeaseKeeperArguments {
    pub leases: Arc<dyn Leases>,
    pub partitions: u32,
    /// Renewed at a third of it.
    pub time_to_live: Duration,
    pub consumers: Group<KafkaConsumerMessage>,
    pub ingest: Group<MqttIngestMessage>,
    pub health: Health,
}

pub struct LeaseKeeperState {
    arguments: LeaseKeeperArguments,
    wanted: Vec<String>,
    /// Epoch by lease name; `None` until the lease store has answered: that is not the same as holding nothing.
    held: Option<BTreeMap<String, u64>>,
}

/// See the module.
#[derive(Debug, Clone, Copy)]
pub struct LeaseKeeper;

impl LeaseKeeper {
    pub const COMPONENT: &'static str = "leases";
}

impl Actor for LeaseKeeper {
    type Message = LeaseKeeperMessage;
    type Arguments = LeaseKeeperArguments;
    type State = LeaseKeeperState;

    async fn pre_start(
        &self,
        context: &Context<LeaseKeeperMessage>,
        arguments: LeaseKeeperArguments,
    ) -> Result<LeaseKeeperState, Failure> {
        let mut wanted: Vec<String> = (0..arguments.partitions).map(partition_lease).collect();
        wanted.push(INGEST_LEASE.to_owned());
        context.send_after(Duration::ZERO, LeaseKeeperMessage::Renew);
        Ok(LeaseKeeperState { arguments, wanted, held: None })
    }

    async fn handle(
        &self,
        context: &Context<LeaseKeeperMessage>,
        message: LeaseKeeperMessage,
        state: &mut LeaseKeeperState,
    ) -> Result<(), Failure> {
        match message {
            LeaseKeeperMessage::Renew => {
                state.renew().await;
                context.send_after(state.arguments.time_to_live / 3, LeaseKeeperMessage::Renew);
            }
            LeaseKeeperMessage::Tell => state.tell(),
        }
        Ok(())
    }

    async fn post_stop(
        &self,
        _context: &Context<LeaseKeeperMessage>,
        state: &mut LeaseKeeperState,
    ) -> Result<(), Failure> {
        // It stops after the owners do, so that nobody works under a lease that was given back.
        let names: Vec<String> = state.held.iter().flat_map(BTreeMap::keys).cloned().collect();
        if let Err(error) = state.arguments.leases.release(&names).await {
            tracing::warn!(%error, "leases not given back, they run out by themselves");
        }
        Ok(())
    }
}

impl LeaseKeeperState {
    async fn renew(&mut self) {
        let arguments = &self.arguments;
        let hold = arguments.leases.hold(&self.wanted, arguments.time_to_live);
        let answer = tokio::time::timeout(arguments.time_to_live / 2, hold).await;
        match answer {
            Ok(Ok(leases)) => {
                arguments.health.up(LeaseKeeper::COMPONENT);
                self.held = Some(leases.into_iter().map(|lease| (lease.name, lease.epoch)).collect());
                self.tell();
            }
            Ok(Err(error @ (LeaseError::Unavailable { .. } | LeaseError::Schema { .. }))) => {
                arguments.health.down(LeaseKeeper::COMPONENT, error);
            }
            Err(_elapsed) => arguments.health.down(LeaseKeeper::COMPONENT, "lease store does not answer"),
        }
    }

    /// Repeated with each renewal, so that a message lost with a killed owner's mailbox does no harm.
    fn tell(&self) {
        let Some(held) = &self.held else { return };
        for partition in 0..self.arguments.partitions {
            let epoch = held.get(&partition_lease(partition)).copied();
            // Down: it asks when it starts. Full: it is told at the next renewal.
            let _ = self.arguments.consumers.get(partition).try_send(KafkaConsumerMessage::Lease(epoch));
        }
        let epoch = held.get(INGEST_LEASE).copied();
        let _ = self.arguments.ingest.one().try_send(MqttIngestMessage::Lease(epoch));
    }
}
