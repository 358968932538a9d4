//! Holds this daemon's leases and tells the owners.
//!
//! Supervised by `stream`, before those it tells. Invariant: an owner is told an epoch only after the lease store granted it. An outage
//! of the lease store is a state: owners go on with what they hold, since the coordinate store fences a former owner off.
//!
//! Partitions are shared evenly among the daemons that take part. Who has more than its share announces what it gives up to its own actors,
//! and gives it back with the next renewal, when they have come to rest; so a daemon that joins moves only what it takes.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use orinoco_domain::fair_share;
use orinoco_ports::{LeaseError, Leases, Sharing};
use orinoco_supervision::{Actor, Context, Failure, Group, Message, fault};
use tokio::time::Instant;

use crate::{Health, KafkaConsumerMessage, MqttIngestMessage, Tenure};

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
    /// Whether this daemon ingests when it is its turn; else it leaves that lease to others for good.
    pub takes_ingest: bool,
    /// Whether it takes its share of the partitions; else it takes no part in sharing them.
    pub takes_partitions: bool,
    /// Told of the ingest's lease. Leases live as long as it says, and are renewed at a third of that.
    pub tenure: Tenure,
    pub consumers: Group<KafkaConsumerMessage>,
    pub ingest: Group<MqttIngestMessage>,
    pub health: Health,
}

pub struct LeaseKeeperState {
    arguments: LeaseKeeperArguments,
    partition_leases: Vec<String>,
    /// Epoch by lease name; `None` until the lease store has answered: that is not the same as holding nothing.
    held: Option<BTreeMap<String, u64>>,
    /// Held beyond the fair share: their owners here are told to stop, and the next renewal gives them to others.
    leaving: Vec<String>,
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
        let partition_leases = (0..arguments.partitions).map(partition_lease).collect();
        context.send_after(Duration::ZERO, LeaseKeeperMessage::Renew);
        Ok(LeaseKeeperState { arguments, partition_leases, held: None, leaving: Vec::new() })
    }

    async fn handle(
        &self,
        context: &Context<LeaseKeeperMessage>,
        message: LeaseKeeperMessage,
        state: &mut LeaseKeeperState,
    ) -> Result<(), Failure> {
        match message {
            LeaseKeeperMessage::Renew => {
                fault::point("lease_keeper.before_effect").await?;
                state.renew().await?;
                context.send_after(state.arguments.tenure.time_to_live() / 3, LeaseKeeperMessage::Renew);
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
        if let Err(error) = state.arguments.leases.leave().await {
            tracing::warn!(%error, "leases not given back, they run out by themselves");
        }
        Ok(())
    }
}

impl LeaseKeeperState {
    async fn renew(&mut self) -> Result<(), Failure> {
        let tenure = self.arguments.tenure.clone();
        tenure.at_work();
        let answer = tokio::time::timeout(tenure.time_to_live() / 2, self.hold()).await;
        tenure.at_work();
        fault::point("lease_keeper.after_effect").await?;
        let health = &self.arguments.health;
        match answer {
            Ok(Ok(())) => {
                health.up(LeaseKeeper::COMPONENT);
                self.tell();
            }
            Ok(Err(error @ (LeaseError::Unavailable { .. } | LeaseError::Schema { .. }))) => {
                health.down(LeaseKeeper::COMPONENT, error);
            }
            Err(_elapsed) => health.down(LeaseKeeper::COMPONENT, "lease store does not answer"),
        }
        Ok(())
    }

    /// Renews what is held, gives back what was announced at the last renewal, and takes what is free up to the fair share.
    async fn hold(&mut self) -> Result<(), LeaseError> {
        let LeaseKeeperArguments { leases, partitions, takes_ingest, takes_partitions, tenure, .. } = &self.arguments;
        let (asked, time_to_live) = (Instant::now(), tenure.time_to_live());
        if !self.leaving.is_empty() {
            leases.release(&self.leaving).await?;
            self.held.iter_mut().for_each(|held| held.retain(|name, _| !self.leaving.contains(name)));
            self.leaving.clear();
        }
        let (wanted, share) = if *takes_partitions {
            let Sharing { owners, rank } = leases.take_part(time_to_live).await?;
            (self.partition_leases.as_slice(), fair_share(*partitions, owners, rank) as usize)
        } else {
            (&[][..], 0)
        };
        let of_partitions = |held: &BTreeMap<String, u64>| held.keys().filter(|name| *name != INGEST_LEASE).count();
        if *takes_ingest {
            leases.hold(&[INGEST_LEASE.to_owned()], 1, time_to_live).await?;
        }
        let held = leases.hold(wanted, share as u32, time_to_live).await?;
        let held: BTreeMap<_, _> = held.into_iter().map(|lease| (lease.name, lease.epoch)).collect();
        tenure.answered(held.get(INGEST_LEASE).copied(), asked);
        let excess = of_partitions(&held).saturating_sub(share);
        self.leaving =
            self.partition_leases.iter().rev().filter(|name| held.contains_key(*name)).take(excess).cloned().collect();
        self.held = Some(held);
        Ok(())
    }

    /// Repeated with each renewal, so that a message lost with a killed owner's mailbox does no harm.
    fn tell(&self) {
        let Some(held) = &self.held else { return };
        for partition in 0..self.arguments.partitions {
            let name = &self.partition_leases[partition as usize];
            let epoch = held.get(name).filter(|_| !self.leaving.contains(name)).copied();
            show(name, epoch);
            // Down: it asks when it starts. Full: it is told at the next renewal.
            let _ = self.arguments.consumers.get(partition).try_send(KafkaConsumerMessage::Lease(epoch));
        }
        let epoch = held.get(INGEST_LEASE).copied();
        show(INGEST_LEASE, epoch);
        let _ = self.arguments.ingest.one().try_send(MqttIngestMessage::Lease(epoch));
    }
}

/// For the metrics: the epoch, 0 where it is another's.
fn show(lease: &str, epoch: Option<u64>) {
    metrics::gauge!("orinoco_lease_epoch", "lease" => lease.to_owned()).set(epoch.unwrap_or(0) as f64);
}
