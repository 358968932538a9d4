//! What challenges and logins cost in Redis "QR" (with a sync to disk before each answer): steps a second, processor seconds a million
//! steps of this process and of Redis, and the memory of Redis a challenge.
//!
//! `cargo run --release -p orinoco-services --example login_rate -- [challenges] [at once]`; starts a Redis of its own.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::{sync::Arc, time::Instant};

use orinoco_domain::{
    ClientInfo,
    account::UserId,
    challenge::{Challenge, ChallengeKey, NewChallenge, Phone, Status},
    refresh::{FamilyId, NewFamily},
    secret::{Binding, ChallengeId, CookieSecret, DerivationKey, KeyId, Salt},
};
use orinoco_ports::{LoginStore, Swap};
use orinoco_services::{RedisLoginStore, RedisLoginStoreOptions};
use orinoco_testkit::{ProcessUsage, Redis, RedisKind};

const TTL_MS: i64 = 3_600_000;
const USER_AGENT: &str = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Create,
    Load,
    Scan,
    Approve,
    Exchange,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse::<u64>().unwrap());
    let (challenges, at_once) = (arguments.next().unwrap_or(100_000), arguments.next().unwrap_or(64));
    let redis = Redis::start(RedisKind::Qr).await.unwrap();
    let store = Arc::new(RedisLoginStore::new(&RedisLoginStoreOptions::new(redis.url())).unwrap());
    println!("{challenges} challenges, {at_once} at once");
    println!("{:<10} {:>10} {:>14} {:>14} {:>18}", "", "steps/s", "client s/M", "Redis s/M", "Redis bytes each");
    let own = || ProcessUsage::of(std::process::id()).unwrap().cpu_seconds;
    let empty = used_memory(&redis).await;
    for step in [Step::Create, Step::Load, Step::Scan, Step::Approve, Step::Exchange] {
        let before = (own(), redis.usage().unwrap().cpu_seconds, Instant::now());
        let mut tasks = tokio::task::JoinSet::new();
        for lane in 0..at_once {
            let store = Arc::clone(&store);
            tasks.spawn(async move {
                for number in (lane..challenges).step_by(usize::try_from(at_once).unwrap()) {
                    run(&store, step, number).await;
                }
            });
        }
        while let Some(outcome) = tasks.join_next().await {
            outcome.unwrap();
        }
        let (count, elapsed) = (challenges as f64, before.2.elapsed().as_secs_f64());
        let (client, server) = (own() - before.0, redis.usage().unwrap().cpu_seconds - before.1);
        let bytes = (used_memory(&redis).await - empty) as f64 / count;
        let name = format!("{step:?}");
        let (client, server) = (client * 1e6 / count, server * 1e6 / count);
        println!("{name:<10} {:>10.0} {client:>14.1} {server:>14.1} {bytes:>18.0}", count / elapsed);
    }
}

async fn used_memory(redis: &Redis) -> i64 {
    let client = redis::Client::open(redis.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let info: String = redis::cmd("INFO").arg("memory").query_async(&mut connection).await.unwrap();
    let line = info.lines().find_map(|line| line.strip_prefix("used_memory:")).unwrap();
    line.trim().parse().unwrap()
}

fn new_challenge(number: u64) -> NewChallenge {
    let mut id = [7; 32];
    id[..8].copy_from_slice(&number.to_be_bytes());
    NewChallenge {
        key: ChallengeKey::of(&ChallengeId::from_bytes(id)),
        salt: Salt::from_bytes([1; 16]),
        key_id: KeyId(1),
        binding: Binding::to_cookie(&CookieSecret::from_bytes([2; 32])),
        creator: ClientInfo::new("192.0.2.7", USER_AGENT),
        device_grant: None,
        ttl_ms: TTL_MS,
    }
}

async fn run(store: &RedisLoginStore, step: Step, number: u64) {
    let new = new_challenge(number);
    if step == Step::Create {
        store.create_challenge(&new).await.unwrap();
        return;
    }
    let loaded = store.load_challenge(&new.key).await.unwrap();
    let held = loaded.record.unwrap();
    let user_id = UserId(number.cast_signed());
    let scanner = Some(Phone { user_id, session: FamilyId::from_bytes([9; 16]) });
    let version = held.version + 1;
    let next = match step {
        Step::Create | Step::Load => return,
        Step::Scan => Challenge { status: Status::Scanned, scanner, version, ..held },
        Step::Approve => Challenge { status: Status::Approved, user_id: Some(user_id), version, ..held },
        Step::Exchange => Challenge { status: Status::Exchanged, version, ended_at_ms: Some(loaded.now_ms), ..held },
    };
    let family = NewFamily {
        id: FamilyId::from_bytes(u128::from(number).to_be_bytes()),
        user_id,
        generation: 0,
        client_id: None,
        salt: Salt::from_bytes([3; 16]),
        client: ClientInfo::new("192.0.2.7", USER_AGENT),
        ttl_ms: TTL_MS,
    };
    let key = DerivationKey::from_bytes(KeyId(1), [4; 32]);
    let began = (step == Step::Exchange).then(|| family.begin(&key, loaded.now_ms).0);
    assert_eq!(store.swap_challenge(&next, began.as_ref()).await.unwrap(), Swap::Swapped);
}
