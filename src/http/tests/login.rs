//! The login half behind the port: its actors, over accounts and logins in memory.

use std::sync::Arc;

use orinoco_actors::{
    Challenge, ChallengeDeps, ChallengeRegistry, ChallengeRegistryArguments, ChallengeRegistryMessage, Challenges,
    Health, SseLimits, SseSession, SseStreams,
};
use orinoco_domain::account::{Account, Email, Role};
use orinoco_ports::{
    Accounts,
    conformance::{accounts::memory::MemoryAccounts, clock::ManualClock, login::memory::MemoryLoginStore},
};
use orinoco_supervision::Catalog;
use serde_json::{Value, json};

use super::world::{Answer, World, exchange};
use crate::{
    auth::{
        AccessTokens, Auth, AuthOptions, AuthPolicy, KeyRing, LiveLogins, Password, PasswordOptions, Passwords,
        RateLimits, Rotation, now_ms,
    },
    http::{HttpServer, PublicOnly},
    live::Live,
};

pub(crate) const PUBLIC_URL: &str = "http://127.0.0.1:8090";
pub(crate) const PASSWORD: &str = "correct horse battery";
const TOKEN_TTL_MS: i64 = 300_000;

pub(crate) struct LoginWorld {
    pub(crate) auth: Arc<Auth>,
    pub(crate) challenges: Challenges,
    pub(crate) streams: SseStreams,
    pub(crate) accounts: Arc<MemoryAccounts>,
    pub(crate) logins: Arc<MemoryLoginStore>,
    pub(crate) clock: Arc<ManualClock>,
    _folder: tempfile::TempDir,
}

impl LoginWorld {
    pub(crate) fn enter(catalog: &mut Catalog, health: &Health) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::default());
        clock.set(now_ms());
        let accounts = Arc::new(MemoryAccounts::new(Arc::clone(&clock)));
        let logins = Arc::new(MemoryLoginStore::new(Arc::clone(&clock), 100));
        let rotation = Rotation { period_ms: 86_400_000, token_ttl_ms: TOKEN_TTL_MS };
        let keys = Arc::new(KeyRing::open(folder.path().join("keys.json"), rotation, now_ms()).unwrap());
        let cheap = PasswordOptions { log2_n: 4, r: 8, p: 1, hashes_max: 4, waiting_max: 1000 };
        let auth = Arc::new(Auth {
            options: AuthOptions {
                public_url: PUBLIC_URL.to_owned(),
                oauth_clients: vec!["orinoco-cli".to_owned(), "orinoco-web".to_owned()],
            },
            policy: Live::new(AuthPolicy {
                signup_is_open: true,
                refresh_token_ttl_ms: 604_800_000,
                challenge_ttl_ms: 120_000,
                audit_entries_max: 1000,
            }),
            accounts: accounts.clone(),
            logins: logins.clone(),
            tokens: AccessTokens::new(Arc::clone(&keys), PUBLIC_URL.to_owned(), TOKEN_TTL_MS),
            keys,
            passwords: Passwords::new(cheap).unwrap(),
            limits: RateLimits::new(true),
            live: LiveLogins::new(TOKEN_TTL_MS),
        });
        let registry = catalog.group::<ChallengeRegistryMessage>("ChallengeRegistry");
        let challenges = catalog.pool("Challenge", || Challenge);
        let streams =
            SseStreams::new(catalog.pool("SseSession", || SseSession), registry.clone(), SseLimits::default());
        let derivation = Arc::clone(auth.derivation());
        let deps = Arc::new(ChallengeDeps {
            store: logins.clone(),
            keys: Arc::new(move || Arc::clone(&derivation)),
            watchers_max: 8,
        });
        let (hearing, health) = (Arc::clone(&auth), health.clone());
        health.expect(ChallengeRegistry::COMPONENT);
        catalog.actor(
            "ChallengeRegistry",
            || ChallengeRegistry,
            move |_| {
                let auth = Arc::clone(&hearing);
                ChallengeRegistryArguments {
                    deps: Arc::clone(&deps),
                    challenges: challenges.clone(),
                    health: health.clone(),
                    notice: Arc::new(move |notice| auth.hear(notice)),
                }
            },
        );
        Self { auth, challenges: Challenges::new(registry), streams, accounts, logins, clock, _folder: folder }
    }

    pub(crate) async fn account(&self, email: &str, roles: &[Role]) -> Account {
        let password = Password::new(PASSWORD).unwrap();
        let roles = roles.iter().copied().collect();
        self.auth.create_account(Email::parse(email).unwrap(), password, None, roles).await.unwrap()
    }

    /// Names of the audit log's events, oldest first.
    pub(crate) async fn audited(&self) -> Vec<&'static str> {
        let page = self.accounts.audit(None, 1000).await.unwrap();
        page.entries.iter().rev().map(|line| line.entry.event.as_str()).collect()
    }
}

/// The port, in a world of its own.
pub(crate) struct Api {
    pub(crate) world: World,
    pub(crate) place: String,
    pub(crate) running: Box<dyn orinoco_ports::Running>,
}

impl Api {
    pub(crate) async fn open() -> Self {
        let world = World::start().await;
        let mut deps = world.http_deps(PublicOnly { public: false });
        deps.body_bytes_max = 4096;
        let running = HttpServer::new(deps).start().await.unwrap();
        Self { place: running.place().to_owned(), world, running }
    }

    /// See [`send_to`].
    pub(crate) async fn send(&self, method: &str, path: &str, headers: &str, body: Option<&Value>) -> Answer {
        send_to(&self.place, method, path, headers, body).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send("POST", path, "", Some(body)).await
    }

    pub(crate) async fn log_in(&self, email: &str) -> Tokens {
        let body = json!({ "email": email, "password": PASSWORD });
        Tokens::of(&self.post("/api/v1/auth/login", &body).await)
    }

    pub(crate) async fn with_token(&self, method: &str, path: &str, token: &str, body: Option<&Value>) -> Answer {
        self.send(method, path, &format!("Authorization: Bearer {token}\r\n"), body).await
    }
}

/// `headers`: each with its `\r\n`.
pub(crate) async fn send_to(place: &str, method: &str, path: &str, headers: &str, body: Option<&Value>) -> Answer {
    let (kind, body) = match body {
        Some(body) => ("Content-Type: application/json\r\n", body.to_string()),
        None => ("", String::new()),
    };
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:8090\r\nConnection: close\r\nUser-Agent: tests/1\r\n\
         {headers}{kind}Content-Length: {length}\r\n\r\n{body}"
    );
    exchange(place, request.as_bytes()).await
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tokens {
    pub(crate) access: String,
    pub(crate) refresh: String,
}

impl Tokens {
    /// Of an answer, which must have them.
    pub(crate) fn of(answer: &Answer) -> Self {
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        let body = answer.json();
        assert_eq!((&body["tokenType"], &body["expiresIn"]), (&json!("Bearer"), &json!(TOKEN_TTL_MS / 1000)));
        let text = |name: &str| body[name].as_str().unwrap().to_owned();
        Self { access: text("accessToken"), refresh: text("refreshToken") }
    }
}
