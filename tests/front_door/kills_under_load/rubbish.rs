//! A device that publishes what nobody understands: each of it must become a dead letter.

use std::{collections::BTreeMap, time::Duration};

use orinoco_domain::DeadLetter;
use orinoco_testkit::unique_name;
use tokio::{sync::watch, task::JoinHandle};

use crate::support::{Device, World, until, within};

const EVERY: Duration = Duration::from_millis(100);
const CONNECT_AGAIN_AFTER: Duration = Duration::from_millis(10);

pub(super) struct Rubbish {
    topic: String,
    stop: watch::Sender<bool>,
    /// How often each number was sent.
    task: JoinHandle<Vec<usize>>,
}

impl Rubbish {
    pub(super) fn start(world: &World) -> Self {
        let topic = format!("devices/{}/coordX", unique_name("rubbish"));
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(publish(world.mqtt_url(), topic.clone(), stopped));
        Self { topic, stop, task }
    }

    /// Waits until each is a dead letter, no more often than it was sent; how many there were.
    pub(super) async fn stop(self, world: &World) -> usize {
        self.stop.send_replace(true);
        let sends = within("the last PUBACK", self.task).await.unwrap();
        let letters = until("all dead letters", async || {
            let letters = letters(world, &self.topic);
            (letters.len() >= sends.len()).then_some(letters)
        })
        .await;
        assert_eq!(letters.len(), sends.len());
        for (number, sends) in sends.iter().enumerate() {
            assert!((1..=*sends).contains(&letters[&format!("bad {number}")]), "{number}: {letters:?}");
        }
        sends.len()
    }
}

/// How many there are of each payload.
fn letters(world: &World, topic: &str) -> BTreeMap<String, usize> {
    let mut letters = BTreeMap::new();
    for letter in world.json(&["dlq", "list", "--json"]) {
        let letter: DeadLetter = serde_json::from_value(letter).unwrap();
        if letter.topic == topic {
            let payload = String::from_utf8(letter.payload().unwrap()).unwrap();
            *letters.entry(payload).or_default() += 1;
        }
    }
    letters
}

async fn publish(url: String, topic: String, stopped: watch::Receiver<bool>) -> Vec<usize> {
    let mut sends: Vec<usize> = Vec::new();
    let mut device = None;
    while !*stopped.borrow() {
        let number = sends.len();
        sends.push(0);
        let mut acknowledged = false;
        while !acknowledged {
            match &device {
                None => match Device::connect(&url).await {
                    Ok(connected) => device = Some(connected),
                    Err(_) => tokio::time::sleep(CONNECT_AGAIN_AFTER).await,
                },
                Some(connected) => {
                    sends[number] += 1;
                    acknowledged = Device::try_publish(connected, &topic, format!("bad {number}")).await;
                    if !acknowledged {
                        device = None;
                    }
                }
            }
        }
        tokio::time::sleep(EVERY).await;
    }
    sends
}
