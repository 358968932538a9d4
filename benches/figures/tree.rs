//! What it costs to look at the actor tree.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use tokio::time::{MissedTickBehavior, interval};

use super::{
    challenges,
    device::Device,
    figure::{Figure, percentile},
    latency::{Receiver, Sender, pass},
    portal::{Portal, log_in_as},
    usage::{Stretch, push, push_per_million},
    world::{Mode, World, wait_for_counter},
};

pub(crate) const ABOUT: &str = "Embedded mode, 20,000 actors more: live QR challenges. Each round, `GET /api/v1/admin/actors`, what the console's page \
    of the tree asks for each second, is asked 300 times over one connection, one request after the other, from just before the write to \
    the answer parsed. Then, in pairs, 1,000 messages a second for ten seconds as in `latency`, with nobody looking and with the tree asked for \
    each second: which of both is first changes with each round.";

const ACTORS: usize = 20_000;
const REQUESTS: usize = 300;
const ROUND_S: usize = 10;
const WARM_UP_S: usize = 10;
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Of the issue.
const REACH_MS: f64 = 50.0;
const EMAIL: &str = "root@example.org";
const PASSWORD: &str = "correct horse battery";

pub(crate) async fn run(rounds: usize) -> anyhow::Result<Vec<Figure>> {
    let mode = Mode::Embedded;
    let world = World::new(mode).await?;
    let settings = [("auth.challenge_ttl_s", "3600"), ("auth.access_token_ttl_s", "3600")];
    let daemon = world.spawn_ready(&settings).await?;
    world.add_administrator(EMAIL, PASSWORD)?;
    let address: Arc<str> = daemon.http_address().into();
    let token = log_in_as(&address, EMAIL, PASSWORD).await?;
    challenges::make(&address, 0..ACTORS, None).await?;
    let mut portal = Portal::connect(&address).await?;
    let mut sender = Sender::new(Device::connect(&world.broker_address(&daemon)).await?, 2 * rounds);
    let devices = sender.begin().await?;
    wait_for_counter(&daemon, "orinoco_frames_total", devices).await?;
    let mut receiver = Receiver::open(daemon.ws_address(), sender.times()).await?;
    receiver.take(devices).await?;
    pass(&mut sender, &mut receiver, WARM_UP_S).await?;

    let mut figures = Vec::new();
    for round in 0..rounds {
        let begun = daemon.cpu_seconds()?;
        let (mut waits, bytes) = look_often(&mut portal, &token).await?;
        let each_us = (daemon.cpu_seconds()? - begun) * 1e6 / REQUESTS as f64;
        waits.sort_by(f64::total_cmp);
        let figure = |what: &str, unit| Figure::new(what, mode.name(), unit);
        push(&mut figures, figure("the tree's answer, p50", "ms"), percentile(&waits, 0.5));
        push(&mut figures, figure("the tree's answer, p99", "ms").reach(REACH_MS), percentile(&waits, 0.99));
        push(&mut figures, figure("the tree's answer, daemon", "CPU µs"), each_us);
        push(&mut figures, figure("the tree's answer", "KiB"), bytes as f64 / 1024.0);
        for is_looked_at in [round % 2 == 1, round % 2 == 0] {
            let what = if is_looked_at { "1,000/s, tree each second" } else { "1,000/s, nobody looks" };
            let stretch = Stretch::begin(&world, &daemon)?;
            let mut waits = if is_looked_at {
                tokio::select! {
                    waits = pass(&mut sender, &mut receiver, ROUND_S) => waits?,
                    error = look_each_second(&mut portal, &token) => return Err(error),
                }
            } else {
                pass(&mut sender, &mut receiver, ROUND_S).await?
            };
            if is_looked_at {
                // What was under way when the messages ended would be read as the next answer.
                portal = Portal::connect(&address).await?;
            }
            let spent = stretch.end(&world, &daemon)?;
            waits.sort_by(f64::total_cmp);
            for (name, share) in [("p50", 0.5), ("p99", 0.99)] {
                let figure = Figure::new(format!("{what}, {name}"), mode.name(), "ms");
                push(&mut figures, figure, percentile(&waits, share));
            }
            push_per_million(&mut figures, what, mode.name(), &spent, (waits.len(), &[]));
        }
    }
    Ok(figures)
}

/// Milliseconds of each answer, and the bytes of the last.
async fn look_often(portal: &mut Portal, token: &str) -> anyhow::Result<(Vec<f64>, usize)> {
    let (mut waits, mut bytes) = (Vec::with_capacity(REQUESTS), 0);
    for _ in 0..REQUESTS {
        let begun = Instant::now();
        bytes = look(portal, token).await?;
        waits.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    Ok((waits, bytes))
}

/// Bytes of the answer, which must know of all actors.
async fn look(portal: &mut Portal, token: &str) -> anyhow::Result<usize> {
    let (status, answer) = portal.get("admin/actors", token).await?;
    ensure!(status == 200, "the tree: {status} {answer}");
    let actors = answer["actors"]["actors"].as_u64().context("no count of actors")?;
    ensure!(actors > ACTORS as u64, "{actors} actors run");
    Ok(answer.to_string().len())
}

/// For ever, unless it fails.
async fn look_each_second(portal: &mut Portal, token: &str) -> anyhow::Error {
    let mut ticks = interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Err(error) = look(portal, token).await {
            return error;
        }
    }
}
