//! Backends that are away for a while.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::support::{
    Ask, Backend, Ledger, Listener, Load, LoadPlan, Mode, Repeats, Setup, Vigil, World, campaign, turn, until,
};

/// 30 s in a campaign.
const OUTAGE_S: u64 = 5;
/// By which a broker that hangs is noticed; 10 in a campaign, as usual.
const KEEP_ALIVE_S: u64 = 5;
const KILLED_FOR: Duration = Duration::from_secs(2);
/// 20 in a campaign.
const BROKER_KILLS: usize = 2;
/// Of each device, after the backend is back: silence is looked for until then.
const FRAMES: usize = 100;
/// 2,000 in a campaign, as the contract says; a machine that is busy with other tests may need more.
const SILENCE_MS_MAX: u64 = 20_000;

const OTHERS_TOPIC: &str = "others";
/// What is in the journal at any time under load.
const LITTLE_RECORDS: f64 = 2_000.0;

/// Waits until the stream has moved on, so that a fault meets work in flight.
async fn moves_on(world: &World, load: &Load) {
    let head = async || crate::support::latest(world, &load.devices()[0]).await.map(|latest| latest.offset);
    let before = until("the stream to move", &head).await;
    until("the stream to move on", async || head().await.filter(|now| *now > before + 20)).await;
}

/// Waits until all is as before, and says what it took.
async fn is_back(backend: Backend, at: Instant, listener: &Listener, vigil: &Vigil, story: &str) {
    let silence = listener.silence(FRAMES).await;
    let green = vigil.green(at).await;
    println!("{backend:?}: {story}; from then on silent for {silence:?} at most, /readyz green after {green:?}");
    assert!(silence <= Duration::from_millis(campaign("SILENCE_MS_MAX", SILENCE_MS_MAX)), "{backend:?}: {silence:?}");
}

/// Has a record acknowledged by all replicas, and says how soon that was.
async fn kcat_produces(brokers: &str, from: Instant) -> String {
    let text = format!("echo 1 | kcat -P -b {brokers} -t {OTHERS_TOPIC} -X acks=all");
    let produce = move || Command::new("sh").args(["-c", &text]).status().unwrap();
    assert!(tokio::task::spawn_blocking(produce).await.unwrap().success());
    format!(" (kcat {:?} later)", from.elapsed())
}

async fn kill(backend: Backend, world: &World) {
    backend.kill(world.services.as_ref().unwrap()).await;
}

/// Each backend ends, by `end`, and is started again after a while. Returns what was sent meanwhile.
async fn end_each(
    backends: &[Backend],
    setup: Setup,
    away: Duration,
    end: impl AsyncFn(Backend, &World),
) -> (World, Ledger) {
    let world = World::start(Mode::Services, setup.set("stream.history_max", 1_000_000).own_kafka()).await;
    let services = world.services.as_ref().unwrap();
    let load = Load::start(&world, LoadPlan { connections: 2, devices: 5, messages_per_second: 1_000 }).await;
    let (listener, vigil) = (Listener::start(&world), Vigil::start(&world, vec![Ask::get("/healthz")]));
    services.kafka.create_topic(OTHERS_TOPIC, 1).await.unwrap();
    for &backend in backends {
        moves_on(&world, &load).await;
        let ended = Instant::now();
        end(backend, &world).await;
        let (red_after, waits) = vigil.red(ended).await;
        tokio::time::sleep(away.saturating_sub(ended.elapsed())).await;
        let away = ended.elapsed();
        let start = backend.start(services).await;
        listener.mark(start.serves_at);
        // What another client has of the server meanwhile, for comparison.
        let others = match backend {
            Backend::Kafka => kcat_produces(services.kafka.brokers(), start.serves_at).await,
            _ => String::new(),
        };
        let story = format!(
            "away for {away:?}, /readyz red after {red_after:?} ({}); accepts connections {:?} after its start, serves after {:?}{others}",
            waits.join(", "),
            start.accepts_after,
            start.serves_after
        );
        is_back(backend, start.serves_at, &listener, &vigil, &story).await;
    }
    vigil.assert_all_were_answered();
    let ledger = load.stop().await;
    println!("{} messages", ledger.messages());
    (world, ledger)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backend_that_is_away_under_load_costs_nothing_and_comes_back_by_itself() {
    let _turn = turn().await;
    let backends = [Backend::Redis, Backend::RedisQr, Backend::Kafka, Backend::Mqtt, Backend::Postgres];
    let away = Duration::from_secs(campaign("OUTAGE_S", OUTAGE_S));
    let stop = async |backend: Backend, world: &World| backend.stop(world.services.as_ref().unwrap()).await;
    let (world, ledger) = end_each(&backends, Setup::default(), away, stop).await;
    // Devices sent again what had not been acknowledged when their broker ended.
    ledger.assert_all_came_out(&world, Repeats::OfWhatWasSentAgain).await;
}

/// What mosquitto acknowledged and had not saved when it is killed is lost with it: devices publish to the daemon's own broker.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backend_that_is_killed_under_load_costs_nothing() {
    let _turn = turn().await;
    let backends = [Backend::Redis, Backend::RedisQr, Backend::Kafka, Backend::Postgres];
    let (world, ledger) = end_each(&backends, Setup::default().embedded_broker(), KILLED_FOR, kill).await;
    ledger.assert_all_came_out(&world, Repeats::OfWhatWasSentAgain).await;
}

/// What mosquitto had acknowledged to devices, and neither saved nor handed on, is lost with it and counted apart.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mosquitto_that_is_killed_under_load_loses_only_what_it_alone_had() {
    let _turn = turn().await;
    let kills = campaign("BROKER_KILLS", BROKER_KILLS);
    let (world, ledger) = end_each(&vec![Backend::Mqtt; kills], Setup::default(), KILLED_FOR, kill).await;
    let lost = ledger.lost(&world, Repeats::OfWhatWasSentAgain).await;
    println!("{} messages lost by mosquitto in {kills} kills", lost.len());
    let counter = async |name: &str| world.daemon.counter(name).await.unwrap();
    let accepted = counter("orinoco_messages_accepted_total").await;
    until("each message that the daemon accepted to have its effect", async || {
        // A record that had to be produced again is among the repeated ones as well.
        let repeated = counter("orinoco_records_repeated_total").await;
        (counter("orinoco_records_applied_total").await + repeated >= accepted).then_some(())
    })
    .await;
}

/// SIGSTOP: connections stay open, and nobody answers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backend_that_hangs_under_load_costs_nothing_and_every_request_is_answered_meanwhile() {
    let _turn = turn().await;
    let setup = Setup::default().set("stream.history_max", 1_000_000).set("auth.signup", "open");
    let setup = setup.set("mqtt.keep_alive_s", campaign("KEEP_ALIVE_S", KEEP_ALIVE_S));
    let world = World::start(Mode::Services, setup.own_kafka()).await;
    let services = world.services.as_ref().unwrap();
    let person = world.person().await;
    let load = Load::start(&world, LoadPlan { connections: 2, devices: 5, messages_per_second: 1_000 }).await;
    let device = &load.devices()[0];
    let asks = vec![
        Ask::get("/healthz"),
        Ask::get("/metrics"),
        Ask::get("/api/v1/devices"),
        Ask::get(format!("/api/v1/devices/{device}/coordinates/latest")),
        Ask::get(format!("/api/v1/devices/{device}/coordinates?limit=10")),
        Ask::get("/.well-known/jwks.json"),
        Ask::post("/api/v1/qr/challenges", json!({})),
        Ask::post("/api/v1/auth/login", json!({"email": person.email, "password": person.password})),
    ];
    let (listener, vigil) = (Listener::start(&world), Vigil::start(&world, asks));
    services.kafka.create_topic(OTHERS_TOPIC, 1).await.unwrap();
    for backend in [Backend::Redis, Backend::RedisQr, Backend::Kafka, Backend::Mqtt, Backend::Postgres] {
        moves_on(&world, &load).await;
        let paused = Instant::now();
        backend.pause(services);
        let (red_after, waits) = vigil.red(paused).await;
        let pause = Duration::from_secs(campaign("OUTAGE_S", OUTAGE_S));
        tokio::time::sleep(pause.saturating_sub(paused.elapsed())).await;
        let (away, resumed) = (paused.elapsed(), Instant::now());
        backend.resume(services);
        listener.mark(resumed);
        let others = match backend {
            Backend::Kafka => kcat_produces(services.kafka.brokers(), resumed).await,
            _ => String::new(),
        };
        let story = format!("hung for {away:?}{others}, /readyz red after {red_after:?} ({})", waits.join(", "));
        is_back(backend, resumed, &listener, &vigil, &story).await;
    }
    vigil.assert_all_were_answered();
    let ledger = load.stop().await;
    println!("{} messages", ledger.messages());
    // No device lost its connection: none sent anything again.
    ledger.assert_all_came_out(&world, Repeats::Never).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_is_away_for_long_fills_the_journal_which_drains_afterwards() {
    let _turn = turn().await;
    let setup = Setup::default().set("stream.history_max", 1_000_000);
    let world = World::start(Mode::Services, setup.own_kafka().embedded_broker()).await;
    let services = world.services.as_ref().unwrap();
    let messages_per_second = campaign("LOG_AWAY_RATE", 2_000);
    let load = Load::start(&world, LoadPlan { connections: 4, devices: 5, messages_per_second }).await;
    let number = async |name: &str| until(name, async || world.metric(name).await).await;
    let before = number("orinoco_messages_accepted_total").await;
    let away = Instant::now();
    Backend::Kafka.stop(services).await;
    tokio::time::sleep(Duration::from_secs(campaign("LOG_AWAY_S", OUTAGE_S))).await;
    let accepted = number("orinoco_messages_accepted_total").await - before;
    let (records, bytes) = (number("orinoco_journal_records").await, number("orinoco_journal_bytes").await);
    let away = away.elapsed();
    Backend::Kafka.start(services).await;
    let back = Instant::now();
    let (mut peak, mut left) = (bytes, records);
    // As long as it shrinks, it drains, however slow the machine.
    while left > LITTLE_RECORDS {
        left = until("the journal to drain", async || {
            peak = peak.max(world.metric("orinoco_journal_bytes").await?);
            let now = world.metric("orinoco_journal_records").await?;
            (now <= LITTLE_RECORDS || now < left * 0.95).then_some(now)
        })
        .await;
    }
    println!(
        "away for {away:?}: {accepted} messages acknowledged meanwhile, {records} records in the journal, {bytes} bytes, {peak} at \
        most; drained {:?} after Kafka was back",
        back.elapsed()
    );
    assert!(accepted > 0.0 && records > 0.0, "{accepted} {records}");
    let ledger = load.stop().await;
    ledger.assert_all_came_out(&world, Repeats::Never).await;
    println!("{} messages, all out {:?} after Kafka was back", ledger.messages(), back.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_journal_holds_acknowledgements_back_until_the_log_is_there_again() {
    let _turn = turn().await;
    let setup = Setup::default().set("stream.history_max", 1_000_000).set("journal.bytes_max", 1 << 20);
    let setup = setup.set("mqtt.packet_size_max", 1 << 16);
    let world = World::start(Mode::Services, setup.own_kafka().embedded_broker()).await;
    let services = world.services.as_ref().unwrap();
    let load = Load::start(&world, LoadPlan { connections: 2, devices: 5, messages_per_second: 2_000 }).await;
    let is_full = async |full: f64| (world.metric("orinoco_journal_full").await? == full).then_some(());
    let accepted = async || world.metric("orinoco_messages_accepted_total").await;
    Backend::Kafka.stop(services).await;
    until("a full journal", async || is_full(1.0).await).await;
    let acknowledged = until("the number of acknowledged messages", &accepted).await;
    assert_eq!(world.get("/readyz").await.status, 503);
    tokio::time::sleep(Duration::from_secs(campaign("OUTAGE_S", OUTAGE_S))).await;
    assert_eq!(until("the number of acknowledged messages", &accepted).await, acknowledged);
    assert!(world.metric("orinoco_journal_bytes").await.unwrap() <= f64::from(1 << 20));
    Backend::Kafka.start(services).await;
    // Below nine tenths of its limit it takes messages again.
    until("room in the journal", async || is_full(0.0).await).await;
    until("more messages", async || accepted().await.filter(|now| *now > acknowledged)).await;
    world.daemon.wait_until_ready(Duration::from_secs(60)).await.unwrap();
    let ledger = load.stop().await;
    ledger.assert_all_came_out(&world, Repeats::OfWhatWasSentAgain).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_that_was_emptied_begins_another_epoch_and_is_filled_from_kafka() {
    let world = World::start(Mode::Services, Setup::default()).await;
    let name = orinoco_testkit::unique_name("d");
    world.device().await.move_to(&name, 1.0, 2.0).await;
    let before = until("a value", async || crate::support::latest(&world, &name).await).await;
    world.services.as_ref().unwrap().redis.address().command(0, &["FLUSHALL"]).await.unwrap();
    // The writer finds out with its next batch.
    let device = world.device().await;
    device.publish(&format!("devices/{name}/coordX"), "3").await;
    let after = until("the value, in another epoch", async || {
        crate::support::latest(&world, &name).await.filter(|latest| latest.epoch != before.epoch && latest.x == 3.0)
    })
    .await;
    // Two frames, or one where the axes were fetched apart: both values of X before that of Y.
    assert!(after.y == 2.0 && after.offset <= 2, "{after:?}");
    let mut socket = world.watch(&format!("?device={name}&offset={}&epoch={}", before.offset, before.epoch)).await;
    assert_eq!(socket.text().await, r#"{"recovered":false}"#);
    assert_eq!(socket.frame().await, after);
}
