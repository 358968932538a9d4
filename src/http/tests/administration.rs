//! The stream's state, and dead letters that are sent again.

use std::time::Duration;

use orinoco_domain::{DeadLetter, account::Role};
use orinoco_ports::JournalRecord;
use serde_json::{Value, json};

use super::login::{Api, Tokens};

const REPLAY: &str = "/api/v1/admin/dead-letters/replay";
const ROOT: &str = "root@example.org";

async fn open() -> (Api, Tokens) {
    let api = Api::open().await;
    api.world.login.account(ROOT, &[Role::User, Role::Admin]).await;
    let admin = api.log_in(ROOT).await;
    (api, admin)
}

/// Their cursors.
async fn letters(api: &Api, admin: &Tokens, topics: &[&str]) -> Vec<String> {
    let records: Vec<_> = (1_u32..)
        .zip(topics)
        .map(|(number, topic)| {
            let letter = DeadLetter::new(*topic, b"x", "why", "2026-01-02T03:04:05Z");
            letter.encode(&format!("kafka/t/0/{number}").parse().unwrap(), 0)
        })
        .collect();
    api.world.log.produce_dead_letters(&records).await.unwrap();
    let list = api.with_token("GET", "/api/v1/admin/dead-letters", &admin.access, None).await.json();
    let letters = list["letters"].as_array().unwrap();
    letters.iter().map(|letter| letter["cursor"].as_str().unwrap().to_owned()).collect()
}

fn outcomes(answer: &Value) -> Vec<&str> {
    answer["letters"].as_array().unwrap().iter().map(|letter| letter["outcome"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn chosen_letters_are_published_again_in_order_and_it_is_written_down() {
    let (api, admin) = open().await;
    let cursors = letters(&api, &admin, &["a/coordX", "b/+", "c/coordX", "d/coordX"]).await;
    let chosen = json!({ "cursors": [cursors[2], cursors[1], cursors[0], cursors[0]] });
    let answer = api.with_token("POST", REPLAY, &admin.access, Some(&chosen)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(outcomes(&answer.json()), ["published", "skipped", "published"]);
    assert_eq!(answer.json()["letters"][1]["reason"], "its topic holds a wildcard");
    let taken: Vec<String> = api.world.broker.taken.lock().unwrap().iter().map(|(topic, _)| topic.clone()).collect();
    assert_eq!(taken, ["a/coordX", "c/coordX"]);
    let audit = api.with_token("GET", "/api/v1/admin/audit", &admin.access, None).await.json();
    let last = &audit["entries"][0];
    assert_eq!(last["event"], "authz_admin");
    assert!(last["detail"].as_str().unwrap().starts_with("replayed 2 dead letters, skipped 1: "), "{last}");
    // They stay where they are.
    let list = api.with_token("GET", "/api/v1/admin/dead-letters", &admin.access, None).await.json();
    assert_eq!(list["letters"].as_array().unwrap().len(), 4);
}

#[tokio::test]
async fn a_broker_that_goes_away_ends_a_replay_and_the_answer_says_where() {
    let (api, admin) = open().await;
    let cursors = letters(&api, &admin, &["1", "2", "3", "4", "5"]).await;
    let answer = api.with_token("POST", REPLAY, &admin.access, Some(&json!({ "cursors": cursors }))).await;
    assert_eq!(answer.status, 503);
    let expected = format!("3 were replayed; the first one that may not have been is {}: away", cursors[3]);
    assert_eq!(answer.detail(), expected);
    assert_eq!(api.world.login.audited().await.last(), Some(&"authz_admin"));
}

#[tokio::test]
async fn a_record_that_came_from_kafka_needs_the_name_of_its_device() {
    let (api, admin) = open().await;
    let cursors = letters(&api, &admin, &["kafka:coordX/1/7"]).await;
    let skipped = api.with_token("POST", REPLAY, &admin.access, Some(&json!({ "cursors": cursors }))).await.json();
    assert!(skipped["letters"][0]["reason"].as_str().unwrap().contains("name the device"), "{skipped}");
    let named = json!({ "cursors": cursors, "device": "heli-1" });
    let produced = api.with_token("POST", REPLAY, &admin.access, Some(&named)).await.json();
    assert_eq!(outcomes(&produced), ["produced"]);
}

#[tokio::test]
async fn nothing_is_sent_where_a_letter_is_unknown_or_the_request_is_wrong() {
    let (api, admin) = open().await;
    api.world.login.account("ada@example.org", &[Role::User]).await;
    let user = api.log_in("ada@example.org").await;
    let cursors = letters(&api, &admin, &["1", "2"]).await;
    let refused = async |token: &str, body: Value| api.with_token("POST", REPLAY, token, Some(&body)).await.status;
    assert_eq!(refused(&admin.access, json!({ "cursors": [cursors[0], "999999"] })).await, 404);
    assert_eq!(refused(&admin.access, json!({ "cursors": [cursors[0]], "after": cursors[1] })).await, 404);
    assert_eq!(refused(&admin.access, json!({ "cursors": [] })).await, 400);
    assert_eq!(refused(&admin.access, json!({ "cursors": [cursors[0]], "device": "a b" })).await, 400);
    assert_eq!(refused(&user.access, json!({ "cursors": [cursors[0]] })).await, 403);
    assert_eq!(refused("nonsense", json!({ "cursors": [cursors[0]] })).await, 401);
    // As a page of another origin might send it: a form, without a token, which no browser adds by itself.
    let form = "Content-Type: application/x-www-form-urlencoded\r\nOrigin: https://evil.example\r\n";
    assert_eq!(api.send("POST", REPLAY, form, None).await.status, 401);
    let with_token = format!("{form}Authorization: Bearer {}\r\n", admin.access);
    assert_eq!(api.send("POST", REPLAY, &with_token, None).await.status, 415);
    assert!(api.world.broker.taken.lock().unwrap().is_empty());
}

#[tokio::test]
async fn the_stream_shows_the_journal_and_who_holds_what() {
    let (api, admin) = open().await;
    let record = JournalRecord {
        topic: "devices/a/coordX".to_owned(),
        payload: b"1".to_vec(),
        traceparent: None,
        packet_id: None,
        redelivered: false,
        ingest_epoch: 1,
        received_ms: 0,
    };
    api.world.journal.append(&record).unwrap();
    let names = ["ingest", "partition/1"].map(str::to_owned);
    let held = api.world.leases.hold(&names, 2, Duration::from_secs(60)).await.unwrap();
    let stream = api.with_token("GET", "/api/v1/admin/stream", &admin.access, None).await;
    assert_eq!(stream.status, 200, "{stream:?}");
    let stream = stream.json();
    assert_eq!((&stream["journal"]["records"], &stream["journal"]["full"]), (&json!(1), &json!(false)));
    assert!(stream["journal"]["bytesMax"].as_u64().unwrap() > 0);
    assert_eq!(stream["daemon"], api.world.journal.id());
    assert_eq!(stream["ingest"], json!({ "owner": "here", "epoch": held[0].epoch }));
    let expected = json!([
        { "partition": 0, "owner": null, "epoch": null, "lagRecords": null },
        { "partition": 1, "owner": "here", "epoch": held[1].epoch, "lagRecords": null },
    ]);
    assert_eq!(stream["partitions"], expected);
}
