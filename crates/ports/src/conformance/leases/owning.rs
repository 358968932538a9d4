//! One owner, over its runs.

use super::{LONG, LeasesFactory, hold, hold_one, names};
use crate::{Holding, Sharing, conformance::within_deadline};

pub async fn free_leases_are_taken_all_at_once(factory: &dyn LeasesFactory) {
    let leases = factory.open("one").await;
    let wanted: Vec<String> = (0..100).map(|number| format!("partition/{number}")).chain(names(&["ingest"])).collect();
    let wanted: Vec<&str> = wanted.iter().map(String::as_str).collect();
    let held = hold(&*leases, &wanted, LONG).await;
    assert_eq!(held.iter().map(|lease| lease.name.as_str()).collect::<Vec<_>>(), wanted);
    assert!(held.iter().all(|lease| lease.epoch > 0), "an epoch of 0 fences nobody off");
}

pub async fn a_lease_held_on_keeps_its_epoch(factory: &dyn LeasesFactory) {
    let leases = factory.open("one").await;
    let first = hold(&*leases, &["ingest", "partition/0"], LONG).await;
    assert_eq!(first.len(), 2);
    for _ in 0..10 {
        assert_eq!(hold(&*leases, &["ingest", "partition/0"], LONG).await, first);
    }
    let more = hold(&*leases, &["partition/1", "ingest"], LONG).await;
    assert_eq!((more.len(), &more[1]), (2, &first[0]));
}

pub async fn who_holds_what_is_shown_with_its_epoch(factory: &dyn LeasesFactory) {
    let leases = factory.open("one").await;
    assert_eq!(within_deadline("holdings", leases.holdings()).await.unwrap(), []);
    let held = hold(&*leases, &["partition/0", "ingest"], LONG).await;
    let shown = within_deadline("holdings", leases.holdings()).await.unwrap();
    let expected = [&held[1], &held[0]].map(|lease| Holding {
        name: lease.name.clone(),
        owner: "one".to_owned(),
        epoch: lease.epoch,
    });
    assert_eq!(shown, expected, "in order of name");
    within_deadline("release", leases.release(&names(&["ingest"]))).await.unwrap();
    assert_eq!(within_deadline("holdings", leases.holdings()).await.unwrap(), expected[1..]);
}

pub async fn wanting_nothing_is_allowed(factory: &dyn LeasesFactory) {
    let leases = factory.open("one").await;
    assert_eq!(hold(&*leases, &[], LONG).await, []);
    within_deadline("release", leases.release(&[])).await.unwrap();
}

pub async fn the_next_run_of_an_owner_takes_over_at_once_with_a_higher_epoch(factory: &dyn LeasesFactory) {
    let mut epoch = 0;
    for _run in 0..5 {
        let leases = factory.open("one").await;
        let taken = hold_one(&*leases, "ingest", LONG).await;
        assert!(taken > epoch, "{taken} after {epoch}");
        epoch = taken;
    }
}

pub async fn a_released_lease_comes_back_with_a_higher_epoch(factory: &dyn LeasesFactory) {
    let leases = factory.open("one").await;
    let other = hold_one(&*leases, "partition/0", LONG).await;
    let mut epoch = 0;
    for _ in 0..5 {
        let taken = hold_one(&*leases, "ingest", LONG).await;
        assert!(taken > epoch, "{taken} after {epoch}");
        epoch = taken;
        within_deadline("release", leases.release(&names(&["ingest"]))).await.unwrap();
    }
    assert_eq!(hold_one(&*leases, "partition/0", LONG).await, other, "of the lease beside it");
    drop(leases);
    let leases = factory.open("one").await;
    assert!(hold_one(&*leases, "ingest", LONG).await > epoch, "epochs repeat in the next run");
}

pub async fn releasing_what_is_not_held_is_passed_over(factory: &dyn LeasesFactory) {
    let leases = factory.open("one").await;
    within_deadline("release", leases.release(&names(&["never", "ingest"]))).await.unwrap();
    let epoch = hold_one(&*leases, "ingest", LONG).await;
    within_deadline("release", leases.release(&names(&["never"]))).await.unwrap();
    assert_eq!(hold_one(&*leases, "ingest", LONG).await, epoch);
}

pub async fn no_more_is_taken_than_allowed_and_what_is_held_is_renewed_all_the_same(factory: &dyn LeasesFactory) {
    let leases = factory.open("one").await;
    let wanted = names(&["partition/0", "partition/1", "partition/2", "partition/3"]);
    let mut before = Vec::new();
    for (held_max, expected) in [(0, 0), (1, 1), (3, 3), (1, 3), (9, 4)] {
        let held = within_deadline("hold", leases.hold(&wanted, held_max, LONG)).await.unwrap();
        assert_eq!(held.len(), expected, "{held_max} at most: {held:?}");
        assert!(before.iter().all(|lease| held.contains(lease)), "{held:?} after {before:?}");
        before = held;
    }
}

pub async fn who_leaves_gives_all_back(factory: &dyn LeasesFactory) {
    let leases = factory.open("one").await;
    let before = hold(&*leases, &["ingest", "partition/0"], LONG).await;
    within_deadline("leave", leases.leave()).await.unwrap();
    within_deadline("leave again", leases.leave()).await.unwrap();
    let sharing = within_deadline("take part", leases.take_part(LONG)).await.unwrap();
    assert_eq!(sharing, Sharing { owners: 1, rank: 0 });
    let after = hold(&*leases, &["ingest", "partition/0"], LONG).await;
    assert!(after.iter().zip(&before).all(|(after, before)| after.epoch > before.epoch), "{after:?} after {before:?}");
}

pub async fn a_probe_of_the_leases_says_the_version(factory: &dyn LeasesFactory) {
    let leases = factory.open("one").await;
    let info = within_deadline("a probe", leases.probe()).await.unwrap();
    assert!(!info.version.trim().is_empty());
}
