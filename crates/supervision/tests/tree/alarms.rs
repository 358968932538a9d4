//! Messages that actors send to themselves, and an end that drains.

use std::sync::Arc;
use std::time::Duration;

use orinoco_supervision::{Actor, Alarm, Catalog, Context, Failure, Message, Pool, Tree};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;

use crate::support::{plan, until};

enum Do {
    /// Sends `Rang` this much later.
    Arm(Duration),
    Disarm,
    Rang,
    /// Waits until the gate opens.
    Wait(Arc<Semaphore>),
    Note(u32),
    Finish,
}

impl Message for Do {
    fn kind(&self) -> &'static str {
        "do"
    }
}

struct Sleeper;

/// What sleepers live through.
type Heard = mpsc::Sender<(&'static str, u32)>;

impl Actor for Sleeper {
    type Message = Do;
    type Arguments = Heard;
    type State = (Heard, Option<Alarm>);

    async fn pre_start(&self, _: &Context<Do>, heard: Heard) -> Result<Self::State, Failure> {
        Ok((heard, None))
    }

    async fn handle(&self, context: &Context<Do>, message: Do, state: &mut Self::State) -> Result<(), Failure> {
        let (heard, alarm) = state;
        match message {
            Do::Arm(after) => *alarm = Some(context.alarm_at(Instant::now() + after, Do::Rang)),
            Do::Disarm => *alarm = None,
            Do::Rang => heard.try_send(("rang", 0))?,
            Do::Wait(gate) => drop(gate.acquire().await?),
            Do::Note(number) => heard.try_send(("note", number))?,
            Do::Finish => context.finish(),
        }
        Ok(())
    }
}

const TEXT: &str = r#"
[[supervisor]]
id = "root"
strategy = "one_for_one"
children = [{ id = "pool", type = "supervisor" }, { id = "one", start = "One" }]
[[supervisor]]
id = "pool"
strategy = "simple_one_for_one"
max_children = 10
partitions = 2
child = { start = "Child", restart = "temporary", mailbox = { capacity = 4, overflow = "reject" } }
"#;

async fn start() -> (Tree, Pool<Sleeper>, orinoco_supervision::Group<Do>, mpsc::Receiver<(&'static str, u32)>, Heard) {
    let (heard, hears) = mpsc::channel(64);
    let mut catalog = Catalog::new();
    let pool = catalog.pool("Child", || Sleeper);
    let one = catalog.group("One");
    let for_one = heard.clone();
    catalog.actor("One", || Sleeper, move |_| for_one.clone());
    (Tree::start(plan(TEXT), catalog).await.unwrap(), pool, one, hears, heard)
}

#[tokio::test(start_paused = true)]
async fn an_alarm_rings_once_at_its_time_unless_it_is_dropped() {
    let (tree, pool, one, mut hears, heard) = start().await;
    let child = pool.start_child(1, move || heard.clone()).await.unwrap();
    for address in [&child, &one.one()] {
        let (began, second) = (Instant::now(), Duration::from_secs(1));
        // The second alarm takes the place of the first, the third is taken back.
        for message in [Do::Arm(second), Do::Arm(second * 5)] {
            address.try_send(message).unwrap();
        }
        assert_eq!(hears.recv().await.unwrap().0, "rang");
        assert_eq!(began.elapsed().as_secs(), 5);
        address.try_send(Do::Arm(second)).unwrap();
        address.try_send(Do::Disarm).unwrap();
        tokio::time::sleep(second * 3).await;
        assert!(hears.try_recv().is_err());
    }
    let deadlines = tree.inspect().find("root/pool").unwrap().pool.as_ref().unwrap().deadlines;
    assert_eq!(deadlines, 0, "what rang or was dropped leaves nothing behind");
}

#[tokio::test(start_paused = true)]
async fn an_alarm_comes_to_a_full_mailbox_too_and_ends_with_its_actor() {
    let (tree, pool, _one, mut hears, heard) = start().await;
    let gate = Arc::new(Semaphore::new(0));
    let child = pool.start_child(1, move || heard.clone()).await.unwrap();
    child.try_send(Do::Arm(Duration::from_secs(1))).unwrap();
    child.try_send(Do::Wait(Arc::clone(&gate))).unwrap();
    tokio::time::sleep(Duration::from_millis(10)).await;
    for number in 0..4 {
        child.try_send(Do::Note(number)).unwrap();
    }
    assert!(child.try_send(Do::Note(9)).unwrap_err().is_full());
    tokio::time::sleep(Duration::from_secs(2)).await;
    gate.add_permits(1);
    for _ in 0..4 {
        assert_eq!(hears.recv().await.unwrap().0, "note");
    }
    assert_eq!(hears.recv().await.unwrap().0, "rang");
    child.try_send(Do::Arm(Duration::from_secs(1))).unwrap();
    tokio::time::sleep(Duration::from_millis(10)).await;
    tree.kill("root/pool/1").unwrap();
    until("it ended", || pool.live() == 0).await;
    assert_eq!(tree.inspect().find("root/pool").unwrap().pool.as_ref().unwrap().deadlines, 0);
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(hears.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn an_actor_that_finishes_handles_what_is_queued_and_takes_nothing_new() {
    let (_tree, pool, _one, mut hears, heard) = start().await;
    let gate = Arc::new(Semaphore::new(0));
    let child = pool.start_child(1, move || heard.clone()).await.unwrap();
    for message in [Do::Finish, Do::Wait(Arc::clone(&gate)), Do::Note(1), Do::Note(2)] {
        child.try_send(message).unwrap();
    }
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert!(!child.try_send(Do::Note(3)).unwrap_err().is_full(), "it is down to others");
    gate.add_permits(1);
    until("it ended", || pool.live() == 0).await;
    let notes: Vec<u32> = std::iter::from_fn(|| hears.try_recv().ok()).map(|(_, number)| number).collect();
    assert_eq!(notes, [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn all_children_of_a_pool_can_be_reached() {
    let (_tree, pool, _one, mut hears, heard) = start().await;
    for key in 0..7 {
        let heard = heard.clone();
        pool.start_child(key, move || heard.clone()).await.unwrap();
    }
    let addresses = pool.addresses();
    assert_eq!(addresses.len(), 7);
    for (number, address) in (0..).zip(&addresses) {
        address.try_send(Do::Note(number)).unwrap();
    }
    for _ in 0..7 {
        assert_eq!(hears.recv().await.unwrap().0, "note");
    }
}
