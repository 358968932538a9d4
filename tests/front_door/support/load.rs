//! Devices that publish at a steady rate, whatever happens to the broker, and know what was acknowledged.

use std::{collections::VecDeque, time::Duration};

use orinoco_testkit::unique_name;
use tokio::{
    sync::oneshot,
    task::JoinHandle,
    time::{MissedTickBehavior, interval},
};

use super::{Device, Ledger, Token, World, latest, until, within};

const TICK: Duration = Duration::from_millis(10);
/// Unacknowledged messages of one connection.
const WINDOW_MAX: usize = 100;

/// Who publishes, and how fast.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LoadPlan {
    pub(crate) connections: usize,
    /// Of each connection. Every other one says the time of its messages itself.
    pub(crate) devices: usize,
    /// Of all connections together, at most.
    pub(crate) messages_per_second: usize,
}

pub(crate) struct Load {
    devices: Vec<String>,
    connections: Vec<(oneshot::Sender<()>, JoinHandle<Ledger>)>,
}

impl Load {
    /// Each device has a value when this returns: its very first message is the only one that yields nothing.
    pub(crate) async fn start(world: &World, plan: LoadPlan) -> Self {
        let mut load = Self { devices: Vec::new(), connections: Vec::new() };
        let url = world.mqtt_url();
        for _ in 0..plan.connections {
            let devices: Vec<String> = (0..plan.devices).map(|_| unique_name("load")).collect();
            load.devices.extend(devices.iter().cloned());
            let per_second = plan.messages_per_second / plan.connections;
            let mut sender = Sender {
                url: url.clone(),
                per_tick: (per_second * 10).div_ceil(1_000),
                ledger: Ledger::new(devices),
                next: 0,
                unacknowledged: VecDeque::new(),
            };
            sender.begin(world, plan.devices).await;
            let (stop, stopped) = oneshot::channel();
            load.connections.push((stop, tokio::spawn(sender.run(stopped))));
        }
        load
    }

    pub(crate) fn devices(&self) -> &[String] {
        &self.devices
    }

    /// Ends it when all is acknowledged.
    pub(crate) async fn stop(self) -> Ledger {
        let mut ledger = Ledger::default();
        let (stops, tasks): (Vec<_>, Vec<_>) = self.connections.into_iter().unzip();
        for stop in stops {
            // Ended: then its task's panic shows why.
            let _ = stop.send(());
        }
        for task in tasks {
            ledger.extend(within("the last PUBACK", task).await.unwrap());
        }
        ledger
    }
}

struct Sender {
    url: String,
    per_tick: usize,
    ledger: Ledger,
    /// Number of the next message.
    next: usize,
    /// In order, with the number.
    unacknowledged: VecDeque<(usize, Token)>,
}

impl Sender {
    /// The first value of both axes of each device.
    async fn begin(&mut self, world: &World, devices: usize) {
        let connection = self.connect().await;
        while self.next < 2 * devices {
            let (topic, payload) = self.ledger.record(self.next);
            connection.publish(&topic, payload).await;
            self.next += 1;
        }
        for device in self.ledger.devices() {
            until("a first value", async || latest(world, device).await).await;
        }
    }

    async fn run(mut self, mut stopped: oneshot::Receiver<()>) -> Ledger {
        let mut connection = self.connect().await;
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut stopping = false;
        while !(stopping && self.unacknowledged.is_empty()) {
            let acknowledged = async {
                match self.unacknowledged.front_mut() {
                    Some((_, token)) => token.await.is_ok(),
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                acknowledged = acknowledged => {
                    if acknowledged {
                        self.unacknowledged.pop_front();
                    } else {
                        connection = self.reconnect().await;
                    }
                }
                () = connection.lost() => connection = self.reconnect().await,
                _ = &mut stopped, if !stopping => stopping = true,
                _ = ticks.tick(), if !stopping => {
                    for _ in 0..self.per_tick {
                        if self.unacknowledged.len() < WINDOW_MAX {
                            self.next += 1;
                            self.send(&connection, self.next - 1).await;
                        }
                    }
                }
            }
        }
        self.ledger
    }

    async fn send(&mut self, connection: &Device, number: usize) {
        let (topic, payload) = self.ledger.record(number);
        self.unacknowledged.push_back((number, connection.send(&topic, payload).await));
    }

    async fn connect(&self) -> Device {
        within("the broker", async {
            loop {
                if let Ok(device) = Device::connect(&self.url).await {
                    return device;
                }
                tokio::time::sleep(TICK).await;
            }
        })
        .await
    }

    /// What was not acknowledged is sent again, in order.
    async fn reconnect(&mut self) -> Device {
        let connection = self.connect().await;
        let unacknowledged = std::mem::take(&mut self.unacknowledged);
        for (number, _) in unacknowledged {
            self.send(&connection, number).await;
        }
        connection
    }
}
