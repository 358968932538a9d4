//! The description of the HTTP port, tried by a tester that knows nothing else (schemathesis): it sends what is allowed and what is not,
//! follows the links from answer to request, and looks whether status, headers and body are what was said.

use std::process::Stdio;

use tokio::process::Command;

use crate::support::{Mode, Setup, World, campaign, latest, turn, until, within};

/// What `scripts/install test` made.
const TESTER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/.stack/clients/python/bin/schemathesis");
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients");
/// Of what is drawn at random; the variable `ORINOCO_TEST_SEED` draws something else.
const SEED: u64 = 20;
/// Of each operation, beside the limits of its parameters.
const EXAMPLES: u64 = 4;

for_both_modes! {
    a_tester_finds_nothing
}

async fn a_tester_finds_nothing(mode: Mode) {
    let _turn = turn().await;
    let world = World::start(mode, Setup::default()).await;
    // That there are coordinates to be read.
    world.device().await.move_to("tester", 1.0, 2.0).await;
    until("coordinates", async || latest(&world, "tester").await).await;
    run(&world, None).await;
    let person = world.person().await;
    run(&world, Some((&person.email, &person.password))).await;
    let administrator = world.administrator().await;
    run(&world, Some((&administrator.email, &administrator.password))).await;
}

/// As nobody, or with an account.
async fn run(world: &World, account: Option<(&str, &str)>) {
    let seed: u64 = campaign("SEED", SEED);
    let examples: u64 = campaign("EXAMPLES", EXAMPLES);
    println!("schemathesis, seed {seed}, {examples} examples");
    let mut tester = Command::new(TESTER);
    tester.args(["--config-file", "openapi.toml", "run", "--no-color", "--exclude-method", "HEAD"]);
    tester.args(["--seed", &seed.to_string(), "--max-examples", &examples.to_string()]);
    tester.arg(format!("http://{}/openapi.json", world.daemon.http_address()));
    if let Some((email, password)) = account {
        tester.env("ORINOCO_EMAIL", email).env("ORINOCO_PASSWORD", password);
    }
    tester.current_dir(FOLDER).stdin(Stdio::null()).kill_on_drop(true);
    let output = within("the tester's end", tester.output()).await;
    let output = output.unwrap_or_else(|error| panic!("{TESTER}: {error}; run scripts/install test"));
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("No issues found"), "{said}");
}
