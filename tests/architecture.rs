//! The layers are crates, and their edges are these. A forbidden import does not compile; a forbidden dependency fails here.
#![allow(clippy::unwrap_used)]

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

/// Who may know whom, of our own crates. See ARCHITECTURE.md.
const EDGES: &[(&str, &[&str])] = &[
    ("orinoco-domain", &[]),
    ("orinoco-supervision", &[]),
    ("orinoco-ports", &["orinoco-domain"]),
    ("orinoco-actors", &["orinoco-domain", "orinoco-ports", "orinoco-supervision"]),
    ("orinoco-embedded", &["orinoco-domain", "orinoco-ports"]),
    ("orinoco-services", &["orinoco-domain", "orinoco-ports"]),
    ("orinoco-testkit", &["orinoco-domain", "orinoco-ports"]),
    (
        "orinoco",
        &[
            "orinoco-actors",
            "orinoco-domain",
            "orinoco-embedded",
            "orinoco-ports",
            "orinoco-services",
            "orinoco-supervision",
        ],
    ),
];

/// What makes the domain impure: a runtime, a client, a clock of its own.
const NOT_IN_DOMAIN: &[&str] = &["tokio", "async-trait", "ractor", "hyper", "redis", "rskafka", "tracing"];
/// Client libraries' types stay in their adapter.
const NOT_IN_ACTORS: &[&str] =
    &["bb8", "paho-mqtt", "redis", "rmqtt", "rskafka", "rusqlite", "tokio-postgres", "warp", "hyper"];

/// Lines of a source file; one file holds one idea.
const LINES_MAX: usize = 500;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Ordinary (not development) dependencies by package.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--format-version", "1", "--offline"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let name_of = |value: &Value| value["name"].as_str().unwrap().to_owned();
    let ordinary = |package: &Value| {
        let dependencies = package["dependencies"].as_array().unwrap().iter();
        dependencies.filter(|dependency| dependency["kind"].is_null()).map(name_of).collect()
    };
    metadata["packages"].as_array().unwrap().iter().map(|package| (name_of(package), ordinary(package))).collect()
}

#[test]
fn our_crates_know_only_the_layers_below_them() {
    let dependencies = dependencies();
    let allowed: BTreeMap<&str, &[&str]> = EDGES.iter().copied().collect();
    for (package, known) in &dependencies {
        let allowed = allowed.get(package.as_str());
        let allowed = allowed.unwrap_or_else(|| panic!("{package} is not in EDGES: say whom it may know"));
        for dependency in known.iter().filter(|dependency| dependency.starts_with("orinoco")) {
            assert!(allowed.contains(&dependency.as_str()), "{package} must not know {dependency}");
        }
    }
    assert_eq!(dependencies.len(), EDGES.len(), "EDGES names a package that is gone");
}

#[test]
fn the_domain_is_pure_and_the_actors_know_no_client_library() {
    let dependencies = dependencies();
    for (package, forbidden) in [("orinoco-domain", NOT_IN_DOMAIN), ("orinoco-actors", NOT_IN_ACTORS)] {
        for dependency in forbidden {
            assert!(!dependencies[package].contains(*dependency), "{package} must not depend on {dependency}");
        }
    }
}

#[test]
fn source_files_stay_readable() {
    let mut too_long = Vec::new();
    for folder in ["src", "actors", "crates", "tests", "benches"] {
        visit(&root().join(folder), &mut |path| {
            let lines = std::fs::read_to_string(path).unwrap().lines().count();
            if lines > LINES_MAX {
                too_long.push(format!("{}: {lines} lines", path.display()));
            }
        });
    }
    assert!(too_long.is_empty(), "split these: {too_long:#?}");
}

#[test]
fn each_actor_of_the_tree_has_a_room_of_its_own() {
    let tree = std::fs::read_to_string(root().join("supervision.toml")).unwrap();
    let cast = std::fs::read_to_string(root().join("actors/src/lib.rs")).unwrap();
    let starts = tree.split(" start = \"").skip(1).map(|rest| rest.split('"').next().unwrap());
    for start in starts {
        // All listeners are one kind of actor.
        let actor = if start.ends_with("Listener") { "Listener" } else { start };
        assert!(cast.contains(&format!("[`{actor}`]")), "{actor} is in supervision.toml and not in the cast list");
    }
}

fn visit(folder: &Path, with_file: &mut impl FnMut(&PathBuf)) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            visit(&path, with_file);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            with_file(&path);
        }
    }
}
