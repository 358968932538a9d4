//! Several owners.

use std::{sync::Arc, time::Duration};

use super::{LONG, LeasesFactory, hold, hold_one, names};
use crate::{
    Leases,
    conformance::{until, within_deadline},
};

const SHORT: Duration = Duration::from_millis(500);
/// Longer than one call takes on a busy machine.
const FEW_SECONDS: Duration = Duration::from_secs(3);

pub async fn a_held_lease_is_not_given_to_another(factory: &dyn LeasesFactory) {
    let (one, two) = (factory.open("one").await, factory.open("two").await);
    let epoch = hold_one(&*one, "ingest", LONG).await;
    for _ in 0..5 {
        assert_eq!(hold(&*two, &["ingest"], LONG).await, []);
        assert_eq!(hold_one(&*one, "ingest", LONG).await, epoch);
    }
    // What is free among the wanted ones is had all the same.
    let held = hold(&*two, &["ingest", "partition/1"], LONG).await;
    assert_eq!(held.iter().map(|lease| lease.name.as_str()).collect::<Vec<_>>(), ["partition/1"]);
}

pub async fn each_owner_sees_what_the_others_hold(factory: &dyn LeasesFactory) {
    let (one, two) = (factory.open("one").await, factory.open("two").await);
    hold_one(&*one, "ingest", LONG).await;
    hold_one(&*two, "partition/0", LONG).await;
    for leases in [&one, &two] {
        let shown = within_deadline("holdings", leases.holdings()).await.unwrap();
        let shown: Vec<_> = shown.iter().map(|holding| (holding.name.as_str(), holding.owner.as_str())).collect();
        assert_eq!(shown, [("ingest", "one"), ("partition/0", "two")]);
    }
}

pub async fn another_owner_waits_until_a_lease_has_run_out(factory: &dyn LeasesFactory) {
    let (one, two) = (factory.open("one").await, factory.open("two").await);
    let epoch = hold_one(&*one, "ingest", SHORT).await;
    let taken = until("a lease that ran out", async || hold(&*two, &["ingest"], LONG).await.pop()).await;
    assert!(taken.epoch > epoch);
    assert_eq!(hold(&*one, &["ingest"], LONG).await, [], "who lost it must not get it back");
    assert_eq!(hold_one(&*two, "ingest", LONG).await, taken.epoch);
}

pub async fn a_renewed_lease_does_not_run_out(factory: &dyn LeasesFactory) {
    let (one, two) = (factory.open("one").await, factory.open("two").await);
    let epoch = hold_one(&*one, "ingest", FEW_SECONDS).await;
    // Renewed for long: what it was held for at first means nothing any more.
    assert_eq!(hold_one(&*one, "ingest", LONG).await, epoch);
    let mark = hold_one(&*one, "mark", FEW_SECONDS).await;
    let taken = until("another lease that ran out", async || hold(&*two, &["ingest", "mark"], LONG).await.pop()).await;
    assert_eq!((taken.name.as_str(), taken.epoch > mark), ("mark", true));
    assert_eq!(hold_one(&*one, "ingest", LONG).await, epoch);
}

pub async fn a_released_lease_is_had_by_the_next_owner_at_once(factory: &dyn LeasesFactory) {
    let (one, two) = (factory.open("one").await, factory.open("two").await);
    let held = hold(&*one, &["ingest", "partition/0"], LONG).await;
    within_deadline("release", one.release(&names(&["ingest"]))).await.unwrap();
    let taken = hold(&*two, &["ingest", "partition/0"], LONG).await;
    assert_eq!(taken.len(), 1);
    assert!(taken[0].name == "ingest" && taken[0].epoch > held[0].epoch);
}

pub async fn releasing_what_another_holds_is_passed_over(factory: &dyn LeasesFactory) {
    let (one, two) = (factory.open("one").await, factory.open("two").await);
    let epoch = hold_one(&*one, "ingest", LONG).await;
    within_deadline("release", two.release(&names(&["ingest"]))).await.unwrap();
    assert_eq!(hold(&*two, &["ingest"], LONG).await, []);
    assert_eq!(hold_one(&*one, "ingest", LONG).await, epoch);
}

pub async fn owners_that_race_never_hold_one_lease_together(factory: &dyn LeasesFactory) {
    const OWNERS: usize = 6;
    const ROUNDS: usize = 15;
    let mut owners = Vec::new();
    for number in 0..OWNERS {
        owners.push(factory.open(&format!("owner {number}")).await);
    }
    let wanted = ["ingest", "partition/0", "partition/1", "partition/2"];
    let mut epochs = [0; 4];
    for _round in 0..ROUNDS {
        let tasks: Vec<_> = owners
            .iter()
            .map(|owner| {
                let owner = Arc::clone(owner);
                tokio::spawn(async move { hold(&*owner, &wanted, LONG).await })
            })
            .collect();
        let mut held = Vec::new();
        for (number, task) in (0..).zip(tasks) {
            let leases = within_deadline("owners that race", task).await.unwrap();
            held.extend(leases.into_iter().map(|lease| (lease, number)));
        }
        held.sort_by(|one, other| one.0.name.cmp(&other.0.name));
        let found: Vec<&str> = held.iter().map(|(lease, _)| lease.name.as_str()).collect();
        assert_eq!(found, wanted, "each is held, and by one owner: {held:?}");
        for ((lease, number), epoch) in held.iter().zip(&mut epochs) {
            let owner: usize = *number;
            assert!(lease.epoch > *epoch, "{lease:?} after epoch {epoch}");
            *epoch = lease.epoch;
            owners[owner].release(&names(&[&lease.name])).await.unwrap();
        }
    }
}

pub async fn one_owner_that_asks_twice_at_once_gets_one_epoch(factory: &dyn LeasesFactory) {
    let one = factory.open("one").await;
    for round in 0..10 {
        let name = format!("partition/{round}");
        let (first, second) = tokio::join!(hold_one(&*one, &name, LONG), hold_one(&*one, &name, LONG));
        assert_eq!(first, second);
    }
}

/// Place of the owner, and how many there are.
async fn take_part(leases: &dyn Leases, time_to_live: Duration) -> (u32, u32) {
    let sharing = within_deadline("take part", leases.take_part(time_to_live)).await.unwrap();
    (sharing.rank, sharing.owners)
}

pub async fn those_who_take_part_know_how_many_they_are_and_in_which_order(factory: &dyn LeasesFactory) {
    let (one, two) = (factory.open("one").await, factory.open("two").await);
    assert_eq!(take_part(&*two, LONG).await, (0, 1));
    assert_eq!(take_part(&*one, LONG).await, (0, 2));
    assert_eq!(take_part(&*two, LONG).await, (1, 2));
    let three = factory.open("three").await;
    assert_eq!(take_part(&*three, LONG).await, (1, 3), "one, three, two");
    assert_eq!(take_part(&*two, LONG).await, (2, 3));
    let held = hold(&*one, &["ingest"], LONG).await;
    within_deadline("leave", one.leave()).await.unwrap();
    assert_eq!(take_part(&*two, LONG).await, (1, 2));
    assert!(hold_one(&*two, "ingest", LONG).await > held[0].epoch, "who left gave its leases back");
    // The next run of an owner is the same one.
    assert_eq!(take_part(&*factory.open("three").await, LONG).await, (0, 2));
}

pub async fn who_is_not_seen_again_takes_part_no_more(factory: &dyn LeasesFactory) {
    let (one, two) = (factory.open("one").await, factory.open("two").await);
    take_part(&*one, SHORT).await;
    until("an owner that is gone", async || (take_part(&*two, LONG).await == (0, 1)).then_some(())).await;
}
