//! Clients that ask all the time, whatever happens: what `/readyz` says and when, and how long answers take.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use serde_json::Value;
use tokio::task::JoinHandle;

use super::{World, campaign, rest::try_exchange_http, until};

const PAUSE: Duration = Duration::from_millis(50);
/// The contract's 5 s, and what a machine may need that is busy with other tests; 5,000 in a campaign.
const ANSWER_MS_MAX: u64 = 15_000;

/// What is asked again and again.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    pub(crate) method: &'static str,
    pub(crate) path: String,
    pub(crate) body: Option<Value>,
}

impl Ask {
    pub(crate) fn get(path: impl Into<String>) -> Self {
        Self { method: "GET", path: path.into(), body: None }
    }

    pub(crate) fn post(path: impl Into<String>, body: Value) -> Self {
        Self { method: "POST", path: path.into(), body: Some(body) }
    }
}

pub(crate) struct Vigil {
    seen: Arc<Mutex<Seen>>,
    tasks: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Seen {
    /// What `/readyz` waits for, whenever that changed; nothing: ready.
    readiness: Vec<(Instant, Vec<String>)>,
    /// By method and path.
    answers: BTreeMap<String, Answers>,
}

#[derive(Debug, Default)]
struct Answers {
    by_status: BTreeMap<u16, usize>,
    slowest: Duration,
}

impl Vigil {
    /// `/readyz`, and these.
    pub(crate) fn start(world: &World, asks: Vec<Ask>) -> Self {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let readyz = Ask::get("/readyz");
        let tasks = std::iter::once(readyz).chain(asks).map(|ask| {
            let (address, seen) = (world.daemon.http_address().to_owned(), Arc::clone(&seen));
            tokio::spawn(async move {
                loop {
                    ask_once(&address, &ask, &seen).await;
                    tokio::time::sleep(PAUSE).await;
                }
            })
        });
        let tasks = tasks.collect();
        Self { seen, tasks }
    }

    /// Waits until `/readyz` is red, from that moment on: how long that took, and what it waited for.
    pub(crate) async fn red(&self, from: Instant) -> (Duration, Vec<String>) {
        until("/readyz to be red", async || {
            let seen = self.seen.lock().unwrap();
            let now = seen.readiness.last()?;
            let red = seen.readiness.iter().find(|(at, waits)| *at >= from && !waits.is_empty());
            let (at, waits) = red.or(Some(now).filter(|(_, waits)| !waits.is_empty()))?;
            Some((at.saturating_duration_since(from), waits.clone()))
        })
        .await
    }

    /// Waits until it is green: how long after that moment it became so.
    pub(crate) async fn green(&self, from: Instant) -> Duration {
        until("/readyz to be green", async || {
            let seen = self.seen.lock().unwrap();
            let (at, waits) = seen.readiness.last()?;
            waits.is_empty().then(|| at.saturating_duration_since(from))
        })
        .await
    }

    /// Each request was answered, or refused with a status that says so, in time.
    pub(crate) fn assert_all_were_answered(&self) {
        let limit = Duration::from_millis(campaign("ANSWER_MS_MAX", ANSWER_MS_MAX));
        for (ask, answers) in &self.seen.lock().unwrap().answers {
            println!("{ask}: {answers:?}");
            assert!(answers.slowest <= limit, "{ask}: {answers:?}");
            let fine = |status: &u16| matches!(status, 200..=299 | 503);
            assert!(answers.by_status.keys().all(fine), "{ask}: {answers:?}");
        }
    }
}

impl Drop for Vigil {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

async fn ask_once(address: &str, ask: &Ask, seen: &Mutex<Seen>) {
    let asked = Instant::now();
    let body = ask.body.as_ref().map(Value::to_string);
    let answer = try_exchange_http(address, ask.method, &ask.path, &[], body).await;
    let (now, mut seen) = (Instant::now(), seen.lock().unwrap());
    let answers = seen.answers.entry(format!("{} {}", ask.method, ask.path)).or_default();
    // Without an answer: a status that there is not.
    *answers.by_status.entry(answer.as_ref().map_or(0, |answer| answer.status)).or_default() += 1;
    answers.slowest = answers.slowest.max(now - asked);
    let Ok(answer) = answer else { return };
    if ask.path == "/readyz" {
        let waits = waits(&answer.json());
        assert_eq!(waits.is_empty(), answer.status == 200, "{answer:?}");
        if seen.readiness.last().is_none_or(|(_, before)| *before != waits) {
            seen.readiness.push((now, waits));
        }
    }
}

/// Components that are not up.
fn waits(readyz: &Value) -> Vec<String> {
    let components = readyz["components"].as_array().unwrap().iter();
    let down = components.filter(|component| component["state"] != "up");
    down.map(|component| component["name"].as_str().unwrap().to_owned()).collect()
}
