//! What administrators see of the stream, and dead letters that they send again, over the HTTP port.

use orinoco_testkit::unique_name;
use serde_json::{Value, json};

use crate::support::{Mode, Setup, World, latest, until};

for_both_modes! {
    the_stream_shows_who_owns_what_and_how_far_it_is_behind
    a_dead_letter_that_is_replayed_goes_the_way_of_a_message
}

async fn stream(world: &World, token: &str) -> Value {
    let answer = world.call("GET", "admin/stream", token, None).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

async fn the_stream_shows_who_owns_what_and_how_far_it_is_behind(mode: Mode) {
    let world = World::start(mode, Setup::default()).await;
    let admin = world.administrator().await.tokens.access;
    let name = unique_name("d");
    world.device().await.move_to(&name, 1.0, 2.0).await;
    until("a value", async || latest(&world, &name).await).await;
    let caught_up = async || {
        let stream = stream(&world, &admin).await;
        let is_idle = stream["partitions"].as_array()?.iter().all(|partition| partition["lagRecords"] == 0);
        (is_idle && stream["journal"]["records"] == 0).then_some(stream)
    };
    let stream = until("nothing is behind", caught_up).await;
    let daemon = &stream["daemon"];
    let partitions = stream["partitions"].as_array().unwrap();
    assert_eq!(partitions.len(), 4);
    for lease in partitions.iter().chain([&stream["ingest"]]) {
        assert_eq!(&lease["owner"], daemon, "{stream}");
        assert!(lease["epoch"].as_u64().unwrap() > 0, "{stream}");
    }
    assert!(stream["journal"]["bytesMax"].as_u64().unwrap() > stream["journal"]["bytes"].as_u64().unwrap());
    assert_eq!(stream.get("leaseError"), None);
}

async fn a_dead_letter_that_is_replayed_goes_the_way_of_a_message(mode: Mode) {
    let world = World::shared(mode).await;
    let admin = world.administrator().await.tokens.access;
    let topic = format!("devices/{}/coordX", unique_name("d"));
    world.device().await.publish(&topic, "north").await;
    let cursors = async |count: usize| {
        until("letters", async || {
            let found = world.json(&["dlq", "list", "--json"]);
            let found: Vec<Value> = found.into_iter().filter(|letter| letter["topic"] == topic.as_str()).collect();
            let cursors: Vec<Value> = found.into_iter().map(|letter| letter["cursor"].clone()).collect();
            (cursors.len() == count).then_some(cursors)
        })
        .await
    };
    // Twice: in services mode the second goes over the connection of the first.
    for count in 1..=2 {
        let body = json!({ "cursors": [cursors(count).await[0]] });
        let answer = world.call("POST", "admin/dead-letters/replay", &admin, Some(body)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.json()["letters"][0]["outcome"], "published");
    }
    // It is no better than before.
    cursors(3).await;
}

/// The shared daemons' pools are others' to fill: this one has four challenges, and shows them in pages of two.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn children_of_a_pool_are_shown_page_by_page() {
    let world = World::start(Mode::Embedded, Setup::default()).await;
    let admin = world.administrator().await.tokens.access;
    for _ in 0..5 {
        world.browser().await;
    }
    let page = async |query: &str| {
        let path = format!("admin/actors/children?path=root/login/challenges&limit=2{query}");
        world.call("GET", &path, &admin, None).await.json()
    };
    let (mut keys, mut query) = (Vec::new(), String::new());
    loop {
        let page = page(&query).await;
        for child in page["children"].as_array().unwrap() {
            assert_eq!(child["status"], "running");
            keys.push(child["key"].as_str().unwrap().to_owned());
        }
        let Some(next) = page["next"].as_str() else { break };
        query = format!("&after={next}");
    }
    assert_eq!(keys.len(), 5);
    assert!(keys.is_sorted());
    let unknown = world.call("GET", "admin/actors/children?path=root/nowhere", &admin, None).await;
    unknown.assert_problem(400);
}
