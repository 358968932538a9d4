//! Produce requests whose answer is lost: the records are in Kafka, the daemon can't know, and sends them again.

use crate::support::{Load, LoadPlan, Mode, Repeats, Setup, World, campaign, turn, until};

/// Messages a second, of 4 connections of 5 devices each.
const RATE: usize = 2_000;
/// Messages, at least; 1,000,000 in a campaign.
const MESSAGES: u64 = 10_000;
/// One of so many produce requests loses its answer.
const ONE_IN: u32 = 10;
/// At least.
const RETRIES_PER_MILLION: usize = 100;
const SEED: u64 = 20_261_123;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forced_retries_double_nothing_lose_nothing_and_keep_the_order() {
    let _turn = turn().await;
    let setup = Setup::default().set("stream.history_max", 1_000_000).kafka_proxy().embedded_broker();
    let world = World::start(Mode::Services, setup).await;
    let proxy = world.services.as_ref().unwrap().kafka_proxy.as_ref().unwrap();
    let plan = LoadPlan { connections: 4, devices: 5, messages_per_second: campaign("RATE", RATE) };
    let load = Load::start(&world, plan).await;
    let seed = campaign("SEED", SEED);
    println!("ORINOCO_TEST_SEED={seed}");
    proxy.cut(campaign("CUT_ONE_IN", ONE_IN), seed);
    let (wanted, mut accepted) = (campaign("MESSAGES", MESSAGES) as f64, 0.0);
    while accepted < wanted {
        // As long as it moves on, it may take its time.
        accepted = until("more messages", async || {
            let now = world.metric("orinoco_messages_accepted_total").await?;
            (now >= wanted || now > accepted + 1_000.0).then_some(now)
        })
        .await;
    }
    proxy.spare();
    let ledger = load.stop().await;
    ledger.assert_all_came_out(&world, Repeats::Never).await;
    let (produced, cuts) = proxy.counts();
    // Records that Kafka held again, and that took no effect.
    let repeated = world.daemon.counter("orinoco_records_repeated_total").await.unwrap();
    println!(
        "{} messages, {produced} produce requests, {cuts} of them cut, {repeated} records repeated",
        ledger.messages()
    );
    assert!(cuts * 1_000_000 >= RETRIES_PER_MILLION * ledger.messages(), "only {cuts} retries");
    assert!(repeated > 0.0, "no record was in Kafka twice");
}
