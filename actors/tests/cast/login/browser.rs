//! A browser and a phone, as the HTTP server acts for them.

use std::{
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use futures_util::StreamExt;
use orinoco_actors::{Action, BegunLogin, ChallengeError, ChallengeView, SseRender};
use orinoco_domain::{
    ClientInfo,
    account::UserId,
    challenge::{ChallengeKey, DeviceGrant, NewChallenge, Phone, Status},
    refresh::{FamilyId, NewFamily},
    secret::{Binding, ChallengeId, Nonce, Otc, Proof, Salt, Verifier},
};
use tokio::task::JoinHandle;

use super::world::{Daemon, keys, until};

pub(crate) const ADA: UserId = UserId(1);

fn random<const LENGTH: usize>() -> [u8; LENGTH] {
    std::array::from_fn(|_| fastrand::u8(..))
}

pub(crate) fn phone() -> Phone {
    Phone { user_id: ADA, session: FamilyId::from_bytes([9; 16]) }
}

pub(crate) fn other_phone() -> Phone {
    Phone { user_id: UserId(2), session: FamilyId::from_bytes([8; 16]) }
}

pub(crate) fn new_login(user_id: UserId) -> NewFamily {
    NewFamily {
        id: FamilyId::from_bytes(random()),
        user_id,
        generation: 0,
        client_id: None,
        salt: Salt::from_bytes(random()),
        client: ClientInfo::new("192.0.2.7", "browser"),
        ttl_ms: 3_600_000,
    }
}

/// Who asks to be logged in.
#[derive(Clone)]
pub(crate) struct Browser {
    pub(crate) new: NewChallenge,
    pub(crate) key: ChallengeKey,
    verifier: Verifier,
}

impl Browser {
    pub(crate) fn new() -> Self {
        let key = ChallengeKey::of(&ChallengeId::from_bytes(random()));
        let verifier = Verifier::from_bytes(random());
        let new = NewChallenge {
            key,
            salt: Salt::from_bytes(random()),
            key_id: keys().current().id(),
            binding: Binding::Verifier(verifier.code_challenge()),
            creator: ClientInfo::new("192.0.2.7", "browser"),
            device_grant: Some(DeviceGrant::new("orinoco-cli")),
            ttl_ms: 120_000,
        };
        Self { new, key, verifier }
    }

    /// Asks this daemon for a challenge.
    pub(crate) async fn at(daemon: &Daemon) -> Self {
        let browser = Self::new();
        let view = daemon.challenges.create(&browser.new).await.unwrap();
        assert_eq!((view.status(), view.record.version), (Status::Pending, 1));
        browser
    }

    pub(crate) fn proof(&self) -> Proof {
        Proof::Verifier(self.verifier.clone())
    }

    /// As its picture shows it.
    pub(crate) fn nonce(&self) -> Nonce {
        self.new.at(0).nonce(&keys()).unwrap()
    }

    pub(crate) async fn status(&self, daemon: &Daemon) -> Result<Status, ChallengeError> {
        daemon.challenges.look(self.key).await.map(|view| view.status())
    }

    pub(crate) async fn scan(&self, daemon: &Daemon) -> Result<ChallengeView, ChallengeError> {
        daemon.challenges.act(self.key, &Action::Scan { nonce: self.nonce(), phone: phone() }).await
    }

    pub(crate) async fn approve(&self, daemon: &Daemon) -> Result<ChallengeView, ChallengeError> {
        daemon.challenges.act(self.key, &Action::Approve { phone: phone() }).await
    }

    pub(crate) async fn deny(&self, daemon: &Daemon) -> Result<ChallengeView, ChallengeError> {
        daemon.challenges.act(self.key, &Action::Deny { phone: phone() }).await
    }

    pub(crate) async fn cancel(&self, daemon: &Daemon) -> Result<ChallengeView, ChallengeError> {
        daemon.challenges.act(self.key, &Action::Cancel { proof: self.proof() }).await
    }

    pub(crate) async fn approved(daemon: &Daemon) -> (Self, Otc) {
        let browser = Self::at(daemon).await;
        browser.scan(daemon).await.unwrap();
        browser.approve(daemon).await.unwrap();
        let otc = browser.otc(daemon).await;
        (browser, otc)
    }

    /// As a poll shows it.
    pub(crate) async fn otc(&self, daemon: &Daemon) -> Otc {
        let view = daemon.challenges.look(self.key).await.unwrap();
        view.record.otc(&keys(), view.now_ms).unwrap()
    }

    pub(crate) async fn exchange(&self, daemon: &Daemon, otc: &Otc) -> Result<BegunLogin, ChallengeError> {
        daemon.challenges.exchange(self.key, self.proof(), otc.clone(), new_login(ADA)).await
    }
}

/// An event of a stream, as EventSource gives it to a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SeenEvent {
    pub(crate) id: u64,
    pub(crate) status: Status,
    pub(crate) otc: Option<String>,
    /// Of which connection, from 0.
    pub(crate) connection: usize,
}

#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) events: Vec<SeenEvent>,
    pub(crate) comments: usize,
    pub(crate) connections: usize,
    /// The last connection has ended, and the page does not connect again.
    pub(crate) is_over: bool,
}

impl Seen {
    fn end_if_terminal(&mut self) -> bool {
        self.is_over = self.events.last().is_some_and(|last| last.status.is_terminal());
        self.is_over
    }
}

/// An EventSource: it connects again when a stream ends, until it has seen a terminal status.
pub(crate) struct EventSource {
    seen: Arc<Mutex<Seen>>,
    task: JoinHandle<()>,
}

impl Drop for EventSource {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(crate) fn render() -> SseRender {
    Arc::new(|view: &ChallengeView| {
        let otc = view.record.otc(&keys(), view.now_ms).map(|otc| otc.expose()).unwrap_or_default();
        format!("{{\"status\":\"{}\",\"otc\":\"{otc}\"}}", view.status())
    })
}

impl EventSource {
    pub(crate) fn connect(daemon: &Arc<Daemon>, key: ChallengeKey) -> Self {
        let seen: Arc<Mutex<Seen>> = Arc::default();
        let (daemon, heard) = (Arc::clone(daemon), Arc::clone(&seen));
        let task = tokio::spawn(async move {
            loop {
                if let Ok(mut stream) = daemon.streams.open(key, render()).await {
                    let connection = heard.lock().unwrap().connections;
                    heard.lock().unwrap().connections += 1;
                    while let Some(chunk) = stream.next().await {
                        read(std::str::from_utf8(&chunk).unwrap(), connection, &mut heard.lock().unwrap());
                    }
                }
                if heard.lock().unwrap().end_if_terminal() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        Self { seen, task }
    }

    pub(crate) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap()
    }

    pub(crate) fn statuses(&self) -> Vec<Status> {
        self.seen().events.iter().map(|event| event.status).collect()
    }

    pub(crate) async fn until(&self, status: Status) {
        until(&format!("{status} is seen"), || self.seen().events.last().is_some_and(|last| last.status == status))
            .await;
    }

    pub(crate) async fn until_over(&self) {
        until("the stream is over", || self.seen().is_over).await;
    }
}

fn read(chunk: &str, connection: usize, seen: &mut Seen) {
    match chunk {
        ":\n\n" => seen.comments += 1,
        "retry: 2000\n\n" => {}
        event => {
            let lines: Vec<&str> = event.lines().collect();
            assert!(event.ends_with("\n\n") && lines[0] == "event: status", "{event}");
            let data: serde_json::Value = serde_json::from_str(lines[2].strip_prefix("data: ").unwrap()).unwrap();
            seen.events.push(SeenEvent {
                id: lines[1].strip_prefix("id: ").unwrap().parse().unwrap(),
                status: Status::parse(data["status"].as_str().unwrap()).unwrap(),
                otc: data["otc"].as_str().filter(|otc| !otc.is_empty()).map(str::to_owned),
                connection,
            });
        }
    }
}
