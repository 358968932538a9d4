//! docs/clients.md says with which versions of other people's clients all this was run: those that are installed for the tests.

use std::{collections::BTreeMap, fs, path::Path};

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// Versions by name, of npm, PyPI, crates.io and Maven.
fn pinned() -> BTreeMap<String, String> {
    let mut pinned = BTreeMap::new();
    let npm: serde_json::Value = serde_json::from_str(&read("tests/clients/package.json")).unwrap();
    for (name, version) in npm["dependencies"].as_object().unwrap() {
        pinned.insert(name.clone(), version.as_str().unwrap().to_owned());
    }
    for line in read("tests/clients/requirements.txt").lines() {
        let (name, version) = line.split_once("==").unwrap();
        pinned.insert(name.to_owned(), version.to_owned());
    }
    let lock = read("Cargo.lock");
    let version_of = |name: &str| {
        let package = lock.split("[[package]]").find(|package| package.contains(&format!("\nname = \"{name}\"\n")));
        package.unwrap().lines().find_map(|line| line.strip_prefix("version = ")).unwrap().trim_matches('"').to_owned()
    };
    for name in ["oauth2", "paho-mqtt"] {
        pinned.insert(format!("{name} (crate)"), version_of(name));
    }
    let kafka = read("deploy/kafka/pom.xml");
    let kafka = kafka.split("<kafka.version>").nth(1).unwrap().split('<').next().unwrap();
    pinned.insert("kafka-console-consumer".to_owned(), kafka.to_owned());
    pinned
}

/// Of no interest to who looks for a client.
const HELPERS: [&str; 5] = ["ajv", "ajv-formats", "hypothesis", "requests", "ws"];
/// Of the system, in whatever version it has.
const OF_THE_SYSTEM: [&str; 4] = ["Chromium", "kcat", "mosquitto_pub", "mosquitto_sub"];

#[test]
fn the_table_of_clients_has_the_versions_that_are_tested_and_no_others() {
    let page = read("docs/clients.md");
    let mut listed = BTreeMap::new();
    for line in page.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [name, version, _run, _result] = cells[..] else { panic!("client, version, what was run, result: {line}") };
        let name = name.trim_matches('`');
        if OF_THE_SYSTEM.contains(&name) {
            assert_eq!(version, "of the system", "{line}");
        } else {
            listed.insert(name.to_owned(), version.to_owned());
        }
    }
    let mut pinned = pinned();
    pinned.retain(|name, _| !HELPERS.contains(&name.as_str()));
    assert_eq!(listed, pinned, "docs/clients.md, and what the tests pin");
}
