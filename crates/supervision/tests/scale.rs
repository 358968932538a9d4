//! A pool at its size: 100,000 children alive, 100,000 that come and go beside them, and what they cost in memory.
//!
//! One test in a process of its own, because it looks at the resident memory of the process.

#![allow(clippy::unwrap_used)]

use orinoco_supervision::{Actor, Catalog, ChildStart, Context, Exit, Failure, Message, Plan, Pool, Tree};

const LIVE: usize = 100_000;
const CHURN: u64 = 100_000;
/// All that an idle child may cost: its ractor actor, its mailbox, its places in the tables, its deadlines.
const CHILD_BYTES_MAX: u64 = 8 * 1024;
/// What the allocator may keep after children have come and gone; a leak of 100 bytes a child would be 10 MB.
const SLACK_BYTES: u64 = 6 << 20;

const PLAN: &str = r#"
schema = 1
[[supervisor]]
id = "root"
strategy = "one_for_one"
children = [{ id = "sessions", type = "supervisor" }]
[[supervisor]]
id = "sessions"
strategy = "simple_one_for_one"
partitions = 4
max_children = 120000
child = { start = "Session", restart = "temporary", ttl = "1h", idle_ttl = "1h" }
"#;

struct Leave;

impl Message for Leave {
    fn kind(&self) -> &'static str {
        "leave"
    }
}

struct Session;

impl Actor for Session {
    type Message = Leave;
    type Arguments = ();
    type State = ();

    async fn pre_start(&self, _: &Context<Leave>, (): ()) -> Result<(), Failure> {
        Ok(())
    }

    async fn handle(&self, context: &Context<Leave>, Leave: Leave, (): &mut ()) -> Result<(), Failure> {
        context.stop();
        Ok(())
    }
}

fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

async fn come_and_go(pool: &Pool<Session>, first_key: u64, count: u64) {
    for key in first_key..first_key + count {
        let child = pool.start_child_with(key, ChildStart::once(())).await.unwrap();
        child.send(Leave).await.unwrap();
        while pool.live() > LIVE + 500 {
            tokio::task::yield_now().await;
        }
    }
    while pool.live() > LIVE {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_thousand_children_fit_and_those_that_ended_leave_nothing_behind() {
    let mut catalog = Catalog::new();
    let pool = catalog.pool("Session", || Session);
    let tree = Tree::start(Plan::parse(PLAN, "scale.toml").unwrap(), catalog).await.unwrap();

    let before = resident_bytes();
    for key in 0..LIVE as u64 {
        pool.start_child_with(key, ChildStart::once(())).await.unwrap();
    }
    let child_bytes = (resident_bytes() - before) / LIVE as u64;
    println!("{child_bytes} bytes a child");
    assert!(child_bytes <= CHILD_BYTES_MAX, "{child_bytes} bytes a child");
    assert_eq!((pool.live(), tree.actor_count()), (LIVE, LIVE + 6));

    let first_key = 1 << 40;
    come_and_go(&pool, first_key, CHURN / 10).await;
    let warm = resident_bytes();
    come_and_go(&pool, first_key + CHURN, CHURN).await;
    let grown = resident_bytes().saturating_sub(warm);
    println!("{grown} bytes more after {CHURN} children");
    assert!(grown <= SLACK_BYTES, "{grown} bytes more");

    let snapshot = tree.inspect();
    let seen = snapshot.find("root/sessions").unwrap().pool.clone().unwrap();
    assert_eq!((seen.live, seen.deadlines, seen.children.len()), (LIVE, 2 * LIVE, 20));
    assert_eq!(tree.shutdown().await, Exit::Shutdown);
    assert_eq!((pool.live(), tree.actor_count()), (0, 0));
}
