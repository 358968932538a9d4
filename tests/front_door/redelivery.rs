//! Records that the broker may have delivered twice, against a history longer than a store reads at once.

use std::fmt::Write;

use orinoco_testkit::unique_name;

use crate::{
    kafka_clients::produce,
    support::{Mode, Setup, World, latest, turn, until},
};

/// More than a store hands out in one page.
const FRAMES: u64 = 110_000;

fn record(number: u64) -> String {
    format!(r#"{{"message":"{number}","timestamp":{}}}"#, 1_700_000_000_000 + number)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_delivered_again_is_found_anywhere_in_a_long_history() {
    let _turn = turn().await;
    let world = World::start(Mode::Services, Setup::default().set("stream.history_max", 2 * FRAMES)).await;
    let name = unique_name("d");
    // As the daemon's own producer does: into the partition that the device belongs to.
    let keyed = ["-K", "|", "-X", "topic.partitioner=murmur2_random"];
    let records = |numbers: &mut dyn Iterator<Item = u64>| {
        numbers.fold(String::new(), |mut lines, number| {
            writeln!(lines, "{name}|{}", record(number)).unwrap();
            lines
        })
    };
    let shows = async |number: u64| {
        until("the last record", async || latest(&world, &name).await.filter(|latest| latest.x == number as f64)).await
    };
    produce(&world, "coordY", &keyed, &records(&mut (0..1)));
    until("the other axis", async || {
        let applied = world.daemon.counter("orinoco_records_applied_total").await.unwrap();
        (applied >= 1.0).then_some(())
    })
    .await;
    produce(&world, "coordX", &keyed, &records(&mut (1..=FRAMES)));
    assert_eq!(shows(FRAMES).await.offset, FRAMES);

    let redelivered = [&keyed[..], &["-H", "orinoco-redelivered=1"]].concat();
    let (oldest, newest) = (1..=3, FRAMES - 2..=FRAMES);
    produce(&world, "coordX", &redelivered, &records(&mut oldest.chain(newest).chain([FRAMES + 1])));
    assert_eq!(shows(FRAMES + 1).await.offset, FRAMES + 1, "one of them was new");
    assert_eq!(world.daemon.counter("orinoco_records_repeated_total").await.unwrap(), 6.0);
    // Of a time that the device had before, but not with this number.
    produce(
        &world,
        "coordX",
        &redelivered,
        &format!(r#"{name}|{{"message":"-5","timestamp":{}}}"#, 1_700_000_000_007_u64),
    );
    let last = until("it", async || latest(&world, &name).await.filter(|latest| latest.x == -5.0)).await;
    assert_eq!(last.offset, FRAMES + 2, "{last:?}");
}
