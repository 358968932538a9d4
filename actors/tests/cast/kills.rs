//! Actors are killed while messages are on their way: nothing is lost, nothing is doubled, sockets see each frame once.

use std::time::Duration;

use orinoco_actors::View;
use orinoco_domain::{Position, pairing::Pairing};
use orinoco_ports::StoreError;

use crate::{
    seed,
    sockets::MemorySocket,
    stream::PARTITIONS,
    world::{World, publish},
};

const DEVICES: [&str; 5] = ["a", "b", "c", "d", "e"];
const ROUNDS: u32 = 80;
const RUNS: usize = 4;

/// Publishes an X and a Y for each device and round, and kills `paths` by turns.
async fn run(paths: &[String]) {
    let seed = seed::begin();
    let world = World::start(Pairing::Latest).await;
    let client = world.watch(View::All, None, MemorySocket::fast()).await;
    let mut publisher = world.publisher().await;
    let mut kills = 0;
    for round in 0..ROUNDS {
        for name in DEVICES {
            for axis in ["coordX", "coordY"] {
                publish(&mut publisher, &format!("devices/{name}/{axis}"), &round.to_string()).await;
                if fastrand::u32(..15) == 0 {
                    let path = &paths[fastrand::usize(..paths.len())];
                    kills += u32::from(world.tree.kill(path).is_ok());
                }
                // Paused time passes only while all wait.
                match fastrand::u32(..8) {
                    0 => tokio::time::sleep(Duration::from_millis(fastrand::u64(..8))).await,
                    yields => {
                        for _ in 0..yields {
                            tokio::task::yield_now().await;
                        }
                    }
                }
            }
        }
    }
    let per_device = u64::from(ROUNDS) * 2 - 1;
    let all = DEVICES.len() * usize::try_from(per_device).unwrap();
    let what = format!("seed {seed}, {kills} kills of {paths:?}");
    let frames = client.socket.until(&what, |frames| frames.len() >= all).await;
    for name in DEVICES {
        let seen: Vec<_> = frames.iter().filter(|frame| frame.device.as_str() == name).collect();
        let offsets: Vec<u64> = seen.iter().map(|frame| frame.offset).collect();
        assert_eq!(offsets, (1..=per_device).collect::<Vec<_>>(), "{what}: {name}");
        let last = seen.last().map(|frame| (frame.coord_x, frame.coord_y));
        let round = f64::from(ROUNDS - 1);
        assert_eq!(last, Some((round, round)), "{what}: {name}");
        // In the order of publication, across the axes too.
        let sums: Vec<f64> = seen.iter().map(|frame| frame.coord_x + frame.coord_y).collect();
        assert_eq!(sums, (0..per_device).map(|n| n as f64).collect::<Vec<_>>(), "{what}: {name}");
    }
    assert!(kills > 5, "{what}");
    settled(&world, &what).await;
}

/// All that was accepted is produced, and all that was produced is applied.
async fn settled(world: &World, what: &str) {
    for partition in 0..PARTITIONS {
        let mut tries = 0;
        loop {
            let (_, end) = world.log.bounds(partition).await.unwrap();
            let applied = applied(world, partition).await;
            if applied == end && world.journal.depth().records == 0 {
                break;
            }
            tries += 1;
            assert!(tries < 400, "{what}: partition {partition} stands at {applied:?} of {end:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Where the store stands, asked under the owner's own fence: a higher one would end its ownership.
async fn applied(world: &World, partition: u32) -> Position {
    for fence in 0.. {
        match world.store.load(partition, fence).await {
            Ok(state) => return state.position,
            Err(StoreError::Fenced { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
    unreachable!("a fence is a small number")
}

fn instances(id: &str) -> Vec<String> {
    (0..PARTITIONS).map(|partition| format!("root/stream/{id}.{partition}")).collect()
}

async fn run_seeds(paths: Vec<String>) {
    for _ in 0..RUNS {
        run(&paths).await;
    }
}

#[tokio::test(start_paused = true)]
async fn killing_the_ingest_loses_and_doubles_nothing() {
    run_seeds(vec!["root/stream/ingest".to_owned()]).await;
}

#[tokio::test(start_paused = true)]
async fn killing_the_producer_loses_and_doubles_nothing() {
    run_seeds(vec!["root/stream/producer".to_owned()]).await;
}

#[tokio::test(start_paused = true)]
async fn what_a_killed_producer_had_taken_is_sent_again_though_no_message_follows() {
    let world = World::start(Pairing::Latest).await;
    let mut publisher = world.publisher().await;
    for turns in 0..40 {
        publish(&mut publisher, "devices/a/coordX", &turns.to_string()).await;
        // The kill comes before the producer has the record, while it produces it, or later.
        for _ in 0..turns {
            tokio::task::yield_now().await;
        }
        let _ = world.tree.kill("root/stream/producer");
        settled(&world, &format!("killed after {turns} turns")).await;
    }
}

#[tokio::test(start_paused = true)]
async fn killing_consumers_loses_and_doubles_nothing() {
    run_seeds(instances("consumer")).await;
}

#[tokio::test(start_paused = true)]
async fn killing_writers_loses_and_doubles_nothing() {
    run_seeds(instances("writer")).await;
}

#[tokio::test(start_paused = true)]
async fn killing_hubs_loses_and_doubles_nothing() {
    run_seeds(instances("hub")).await;
}

#[tokio::test(start_paused = true)]
async fn killing_the_lease_keeper_loses_and_doubles_nothing() {
    run_seeds(vec!["root/stream/leases".to_owned()]).await;
}

#[tokio::test(start_paused = true)]
async fn killing_everything_by_turns_loses_and_doubles_nothing() {
    let mut paths =
        vec!["root/stream/ingest".to_owned(), "root/stream/producer".to_owned(), "root/stream/leases".to_owned()];
    for id in ["consumer", "writer", "hub"] {
        paths.extend(instances(id));
    }
    run_seeds(paths).await;
}
