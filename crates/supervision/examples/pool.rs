//! A partitioned pool: many children alive at once, then many more that come and go. Prints what they cost.
//!
//! `cargo run --release -p orinoco-supervision --example pool -- [live] [churn]` (100000 and 1000000 by default)

use std::time::{Duration, Instant};

use orinoco_supervision::{Actor, Catalog, ChildStart, Context, Failure, Message, Plan, Pool, Reply, Tree};

const PLAN: &str = r#"
schema = 1

[[supervisor]]
id = "root"
strategy = "one_for_one"
children = [{ id = "sessions", type = "supervisor" }]

[[supervisor]]
id = "sessions"
strategy = "simple_one_for_one"
partitions = 2
max_children = 1000000
child = { start = "Session", restart = "temporary", idle_ttl = "10m", ttl = "1h", mailbox = { capacity = 32, overflow = "reject" } }
"#;

enum Request {
    Add { amount: u64, reply: Reply<u64> },
    Leave,
}

impl Message for Request {
    fn kind(&self) -> &'static str {
        match self {
            Self::Add { .. } => "add",
            Self::Leave => "leave",
        }
    }
}

struct Session;

impl Actor for Session {
    type Message = Request;
    type Arguments = u64;
    type State = u64;

    async fn pre_start(&self, _: &Context<Request>, first: u64) -> Result<u64, Failure> {
        Ok(first)
    }

    async fn handle(&self, context: &Context<Request>, message: Request, sum: &mut u64) -> Result<(), Failure> {
        match message {
            Request::Add { amount, reply } => {
                *sum += amount;
                reply.send(*sum);
            }
            Request::Leave => context.stop(),
        }
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut numbers = std::env::args().skip(1).map(|argument| argument.parse::<u64>());
    let live = numbers.next().transpose()?.unwrap_or(100_000);
    let churn = numbers.next().transpose()?.unwrap_or(1_000_000);

    let mut catalog = Catalog::new();
    let sessions = catalog.pool("Session", || Session);
    let tree = Tree::start(Plan::parse(PLAN, "pool.toml")?, catalog).await?;

    fill(&sessions, live).await?;
    stir(&sessions, churn).await?;

    let began_at = Instant::now();
    let exit = tree.shutdown().await;
    println!("shutdown of {live} children: {:.1?}, {exit:?}", began_at.elapsed());
    Ok(())
}

/// Starts children that stay, and asks each of them something.
async fn fill(sessions: &Pool<Session>, live: u64) -> Result<(), Failure> {
    let before = resident_bytes()?;
    let began_at = Instant::now();
    for key in 0..live {
        sessions.start_child_with(key, ChildStart::once(key)).await?;
    }
    let took = began_at.elapsed();
    let idle = resident_bytes()?.saturating_sub(before) / live.max(1);
    println!("{} children started in {took:.1?}, {idle} bytes each", sessions.live());

    let began_at = Instant::now();
    for key in 0..live {
        let Some(session) = sessions.get(key) else { continue };
        let add = |reply| Request::Add { amount: 1, reply };
        session.call(add, Duration::from_secs(5)).await?;
    }
    let used = resident_bytes()?.saturating_sub(before) / live.max(1);
    println!("one call each in {:.1?}, {used} bytes each", began_at.elapsed());
    Ok(())
}

/// Starts children that leave at once, beside those that stay.
async fn stir(sessions: &Pool<Session>, churn: u64) -> Result<(), Failure> {
    let began_at = Instant::now();
    let stay = sessions.live();
    let first_key = u64::MAX / 2;
    for number in 0..churn {
        let session = sessions.start_child_with(first_key + number, ChildStart::once(0)).await?;
        session.send(Request::Leave).await.map_err(|_| "a session left too early")?;
        while sessions.live() > stay + 1000 {
            tokio::task::yield_now().await;
        }
        if number % (churn / 10).max(1) == 0 {
            println!("{number:>8} came and went, {} KiB resident", resident_bytes()? / 1024);
        }
    }
    while sessions.live() > stay {
        tokio::task::yield_now().await;
    }
    let took = began_at.elapsed();
    println!("{churn} came and went in {took:.1?}, {} KiB resident", resident_bytes()? / 1024);
    Ok(())
}

fn resident_bytes() -> Result<u64, Failure> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).ok_or("no VmRSS in /proc/self/status")?;
    let kib: u64 = line.split_whitespace().nth(1).ok_or("no value of VmRSS")?.parse()?;
    Ok(kib * 1024)
}
