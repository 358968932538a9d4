//! Redis "WS": what the suite of all stores can't know.

use std::{sync::Arc, time::Duration};

use orinoco_domain::{Axis, CoordinateData, DeviceId, Position, Timestamp, pairing::DeviceState};
use orinoco_ports::{Applied, Batch, CoordinateStore, DeviceUpdate, PartitionState, PublishedFrame, StoreError};
use orinoco_services::{RedisStore, RedisStoreOptions};
use orinoco_testkit::{Redis, RedisKind, poll_until, unique_name};

const DEADLINE: Duration = Duration::from_secs(30);
const HISTORY_MAX: usize = 50;

async fn own_server() -> (Redis, RedisStore) {
    let redis = Redis::start(RedisKind::Ws).await.unwrap();
    let options = RedisStoreOptions { call_timeout: Duration::from_millis(500), ..RedisStoreOptions::new(redis.url()) };
    let store = RedisStore::new(&options).unwrap();
    (redis, store)
}

fn device(name: &str) -> DeviceId {
    DeviceId::parse(name).unwrap()
}

/// The batch that follows `state`: a frame for each of these devices.
fn batch_after(state: &PartitionState, names: &[&str]) -> Batch {
    let update = |name: &&str| {
        let device = device(name);
        let held = state.devices.iter().find(|(held, _)| *held == device);
        let mut state_after = held.map(|(_, state)| state.clone()).unwrap_or_default();
        state_after.head += 1;
        let data = CoordinateData {
            coord_x: 1.5,
            coord_y: 2.5,
            timestamp: Timestamp::from_epoch_ms(0).unwrap(),
            source: Axis::X,
            device: device.clone(),
            offset: state_after.head,
            epoch: Arc::clone(&state.epoch),
            unpaired: false,
            late: false,
        };
        DeviceUpdate {
            device,
            state: state_after,
            frames: vec![PublishedFrame { frame: data.encode(), is_latest: true }],
        }
    };
    let records = i64::try_from(names.len()).unwrap();
    Batch {
        partition: 0,
        fence: 1,
        revision: state.revision,
        from: state.position,
        to: Position { x: state.position.x + records, y: state.position.y },
        marks: vec![("coordX:mqtt/j".to_owned(), state.revision + 1)],
        devices: names.iter().map(update).collect(),
        history_max: HISTORY_MAX,
    }
}

async fn apply_one(store: &RedisStore, names: &[&str]) -> PartitionState {
    let before = store.load(0, 1).await.unwrap();
    let batch = batch_after(&before, names);
    assert_eq!(store.apply(&batch).await.unwrap(), Applied::Done);
    store.load(0, 1).await.unwrap()
}

async fn load_when_back(store: &RedisStore) -> PartitionState {
    poll_until(DEADLINE, "a load after the outage", async || store.load(0, 1).await.ok()).await.unwrap()
}

/// Position, revision, mark, heads, latest values and history must all tell of the same number of batches.
async fn assert_whole(store: &RedisStore, state: &PartitionState, names: &[&str]) {
    let batches = state.revision;
    assert_eq!(state.position.x.unsigned_abs(), batches * names.len() as u64);
    assert_eq!(state.marks, [("coordX:mqtt/j".to_owned(), batches)]);
    assert_eq!(state.devices.len(), names.len());
    for name in names {
        let device = device(name);
        let held = state.devices.iter().find(|(held, _)| *held == device).unwrap();
        assert_eq!(held.1, DeviceState { head: batches, ..DeviceState::default() });
        let latest = store.latest(0, &device).await.unwrap().unwrap();
        assert_eq!((latest.head, latest.latest.offset), (batches, batches));
        let page = store.history(0, &device, 0, usize::MAX).await.unwrap();
        assert_eq!((page.head, page.frames.len()), (batches, HISTORY_MAX.min(usize::try_from(batches).unwrap())));
        assert!(page.frames.iter().all(|frame| frame.decode().unwrap().offset == frame.offset));
    }
}

#[tokio::test]
async fn redis_killed_between_and_in_batches_leaves_whole_batches_only() {
    let (redis, store) = own_server().await;
    let names = ["a", "b", "c", "d", "e"];
    let mut acknowledged = 0;
    for _ in 0..3 {
        // With `everysec` Redis answers before it writes to its file, while the disk is slow: then acknowledged batches go with it, and are
        // read from Kafka again.
        redis.address().command(0, &["CONFIG", "SET", "appendfsync", "always"]).await.unwrap();
        let mut state = load_when_back(&store).await;
        assert!(state.revision >= acknowledged, "an acknowledged batch is gone");
        // As many as there are until the kill, which comes from beside.
        let kill_after = state.revision + 200;
        let killer = poll_until(DEADLINE, "some batches", async || {
            store.load(0, 1).await.ok().filter(|state| state.revision >= kill_after)
        });
        let writer = async {
            loop {
                match store.apply(&batch_after(&state, &names)).await {
                    Ok(Applied::Done) => {
                        acknowledged = state.revision + 1;
                        state = match store.load(0, 1).await {
                            Ok(state) => state,
                            Err(error) => break error,
                        };
                    }
                    Ok(other) => panic!("{other:?}"),
                    Err(error) => break error,
                }
            }
        };
        let kill = async {
            killer.await.unwrap();
            redis.kill().await.unwrap();
        };
        let (error, ()) = tokio::join!(writer, kill);
        assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
        redis.restart().await.unwrap();
    }
    let state = load_when_back(&store).await;
    assert!(state.revision >= acknowledged && state.revision <= acknowledged + 1, "{state:?}, {acknowledged}");
    assert_whole(&store, &state, &names).await;
}

#[tokio::test]
async fn a_flushed_redis_conflicts_until_loaded_and_begins_another_epoch() {
    let (redis, store) = own_server().await;
    let before = apply_one(&store, &["a"]).await;
    redis.address().command(0, &["FLUSHALL"]).await.unwrap();
    let outcome = store.apply(&batch_after(&before, &["a"])).await.unwrap();
    assert_eq!(outcome, Applied::Conflict { revision: 0, position: Position::default() });
    let after = store.load(0, 1).await.unwrap();
    assert_ne!(after.epoch, before.epoch);
    assert_eq!((after.position, after.devices.len()), (Position::default(), 0));
    apply_one(&store, &["a"]).await;
}

#[tokio::test]
async fn a_batch_for_a_flushed_epoch_changes_nothing_even_where_its_numbers_fit() {
    let (redis, store) = own_server().await;
    let before = store.load(0, 1).await.unwrap();
    let batch = batch_after(&before, &["a"]);
    redis.address().command(0, &["FLUSHALL"]).await.unwrap();
    store.epoch(0).await.unwrap();
    let outcome = store.apply(&batch).await.unwrap();
    assert_eq!(outcome, Applied::Conflict { revision: 0, position: Position::default() });
    assert_eq!(store.latest(0, &device("a")).await.unwrap(), None);
}

#[tokio::test]
async fn acknowledged_writes_that_redis_lost_begin_another_epoch() {
    let (redis, store) = own_server().await;
    apply_one(&store, &["a"]).await;
    let before = apply_one(&store, &["a", "b"]).await;
    // What a power cut with `appendfsync everysec` leaves: an earlier state.
    for (field, value) in [("revision", "1"), ("x", "1")] {
        redis.address().command(0, &["HSET", "orinoco:{0}:state", field, value]).await.unwrap();
    }
    let after = store.load(0, 1).await.unwrap();
    assert_ne!(after.epoch, before.epoch);
    assert_eq!((after.position, after.devices.len()), (Position::default(), 0));
    assert_eq!(store.history(0, &device("a"), 0, 10).await.unwrap().head, 0);
    assert_eq!(store.load(0, 1).await.unwrap().epoch, after.epoch, "once only");
}

#[tokio::test]
async fn scripts_are_loaded_again_after_redis_forgot_them() {
    let (redis, store) = own_server().await;
    apply_one(&store, &["a"]).await;
    redis.address().command(0, &["SCRIPT", "FLUSH"]).await.unwrap();
    assert_eq!(apply_one(&store, &["a"]).await.revision, 2);
}

#[tokio::test]
async fn a_key_of_a_foreign_type_fails_the_batch_before_anything_is_written() {
    let (redis, store) = own_server().await;
    let before = apply_one(&store, &["a"]).await;
    for key in ["orinoco:{0}:history:b", "orinoco:{0}:marks"] {
        redis.address().command(0, &["RENAME", "orinoco:{0}:marks", "aside"]).await.unwrap();
        if key != "orinoco:{0}:marks" {
            redis.address().command(0, &["RENAME", "aside", "orinoco:{0}:marks"]).await.unwrap();
        }
        redis.address().command(0, &["SET", key, "foreign"]).await.unwrap();
        let outcome = store.apply(&batch_after(&before, &["a", "b"])).await;
        assert!(
            matches!(&outcome, Err(StoreError::Corrupt { reason, .. }) if reason.contains("WRONGTYPE")),
            "{outcome:?}"
        );
        redis.address().command(0, &["DEL", key]).await.unwrap();
        if key == "orinoco:{0}:marks" {
            redis.address().command(0, &["RENAME", "aside", key]).await.unwrap();
        }
        assert_eq!(store.load(0, 1).await.unwrap(), before);
        let history = store.history(0, &device("a"), 0, 10).await.unwrap();
        assert_eq!((history.frames.len(), history.head), (1, 1), "what was appended before the failure is taken off");
        let length = redis.address().command(0, &["LLEN", "orinoco:{0}:history:a"]).await.unwrap();
        assert_eq!(length, ":1");
    }
    apply_one(&store, &["a", "b"]).await;
}

#[tokio::test]
async fn a_list_of_history_stays_near_its_bound() {
    let (redis, store) = own_server().await;
    let mut longest = 0;
    for _ in 0..HISTORY_MAX * 3 {
        apply_one(&store, &["a"]).await;
        let length = redis.address().command(0, &["LLEN", "orinoco:{0}:history:a"]).await.unwrap();
        longest = longest.max(length.trim_start_matches(':').parse::<usize>().unwrap());
    }
    assert!(longest <= HISTORY_MAX + HISTORY_MAX / 8 && longest > HISTORY_MAX, "{longest}");
    let state = store.load(0, 1).await.unwrap();
    assert_whole(&store, &state, &["a"]).await;
}

#[tokio::test]
async fn a_redis_that_does_not_answer_is_given_up_and_its_late_answers_are_nobody_s() {
    let (redis, store) = own_server().await;
    let before = apply_one(&store, &["a"]).await;
    redis.pause().unwrap();
    for _ in 0..3 {
        let outcome = store.apply(&batch_after(&before, &["a"])).await;
        assert!(matches!(&outcome, Err(StoreError::Unavailable { .. })), "{outcome:?}");
    }
    redis.resume().unwrap();
    // What was given up may still take effect, once, even after a load.
    let applied = poll_until(DEADLINE, "a batch that fits", async || {
        let state = store.load(0, 1).await.ok()?;
        let outcome = store.apply(&batch_after(&state, &["a"])).await.ok()?;
        (outcome == Applied::Done).then_some(state.revision + 1)
    });
    let revision = applied.await.unwrap();
    assert!(revision <= 3, "three equal batches took effect more than once: {revision}");
    let after = store.load(0, 1).await.unwrap();
    assert_whole(&store, &after, &["a"]).await;
}

#[tokio::test]
async fn an_outage_names_place_and_reason_without_the_password() {
    let redis = Redis::start(RedisKind::Ws).await.unwrap();
    let url = redis.url().replace("redis://", "redis://user:s3cret@");
    redis.stop().await.unwrap();
    let options = RedisStoreOptions { call_timeout: Duration::from_millis(300), ..RedisStoreOptions::new(url) };
    let store = RedisStore::new(&options).unwrap();
    let text = format!("{} {options:?}", store.load(0, 1).await.unwrap_err());
    assert!(text.contains("127.0.0.1") && text.contains("refused") && !text.contains("s3cret"), "{text}");
    let text = RedisStore::new(&RedisStoreOptions::new("http://:s3cret@x")).err().unwrap().to_string();
    assert!(text.contains("redis://") && !text.contains("s3cret"), "{text}");
}

#[tokio::test]
async fn a_subscription_ends_when_redis_goes_or_falls_silent() {
    let (redis, store) = own_server().await;
    let mut paused = store.subscribe(0).await.unwrap();
    redis.pause().unwrap();
    let outcome = tokio::time::timeout(DEADLINE, paused.next()).await.unwrap();
    assert!(matches!(outcome, Err(StoreError::Unavailable { .. })), "{outcome:?}");
    redis.resume().unwrap();
    let mut killed = poll_until(DEADLINE, "a subscription", async || store.subscribe(0).await.ok()).await.unwrap();
    redis.kill().await.unwrap();
    let outcome = tokio::time::timeout(DEADLINE, killed.next()).await.unwrap();
    assert!(matches!(outcome, Err(StoreError::Unavailable { .. })), "{outcome:?}");
    redis.restart().await.unwrap();
    let mut anew = poll_until(DEADLINE, "a subscription", async || store.subscribe(0).await.ok()).await.unwrap();
    apply_one(&store, &["a"]).await;
    let publication = tokio::time::timeout(DEADLINE, anew.next()).await.unwrap().unwrap();
    assert_eq!(publication.frames.len(), 1);
}

#[tokio::test]
async fn databases_of_one_server_are_kept_apart_by_the_prefix() {
    let address = Redis::shared(RedisKind::Ws).await.unwrap();
    let database = address.fresh_database().await.unwrap();
    let open = |prefix: &str| {
        let prefix = unique_name(prefix);
        RedisStore::new(&RedisStoreOptions { prefix, ..RedisStoreOptions::new(database.url()) }).unwrap()
    };
    let (one, other) = (open("one"), open("other"));
    let mut subscription = other.subscribe(0).await.unwrap();
    apply_one(&one, &["a"]).await;
    apply_one(&other, &["b"]).await;
    let publication = tokio::time::timeout(DEADLINE, subscription.next()).await.unwrap().unwrap();
    assert_eq!(publication.frames[0].frame.device, device("b"));
}

#[tokio::test]
async fn a_healthy_redis_needs_no_advice() {
    let (_redis, store) = own_server().await;
    let info = store.probe().await.unwrap();
    assert!(info.version.starts_with("Redis ") && info.advice.is_empty(), "{info:?}");
}
