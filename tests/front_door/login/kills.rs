//! The races, while the actors of the challenges are being killed. Who got no answer (503) doesn't know; everybody else knows what holds.

use std::{collections::BTreeMap, fs, time::Duration};

use orinoco_domain::{challenge::ChallengeKey, secret::ChallengeId};
use serde_json::{Value, json};
use tempfile::TempDir;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use tokio::task::JoinSet;

use super::open;
use crate::support::{Answer, Browser, Killer, Mode, Tokens, World, call, campaign, phone, turn};

for_both_modes! {
    of_many_exchanges_at_once_one_begins_a_login_while_the_challenge_is_killed
    many_refreshes_at_once_get_one_successor_while_challenges_are_killed
    one_of_approve_deny_cancel_and_the_deadline_wins_while_challenges_are_killed
}

const TREE: &str = include_str!("../../../supervision.toml");
/// 1,000 in a campaign.
const AT_ONCE: usize = 200;
const ROUNDS: usize = 50;
/// Rounds under way at a time.
const SIDE_BY_SIDE: usize = 25;
/// Of a round's challenge; of others as usual.
const ROUND_TTL_S: u64 = 3;
const TTL_S: u64 = 120;

async fn of_many_exchanges_at_once_one_begins_a_login_while_the_challenge_is_killed(mode: Mode) {
    let _turn = turn().await;
    let daemons = Daemons::start(mode, TTL_S).await;
    let (world, addresses) = (daemons.first(), daemons.addresses());
    let person = world.person().await;
    let (browser, otc) = world.approved(&person.tokens).await;
    let killers = daemons.kill(&[&browser]).await;
    let mut tasks = JoinSet::new();
    for number in 0..campaign("AT_ONCE", AT_ONCE) {
        let (browser, otc) = (browser.clone(), otc.clone());
        let address = addresses[number % addresses.len()].clone();
        tasks.spawn(async move { browser.exchange(&address, &otc).await });
    }
    let answers = tasks.join_all().await;
    let kills: usize = killers.into_iter().map(Killer::stop).sum();
    let told = statuses(&answers);
    println!("{mode:?}: {kills} kills: {told:?}");
    assert!(kills > 0);
    for refused in answers.iter().filter(|answer| answer.status != 200) {
        match refused.status {
            409 => assert_eq!(refused.json()["challengeStatus"], "EXCHANGED", "{refused:?}"),
            _ => assert_away(refused),
        }
    }
    assert_eq!(browser.status(&addresses[0]).await, "EXCHANGED", "{told:?}");
    let (done, unanswered) = (told.get(&200).unwrap_or(&0), told.get(&503).unwrap_or(&0));
    assert!(*done == 1 || (*done == 0 && *unanswered > 0), "{told:?}");
    let sessions = world.call("GET", "sessions", &person.tokens.access, None).await.json();
    assert_eq!(sessions["sessions"].as_array().unwrap().len(), 2, "one login more: {sessions}");
}

async fn many_refreshes_at_once_get_one_successor_while_challenges_are_killed(mode: Mode) {
    let _turn = turn().await;
    let daemons = Daemons::start(mode, TTL_S).await;
    let (world, addresses) = (daemons.first(), daemons.addresses());
    let person = world.person().await;
    // A login by QR, whose challenge is still asked about, and one that is under way.
    let (exchanged, otc) = world.approved(&person.tokens).await;
    let token = Tokens::of(&exchanged.exchange(&addresses[0], &otc).await).refresh;
    let waiting = world.browser().await;
    let killers = daemons.kill(&[&exchanged, &waiting]).await;
    let mut tasks = JoinSet::new();
    for number in 0..campaign("AT_ONCE", AT_ONCE) {
        let (token, address) = (token.clone(), addresses[number % addresses.len()].clone());
        // By a few, so that the crowd is done within the 10 s of leniency on a slow machine too.
        let asked = (number % 10 == 0).then(|| if number % 20 == 0 { exchanged.clone() } else { waiting.clone() });
        tasks.spawn(async move {
            if let Some(asked) = asked {
                asked.poll(&address).await;
            }
            call(&address, "POST", "auth/refresh", "", Some(json!({"refreshToken": token}))).await
        });
    }
    let answers = tasks.join_all().await;
    let kills: usize = killers.into_iter().map(Killer::stop).sum();
    println!("{mode:?}: {kills} kills");
    assert!(kills > 0);
    // More at once than the stores answer in time: who is told to come again has lost nothing.
    let (answered, away): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status != 503);
    away.into_iter().for_each(assert_away);
    let mut successors: Vec<String> = answered.into_iter().map(|answer| Tokens::of(answer).refresh).collect();
    successors.dedup();
    let [successor] = &successors[..] else { panic!("{} successors", successors.len()) };
    assert_eq!(world.refresh(successor).await.status, 200, "nothing was revoked");
}

async fn one_of_approve_deny_cancel_and_the_deadline_wins_while_challenges_are_killed(mode: Mode) {
    let _turn = turn().await;
    let daemons = Daemons::start(mode, ROUND_TTL_S).await;
    let (world, addresses) = (daemons.first(), daemons.addresses());
    let person = world.person().await;
    let mut won: BTreeMap<String, usize> = BTreeMap::new();
    let (mut kills, mut unanswered) = (0, 0);
    let rounds = campaign("ROUNDS", ROUNDS);
    for begin in (0..rounds).step_by(SIDE_BY_SIDE) {
        let mut browsers = Vec::new();
        for _ in begin..rounds.min(begin + SIDE_BY_SIDE) {
            let browser = world.browser().await;
            assert_eq!(world.phone(&person.tokens, &browser, "scan").await.status, 200);
            browsers.push(browser);
        }
        let killers = daemons.kill(&browsers.iter().collect::<Vec<_>>()).await;
        let mut tasks = JoinSet::new();
        for (number, browser) in browsers.into_iter().enumerate() {
            let (addresses, tokens) = (addresses.clone(), person.tokens.clone());
            tasks.spawn(async move { round(number, &addresses, &tokens, browser).await });
        }
        for (status, lost) in tasks.join_all().await {
            *won.entry(status).or_default() += 1;
            unanswered += lost;
        }
        kills += killers.into_iter().map(Killer::stop).sum::<usize>();
    }
    println!("{mode:?}: {kills} kills, {unanswered} of {} unanswered: {won:?}", rounds * 3);
    assert!(kills > 0);
    assert!(won.contains_key("EXPIRED") && won.len() > 1, "{won:?}");
}

/// All that end a challenge at once; the status that won, and how many of three got no answer. Every other round is at the deadline.
async fn round(number: usize, addresses: &[String], tokens: &Tokens, browser: Browser) -> (String, usize) {
    let address = |offset: usize| addresses[(number + offset) % addresses.len()].as_str();
    let mut events = browser.events(address(0)).await.unwrap();
    if number % 2 == 1 {
        let deadline = OffsetDateTime::parse(browser.created["expiresAt"].as_str().unwrap(), &Rfc3339).unwrap();
        let early = Duration::from_millis(number as u64);
        let left = Duration::try_from(deadline - OffsetDateTime::now_utc()).unwrap_or_default();
        tokio::time::sleep(left.saturating_sub(early)).await;
    }
    let (approve, deny, cancel) = tokio::join!(
        phone(address(0), tokens, &browser, "approve"),
        phone(address(1), tokens, &browser, "deny"),
        browser.cancel(address(2)),
    );
    let answers = [approve, deny, cancel];
    // The stream of an approved one ends with its deadline.
    let mut seen: Vec<Value> = Vec::new();
    while let Some(event) = events.next().await {
        seen.push(event);
    }
    let what = format!("{answers:?} {seen:?}");
    let last = seen.last().expect("a stream begins with how it stands");
    let ended = last["status"].as_str().unwrap();
    assert!(["DENIED", "CANCELLED", "EXPIRED"].contains(&ended), "{what}");
    for pair in seen.windows(2) {
        assert!(pair[0]["status"] == "SCANNED" || pair[0]["status"] == "APPROVED", "{what}");
        assert_ne!(pair[0]["status"], pair[1]["status"], "{what}");
    }
    let [approved, denied, cancelled] = [0, 1, 2].map(|index| done(&answers[index], ended));
    assert!(denied.is_none_or(|denied| denied == (ended == "DENIED")), "{what}");
    assert!(cancelled.is_none_or(|cancelled| cancelled == (ended == "CANCELLED")), "{what}");
    // One whose answer was lost is asked again inside, and may be told of what came after the approval.
    assert!(approved != Some(true) || last["approvedAt"].is_string(), "{what}");
    assert!(approved.is_none() || denied.is_none() || approved != Some(true) || denied != Some(true), "{what}");
    (ended.to_owned(), [approved, denied, cancelled].iter().filter(|answer| answer.is_none()).count())
}

/// Whether it was done; none where that was not told. A loser is told what won, which may be an approval that ended since.
fn done(answer: &Answer, ended: &str) -> Option<bool> {
    match answer.status {
        200..300 => Some(true),
        409 => {
            answer.assert_problem(409);
            let told = answer.json()["challengeStatus"].clone();
            assert!(told == "APPROVED" || told == ended, "{ended}: {answer:?}");
            Some(false)
        }
        _ => {
            assert_away(answer);
            None
        }
    }
}

/// No answer: the actor was killed each time that it was asked.
fn assert_away(answer: &Answer) {
    answer.assert_problem(503);
    assert!(answer.header("retry-after").is_some(), "{answer:?}");
}

fn statuses(answers: &[Answer]) -> BTreeMap<u16, usize> {
    let mut statuses = BTreeMap::new();
    for answer in answers {
        *statuses.entry(answer.status).or_default() += 1;
    }
    statuses
}

/// One daemon, or two on one set of services, whose actors may be killed.
struct Daemons {
    worlds: Vec<World>,
    _folder: TempDir,
}

impl Daemons {
    async fn start(mode: Mode, challenge_ttl_s: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("supervision.toml");
        let text = TREE.replace("allow_kill = false", "allow_kill = true");
        assert_ne!(text, TREE);
        fs::write(&file, text).unwrap();
        let setup = open().set("supervision", file.display()).set("auth.challenge_ttl_s", challenge_ttl_s);
        let mut worlds = vec![World::start(mode, setup).await];
        if mode == Mode::Services {
            worlds.push(worlds[0].another().await);
        }
        Self { worlds, _folder: folder }
    }

    fn first(&self) -> &World {
        &self.worlds[0]
    }

    fn addresses(&self) -> Vec<String> {
        self.worlds.iter().map(|world| world.daemon.http_address().to_owned()).collect()
    }

    /// Begins to kill the actors of these challenges at each daemon.
    async fn kill(&self, browsers: &[&Browser]) -> Vec<Killer> {
        let key = |browser: &&Browser| ChallengeKey::of(&ChallengeId::parse(&browser.id).unwrap());
        let paths: Vec<String> =
            browsers.iter().map(|browser| format!("root/login/challenges/{}", key(browser))).collect();
        let mut killers = Vec::new();
        for world in &self.worlds {
            killers.push(Killer::start(&world.data_dir, paths.clone()).await);
        }
        killers
    }
}
