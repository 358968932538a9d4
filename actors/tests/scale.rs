//! Many live challenges: what one costs in memory, and how long an approval takes to a stream beside them.
//!
//! One test in a process of its own, because it looks at the resident memory of the process. The rates are printed, not asserted; with
//! `--release` they mean something. What one costs does not depend on how many there are: `LIVE` is less than the 100,000 that one daemon
//! is made for, so that a debug build is done in seconds.
#![allow(clippy::unwrap_used)]

use std::{sync::Arc, time::Duration};

use futures_util::StreamExt;
use orinoco_actors::{
    Action, Challenge, ChallengeDeps, ChallengeRegistry, ChallengeRegistryArguments, Challenges, Health, SseLimits,
    SseSession, SseStreams,
};
use orinoco_domain::{
    ClientInfo,
    account::UserId,
    challenge::{ChallengeKey, NewChallenge, Phone},
    refresh::FamilyId,
    secret::{Binding, ChallengeId, DerivationKey, DerivationKeys, KeyId, Salt, Verifier},
};
use orinoco_ports::conformance::login::memory::MemoryLoginStore;
use orinoco_supervision::{Catalog, Plan, Pool, Tree};
use tokio::time::Instant;

const LIVE: u32 = 30_000;
const LOGINS: u32 = 1_000;
/// Who creates at once.
const CREATORS: u32 = 64;
/// All that a challenge may cost: its actor, its copy of the record, its alarm; and here the store's own record too.
const CHALLENGE_BYTES_MAX: u64 = 10 * 1024;

const PLAN: &str = r#"
schema = 1
[[supervisor]]
id = "root"
strategy = "one_for_one"
children = [
  { id = "challenges", type = "supervisor" },
  { id = "registry", start = "ChallengeRegistry", mailbox = { capacity = 4096 } },
  { id = "sse_sessions", type = "supervisor" },
]
[[supervisor]]
id = "challenges"
strategy = "simple_one_for_one"
partitions = 4
max_children = 120000
child = { start = "Challenge", restart = "temporary", ttl = "2h", mailbox = { capacity = 2048, overflow = "reject" } }
[[supervisor]]
id = "sse_sessions"
strategy = "simple_one_for_one"
max_children = 20000
child = { start = "SseSession", restart = "temporary", ttl = "2h", stop_mode = "stop", mailbox = { capacity = 64, overflow = "reject" } }
"#;

fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

fn keys() -> DerivationKeys {
    DerivationKeys::new(vec![DerivationKey::from_bytes(KeyId(7), [42; 32])]).unwrap()
}

fn new_challenge(number: u32) -> NewChallenge {
    let mut id = [0; 32];
    id[..4].copy_from_slice(&number.to_be_bytes());
    NewChallenge {
        key: ChallengeKey::of(&ChallengeId::from_bytes(id)),
        salt: Salt::from_bytes([5; 16]),
        key_id: KeyId(7),
        binding: Binding::Verifier(Verifier::from_bytes([3; 32]).code_challenge()),
        creator: ClientInfo::new("2001:db8::17", &"Mozilla/5.0 (X11; Linux x86_64) Gecko ".repeat(3)),
        device_grant: None,
        ttl_ms: 3_600_000,
    }
}

async fn start() -> (Tree, Challenges, SseStreams, Pool<Challenge>) {
    let mut catalog = Catalog::new();
    let registry = catalog.group("ChallengeRegistry");
    let pool = catalog.pool("Challenge", || Challenge);
    let sse_sessions = catalog.pool("SseSession", || SseSession);
    let derivation = Arc::new(keys());
    let deps = Arc::new(ChallengeDeps {
        store: Arc::<MemoryLoginStore>::default(),
        keys: Arc::new(move || Arc::clone(&derivation)),
        watchers_max: 16,
    });
    let challenges = pool.clone();
    catalog.actor(
        "ChallengeRegistry",
        || ChallengeRegistry,
        move |_| ChallengeRegistryArguments {
            deps: Arc::clone(&deps),
            challenges: challenges.clone(),
            health: Health::default(),
            notice: Arc::new(|_| {}),
        },
    );
    let tree = Tree::start(Plan::parse(PLAN, "plan").unwrap(), catalog).await.unwrap();
    let streams = SseStreams::new(sse_sessions, registry.clone(), SseLimits::default());
    (tree, Challenges::new(registry), streams, pool)
}

async fn create_all(challenges: &Challenges) {
    let creators = (0..CREATORS).map(|first| {
        let challenges = challenges.clone();
        tokio::spawn(async move {
            for number in (first..LIVE).step_by(CREATORS as usize) {
                challenges.create(&new_challenge(number)).await.unwrap();
            }
        })
    });
    for creator in creators.collect::<Vec<_>>() {
        creator.await.unwrap();
    }
}

/// From the request to approve to the event.
async fn approve(challenges: &Challenges, streams: &SseStreams, number: u32) -> Duration {
    let new = new_challenge(number);
    let phone = Phone { user_id: UserId(1), session: FamilyId::from_bytes([9; 16]) };
    let nonce = new.at(0).nonce(&keys()).unwrap();
    challenges.act(new.key, &Action::Scan { nonce, phone }).await.unwrap();
    let render = Arc::new(|view: &orinoco_actors::ChallengeView| view.status().to_string());
    let mut stream = streams.open(new.key, render).await.unwrap();
    for _ in ["retry", "SCANNED"] {
        stream.next().await.unwrap();
    }
    let began = Instant::now();
    challenges.act(new.key, &Action::Approve { phone }).await.unwrap();
    let event = stream.next().await.unwrap();
    assert!(event.ends_with(b"data: APPROVED\n\n"), "{event:?}");
    began.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_live_challenge_costs_less_than_ten_kib() {
    let (tree, challenges, streams, pool) = start().await;
    challenges.create(&new_challenge(u32::MAX)).await.unwrap();
    let (before, began) = (resident_bytes(), Instant::now());
    create_all(&challenges).await;
    let rate = f64::from(LIVE) / began.elapsed().as_secs_f64();
    assert_eq!(pool.live(), LIVE as usize + 1);
    let each = (resident_bytes() - before) / u64::from(LIVE);
    let mut waits: Vec<Duration> = Vec::new();
    for login in 0..LOGINS {
        waits.push(approve(&challenges, &streams, login * (LIVE / LOGINS)).await);
    }
    waits.sort_unstable();
    let (p50, p99) = (waits[waits.len() / 2], waits[waits.len() * 99 / 100]);
    println!("{each} bytes a challenge, {rate:.0} made a second; approval to event p50 {p50:?}, p99 {p99:?}");
    assert!(each < CHALLENGE_BYTES_MAX, "{each} bytes a challenge");
    tree.shutdown().await;
}
