//! Daemons without listeners: the tree of `login`.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use orinoco_actors::{
    Challenge, ChallengeDeps, ChallengeRegistry, ChallengeRegistryArguments, Challenges, Health, LoginNotice,
    SseLimits, SseSession, SseStreams,
};
use orinoco_domain::secret::{DerivationKey, DerivationKeys, KeyId};
use orinoco_ports::LoginStore;
use orinoco_supervision::{Catalog, Plan, Pool, Tree};

use tokio::time::Instant;

use super::remote::{Remote, Server};

fn plan(challenges_max: u32) -> Plan {
    let text = format!(
        r#"
schema = 1
root = "root"
[defaults]
backoff = {{ min = "1ms", max = "50ms", factor = 2.0, jitter = 0.2, reset_after = "1s" }}
[[supervisor]]
id = "root"
strategy = "one_for_one"
children = [{{ id = "login", type = "supervisor" }}]
[[supervisor]]
id = "login"
strategy = "one_for_one"
intensity = 100000
period = "1s"
children = [
  {{ id = "challenges", type = "supervisor" }},
  {{ id = "registry", start = "ChallengeRegistry", mailbox = {{ capacity = 4096 }} }},
  {{ id = "sse_sessions", type = "supervisor" }},
]
[[supervisor]]
id = "challenges"
strategy = "simple_one_for_one"
partitions = 2
max_children = {challenges_max}
child = {{ start = "Challenge", restart = "temporary", ttl = "1h", mailbox = {{ capacity = 2048, overflow = "reject" }} }}
[[supervisor]]
id = "sse_sessions"
strategy = "simple_one_for_one"
max_children = 100
child = {{ start = "SseSession", restart = "temporary", ttl = "1h", stop_mode = "stop", mailbox = {{ capacity = 64, overflow = "reject" }} }}
"#
    );
    Plan::parse(&text, "plan").unwrap()
}

pub(crate) fn keys() -> DerivationKeys {
    DerivationKeys::new(vec![DerivationKey::from_bytes(KeyId(7), [42; 32])]).unwrap()
}

pub(crate) struct Daemon {
    pub(crate) tree: Tree,
    pub(crate) challenges: Challenges,
    pub(crate) streams: SseStreams,
    pub(crate) pool: Pool<Challenge>,
    pub(crate) health: Health,
    pub(crate) remote: Arc<Remote>,
    notices: Arc<Mutex<Vec<LoginNotice>>>,
}

impl Daemon {
    pub(crate) async fn start(server: &Arc<Server>) -> Self {
        Self::with_room(server, 10_000, SseLimits::default()).await
    }

    pub(crate) async fn with_room(server: &Arc<Server>, challenges_max: u32, limits: SseLimits) -> Self {
        let remote = Remote::new(server);
        let mut catalog = Catalog::new();
        let registry = catalog.group("ChallengeRegistry");
        let pool = catalog.pool("Challenge", || Challenge);
        let streams = SseStreams::new(catalog.pool("SseSession", || SseSession), registry.clone(), limits);
        let all_keys = Arc::new(keys());
        let deps = Arc::new(ChallengeDeps {
            store: Arc::clone(&remote) as Arc<dyn LoginStore>,
            keys: Arc::new(move || Arc::clone(&all_keys)),
            watchers_max: 4,
        });
        let health = Health::default();
        health.expect(ChallengeRegistry::COMPONENT);
        let notices: Arc<Mutex<Vec<LoginNotice>>> = Arc::default();
        let given = (pool.clone(), health.clone(), Arc::clone(&notices));
        catalog.actor(
            "ChallengeRegistry",
            || ChallengeRegistry,
            move |_| {
                let (challenges, health, notices) = given.clone();
                let notice = Arc::new(move |notice| notices.lock().unwrap().push(notice));
                ChallengeRegistryArguments { deps: Arc::clone(&deps), challenges, health, notice }
            },
        );
        let tree = Tree::start(plan(challenges_max), catalog).await.unwrap();
        let daemon = Self { tree, challenges: Challenges::new(registry), streams, pool, health, remote, notices };
        until("it is subscribed", || daemon.health.is_ready()).await;
        daemon
    }

    pub(crate) fn take_notices(&self) -> Vec<LoginNotice> {
        std::mem::take(&mut self.notices.lock().unwrap())
    }
}

/// Waits until a condition holds, at most five minutes of paused time.
pub(crate) async fn until(what: &str, condition: impl Fn() -> bool) {
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(300) {
        if condition() {
            return;
        }
        // Closely at first; a deadline is looked for less often.
        let step = (began.elapsed() / 500).clamp(Duration::from_millis(1), Duration::from_millis(100));
        tokio::time::sleep(step).await;
    }
    panic!("{what}: not within five minutes of paused time");
}
