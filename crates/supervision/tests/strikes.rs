//! Kills in the midst of work, by order; only with the feature `faults`. A process of its own, because the orders are the process's.

#![cfg(feature = "faults")]
#![allow(clippy::unwrap_used)]

#[expect(dead_code, reason = "shared with the tests of whole trees")]
#[path = "tree/support.rs"]
mod support;

use std::sync::Arc;
use std::time::Duration;

use orinoco_supervision::Address;
use orinoco_supervision::fault::{Missed, Moment, Order, Struck};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use support::{Tell, World, incarnation, start, until};

const TWO: &str = r#"
[[supervisor]]
id = "root"
strategy = "one_for_one"
intensity = 100
children = [{ id = "a", start = "Probe" }, { id = "b", start = "Probe" }]
"#;

fn order(target: &str, by: &str, moment: Moment) -> Order {
    let (within, restart_max) = (Duration::from_secs(20), Duration::from_secs(20));
    Order { target: target.to_owned(), by: by.to_owned(), moment, within, restart_max }
}

fn handled(nth: u32) -> Moment {
    Moment::Point { name: "actor.handle".to_owned(), nth }
}

const AT_WORK: Moment = Moment::AtWork { after: Duration::ZERO };

/// Sends notes until the order is carried out, whenever it was given; what came of it, and the number of the next note.
async fn note_until<T>(probe: &Address<Tell>, first: u32, struck: &JoinHandle<T>) -> u32 {
    let mut number = first;
    while !struck.is_finished() {
        // Down: it was killed, and starts again.
        if probe.send(Tell::Note(number)).await.is_ok() {
            number += 1;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    number
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_kills_once_whom_it_names_in_the_midst_of_work_and_measures_the_restart() {
    let world = World::default();
    let (tree, probes) = start(&world, TWO).await;
    let (a, b) = (probes.get(0), probes.get(1));
    let strike = |order: Order| -> JoinHandle<Result<Struck, Missed>> {
        let tree = tree.clone();
        tokio::spawn(async move { tree.strike(order).await })
    };

    let task = strike(order("root/a", "root/a", handled(1)));
    let next = note_until(&a, 1, &task).await;
    let struck = task.await.unwrap().unwrap();
    assert_eq!((struck.path.as_str(), struck.by.as_str(), struck.handling), ("root/a", "root/a", Some("note")));
    assert!(struck.restart.is_some_and(|restart| !restart.is_zero()), "{struck:?}");
    assert_eq!((incarnation(&a).await, incarnation(&b).await), (1, 0));
    assert!((1..next).any(|number| !world.log_contains(&format!("note {number}"))), "it was killed before its message");

    // Another one than who reaches the point: that one goes on.
    let task = strike(order("root/b", "root/a", handled(0)));
    note_until(&a, next, &task).await;
    let struck = task.await.unwrap().unwrap();
    assert_eq!((struck.path.as_str(), struck.by.as_str()), ("root/b", "root/a"));
    assert_eq!((incarnation(&a).await, incarnation(&b).await), (1, 1));

    // At any moment: while a message is in work.
    let gate = Arc::new(Semaphore::new(0));
    a.send(Tell::Wait(Arc::clone(&gate))).await.unwrap();
    let struck = tree.strike(order("root/*", "root/*", AT_WORK)).await.unwrap();
    assert_eq!(struck.path, "root/a");
    assert!(struck.handling == Some("wait") || struck.depth == 1, "{struck:?}");
    assert_eq!((incarnation(&a).await, incarnation(&b).await), (2, 1));

    // Whoever has nothing to do is left alone, and so is everybody once nobody waits for an order.
    let later = Moment::AtWork { after: Duration::from_millis(50) };
    let soon = Order { within: Duration::from_millis(100), ..order("root/a", "root/*", later) };
    assert_eq!(tree.strike(soon).await, Err(Missed));
    let dropped = tree.strike(order("root/b", "root/b", handled(0)));
    assert!(tokio::time::timeout(Duration::from_millis(50), dropped).await.is_err());
    b.send(Tell::Note(0)).await.unwrap();
    until("note 0", || world.log_contains("note 0")).await;
    assert_eq!((incarnation(&a).await, incarnation(&b).await), (2, 1));
    tree.shutdown().await;
}
