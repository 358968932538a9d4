//! A daemon that runs reads its files again.

use std::{collections::BTreeMap, fs, process::Output};

use orinoco_testkit::unique_name;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::{
    supervision::{TREE, restarted_by_killing},
    support::{DEADLINE, Device, Load, LoadPlan, Mode, Repeats, Setup, World, follow, latest, turn, until},
};

const RELOADS: usize = 20;
/// Frames of a device between two reloads, at least.
const FRAMES_BETWEEN: u64 = 20;
const STREAM: &str = "id = \"stream\"\nstrategy = \"one_for_one\"";

/// Writes a file where the daemon looks for it.
fn write(world: &World, name: &str, text: &str) {
    fs::write(world.data_dir.parent().unwrap().join(name), text).unwrap();
}

/// The tree that is shipped, with actors that may be killed, and something else in place of something.
fn tree(change: (&str, &str)) -> String {
    let text = TREE.replace("allow_kill = false", "allow_kill = true");
    assert!(text.contains(change.0), "supervision.toml reads otherwise now: {}", change.0);
    text.replace(change.0, change.1)
}

/// Publishes both axes of a device, again where the broker took nothing yet: it may not have its lease back.
async fn send(world: &World, name: &str) {
    for axis in ["coordX", "coordY"] {
        until("a PUBACK", async || {
            let device = Device::connect(&world.mqtt_url()).await.ok()?;
            device.send(&format!("devices/{name}/{axis}"), "1.5").await.await.ok()
        })
        .await;
    }
}

/// Which actor is at each path: what no other actor ever has.
fn pids(world: &World) -> BTreeMap<String, u64> {
    fn walk(node: &Value, found: &mut BTreeMap<String, u64>) {
        if let Some(pid) = node["pid"].as_u64() {
            found.insert(node["path"].as_str().unwrap().to_owned(), pid);
        }
        for child in node["children"].as_array().into_iter().flatten() {
            walk(child, found);
        }
    }
    let mut found = BTreeMap::new();
    walk(&world.json(&["tree", "--json"])[0]["root"], &mut found);
    found
}

async fn reloads(world: &World, outcome: &str) -> f64 {
    world.metric(&format!("orinoco_reloads_total{{outcome=\"{outcome}\"}}")).await.unwrap()
}

/// SIGHUP, and waits for what comes of it.
async fn hang_up(world: &World, outcome: &str) {
    let before = reloads(world, outcome).await;
    world.daemon.hang_up().unwrap();
    until(outcome, async || (reloads(world, outcome).await > before).then_some(())).await;
}

fn said(output: &Output) -> (Option<i32>, String) {
    (output.status.code(), String::from_utf8_lossy(&[&*output.stdout, &*output.stderr].concat()).into_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_strategy_gives_another_outcome_without_a_restart_of_the_process() {
    let world = World::start(Mode::Embedded, Setup::default()).await;
    let (pid, before) = (world.daemon.pid().unwrap(), pids(&world));
    assert!(!world.command(&["tree", "--kill", "root/stream/producer"]).status.success());
    write(&world, "supervision.toml", &tree(("", "")));
    hang_up(&world, "applied").await;
    assert_eq!(pids(&world), before, "unchanged children go on");
    assert_eq!(restarted_by_killing(&world, "root/stream/producer").await, ["root/stream/producer"]);

    let before = pids(&world);
    write(&world, "supervision.toml", &tree((STREAM, &STREAM.replace("one_for_one", "one_for_all"))));
    let (code, text) = said(&world.command(&["reload"]));
    assert_eq!((code, text.as_str()), (Some(0), "root/stream: strategy one_for_one -> one_for_all\n"));
    assert_eq!(pids(&world), before);
    let shown = &world.json(&["tree", "--json"])[0]["root"]["children"][1];
    assert_eq!((&shown["id"], &shown["strategy"]), (&json!("stream"), &json!("one_for_all")));
    let all = restarted_by_killing(&world, "root/stream/producer").await;
    let children = before.into_keys().filter(|path| path.starts_with("root/stream/"));
    assert!(all.len() > 3 && all.iter().cloned().eq(children), "{all:?}");

    // One after the other.
    world.daemon.hang_up().unwrap();
    let (one, other) = tokio::join!(world.command_beside(&["reload"]), world.command_beside(&["reload"]));
    for output in [one, other] {
        assert_eq!(said(&output), (Some(0), "nothing changed\n".to_owned()));
    }
    assert_eq!(world.daemon.pid().unwrap(), pid);
    let name = unique_name("d");
    send(&world, &name).await;
    until("the stream goes on", async || latest(&world, &name).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_with_a_mistake_is_refused_whole() {
    let world = World::start(Mode::Embedded, Setup::default()).await;
    let before = pids(&world);
    let writers = "id = \"writer\", start = \"RedisWriter\"";
    let text = tree((writers, &format!("{writers}, mailbox = {{ capacity = 7, owerflow = \"reject\" }}")));
    let line = text.lines().position(|line| line.contains("owerflow")).unwrap() + 1;
    write(&world, "supervision.toml", &text.replace(STREAM, &STREAM.replace("one_for_one", "one_for_all")));
    write(&world, "orinoco.toml", "[auth]\nsignup = \"closed\"\n");
    hang_up(&world, "refused").await;
    let place = format!("supervision.toml:{line}: ");
    assert!(world.daemon.stderr().unwrap().contains(&place), "{place}");
    let (code, text) = said(&world.command(&["reload"]));
    assert_eq!(code, Some(64), "{text}");
    assert!(text.starts_with(&place), "{text}");

    write(&world, "supervision.toml", &tree(("", "")));
    write(&world, "orinoco.toml", "[auth]\nsignup = \"closed\"\n\nsignpu = 1\n");
    hang_up(&world, "refused").await;
    assert!(world.daemon.stderr().unwrap().contains("orinoco.toml:4: auth.signpu: unknown key"));
    // Commands read the same file.
    write(&world, "orinoco.toml", "");
    assert_eq!(pids(&world), before);
    assert!(!world.command(&["tree", "--kill", "root/stream/producer"]).status.success(), "nothing is taken over");
    let body = json!({ "email": format!("{}@example.org", unique_name("u")), "password": "correct horse battery" });
    let made = world.call("POST", "auth/signup", "", Some(body.clone())).await;
    assert_eq!(made.status, 201, "{made:?}");
    assert_eq!((reloads(&world, "refused").await, reloads(&world, "applied").await), (3.0, 0.0));

    write(&world, "orinoco.toml", "[auth]\nsignup = \"closed\"\n");
    let (code, text) = said(&world.command(&["reload"]));
    let expected = "auth.signup: \"open\" -> \"closed\"\nchaos: allow_kill false -> true\n";
    assert_eq!((code, text.as_str()), (Some(0), expected));
    let refused = world.call("POST", "auth/signup", "", Some(body)).await;
    assert_eq!(refused.status, 403, "{refused:?}");
    assert!(world.metric("orinoco_reload_timestamp_seconds").await.unwrap() > 1.7e9);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_takes_a_restart_is_named_and_nothing_is_taken_over() {
    let world = World::start(Mode::Embedded, Setup::default()).await;
    write(
        &world,
        "orinoco.toml",
        "[auth]\nsignup = \"closed\"\n[http]\nbody_bytes_max = 70000\n[mqtt]\npassword = \"hunter2\"\nusername = \"u\"\n",
    );
    write(&world, "supervision.toml", &tree((STREAM, &STREAM.replace("one_for_one", "one_for_all"))));
    let (code, text) = said(&world.command(&["reload"]));
    assert_eq!(code, Some(1), "{text}");
    let expected = [
        "orinoco.toml:4: http.body_bytes_max: 65536 -> 70000: takes a restart of orinoco",
        "orinoco.toml:7: mqtt.username: \"\" -> \"u\": takes a restart of orinoco",
        "orinoco.toml:6: mqtt.password: \"\" -> \"***\": takes a restart of orinoco",
    ];
    assert_eq!(text.lines().collect::<Vec<_>>(), expected);
    let outcome = world.command(&["reload", "--json"]);
    let outcome: Value = serde_json::from_slice(&outcome.stdout).unwrap();
    assert_eq!((&outcome["outcome"], &outcome["isBadConfiguration"]), (&json!("refused"), &json!(false)));
    assert_eq!(world.json(&["tree", "--json"])[0]["root"]["children"][1]["strategy"], "one_for_one");
    let text = tree(("partitions = 4", "partitions = 5"));
    let line = text.lines().position(|line| line == "id = \"challenges\"").unwrap();
    write(&world, "supervision.toml", &text);
    write(&world, "orinoco.toml", "");
    let (code, said_of_tree) = said(&world.command(&["reload"]));
    let expected = format!(
        "supervision.toml:{line}: `partitions` of `root/login/challenges` changes from 4 to 5: that takes a restart of the program\n"
    );
    assert_eq!((code, said_of_tree), (Some(1), expected));
    // With a restart it holds.
    write(&world, "supervision.toml", &tree((STREAM, &STREAM.replace("one_for_one", "one_for_all"))));
    world.daemon.restart().await.unwrap();
    assert_eq!(world.json(&["tree", "--json"])[0]["root"]["children"][1]["strategy"], "one_for_all");
    assert_eq!(said(&world.command(&["reload"])), (Some(0), "nothing changed\n".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn live_keys_hold_at_once_and_others_restart_their_actors_alone() {
    let world = World::start(Mode::Embedded, Setup::default()).await;
    let name = unique_name("d");
    let device = world.device().await;
    device.move_to(&name, 1.0, 2.0).await;
    let first = world.watch(&format!("?device={name}")).await;
    let before = pids(&world);
    write(
        &world,
        "orinoco.toml",
        "[ws]\nconnections_max = 1\n[stream]\nhistory_max = 2\n[telemetry]\nlog = \"info,orinoco_supervision=trace\"\n",
    );
    let (code, text) = said(&world.command(&["reload"]));
    let expected = "ws.connections_max: 100000 -> 1\nstream.history_max: 1000 -> 2\n\
                    telemetry.log: \"info\" -> \"info,orinoco_supervision=trace\"\n";
    assert_eq!((code, text.as_str()), (Some(0), expected));
    let after = pids(&world);
    let others: Vec<&String> =
        after.iter().filter(|(path, pid)| before[*path] != **pid).map(|(path, _)| path).collect();
    assert!(!others.is_empty() && others.iter().all(|path| path.starts_with("root/stream/writer.")), "{others:?}");
    assert_eq!(others.len(), after.keys().filter(|path| path.starts_with("root/stream/writer.")).count());
    // That was no failure.
    assert_eq!(world.json(&["tree", "--json"])[0]["root"]["children"][1]["restarts_in_period"], 0);

    let second = crate::support::Socket::open(world.daemon.ws_address(), &format!("?device={name}")).await;
    assert!(second.is_err(), "one socket may be open");
    drop(first);
    for value in 3..9 {
        device.move_to(&name, f64::from(value), 2.0).await;
    }
    until("the shorter history", async || {
        let answer = world.get(&format!("/api/v1/devices/{name}/coordinates?limit=100")).await.json();
        let kept = answer["coordinates"].as_array()?;
        (kept.len() == 2 && kept[1]["coordX"] == 8.0).then_some(())
    })
    .await;
    // The end of the first socket's session.
    until("what the log filter lets through", async || {
        world.daemon.stderr().unwrap().contains("TRACE orinoco_supervision").then_some(())
    })
    .await;
    world.daemon.wait_until_ready(DEADLINE).await.unwrap();
}

/// Whether a process has a handler for SIGHUP: without one it ends.
fn hears_hangup(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
    u64::from_str_radix(caught.trim(), 16).unwrap() & 1 == 1
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_comes_while_the_daemon_starts_or_stops_is_ignored() {
    let world = World::start(Mode::Embedded, Setup::default()).await;
    world.daemon.terminate().await.unwrap();
    // A Kafka that never answers makes both take their time.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let brokers = silent.local_addr().unwrap();
    let kafka = format!("[kafka]\nbackend = \"service\"\nbrokers = [\"{brokers}\"]\ncall_timeout_ms = 5000\n");
    write(&world, "orinoco.toml", &kafka);
    world.daemon.start_without_waiting().unwrap();
    let pid = world.daemon.pid().unwrap();
    until("the handler", async || hears_hangup(pid).then_some(())).await;
    world.daemon.hang_up().unwrap();
    let logs =
        async |what: &str| until(what, async || world.daemon.stderr().unwrap().contains(what).then_some(())).await;
    logs("the reload is ignored reason=\"the daemon starts\"").await;

    until("the daemon", async || world.metric("orinoco_reloads_total{outcome=\"ignored\"}").await).await;
    send(&world, &unique_name("d")).await;
    let (ended, ()) = tokio::join!(world.daemon.terminate(), async {
        until("the end begins", async || {
            // The first one was ended before.
            (world.daemon.stderr().unwrap().matches(" stopping").count() == 2).then_some(())
        })
        .await;
        world.daemon.hang_up().unwrap();
        logs("the reload is ignored reason=\"the daemon stops\"").await;
    });
    assert!(ended.unwrap().success());
}

for_both_modes! {
    twenty_reloads_under_load_lose_nothing_and_double_nothing
}

async fn twenty_reloads_under_load_lose_nothing_and_double_nothing(mode: Mode) {
    let _turn = turn().await;
    let world = World::start(mode, Setup::default().set("stream.history_max", 1_000_000)).await;
    let load = Load::start(&world, LoadPlan { connections: 4, devices: 4, messages_per_second: 2_000 }).await;
    let watched = load.devices()[0].clone();
    let (end, ended) = watch::channel(None);
    let watcher = tokio::spawn(follow(vec![world.daemon.ws_address().to_owned()], watched.clone(), ended));
    let listed = |path: &str| path.starts_with("root/stream/writer.");
    let before = pids(&world);
    let mut moved = 0;
    for number in 0..RELOADS {
        moved = until("the stream to move", async || {
            let offset = latest(&world, &watched).await?.offset;
            (offset > moved + FRAMES_BETWEEN).then_some(offset)
        })
        .await;
        let strategy = ["rest_for_one", "one_for_all", "one_for_one"][number % 3];
        let text = tree((STREAM, &STREAM.replace("one_for_one", strategy)));
        let text = text.replace("max = \"5s\", factor", &format!("max = \"{}s\", factor", 1 + number));
        let mailbox = format!("mailbox = {{ capacity = {} }}", [4, 64, 2048][number % 3]);
        let hub = "instances = \"per_partition\", mailbox = { capacity = 4096 }";
        let text = text.replace(hub, &format!("instances = \"per_partition\", {mailbox}"));
        write(&world, "supervision.toml", &text);
        // Every other one restarts the writers too.
        write(&world, "orinoco.toml", &format!("[stream]\npairing_pending_max = {}\n", 1024 + number / 2));
        let output = world.command_beside(&["reload"]).await;
        let (code, said) = said(&output);
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains("root/stream: strategy") && said.contains("mailbox"), "{said}");
        assert!(!said.contains("still"), "{said}");
    }
    let after = pids(&world);
    let unlike: Vec<_> = after.iter().filter(|(path, pid)| before[*path] != **pid && !listed(path)).collect();
    assert!(unlike.is_empty(), "only writers were restarted: {unlike:?}");
    let ledger = load.stop().await;
    println!("{mode:?}: {} messages with {RELOADS} reloads", ledger.messages());
    ledger.assert_all_came_out(&world, Repeats::Never).await;
    let head = latest(&world, &watched).await.unwrap().offset;
    end.send_replace(Some(head));
    let frames = watcher.await.unwrap();
    assert!(frames.iter().map(|frame| frame.offset).eq(frames[0].offset..=head), "the watcher missed frames");
}
