//! What a live QR challenge holds and costs.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use tokio::{task::JoinSet, time::sleep};

use super::{
    figure::{Figure, percentile},
    portal::{Browser, Events, Portal, log_in},
    usage::push,
    world::{Mode, World},
};

pub(crate) const ABOUT: &str = "100,000 challenges are made over HTTP by 16 connections that stay open, all alive at once (`auth.challenge_ttl_s` = 3600). The \
    daemon makes 20,000 as fast as it can and then 1,000 a second (its limit for all, which `limits.mode = \"off\"` does not lift): the rate \
    is that of the first 15,000. Resident bytes of the daemon (and of Redis) three seconds after the last, less those before the first, by \
    100,000. Once for all rounds; then, among those 100,000, each round: 1,000 are scanned and approved by one phone over 8 connections, \
    processor time by 2,000 transitions, HTTP included; and 500 with a stream each are approved one after the other, from just \
    before the request to the event at its stream, both ends in the measuring process.";

const CHALLENGES: usize = 100_000;
const CONNECTIONS: usize = 16;
/// Made before the daemon's limit is felt.
const UNLIMITED: usize = 15_000;
/// Below the daemon's limit.
const PER_SECOND: usize = 950;
const PHONES: usize = 8;
const APPROVED: usize = 1_000;
const WATCHED: usize = 500;
const SETTLE: Duration = Duration::from_secs(3);
const AGAIN_AFTER: Duration = Duration::from_millis(200);
const KIB: f64 = 1_024.0;
/// Of issue and contract.
const REACH_KIB: f64 = 10.0;

pub(crate) async fn run(rounds: usize) -> anyhow::Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for mode in Mode::BOTH {
        let world = World::new(mode).await?;
        let daemon = world.spawn_ready(&[("auth.challenge_ttl_s", "3600")]).await?;
        let address: Arc<str> = daemon.http_address().into();
        let token: Arc<str> = log_in(&address).await?.into();
        let redis_bytes = || -> anyhow::Result<u64> {
            Ok(world
                .services
                .as_ref()
                .map(|services| services.redis_qr.usage())
                .transpose()?
                .map_or(0, |usage| usage.rss_bytes))
        };
        let (before, redis_before) = (daemon.usage()?, redis_bytes()?);
        let rate = make_all(&address).await?;
        sleep(SETTLE).await;
        let (after, redis_after) = (daemon.usage()?, redis_bytes()?);
        let name = mode.name();
        let each = |after: u64, before: u64| (after as f64 - before as f64) / CHALLENGES as f64;
        let resident = Figure::new("resident, each of 100,000, daemon", name, "KiB").reach(REACH_KIB);
        push(&mut figures, resident, each(after.rss_bytes, before.rss_bytes) / KIB);
        if mode == Mode::Services {
            let resident = Figure::new("resident, each of 100,000, Redis", name, "KiB");
            push(&mut figures, resident, each(redis_after, redis_before) / KIB);
        }
        push(&mut figures, Figure::new("making them, rate", name, "challenges/s (wall)"), rate);
        let making_us = (after.cpu_seconds - before.cpu_seconds) * 1e6 / CHALLENGES as f64;
        push(&mut figures, Figure::new("making one, daemon", name, "CPU µs"), making_us);
        for _ in 0..rounds {
            let begun = daemon.usage()?.cpu_seconds;
            approve_all(&address, &token).await?;
            let each_us = (daemon.usage()?.cpu_seconds - begun) * 1e6 / (2 * APPROVED) as f64;
            push(&mut figures, Figure::new("a transition, daemon", name, "CPU µs"), each_us);
            let mut waits = watch_all(&address, &token).await?;
            waits.sort_by(f64::total_cmp);
            for (what, share) in [("p50", 0.5), ("p99", 0.99)] {
                let figure = Figure::new(format!("approve to the stream's event, {what}"), name, "ms");
                push(&mut figures, figure, percentile(&waits, share));
            }
        }
    }
    Ok(figures)
}

/// All challenges; how many a second as long as no limit was felt.
async fn make_all(address: &Arc<str>) -> anyhow::Result<f64> {
    let begun = Instant::now();
    make(address, 0..UNLIMITED, None).await?;
    let rate = UNLIMITED as f64 / begun.elapsed().as_secs_f64();
    make(address, UNLIMITED..CHALLENGES, Some(Instant::now())).await?;
    Ok(rate)
}

/// `paced_from`: [`PER_SECOND`] since then.
pub(crate) async fn make(
    address: &Arc<str>,
    range: std::ops::Range<usize>,
    paced_from: Option<Instant>,
) -> anyhow::Result<()> {
    let next = Arc::new(AtomicUsize::new(0));
    let mut makers = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let (address, next, count) = (Arc::clone(address), Arc::clone(&next), range.len());
        makers.spawn(async move {
            let mut portal = Portal::connect(&address).await?;
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return anyhow::Ok(());
                }
                if let Some(from) = paced_from {
                    let due = from + Duration::from_secs_f64(number as f64 / PER_SECOND as f64);
                    tokio::time::sleep_until(due.into()).await;
                }
                make_one(&mut portal).await?;
            }
        });
    }
    while let Some(made) = makers.join_next().await {
        made??;
    }
    Ok(())
}

async fn make_one(portal: &mut Portal) -> anyhow::Result<Browser> {
    let browser = Browser::new();
    loop {
        let body = json!({ "codeChallenge": browser.code_challenge });
        let (status, answer) = portal.post("qr/challenges", "", &body).await?;
        match status {
            201 => return browser.made(&answer),
            429 => sleep(AGAIN_AFTER).await,
            _ => anyhow::bail!("making a challenge: {status} {answer}"),
        }
    }
}

async fn act(portal: &mut Portal, browser: &Browser, token: &str, action: &str, body: &Value) -> anyhow::Result<()> {
    let path = format!("qr/challenges/{}/{action}", browser.id);
    let (status, answer) = portal.post(&path, token, body).await?;
    ensure!(status == 200, "{action}: {status} {answer}");
    Ok(())
}

async fn scan(portal: &mut Portal, browser: &Browser, token: &str) -> anyhow::Result<()> {
    act(portal, browser, token, "scan", &json!({ "nonce": browser.nonce })).await
}

async fn approve_all(address: &Arc<str>, token: &Arc<str>) -> anyhow::Result<()> {
    let mut phones = JoinSet::new();
    for _ in 0..PHONES {
        let (address, token) = (Arc::clone(address), Arc::clone(token));
        phones.spawn(async move {
            let mut portal = Portal::connect(&address).await?;
            for _ in 0..APPROVED / PHONES {
                let browser = make_one(&mut portal).await?;
                scan(&mut portal, &browser, &token).await?;
                act(&mut portal, &browser, &token, "approve", &json!({})).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(done) = phones.join_next().await {
        done??;
    }
    Ok(())
}

/// Milliseconds from each approval to its event.
async fn watch_all(address: &Arc<str>, token: &str) -> anyhow::Result<Vec<f64>> {
    let mut portal = Portal::connect(address).await?;
    let mut watched = Vec::with_capacity(WATCHED);
    for _ in 0..WATCHED {
        let browser = make_one(&mut portal).await?;
        scan(&mut portal, &browser, token).await?;
        let mut events = Events::open(address, &browser).await?;
        events.until("SCANNED").await?;
        watched.push((browser, events));
    }
    let mut waits = Vec::with_capacity(WATCHED);
    for (browser, mut events) in watched {
        let begun = Instant::now();
        let event = async {
            events.until("APPROVED").await?;
            anyhow::Ok(begun.elapsed())
        };
        let nothing = json!({});
        let approve = act(&mut portal, &browser, token, "approve", &nothing);
        let (approved, seen) = tokio::join!(approve, event);
        approved.context("the phone")?;
        waits.push(seen.context("the stream")?.as_secs_f64() * 1e3);
    }
    Ok(waits)
}
