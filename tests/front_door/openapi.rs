//! The description of the HTTP port, tried by a tester that knows nothing else (schemathesis): it sends what is allowed and what is not,
//! follows the links from answer to request, and looks whether status, headers and body are what was said.

use std::{process::Stdio, time::Duration};

use tokio::{process::Command, time::timeout};

use crate::support::{Mode, Setup, World, campaign, latest, turn, until};

/// What `scripts/install test` made.
const TESTER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/.stack/clients/python/bin/schemathesis");
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients");
/// Of what is drawn at random; the variable `ORINOCO_TEST_SEED` draws something else.
const SEED: u64 = 20;
/// Of each operation, beside the limits of its parameters.
const EXAMPLES: u64 = 4;

/// Of chains of requests, where each takes from an answer what it asks for: so many that a good part of the links is followed.
const CHAINS: u64 = 30;
/// Of 56 links. Which ones is drawn at random; chains that need a phone's approval in between are rarely drawn.
const LINKS_FOLLOWED_MIN: u64 = 8;

/// For one run, which takes a small part of it on a machine that does nothing else.
const RUN_TIMEOUT: Duration = Duration::from_secs(240);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tester_finds_nothing_as_nobody_as_a_user_and_as_an_administrator() {
    let _turn = turn().await;
    let world = world(Mode::Embedded).await;
    run(&world, None).await;
    let person = world.person().await;
    run(&world, Some((&person.email, &person.password))).await;
    let administrator = world.administrator().await;
    run(&world, Some((&administrator.email, &administrator.password))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tester_finds_nothing_where_the_stores_are_servers() {
    let _turn = turn().await;
    let world = world(Mode::Services).await;
    let administrator = world.administrator().await;
    run(&world, Some((&administrator.email, &administrator.password))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tester_that_follows_links_from_answer_to_request_finds_nothing() {
    let _turn = turn().await;
    let world = world(Mode::Embedded).await;
    let administrator = world.administrator().await;
    let chains: u64 = campaign("CHAINS", CHAINS);
    let account = Some((administrator.email.as_str(), administrator.password.as_str()));
    let said = try_all(&world, account, chains, &["--phases", "stateful"]).await;
    let links = said.lines().find_map(|line| line.trim().strip_prefix("API Links:")).unwrap().trim();
    println!("schemathesis, {chains} chains, links: {links}");
    let followed: u64 = links.split(' ').next().unwrap().parse().unwrap();
    assert!(followed >= LINKS_FOLLOWED_MIN, "{links}");
}

/// One that the tester may fill, with coordinates to be read.
async fn world(mode: Mode) -> World {
    let world = World::start(mode, Setup::default()).await;
    world.device().await.move_to("tester", 1.0, 2.0).await;
    until("coordinates", async || latest(&world, "tester").await).await;
    world
}

/// As nobody, or with an account.
async fn run(world: &World, account: Option<(&str, &str)>) {
    try_all(world, account, campaign("EXAMPLES", EXAMPLES), &[]).await;
}

/// What the tester says, which has found nothing.
async fn try_all(world: &World, account: Option<(&str, &str)>, examples: u64, more: &[&str]) -> String {
    let seed: u64 = campaign("SEED", SEED);
    println!("schemathesis, seed {seed}, {examples} examples");
    let mut tester = Command::new(TESTER);
    tester.args(["--config-file", "openapi.toml", "run", "--no-color", "--exclude-method", "HEAD"]);
    tester.args(["--seed", &seed.to_string(), "--max-examples", &examples.to_string()]).args(more);
    tester.arg(format!("http://{}/openapi.json", world.daemon.http_address()));
    if let Some((email, password)) = account {
        tester.env("ORINOCO_EMAIL", email).env("ORINOCO_PASSWORD", password);
    }
    tester.current_dir(FOLDER).stdin(Stdio::null()).kill_on_drop(true);
    let output = timeout(RUN_TIMEOUT, tester.output()).await.expect("the tester takes too long");
    let output = output.unwrap_or_else(|error| panic!("{TESTER}: {error}; run scripts/install test"));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("Test cases:"), "{said}");
    said
}
