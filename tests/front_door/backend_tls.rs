//! The servers behind the daemon, reached by TLS alone.

use std::{
    fs,
    path::PathBuf,
    sync::atomic::{AtomicU32, Ordering},
};

use orinoco_testkit::{
    DaemonConfig, Database, Kafka, Mosquitto, Postgres, Redis, RedisKind, ServerTls, free_port, unique_name,
};
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::{Mutex, MutexGuard, OnceCell};

use crate::support::{Authority, DEADLINE, Device, Tokens, World, command, folder, until};

const PASSWORD: &str = "s3cret-of-kafka";
const SECTIONS: [&str; 5] = ["mqtt", "kafka", "redis_ws", "redis_qr", "postgres"];

/// All five, each with a certificate for `localhost`.
struct Servers {
    mosquitto: Mosquitto,
    _redis_ws: Redis,
    _redis_qr: Redis,
    postgres: Postgres,
    _kafka: Kafka,
    /// Keys of the configuration that lead to them, without TLS files and passwords.
    places: Vec<(&'static str, String)>,
    /// Theirs.
    ca: PathBuf,
    /// Of an authority that they have nothing to do with.
    other_ca: PathBuf,
    _folder: TempDir,
}

static SERVERS: OnceCell<Servers> = OnceCell::const_new();

impl Servers {
    async fn shared() -> &'static Self {
        SERVERS.get_or_init(Self::start).await
    }

    async fn start() -> Self {
        let folder = folder();
        let authority = Authority::new(folder.path().join("ours"));
        let other = Authority::new(folder.path().join("others"));
        let files = authority.issue("server", &["localhost"]);
        let tls = ServerTls {
            certificate: files.certificate.clone(),
            key: files.key.clone(),
            client_ca: authority.ca_file().to_owned(),
        };
        let ports = [(); 4].map(|()| free_port().unwrap());
        let [mqtt, redis_ws, redis_qr, kafka] = ports;
        let brokers = format!("localhost:{kafka}");
        let listener = tls.kafka_listener(&brokers, folder.path(), "orinoco", PASSWORD).unwrap();
        let postgres = Postgres::start_with_tls(&files.certificate, &files.key).await.unwrap();
        let redis = async |kind, port| Redis::start_with(kind, &tls.redis_arguments(port, false)).await.unwrap();
        Self {
            mosquitto: Mosquitto::start_with(&tls.mosquitto_lines(mqtt, false)).await.unwrap(),
            _redis_ws: redis(RedisKind::Ws, redis_ws).await,
            _redis_qr: redis(RedisKind::Qr, redis_qr).await,
            postgres,
            _kafka: Kafka::start_with(&listener).await.unwrap(),
            places: vec![
                ("mode", "services".to_owned()),
                ("mqtt.url", format!("mqtts://localhost:{mqtt}")),
                ("kafka.brokers", brokers),
                ("kafka.tls", "true".to_owned()),
                // SCRAM is in tests/services/tls.rs: its thousands of hashes a connection take a debug build too long.
                ("kafka.sasl_mechanism", "PLAIN".to_owned()),
                ("kafka.sasl_username", "orinoco".to_owned()),
                ("redis_ws.url", format!("rediss://localhost:{redis_ws}")),
                ("redis_qr.url", format!("rediss://localhost:{redis_qr}")),
                ("postgres.migrate", "true".to_owned()),
            ],
            ca: authority.ca_file().to_owned(),
            other_ca: other.ca_file().to_owned(),
            _folder: folder,
        }
    }

    fn place(&self, key: &str) -> &str {
        &self.places.iter().find(|(name, _)| *name == key).unwrap().1
    }
}

/// Held by the one daemon that uses the servers: a Redis's publications are for all of its databases.
struct Turn {
    servers: &'static Servers,
    database: Database,
    number: u32,
    _turn: MutexGuard<'static, ()>,
}

static TURN: Mutex<()> = Mutex::const_new(());
static TURNS: AtomicU32 = AtomicU32::new(1);

impl Turn {
    async fn take() -> Self {
        let servers = Servers::shared().await;
        let turn = TURN.lock().await;
        let database = servers.postgres.address().fresh_database().await.unwrap();
        Self { servers, database, number: TURNS.fetch_add(1, Ordering::Relaxed), _turn: turn }
    }

    /// Leads a daemon of its own databases, topics and MQTT session to the servers.
    fn config(&self, password: &str, ca: impl Fn(&str) -> PathBuf) -> DaemonConfig {
        let config = DaemonConfig::default()
            .set("stream.public", "true")
            .set("limits.mode", "off")
            .set("auth.signup", "open")
            .set("mqtt.client_id", unique_name("ingest"))
            .set("kafka.topic_prefix", format!("{}.", unique_name("tls")))
            .set("kafka.sasl_password", password);
        let config = self.servers.places.iter().fold(config, |config, (key, value)| config.set(key, value));
        let config = ["redis_ws.url", "redis_qr.url"]
            .iter()
            .fold(config, |config, key| config.set(key, format!("{}/{}", self.servers.place(key), self.number)));
        let postgres_url = self.database.url().replace("127.0.0.1", "localhost");
        let config = config.set("postgres.url", format!("{postgres_url}?sslmode=verify-full"));
        SECTIONS
            .iter()
            .fold(config, |config, section| config.set(&format!("{section}.tls_ca"), ca(section).display().to_string()))
    }

    fn trusted(&self) -> DaemonConfig {
        self.config(PASSWORD, |_| self.servers.ca.clone())
    }
}

/// What `orinoco doctor` finds wrong, by section.
fn wrong(world: &World) -> Vec<(String, String)> {
    let output = world.command(&["doctor", "--json"]);
    let text = String::from_utf8(output.stdout).unwrap();
    let findings = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let wrong = findings.filter(|finding| finding["status"] == "wrong");
    wrong.map(|finding| (text(&finding["name"]), text(&finding["problem"]))).collect()
}

/// Waits until `orinoco doctor` finds wrong what is, each with these words, and nothing else: on a busy machine a call may take too long.
async fn until_wrong(world: &World, expected: &[(&str, String)]) {
    until("what the doctor finds", async || {
        let found = wrong(world);
        let is_told = |(section, words): &(&str, String)| {
            found.iter().any(|(name, problem)| name == section && problem.contains(words.as_str()))
        };
        (found.len() == expected.len() && expected.iter().all(is_told)).then_some(())
    })
    .await;
}

/// Name and reason of what does not work; `None` while nobody answers.
async fn down(world: &World) -> Option<Vec<(String, String)>> {
    let answer = world.daemon.get("/readyz").await.ok()?;
    let readyz: Value = serde_json::from_str(&answer.body).ok()?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let components = readyz["components"].as_array()?.iter().filter(|component| component["state"] != "up");
    Some(components.map(|component| (text(&component["name"]), text(&component["reason"]))).collect())
}

/// Waits until something that does not work says this.
async fn is_told(world: &World, words: &str) {
    until(words, async || down(world).await?.iter().any(|(_, reason)| reason.contains(words)).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_coordinate_and_a_login_go_by_tls_all_the_way() {
    let turn = Turn::take().await;
    let servers = turn.servers;
    let world = World::start_on(turn.trusted());
    world.daemon.wait_until_ready(DEADLINE).await.unwrap();
    until_wrong(&world, &[]).await;
    let person = world.person().await;
    let name = person.orin_id.as_str();
    let mut socket = world.watch(&format!("?device={name}")).await;
    let device = Device::connect(servers.mosquitto.url()).await.unwrap();
    device.move_to(name, 1.5, -2.5).await;
    let frame = socket.frame().await;
    assert_eq!((frame.x, frame.y, frame.device.as_str()), (1.5, -2.5, name));

    let (browser, otc) = world.approved(&person.tokens).await;
    let tokens = Tokens::of(&browser.exchange(world.daemon.http_address(), &otc).await);
    assert_eq!(world.call("GET", "me", &tokens.access, None).await.json()["orinId"], name);
    let of_us = "from pg_stat_ssl join pg_stat_activity using (pid) where application_name = 'orinoco'";
    let all = servers.postgres.address().execute(&format!("select bool_and(ssl), count(*) > 0 {of_us}")).await;
    assert_eq!(all.unwrap(), "t|t");

    // A dead letter is read, and published again.
    device.publish(&format!("devices/{name}/coordX"), "not a number").await;
    let letters =
        until("a dead letter", async || Some(world.json(&["dlq", "list", "--json"])).filter(|all| !all.is_empty()));
    let letter = &letters.await[0];
    let cursor = letter["cursor"].as_str().unwrap_or_default().to_owned();
    let replayed = world.command(&["dlq", "replay", &cursor]);
    assert!(replayed.status.success(), "{}", String::from_utf8_lossy(&replayed.stderr));

    let ca = servers.ca.display().to_string();
    let simulate = ["simulate", "--url", servers.place("mqtt.url"), "--duration", "1"];
    let nothing = world.data_dir.with_file_name("nothing");
    let known = command(&[], &nothing, &[&simulate[..], &["--ca", &ca]].concat());
    assert!(known.status.success(), "{}", String::from_utf8_lossy(&known.stderr));
    let unknown = command(&[], &nothing, &simulate);
    let text = String::from_utf8_lossy(&unknown.stderr);
    assert!(!unknown.status.success() && text.contains("mqtt.tls_ca"), "{text}");
    assert_eq!(world.daemon.stderr().unwrap().matches(PASSWORD).count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_not_trusted_is_away_until_the_file_is_mended() {
    let turn = Turn::take().await;
    let servers = turn.servers;
    let folder = folder();
    let own = |section: &str| folder.path().join(format!("{section}.pem"));
    let trust = |section: &str, ca: &PathBuf| fs::copy(ca, own(section)).unwrap();
    for section in SECTIONS {
        trust(section, &servers.other_ca);
    }
    // A daemon that finds PostgreSQL away does not migrate later.
    let migrated = command(&turn.trusted().environment, &folder.path().join("migrated"), &["migrate"]);
    assert!(migrated.status.success(), "{}", String::from_utf8_lossy(&migrated.stderr));
    let world = World::start_on(turn.config(PASSWORD, own));
    for section in ["postgres", "redis_qr"] {
        is_told(&world, &format!("set {section}.tls_ca")).await;
    }
    until_wrong(&world, &SECTIONS.map(|section| (section, format!("set {section}.tls_ca")))).await;
    // Without leases nobody reads and nobody ingests: the others come into play one after the other.
    trust("postgres", &servers.ca);
    trust("redis_qr", &servers.ca);
    for section in ["mqtt", "kafka"] {
        is_told(&world, &format!("set {section}.tls_ca")).await;
        trust(section, &servers.ca);
    }
    is_told(&world, "set redis_ws.tls_ca").await;
    trust("redis_ws", &servers.ca);
    world.daemon.wait_until_ready(DEADLINE).await.unwrap();
    until_wrong(&world, &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_of_kafka_is_told_and_not_shown() {
    let turn = Turn::take().await;
    let mistaken = "mistaken-password";
    let world = World::start_on(turn.config(mistaken, |_| turn.servers.ca.clone()));
    is_told(&world, "check kafka.sasl_username, kafka.sasl_password").await;
    until_wrong(&world, &[("kafka", "kafka.sasl_password".to_owned())]).await;
    let log = world.daemon.stderr().unwrap();
    assert!(!log.contains(mistaken), "{log}");
    let check = world.command(&["check"]);
    let text = String::from_utf8_lossy(&check.stdout);
    assert!(check.status.success() && text.contains("kafka.sasl_password = \"***\""), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_of_no_use_are_refused_before_anything_is_started() {
    let turn = Turn::take().await;
    let folder = folder();
    let (junk, data_dir) = (folder.path().join("junk.pem"), folder.path().join("data"));
    fs::write(&junk, "nothing").unwrap();
    for section in SECTIONS {
        let ca = |of: &str| if of == section { junk.clone() } else { turn.servers.ca.clone() };
        let environment = turn.config(PASSWORD, ca).environment;
        for arguments in [["check"], ["serve"]] {
            let output = command(&environment, &data_dir, &arguments);
            let text = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(64), "{text}");
            let variable = format!("ORINOCO__{}__TLS_CA", section.to_uppercase());
            assert!(text.contains(&variable) && text.contains("junk.pem holds no certificate"), "{text}");
        }
    }
    assert!(!data_dir.exists());
}
