//! Browsers and phones that log in at a steady rate, whatever is killed.
//!
//! A connection that is refused, one that breaks off and a 503 are tried again, as any client does. Whatever else is not as the contract
//! has it fails the test, and so does a login that is not over in time.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use orinoco_testkit::unique_name;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::{
    sync::{oneshot, watch},
    task::{JoinHandle, JoinSet},
    time::{MissedTickBehavior, interval, timeout},
};

use crate::support::{Answer, Browser, DEADLINE, Tokens, World, try_exchange_http, within};

const AGAIN_AFTER: Duration = Duration::from_millis(10);
/// Logins under way. Policy at the bound: the next one comes later.
const AT_ONCE_MAX: usize = 200;
const PEOPLE: usize = 4;
const API: &str = "/api/v1/";

/// What logins came to.
#[derive(Debug, Default)]
pub(super) struct Outcomes {
    /// How many by their terminal status, and what else is of interest.
    pub(super) counts: BTreeMap<&'static str, usize>,
    /// From the end of a stream to the first event of the next.
    pub(super) gaps: Vec<Duration>,
}

/// What one login came to.
struct Ended {
    what: Vec<&'static str>,
    gaps: Vec<Duration>,
}

pub(super) struct Logins {
    stop: oneshot::Sender<()>,
    task: JoinHandle<Outcomes>,
}

impl Logins {
    pub(super) async fn start(world: &World, per_second: u32) -> Self {
        let mut people = Vec::new();
        for _ in 0..PEOPLE {
            people.push(world.person().await.tokens);
        }
        let address = world.daemon.http_address().to_owned();
        let (stop, stopped) = oneshot::channel();
        Self { stop, task: tokio::spawn(run(address, people, per_second, stopped)) }
    }

    /// Ends it when all are over.
    pub(super) async fn stop(self) -> Outcomes {
        // Ended: then its panic shows why.
        let _ = self.stop.send(());
        within("the last login", self.task).await.unwrap()
    }
}

async fn run(address: String, people: Vec<Tokens>, per_second: u32, mut stopped: oneshot::Receiver<()>) -> Outcomes {
    let mut outcomes = Outcomes::default();
    let mut logins = JoinSet::new();
    let mut ticks = interval(Duration::from_secs(1) / per_second);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut number = 0;
    loop {
        tokio::select! {
            _ = &mut stopped => break,
            Some(ended) = logins.join_next() => add(&mut outcomes, ended.unwrap()),
            _ = ticks.tick(), if logins.len() < AT_ONCE_MAX => {
                let login = Login {
                    address: address.clone(),
                    phone: people[number % PEOPLE].access.clone(),
                    number,
                    step: Mutex::default(),
                    stream: Arc::default(),
                };
                logins.spawn(async move { login.run_within().await });
                number += 1;
            }
        }
    }
    while let Some(ended) = logins.join_next().await {
        add(&mut outcomes, ended.unwrap());
    }
    outcomes
}

fn add(outcomes: &mut Outcomes, ended: Ended) {
    for what in ended.what {
        *outcomes.counts.entry(what).or_default() += 1;
    }
    outcomes.gaps.extend(ended.gaps);
}

struct Login {
    address: String,
    /// The phone's access token.
    phone: String,
    number: usize,
    /// What it waits for, for who finds it stuck.
    step: Mutex<String>,
    /// What became of its browser's last request for a stream, likewise.
    stream: Arc<Mutex<&'static str>>,
}

impl Login {
    async fn run_within(&self) -> Ended {
        match timeout(DEADLINE, self.run()).await {
            Ok(ended) => ended,
            Err(_) => {
                panic!("a login is stuck at {}; its stream: {}", self.step.lock().unwrap(), self.stream.lock().unwrap())
            }
        }
    }

    async fn run(&self) -> Ended {
        let browser = self.browser().await;
        let (tell, mut told) = watch::channel(Value::Null);
        let events = tokio::spawn(follow(self.address.clone(), browser.clone(), tell, Arc::clone(&self.stream)));
        let scan = json!({"nonce": browser.nonce});
        self.phone(&browser, "scan", Some(scan), &["SCANNED"]).await;
        let (status, mut what) = match self.number % 10 {
            0 => {
                self.phone(&browser, "deny", None, &["DENIED"]).await;
                ("DENIED", Vec::new())
            }
            1 => {
                let verifier = [("Orinoco-Verifier", browser.verifier.as_str())];
                let path = format!("qr/challenges/{}", browser.id);
                let (answer, lost) = self.done("DELETE", &path, &verifier, None).await;
                assert_done(&answer, lost, &["CANCELLED"]);
                ("CANCELLED", Vec::new())
            }
            _ => {
                self.phone(&browser, "approve", None, &["APPROVED"]).await;
                *self.step.lock().unwrap() = format!("being told of the approval of {}", browser.id);
                let approved = told.wait_for(|event| event["status"] == "APPROVED").await.unwrap().clone();
                ("EXCHANGED", self.exchange(&browser, approved["otc"].as_str().unwrap()).await)
            }
        };
        *self.step.lock().unwrap() = format!("being told that {} is {status}", browser.id);
        let (seen, gaps) = events.await.unwrap();
        assert_eq!(seen.last().map(String::as_str), Some(status), "{seen:?}");
        let order = ["PENDING", "SCANNED", "APPROVED", status];
        assert!(seen.iter().is_sorted_by_key(|seen| order.iter().position(|known| seen == known)), "{seen:?}");
        what.push(status);
        Ended { what, gaps }
    }

    async fn browser(&self) -> Browser {
        let verifier = format!("{}-{}", unique_name("verifier"), "v".repeat(30));
        let body = json!({"codeChallenge": URL_SAFE_NO_PAD.encode(Sha256::digest(&verifier))});
        let (answer, _) = self.done("POST", "qr/challenges", &[], Some(body)).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        let created = answer.json();
        let text = |name: &str| created[name].as_str().unwrap().to_owned();
        Browser { verifier, id: text("challengeId"), nonce: text("nonce"), created }
    }

    async fn phone(&self, browser: &Browser, action: &str, body: Option<Value>, done: &[&str]) {
        let bearer = format!("Bearer {}", self.phone);
        let path = format!("qr/challenges/{}/{action}", browser.id);
        let (answer, lost) = self.done("POST", &path, &[("Authorization", bearer.as_str())], body).await;
        assert_done(&answer, lost, done);
    }

    /// One login comes of it, unless its answer was lost on the way; some are refreshed, and all are ended.
    async fn exchange(&self, browser: &Browser, otc: &str) -> Vec<&'static str> {
        let verifier = [("Orinoco-Verifier", browser.verifier.as_str())];
        let path = format!("qr/challenges/{}/exchange", browser.id);
        let (answer, lost) = self.done("POST", &path, &verifier, Some(json!({"otc": otc}))).await;
        if answer.status == 409 {
            assert_done(&answer, lost, &["EXCHANGED"]);
            return vec!["the exchange's answer lost"];
        }
        let mut tokens = Tokens::of(&answer);
        if self.number % 5 == 2 {
            let body = json!({"refreshToken": tokens.refresh});
            tokens = Tokens::of(&self.done("POST", "auth/refresh", &[], Some(body)).await.0);
        }
        let bearer = format!("Bearer {}", tokens.access);
        let (answer, lost) = self.done("POST", "auth/logout", &[("Authorization", bearer.as_str())], None).await;
        assert!(answer.status == 204 || (lost && answer.status == 401), "{answer:?}");
        if self.number % 5 == 2 { vec!["refreshed"] } else { Vec::new() }
    }

    /// The answer, and whether one before it may have been lost.
    async fn done(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Option<Value>) -> (Answer, bool) {
        let body = body.map(|body| body.to_string());
        let mut lost = false;
        let mut tries = 0;
        loop {
            tries += 1;
            *self.step.lock().unwrap() = format!("try {tries} of {method} {path}");
            match try_exchange_http(&self.address, method, &format!("{API}{path}"), headers, body.clone()).await {
                Ok(answer) if answer.status == 503 => {
                    answer.assert_problem(503);
                    lost = true;
                }
                Ok(answer) => return (answer, lost),
                Err(error) => lost |= error.kind() != io::ErrorKind::ConnectionRefused,
            }
            tokio::time::sleep(AGAIN_AFTER).await;
        }
    }
}

/// Done now, or by a try of which no answer came.
fn assert_done(answer: &Answer, lost: bool, statuses: &[&str]) {
    let before = || {
        let status = answer.json()["challengeStatus"].clone();
        lost && answer.status == 409 && statuses.iter().any(|done| status == **done)
    };
    assert!((200..300).contains(&answer.status) || before(), "{answer:?}, lost before: {lost}");
}

/// The statuses that a browser was told of, over as many streams as it takes, and the gaps between those.
async fn follow(
    address: String,
    browser: Browser,
    tell: watch::Sender<Value>,
    at: Arc<Mutex<&'static str>>,
) -> (Vec<String>, Vec<Duration>) {
    let mut seen: Vec<String> = Vec::new();
    let (mut gaps, mut lost_at): (_, Option<Instant>) = (Vec::new(), None);
    let mut last_id = String::new();
    loop {
        match within("a stream", browser.try_events_after(&address, &last_id)).await {
            Ok(Ok(mut events)) => {
                *at.lock().unwrap() = "open";
                while let Some(event) = events.next().await {
                    gaps.extend(lost_at.take().map(|at| at.elapsed()));
                    let status = event["status"].as_str().unwrap().to_owned();
                    // Each stream begins with how it stands.
                    if seen.last() != Some(&status) {
                        seen.push(status);
                    }
                    last_id.clone_from(&events.last_id);
                    tell.send_replace(event);
                }
                if seen.last().is_some_and(|status| ["DENIED", "CANCELLED", "EXCHANGED"].contains(&status.as_str())) {
                    return (seen, gaps);
                }
                *at.lock().unwrap() = "lost";
                lost_at.get_or_insert_with(Instant::now);
            }
            Ok(Err(204)) => return (seen, gaps),
            // 429: so many streams that are killed all the time come to the limit for all, which nothing lifts.
            Ok(Err(429)) => *at.lock().unwrap() = "429",
            Ok(Err(503)) => *at.lock().unwrap() = "503",
            Err(_) => *at.lock().unwrap() = "no answer",
            Ok(Err(status)) => panic!("{status} in place of a stream, after {seen:?}"),
        }
        tokio::time::sleep(AGAIN_AFTER).await;
    }
}

/// How long a campaign may go on with one access token of a phone.
pub(super) const ACCESS_TOKEN_TTL_S: u64 = 86_400;
const _: () = assert!(DEADLINE.as_secs() < 120, "a challenge lives longer than a login is waited for");
