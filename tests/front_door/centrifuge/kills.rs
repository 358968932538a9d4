//! Official clients while the daemon is killed under load: each publication once, and tokens that expire meanwhile.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{MissedTickBehavior, interval},
};

use super::{Client, Library, connect, give_token};
use crate::support::{Device, Mode, Setup, Tokens, World, campaign, turn, within};

/// Of the daemon under one client.
const KILLS: u64 = 10;
/// Publications between two kills, at least.
const PUBLICATIONS: u64 = 40;
/// Devices beside the watched one.
const OTHERS: usize = 3;
/// Between two values of a device. What a client misses while leases expire is less than a recovery gives at once (4,096).
const PACE: Duration = Duration::from_millis(10);
/// Short, so that tokens expire while the daemon is there and while it is not.
const ACCESS_TOKEN_TTL_S: u64 = 3;
/// Renewals that must have been seen at the end.
const RENEWALS: u64 = 2;

pub(super) async fn nothing_is_lost_or_repeated_while_an_embedded_daemon_is_killed(library: Library) {
    stay_over_kills(library, Mode::Embedded).await;
}

pub(super) async fn nothing_is_lost_or_repeated_while_a_daemon_with_services_is_killed(library: Library) {
    stay_over_kills(library, Mode::Services).await;
}

async fn stay_over_kills(library: Library, mode: Mode) {
    let _turn = turn().await;
    let kills = campaign("CLIENT_KILLS", KILLS);
    let setup = Setup::default()
        .set("stream.public", false)
        .set("stream.history_max", 100_000)
        .set("auth.access_token_ttl_s", ACCESS_TOKEN_TTL_S);
    let world = World::start(mode, setup).await;
    let person = world.person().await;
    let began = Instant::now();
    let load = Load::start(&world, &person.orin_id).await;
    let mut client = Client::start(library, &world, &person.tokens.access);
    let tokens = connect(&mut client, &world, person.tokens.clone()).await;
    let mut watcher = Watcher { client, world: &world, tokens, last: None, renewals: 0, recoveries: 0 };
    watcher.client.tell(json!({"do": "subscribe", "channel": format!("device:{}", person.orin_id)})).await;
    for round in 0..kills {
        // A kill counts only with the client there and values on their way to it.
        watcher.recovered(round).await;
        watcher.more(PUBLICATIONS).await;
        world.daemon.kill().unwrap();
        world.daemon.restart().await.unwrap();
    }
    watcher.recovered(kills).await;
    watcher.more(PUBLICATIONS).await;
    watcher.renewed(RENEWALS).await;
    let value = load.stop().await;
    watcher.until(value).await;
    let Watcher { mut client, renewals, recoveries, last, .. } = watcher;
    let publications = last.map_or(0, |last| last.offset);
    let history = client.call("history", &format!("device:{}", person.orin_id), json!({"limit": 0})).await.unwrap();
    assert_eq!(history["offset"], publications, "{history}");
    assert!(!client.has_seen("publication"), "more than was sent");
    println!(
        "{library:?}, {mode:?}: {kills} kills, {publications} publications, {recoveries} recoveries, {renewals} tokens renewed \
         in {:?}",
        began.elapsed()
    );
}

/// What was seen last.
#[derive(Debug, Clone, PartialEq)]
struct Last {
    offset: u64,
    epoch: String,
    value: f64,
}

impl Last {
    fn of(data: &Value) -> Self {
        Self {
            offset: data["offset"].as_u64().unwrap(),
            epoch: data["epoch"].as_str().unwrap().to_owned(),
            value: data["coordX"].as_f64().unwrap(),
        }
    }
}

/// A client of one device, whose wishes for tokens are answered.
struct Watcher<'w> {
    client: Client,
    world: &'w World,
    tokens: Tokens,
    last: Option<Last>,
    renewals: u64,
    recoveries: u64,
}

impl Watcher<'_> {
    /// Waits for so many publications more.
    async fn more(&mut self, publications: u64) {
        let offset = self.last.as_ref().map_or(0, |last| last.offset) + publications;
        while self.last.as_ref().is_none_or(|last| last.offset < offset) {
            self.step().await;
        }
    }

    async fn recovered(&mut self, recoveries: u64) {
        while self.recoveries < recoveries {
            self.step().await;
        }
    }

    async fn renewed(&mut self, renewals: u64) {
        while self.renewals < renewals {
            self.step().await;
        }
    }

    /// Waits for a value.
    async fn until(&mut self, value: f64) {
        while self.last.as_ref().is_none_or(|last| last.value < value) {
            self.step().await;
        }
    }

    /// Takes in one event.
    async fn step(&mut self) {
        let event = self.client.next().await;
        match event["event"].as_str().unwrap() {
            "publication" => self.publication(&event),
            "token" => {
                self.tokens = give_token(&mut self.client, self.world, &self.tokens).await;
                self.renewals += 1;
            }
            "subscribed" if self.last.is_none() => {
                assert_eq!(event["recoverable"], true, "{event}");
                self.last = event["data"].is_object().then(|| Last::of(&event["data"]));
            }
            "subscribed" => {
                let (was_recovering, recovered) = (&event["wasRecovering"], &event["recovered"]);
                assert_eq!((was_recovering, recovered), (&json!(true), &json!(true)), "{event}");
                self.recoveries += 1;
            }
            "connecting" | "connected" => {}
            _ => panic!("{event}"),
        }
    }

    /// It is the next one, of the same stream; its value is the next one too, or one that the device sent again.
    fn publication(&mut self, event: &Value) {
        let next = Last::of(&event["data"]);
        assert_eq!(event["offset"], next.offset, "{event}");
        if let Some(last) = &self.last {
            assert_eq!((next.offset, &next.epoch), (last.offset + 1, &last.epoch), "a gap or a repeat: {event}");
            assert!([0.0, 1.0].contains(&(next.value - last.value)), "after {last:?}: {event}");
        }
        self.last = Some(next);
    }
}

/// Devices that publish one value after the other, each until it has its PUBACK.
struct Load {
    stop: watch::Sender<bool>,
    watched: JoinHandle<u64>,
    others: Vec<JoinHandle<u64>>,
}

impl Load {
    /// The watched one has a value of both axes when this returns.
    async fn start(world: &World, watched: &str) -> Self {
        world.device().await.move_to(watched, 0.0, 0.0).await;
        let (stop, stopped) = watch::channel(false);
        let publish = |device: String| tokio::spawn(publish(world.mqtt_url(), device, stopped.clone()));
        let others = (0..OTHERS).map(|number| publish(format!("other-{number}"))).collect();
        Self { watched: publish(watched.to_owned()), stop, others }
    }

    /// The last value of the watched one, when all has its PUBACK.
    async fn stop(self) -> f64 {
        self.stop.send_replace(true);
        for other in self.others {
            within("the last PUBACK", other).await.unwrap();
        }
        within("the last PUBACK", self.watched).await.unwrap() as f64
    }
}

/// Values from 1 on, of one axis; the last of them.
async fn publish(url: String, device: String, stopped: watch::Receiver<bool>) -> u64 {
    let topic = format!("devices/{device}/coordX");
    let mut value = 0;
    let mut pace = interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        pace.tick().await;
        // An error: its broker is on its way back.
        let Ok(connection) = Device::connect(&url).await else { continue };
        loop {
            if *stopped.borrow() {
                return value;
            }
            pace.tick().await;
            // What was not acknowledged is sent again.
            if !connection.try_publish(&topic, (value + 1).to_string()).await {
                break;
            }
            value += 1;
        }
    }
}
