//! What can't be understood becomes a dead letter, and stalls nobody.

use std::collections::BTreeMap;

use orinoco_domain::DeadLetter;
use orinoco_testkit::unique_name;

use crate::support::{Mode, World, turn, until, within};

for_both_modes! {
    malformed_payloads_are_acknowledged_and_kept_with_their_bytes
    ten_thousand_malformed_payloads_in_a_row_stall_nobody
}

/// Dead letters of topics with this prefix, by topic, as payloads.
fn letters(world: &World, prefix: &str) -> BTreeMap<String, Vec<Vec<u8>>> {
    let mut letters: BTreeMap<String, Vec<Vec<u8>>> = BTreeMap::new();
    for letter in world.json(&["dlq", "list", "--json"]) {
        let letter: DeadLetter = serde_json::from_value(letter).unwrap();
        if letter.topic.starts_with(prefix) {
            assert!(!letter.reason.is_empty() && letter.time.starts_with("20"), "{letter:?}");
            let payload = letter.payload().unwrap();
            letters.entry(letter.topic).or_default().push(payload);
        }
    }
    letters
}

async fn malformed_payloads_are_acknowledged_and_kept_with_their_bytes(mode: Mode) {
    let world = World::shared(mode).await;
    let name = unique_name("d");
    let device = world.device().await;
    let mut payloads: Vec<Vec<u8>> = [
        "",
        " ",
        "abc",
        "NaN",
        "inf",
        "-Infinity",
        "1e999",
        "0x10",
        "1,5",
        "1 2",
        "[1]",
        "\"1\"",
        "null",
        "true",
        "{",
        "{}",
        r#"{"message":null}"#,
        r#"{"message":"x"}"#,
        r#"{"message":"1e999"}"#,
        r#"{"message":[1]}"#,
        r#"{"message":1,"timestamp":"soon"}"#,
        r#"{"message":1,"timestamp":1e300}"#,
        r#"{"message":1,"timestamp":true}"#,
    ]
    .map(|text| text.as_bytes().to_vec())
    .into();
    payloads.push((0..=255).collect());
    payloads.push(vec![b'7'; 100_000]);
    let topic = format!("devices/{name}/coordX");
    for payload in &payloads {
        device.publish(&topic, payload).await;
    }
    // A device's name that is none; topics of other kinds.
    let odd = ["{} x/coordX", "{}é/coordY", "{}", "{}/coordZ", "{}/a/coordX"]
        .map(|topic| format!("devices/{}", topic.replace("{}", &name)));
    for topic in &odd {
        device.publish(topic, "1").await;
    }
    let found = until("all dead letters", async || {
        let found = letters(world, &format!("devices/{name}"));
        let count = found.values().map(Vec::len).sum::<usize>();
        assert!(count <= payloads.len() + odd.len(), "{count} dead letters");
        (count == payloads.len() + odd.len()).then_some(found)
    })
    .await;
    assert_eq!(found[&topic], payloads);
    for topic in &odd {
        assert_eq!(found[topic], [b"1"], "{topic}");
    }
    // The device goes on.
    device.move_to(&name, 1.0, 2.0).await;
    let latest = until("a value", async || crate::support::latest(world, &name).await).await;
    assert_eq!((latest.x, latest.y, latest.offset), (1.0, 2.0, 1));
}

async fn ten_thousand_malformed_payloads_in_a_row_stall_nobody(mode: Mode) {
    const LETTERS: usize = 10_000;
    const VALUES: usize = 200;
    let _turn = turn().await;
    let world = World::shared(mode).await;
    let (bad, good) = (unique_name("d"), unique_name("d"));
    let mut socket = world.watch(&format!("?device={good}")).await;
    let flood = async {
        let device = world.device().await;
        let topic = format!("devices/{bad}/coordX");
        for first in (0..LETTERS).step_by(100) {
            let mut tokens = Vec::new();
            for number in first..first + 100 {
                tokens.push(device.send(&topic, format!("bad {number}")).await);
            }
            for token in tokens {
                within("a PUBACK", token).await.unwrap();
            }
        }
    };
    let stream = async {
        let device = world.device().await;
        device.move_to(&good, 0.0, 0.0).await;
        assert_eq!(socket.frame().await.offset, 1);
        // One after the other, each seen before the next: the rubbish beside it does not hold it up.
        for value in 1..=VALUES {
            device.publish(&format!("devices/{good}/coordX"), value.to_string()).await;
            assert_eq!(socket.frame().await.x, value as f64);
        }
    };
    tokio::join!(flood, stream);
    let found = until("10,000 dead letters", async || {
        let found = letters(world, &format!("devices/{bad}/"));
        (found.values().map(Vec::len).sum::<usize>() >= LETTERS).then_some(found)
    })
    .await;
    let expected = (0..LETTERS).map(|number| format!("bad {number}").into_bytes());
    assert!(found.into_values().flatten().eq(expected), "in order, and each once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_packet_over_the_bound_closes_the_connection() {
    let world = World::shared(Mode::Embedded).await;
    let name = unique_name("d");
    let mut device = world.device().await;
    let token = device.send(&format!("devices/{name}/coordX"), vec![b'1'; 300_000]).await;
    within("the end of the connection", device.lost()).await;
    drop(token);
    assert_eq!(letters(world, &format!("devices/{name}")), BTreeMap::new());
    let device = world.device().await;
    device.move_to(&name, 1.0, 2.0).await;
    until("a value", async || crate::support::latest(world, &name).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_letter_can_be_shown_and_replayed() {
    let world = World::shared(Mode::Embedded).await;
    let name = unique_name("d");
    let topic = format!("devices/{name}/coordX");
    world.device().await.publish(&topic, "not yet a number").await;
    let cursor = until("the dead letter", async || {
        let letters = world.json(&["dlq", "list", "--json"]);
        let letter = letters.into_iter().find(|letter| letter["topic"] == topic.as_str())?;
        Some(letter["cursor"].as_str()?.to_owned())
    })
    .await;
    let shown = world.command(&["dlq", "show", &cursor]);
    assert!(shown.status.success());
    assert!(String::from_utf8(shown.stdout).unwrap().contains("not yet a number"));
    let replayed = world.command(&["dlq", "replay", &cursor]);
    assert!(replayed.status.success(), "{}", String::from_utf8_lossy(&replayed.stderr));
    // It is no better than before: another letter.
    until("the letter again", async || (letters(world, &topic).get(&topic)?.len() == 2).then_some(())).await;
    assert_eq!(world.command(&["dlq", "show", "no such cursor"]).status.code(), Some(1));
}
