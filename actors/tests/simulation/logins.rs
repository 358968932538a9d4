//! Logins: a browser that shows a challenge, its event stream, and a phone, each at whatever daemon there is.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::StreamExt;
use orinoco_actors::{Action, ChallengeError, ChallengeView, SseRender};
use orinoco_domain::{
    ClientInfo,
    account::UserId,
    challenge::{ChallengeKey, DeviceGrant, NewChallenge, Phone, Status},
    refresh::{FamilyId, NewFamily},
    secret::{Binding, ChallengeId, Otc, Proof, Salt, Verifier},
};
use orinoco_ports::LoginStore;
use tokio::time::{Instant, sleep};

use crate::{
    daemon::{Daemon, keys},
    world::World,
};

const TTL: Duration = Duration::from_secs(20);
/// A request and all its tries, and a turn.
const REQUEST_MAX: Duration = Duration::from_millis(5_050);
/// After a challenge's deadline its stream must have ended within this time, whatever had failed.
const ENDED_WITHIN: Duration = Duration::from_secs(90);

/// How a login goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Course {
    Exchanged,
    Ended,
    Left,
}

pub(crate) async fn log_in_all(world: &Arc<World>) {
    let logins = (0..world.plan.workload.logins).map(|number| {
        let random = fastrand::Rng::with_seed(world.plan.workload.seed ^ (u64::from(number) << 16) ^ 2);
        Login::new(world, number, random).run()
    });
    futures_util::future::join_all(logins).await;
}

struct Login {
    world: Arc<World>,
    user_id: UserId,
    new: NewChallenge,
    key: ChallengeKey,
    verifier: Verifier,
    random: fastrand::Rng,
    course: Course,
}

fn bytes<const LENGTH: usize>(random: &mut fastrand::Rng) -> [u8; LENGTH] {
    std::array::from_fn(|_| random.u8(..))
}

impl Login {
    fn new(world: &Arc<World>, number: u8, mut random: fastrand::Rng) -> Self {
        let key = ChallengeKey::of(&ChallengeId::from_bytes(bytes(&mut random)));
        let verifier = Verifier::from_bytes(bytes(&mut random));
        let new = NewChallenge {
            key,
            salt: Salt::from_bytes(bytes(&mut random)),
            key_id: keys().current().id(),
            binding: Binding::Verifier(verifier.code_challenge()),
            creator: ClientInfo::new("192.0.2.7", "browser"),
            device_grant: Some(DeviceGrant::new("orinoco-cli")),
            ttl_ms: TTL.as_millis() as i64,
        };
        let course = [Course::Exchanged, Course::Exchanged, Course::Ended, Course::Left][random.usize(..4)];
        Self { world: Arc::clone(world), user_id: UserId(i64::from(number) + 1), new, key, verifier, random, course }
    }

    fn phone(&self) -> Phone {
        Phone { user_id: self.user_id, session: FamilyId::from_bytes([9; 16]) }
    }

    fn violated(&self, invariant: &'static str, what: impl std::fmt::Display) {
        self.world.services.trace.violated(invariant, format!("login {}: {what}", self.user_id.0));
    }

    async fn run(mut self) {
        self.pause(3_000).await;
        let deadline = Instant::now() + TTL;
        if !self.create(deadline).await {
            return;
        }
        let events = Arc::new(Mutex::new(Vec::new()));
        let random = self.random.fork();
        let listening = tokio::spawn(listen(Arc::clone(&self.world), self.key, Arc::clone(&events), random));
        self.go(deadline).await;
        if tokio::time::timeout(ENDED_WITHIN, listening).await.is_err() {
            self.violated("every call ends by its deadline", format!("its stream has not ended: {events:?}"));
        }
        let events = events.lock().unwrap().clone();
        self.look_at_the_end(&events).await;
    }

    async fn pause(&mut self, ms_max: u64) {
        sleep(Duration::from_millis(self.random.u64(0..ms_max))).await;
    }

    async fn daemon(&mut self) -> Arc<Daemon> {
        loop {
            if let Some(daemon) = self.world.some_daemon(&mut self.random) {
                return daemon;
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    async fn create(&mut self, deadline: Instant) -> bool {
        while Instant::now() < deadline {
            let daemon = self.daemon().await;
            let created = self.timed(daemon.challenges.create(&self.new)).await;
            match created {
                Ok(_) => return true,
                Err(ChallengeError::Unavailable { .. } | ChallengeError::Overloaded) => self.pause(100).await,
                Err(error) => {
                    self.violated("one terminal state a challenge", format!("create: {error}"));
                    return false;
                }
            }
        }
        false
    }

    async fn timed<T>(&self, request: impl Future<Output = T>) -> T {
        let since = Instant::now();
        let answer = request.await;
        if since.elapsed() > REQUEST_MAX {
            self.violated("every call ends by its deadline", format!("{:?}", since.elapsed()));
        }
        answer
    }

    /// Asks until there is an answer: whether it was done.
    async fn until_answered(&mut self, deadline: Instant, action: Action) -> Option<bool> {
        while Instant::now() < deadline {
            let daemon = self.daemon().await;
            let answer = self.timed(daemon.challenges.act(self.key, &action)).await;
            if let Some(done) = self.done(answer) {
                return Some(done);
            }
            self.pause(100).await;
        }
        None
    }

    fn done<T>(&self, answer: Result<T, ChallengeError>) -> Option<bool> {
        match answer {
            Ok(_) => Some(true),
            Err(ChallengeError::Conflict(_)) => Some(false),
            Err(ChallengeError::Unavailable { .. } | ChallengeError::Overloaded) => None,
            // After its readable minute, or a wrong answer.
            Err(error) => {
                self.violated("one terminal state a challenge", error);
                None
            }
        }
    }

    async fn go(&mut self, deadline: Instant) {
        let nonce = self.new.at(0).nonce(&keys()).unwrap();
        let (phone, proof) = (self.phone(), Proof::Verifier(self.verifier.clone()));
        self.until_answered(deadline, Action::Scan { nonce, phone }).await;
        self.pause(200).await;
        match self.course {
            Course::Left => {}
            Course::Ended => {
                let (one, two) = (self.daemon().await, self.daemon().await);
                let (deny, cancel) = (Action::Deny { phone }, Action::Cancel { proof });
                let denied = self.timed(one.challenges.act(self.key, &deny));
                let cancelled = self.timed(two.challenges.act(self.key, &cancel));
                let (denied, cancelled) = tokio::join!(denied, cancelled);
                let done = [self.done(denied), self.done(cancelled)];
                if done == [Some(true), Some(true)] {
                    self.violated("one terminal state a challenge", "denied and cancelled");
                }
                self.until_answered(deadline, cancel).await;
            }
            Course::Exchanged => {
                self.until_answered(deadline, Action::Approve { phone }).await;
                self.exchange(deadline, proof).await;
            }
        }
    }

    /// Two at once, and again until there is an answer.
    async fn exchange(&mut self, deadline: Instant, proof: Proof) {
        let mut known = 0;
        while Instant::now() < deadline {
            let Some(otc) = self.otc().await else {
                self.pause(100).await;
                continue;
            };
            let (one, two) = (self.daemon().await, self.daemon().await);
            let logins = [self.new_login(), self.new_login()];
            let [first, second] = logins;
            let first = self.timed(one.challenges.exchange(self.key, proof.clone(), otc.clone(), first));
            let second = self.timed(two.challenges.exchange(self.key, proof.clone(), otc, second));
            let (first, second) = tokio::join!(first, second);
            let done = [self.done(first), self.done(second)];
            known += done.iter().filter(|done| **done == Some(true)).count();
            if known > 1 {
                self.violated("one family an exchange", format!("{known} were told that they have the login"));
            }
            if done.iter().any(Option::is_some) {
                return;
            }
        }
    }

    fn new_login(&mut self) -> NewFamily {
        NewFamily {
            id: FamilyId::from_bytes(bytes(&mut self.random)),
            user_id: self.user_id,
            generation: 0,
            client_id: None,
            salt: Salt::from_bytes(bytes(&mut self.random)),
            client: ClientInfo::new("192.0.2.7", "browser"),
            ttl_ms: 3_600_000,
        }
    }

    async fn otc(&mut self) -> Option<Otc> {
        let daemon = self.daemon().await;
        let view = self.timed(daemon.challenges.look(self.key)).await.ok()?;
        view.record.otc(&keys(), view.now_ms)
    }

    async fn look_at_the_end(&self, events: &[(u64, Status)]) {
        let store = self.world.services.logins.store();
        let record = store.load_challenge(&self.key).await.unwrap().record;
        let families = store.families_of(self.user_id, None, 100).await.unwrap().families.len();
        let is_exchanged = record.as_ref().is_some_and(|record| record.status == Status::Exchanged);
        // A record is gone a minute after its end.
        if (record.is_some() && families != usize::from(is_exchanged)) || families > 1 {
            self.violated("one family an exchange", format!("{families} of {record:?}"));
        }
        let shown = events.last().map(|(_, status)| *status);
        if let Some(record) = record.filter(|record| record.status.is_terminal())
            && shown != Some(record.status)
        {
            self.violated("one terminal state a challenge", format!("{events:?} of {}", record.status));
        }
        let is_ordered = events.windows(2).all(|pair| pair[0].0 <= pair[1].0 && !pair[0].1.is_terminal());
        if !is_ordered {
            self.violated("one terminal state a challenge", format!("shown: {events:?}"));
        }
    }
}

/// As EventSource does, until a terminal status.
async fn listen(world: Arc<World>, key: ChallengeKey, events: Arc<Mutex<Vec<(u64, Status)>>>, random: fastrand::Rng) {
    let mut random = random;
    loop {
        let daemon = world.some_daemon(&mut random);
        if let Some(daemon) = daemon
            && let Ok(mut stream) = daemon.streams.open(key, render()).await
        {
            drop(daemon);
            while let Some(chunk) = stream.next().await {
                let text = std::str::from_utf8(&chunk).unwrap();
                if let Some(event) = parse(text) {
                    world.services.trace.add(format_args!("a stream shows {}, version {}", event.1, event.0));
                    events.lock().unwrap().push(event);
                }
            }
        }
        let is_over = events.lock().unwrap().last().is_some_and(|(_, status)| status.is_terminal());
        if is_over {
            return;
        }
        sleep(Duration::from_millis(100)).await;
    }
}

fn render() -> SseRender {
    Arc::new(|view: &ChallengeView| view.status().to_string())
}

fn parse(chunk: &str) -> Option<(u64, Status)> {
    let mut lines = chunk.lines();
    let id = lines.find_map(|line| line.strip_prefix("id: "))?.parse().ok()?;
    let status = lines.find_map(|line| line.strip_prefix("data: "))?;
    Some((id, Status::parse(status)?))
}
