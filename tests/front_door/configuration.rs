//! Bad configuration and bad places: one clear line and an exit code, before anything is bound.

use std::{fs, net::TcpListener, process::Output};

use crate::support::{Mode, World, command, folder};

/// Runs `orinoco ARGUMENTS` with these files in the working directory.
fn run(files: &[(&str, &str)], arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let folder = folder();
    for (name, text) in files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    let environment: Vec<_> =
        environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    command(&environment, &folder.path().join("data"), arguments)
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_mistake_in_the_file_is_named_with_file_and_line() {
    let file = "[http]\nlisten = \"127.0.0.1:0\"\n\n[stream]\npairing = \"both\"\nfoo = 1\n";
    for arguments in [["serve", "--config", "bad.toml"], ["check", "--config", "bad.toml"]] {
        let output = run(&[("bad.toml", file)], &arguments, &[]);
        assert_eq!(output.status.code(), Some(64), "{}", stderr(&output));
        assert!(stderr(&output).contains("bad.toml:5"), "{}", stderr(&output));
        assert!(stderr(&output).contains("bad.toml:6"), "all mistakes at once: {}", stderr(&output));
        assert!(stderr(&output).contains("foo"), "{}", stderr(&output));
    }
    // The file of that name in the working directory is read without being asked for.
    let output = run(&[("orinoco.toml", "\n\nnonsense = true\n")], &["serve"], &[]);
    assert_eq!(output.status.code(), Some(64), "{}", stderr(&output));
    assert!(stderr(&output).contains("orinoco.toml:3"), "{}", stderr(&output));
}

#[test]
fn a_mistake_in_the_environment_is_named_by_its_variable() {
    for (name, value) in
        [("ORINOCO__STREAM__PAIRING", "both"), ("ORINOCO__NO__SUCH", "1"), ("ORINOCO__WS__LISTEN", "8081")]
    {
        let output = run(&[], &["serve"], &[(name, value)]);
        assert_eq!(output.status.code(), Some(64), "{}", stderr(&output));
        assert!(stderr(&output).contains(name), "{}", stderr(&output));
    }
}

#[test]
fn a_mistake_in_the_tree_is_named_with_file_and_line() {
    let tree = include_str!("../../supervision.toml");
    let line_of = |text: &str, part: &str| 1 + text.lines().position(|line| line.contains(part)).unwrap();
    let unknown_strategy = tree.replacen("strategy = \"one_for_one\"", "strategy = \"one_for_some\"", 1);
    let unknown_name = tree.replace("start = \"KafkaProducer\"", "start = \"NoSuchActor\"");
    let duplicate = tree.replace("id = \"producer\"", "id = \"leases\"");
    let twice = tree.replace(
        "start = \"KafkaProducer\"",
        "start = \"KafkaProducer\" },\n  { id = \"again\", start = \"KafkaProducer\"",
    );
    let unknown_key = format!("{tree}\ncolour = \"blue\"\n");
    let cases = [
        (&unknown_strategy, line_of(&unknown_strategy, "one_for_some")),
        (&unknown_name, line_of(&unknown_name, "NoSuchActor")),
        (&twice, line_of(&twice, "id = \"again\"")),
        (&duplicate, line_of(&duplicate, "KafkaProducer")),
        (&unknown_key, line_of(&unknown_key, "colour")),
    ];
    for (text, line) in cases {
        for arguments in [["serve"], ["check"]] {
            let output = run(&[("tree.toml", text)], &arguments, &[("ORINOCO__SUPERVISION", "tree.toml")]);
            assert_eq!(output.status.code(), Some(64), "{}", stderr(&output));
            assert!(stderr(&output).contains(&format!("tree.toml:{line}")), "line {line}: {}", stderr(&output));
        }
    }
}

#[test]
fn a_busy_port_ends_the_daemon_with_its_name() {
    let busy = TcpListener::bind("127.0.0.1:0").unwrap();
    let busy = busy.local_addr().unwrap().to_string();
    for key in ["HTTP", "WS", "MQTT"] {
        let free = |other: &str| if other == key { busy.clone() } else { "127.0.0.1:0".to_owned() };
        let listen = ["HTTP", "WS", "MQTT"].map(|other| (format!("ORINOCO__{other}__LISTEN"), free(other)));
        let environment: Vec<(&str, &str)> =
            listen.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let output = run(&[], &["serve"], &environment);
        assert_eq!(output.status.code(), Some(1), "{key}: {}", stderr(&output));
        assert!(stderr(&output).contains(&busy), "{key}: {}", stderr(&output));
        assert!(stderr(&output).contains(&format!("{}.listen", key.to_lowercase())), "{}", stderr(&output));
    }
}

#[test]
fn a_data_directory_that_is_none_ends_the_daemon_with_its_name() {
    let folder = folder();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    for data_dir in [file.clone(), file.join("below")] {
        let output = command(&listening_anywhere(), &data_dir, &["serve"]);
        assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
        assert!(stderr(&output).contains(file.to_str().unwrap()), "{}", stderr(&output));
    }
}

#[test]
fn dead_letters_that_can_not_be_read_are_not_taken_for_none() {
    let folder = folder();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let output = command(&[], &file, &["dlq", "list"]);
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stdout));
    assert!(stderr(&output).contains("dead-letters"), "{}", stderr(&output));
    let mistyped = folder.path().join("mistyped");
    let output = command(&[], &mistyped, &["dlq", "list"]);
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stdout));
    assert!(stderr(&output).contains(&format!("no data directory {}", mistyped.display())), "{}", stderr(&output));
    assert!(!mistyped.exists());
}

fn listening_anywhere() -> Vec<(String, String)> {
    ["HTTP", "WS", "MQTT"].map(|key| (format!("ORINOCO__{key}__LISTEN"), "127.0.0.1:0".to_owned())).into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_daemon_on_one_data_directory_is_refused_and_the_first_goes_on() {
    let world = World::shared(Mode::Embedded).await;
    let output = command(&listening_anywhere(), &world.data_dir, &["serve"]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let pid = world.daemon.pid().unwrap().to_string();
    assert!(stderr(&output).contains(&pid), "who has it: {}", stderr(&output));
    assert!(stderr(&output).contains(world.data_dir.to_str().unwrap()), "{}", stderr(&output));
    assert_eq!(world.get("/readyz").await.status, 200);
}

#[test]
fn an_older_schema_is_refused_with_the_remedy() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let database = orinoco_testkit::Postgres::shared().await.unwrap().fresh_database().await.unwrap();
        let mut environment = listening_anywhere();
        environment.push(("ORINOCO__POSTGRES__BACKEND".to_owned(), "service".to_owned()));
        environment.push(("ORINOCO__POSTGRES__URL".to_owned(), database.url().to_owned()));
        let folder = folder();
        let data_dir = folder.path().join("data");
        let output = command(&environment, &data_dir, &["serve"]);
        assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
        assert!(stderr(&output).contains("orinoco migrate"), "{}", stderr(&output));
        for _ in 0..2 {
            let output = command(&environment, &data_dir, &["migrate"]);
            assert!(output.status.success(), "{}", stderr(&output));
        }
        let output = command(&environment, &data_dir, &["doctor"]);
        assert!(output.status.success(), "{}{}", String::from_utf8_lossy(&output.stdout), stderr(&output));
    });
}
