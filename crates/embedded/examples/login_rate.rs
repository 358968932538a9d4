//! Makes, scans, approves and exchanges challenges, so many at once; prints rates, CPU time and resident memory.
//! `cargo run --release -p orinoco-embedded --example login_rate [CHALLENGES] [AT_ONCE]`

mod rate;

use std::{fs, sync::Arc};

use orinoco_domain::{
    ClientInfo,
    account::UserId,
    challenge::{Challenge, ChallengeKey, NewChallenge, Phone, Status},
    refresh::{FamilyId, NewFamily},
    secret::{Binding, ChallengeId, CookieSecret, DerivationKey, KeyId, Salt},
};
use orinoco_embedded::login::{EmbeddedLoginOptions, EmbeddedLoginStore};
use orinoco_ports::{LoginStore, Swap};
use rate::{Outcome, Started};

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
async fn main() -> Outcome {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse::<u64>());
    let mut next = |default| arguments.next().unwrap_or(Ok(default));
    let (challenges, at_once) = (next(100_000)?, next(500)?);
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("logins.sqlite");
    let store = Arc::new(EmbeddedLoginStore::open(&path, EmbeddedLoginOptions::default())?);
    println!("resident before: {}", resident()?);
    for step in [Step::Create, Step::Load, Step::Scan, Step::Approve, Step::Exchange] {
        let started = Started::now()?;
        let mut tasks = tokio::task::JoinSet::new();
        for lane in 0..at_once {
            let store = Arc::clone(&store);
            tasks.spawn(async move {
                for number in (lane..challenges).step_by(usize::try_from(at_once).unwrap_or(usize::MAX)) {
                    run(&store, step, number).await?;
                }
                Outcome::Ok(())
            });
        }
        while let Some(outcome) = tasks.join_next().await {
            outcome??;
        }
        started.print(&format!("{step:?}"), challenges)?;
        println!("resident: {}, file: {} KiB", resident()?, fs::metadata(&path)?.len() >> 10);
    }
    Ok(())
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
        ttl_ms: 3_600_000,
    }
}

async fn run(store: &EmbeddedLoginStore, step: Step, number: u64) -> Outcome {
    let new = new_challenge(number);
    if step == Step::Create {
        store.create_challenge(&new).await?;
        return Ok(());
    }
    let loaded = store.load_challenge(&new.key).await?;
    let held = loaded.record.ok_or("a challenge is missing")?;
    let user_id = UserId(number.cast_signed());
    let scanner = Some(Phone { user_id, session: FamilyId::from_bytes([9; 16]) });
    let version = held.version + 1;
    let next = match step {
        Step::Create | Step::Load => return Ok(()),
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
        ttl_ms: 3_600_000,
    };
    let key = DerivationKey::from_bytes(KeyId(1), [4; 32]);
    let began = (step == Step::Exchange).then(|| family.begin(&key, loaded.now_ms).0);
    match store.swap_challenge(&next, began.as_ref()).await? {
        Swap::Swapped => Ok(()),
        other => Err(format!("{other:?}").into()),
    }
}

fn resident() -> std::io::Result<String> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    Ok(line.unwrap_or_default().trim().to_owned())
}
