//! Bounds and what happens at them; addresses while actors come and go.

use std::sync::Arc;
use std::time::Duration;

use orinoco_supervision::{Address, CallError, SendError, Tree};
use tokio::sync::Semaphore;

use crate::support::{Tell, World, incarnation, restarted, start, until};

/// One probe whose mailbox holds two messages, busy behind a closed gate.
async fn busy(world: &World, overflow: &str) -> (Tree, Address<Tell>, Arc<Semaphore>) {
    let text = format!(
        "[[supervisor]]\nid = \"root\"\nstrategy = \"one_for_one\"\nchildren = [{{ id = \"a\", start = \"Probe\", mailbox = {{ capacity = 2, overflow = \"{overflow}\" }} }}]"
    );
    let (tree, probes) = start(world, &text).await;
    let probe = probes.one();
    let gate = Arc::new(Semaphore::new(0));
    probe.send(Tell::Wait(Arc::clone(&gate))).await.unwrap();
    until("in work", || probe.depth() == 0).await;
    (tree, probe, gate)
}

fn notes(world: &World) -> Vec<String> {
    world.take_log().into_iter().filter(|event| event.starts_with("note")).collect()
}

#[tokio::test(start_paused = true)]
async fn backpressure_refuses_try_send_and_makes_send_wait() {
    let world = World::default();
    let (tree, probe, gate) = busy(&world, "backpressure").await;
    probe.try_send(Tell::Note(1)).unwrap();
    probe.try_send(Tell::Note(2)).unwrap();
    let refused = probe.try_send(Tell::Note(3)).unwrap_err();
    assert!(matches!(refused, SendError::Full(Tell::Note(3))));
    let waiting: Vec<_> = (3..10)
        .map(|number| {
            let probe = probe.clone();
            tokio::spawn(async move { probe.send(Tell::Note(number)).await.is_ok() })
        })
        .collect();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(waiting.iter().all(|task| !task.is_finished()));
    assert_eq!((probe.depth(), probe.capacity()), (2, 2));
    gate.add_permits(1);
    for task in waiting {
        assert!(task.await.unwrap());
    }
    until("all handled", || probe.depth() == 0).await;
    let expected: Vec<String> = (1..10).map(|number| format!("note {number}")).collect();
    assert_eq!(notes(&world), expected);
    tree.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn reject_refuses_both_and_counts() {
    let world = World::default();
    let (tree, probe, gate) = busy(&world, "reject").await;
    probe.send(Tell::Note(1)).await.unwrap();
    probe.send(Tell::Note(2)).await.unwrap();
    assert!(probe.send(Tell::Note(3)).await.unwrap_err().is_full());
    assert!(probe.try_send(Tell::Note(4)).unwrap_err().is_full());
    assert_eq!(probe.call(Tell::Ask, Duration::from_secs(1)).await, Err(CallError::Full));
    let mailbox = tree.inspect().find("root/a").unwrap().mailbox.clone().unwrap();
    assert_eq!((mailbox.rejected, mailbox.dropped, mailbox.depth), (3, 0, 2));
    gate.add_permits(1);
    until("all handled", || probe.depth() == 0).await;
    assert_eq!(notes(&world), ["note 1", "note 2"]);
    tree.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn drop_oldest_keeps_the_newest_and_drop_newest_the_oldest() {
    for (overflow, kept) in [("drop_oldest", ["note 4", "note 5"]), ("drop_newest", ["note 1", "note 2"])] {
        let world = World::default();
        let (tree, probe, gate) = busy(&world, overflow).await;
        for number in 1..=5 {
            probe.try_send(Tell::Note(number)).unwrap();
        }
        let mailbox = tree.inspect().find("root/a").unwrap().mailbox.clone().unwrap();
        assert_eq!((mailbox.rejected, mailbox.dropped, mailbox.depth), (0, 3, 2), "{overflow}");
        gate.add_permits(1);
        until("all handled", || world.log_contains(kept[1])).await;
        assert_eq!(notes(&world), kept, "{overflow}");
        tree.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn senders_that_wait_for_room_learn_that_the_actor_went_down() {
    let world = World::default();
    let (tree, probe, _gate) = busy(&world, "backpressure").await;
    probe.try_send(Tell::Note(1)).unwrap();
    probe.try_send(Tell::Note(2)).unwrap();
    let waiting = tokio::spawn({
        let probe = probe.clone();
        async move { probe.send(Tell::Note(3)).await }
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    tree.kill("root/a").unwrap();
    assert!(matches!(waiting.await.unwrap(), Err(SendError::Down(Tell::Note(3)))));
    restarted(&probe).await;
    assert_eq!(probe.depth(), 0, "what was queued went with the incarnation");
    assert_eq!(incarnation(&probe).await, 1);
    tree.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_send_leaves_room_to_the_others() {
    let world = World::default();
    let (tree, probe, gate) = busy(&world, "backpressure").await;
    probe.try_send(Tell::Note(1)).unwrap();
    probe.try_send(Tell::Note(2)).unwrap();
    let cancelled = tokio::time::timeout(Duration::from_secs(1), probe.send(Tell::Note(3))).await;
    assert!(cancelled.is_err());
    let waiting = tokio::spawn({
        let probe = probe.clone();
        async move { probe.send(Tell::Note(4)).await.is_ok() }
    });
    gate.add_permits(1);
    assert!(waiting.await.unwrap());
    until("handled", || world.log_contains("note 4")).await;
    assert_eq!(notes(&world), ["note 1", "note 2", "note 4"]);
    tree.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_call_says_why_there_is_no_answer() {
    let world = World::default();
    let (tree, probe, gate) = busy(&world, "backpressure").await;
    let second = Duration::from_secs(1);
    assert_eq!(probe.call(Tell::Ask, second).await, Err(CallError::Timeout));
    gate.add_permits(1);
    assert_eq!(probe.call(Tell::Ask, second).await, Ok(0));
    assert_eq!(probe.call(Tell::Ignore, second).await, Err(CallError::Dropped));
    probe.send(Tell::Fail).await.unwrap();
    until("down", || !probe.is_up()).await;
    assert_eq!(probe.call(Tell::Ask, second).await, Err(CallError::Down));
    assert!(matches!(probe.try_send(Tell::Note(1)), Err(SendError::Down(_))));
    tree.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_full_mailbox_with_many_messages_is_handled_in_order() {
    let world = World::default();
    let text =
        "[[supervisor]]\nid = \"root\"\nstrategy = \"one_for_one\"\nchildren = [{ id = \"a\", start = \"Probe\" }]";
    let (tree, probes) = start(&world, text).await;
    for number in 0..10_000 {
        probes.one().send(Tell::Note(number)).await.unwrap();
    }
    until("all handled", || world.log_contains("note 9999")).await;
    let expected: Vec<String> = (0..10_000).map(|number| format!("note {number}")).collect();
    assert_eq!(notes(&world), expected);
    tree.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_doubled_between_many_senders_on_many_threads() {
    let world = World::default();
    let text = "[[supervisor]]\nid = \"root\"\nstrategy = \"one_for_one\"\nchildren = [{ id = \"a\", start = \"Probe\", mailbox = { capacity = 3 } }]";
    let (tree, probes) = start(&world, text).await;
    let senders: Vec<_> = (0..20u32)
        .map(|sender| {
            let probe = probes.one();
            tokio::spawn(async move {
                for number in 0..500 {
                    probe.send(Tell::Note(sender * 1000 + number)).await.unwrap();
                }
            })
        })
        .collect();
    for sender in senders {
        sender.await.unwrap();
    }
    until("all handled", || probes.one().depth() == 0).await;
    tree.shutdown().await;
    let mut seen: Vec<u32> = notes(&world).iter().map(|note| note[5..].parse().unwrap()).collect();
    for sender in 0..20u32 {
        let own: Vec<u32> = seen.iter().copied().filter(|number| number / 1000 == sender).collect();
        assert!(own.is_sorted(), "the order of a sender is kept");
    }
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 10_000);
}
