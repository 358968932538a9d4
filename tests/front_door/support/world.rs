//! A running daemon and the servers it uses.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::LazyLock,
};

use orinoco_testkit::{
    Daemon, DaemonConfig, Database, Kafka, KafkaAddress, Mosquitto, Postgres, Redis, RedisKind, process_is_running,
    unique_name,
};
use tempfile::TempDir;
use tokio::sync::OnceCell;

use super::{Answer, DEADLINE, Device, KafkaProxy, Socket, campaign, request};

/// The daemon under test: the one that was built with the tests, or the variable `ORINOCO_TEST_BINARY`.
static BINARY: LazyLock<PathBuf> = LazyLock::new(|| campaign("BINARY", PathBuf::from(env!("CARGO_BIN_EXE_orinoco"))));
const LOG_LINES_MAX: usize = 60;
const FOLDER_PREFIX: &str = "orinoco-front-door-";

/// Lua: every key, followed by what it holds.
const DUMP: &str = r#"
local readers = {
  string = function(key) return {redis.call("GET", key)} end,
  hash = function(key) return redis.call("HGETALL", key) end,
  set = function(key) return redis.call("SMEMBERS", key) end,
  list = function(key) return redis.call("LRANGE", key, 0, -1) end,
  zset = function(key) return redis.call("ZRANGE", key, 0, -1, "WITHSCORES") end,
}
local all = {}
for _, key in ipairs(redis.call("KEYS", "*")) do
  table.insert(all, key)
  for _, value in ipairs(readers[redis.call("TYPE", key).ok](key)) do table.insert(all, value) end
end
return all
"#;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Embedded,
    Services,
}

/// What a daemon is started with, beyond what all tests want.
#[derive(Debug, Clone, Default)]
pub(crate) struct Setup {
    settings: Vec<(String, String)>,
    own_kafka: bool,
    kafka_proxy: bool,
    embedded_broker: bool,
    run_by: Vec<String>,
}

impl Setup {
    /// Sets one key, as `set("stream.pairing", "timestamp")`.
    pub(crate) fn set(mut self, key: &str, value: impl ToString) -> Self {
        self.settings.push((key.to_owned(), value.to_string()));
        self
    }

    /// In services mode: devices publish to the daemon itself.
    pub(crate) fn embedded_broker(mut self) -> Self {
        self.embedded_broker = true;
        self.set("mqtt.backend", "embedded")
    }

    /// A Kafka that the test may stop.
    pub(crate) fn own_kafka(mut self) -> Self {
        self.own_kafka = true;
        self
    }

    /// The same, and the daemon reaches it through a proxy.
    pub(crate) fn kafka_proxy(mut self) -> Self {
        self.kafka_proxy = true;
        self.own_kafka()
    }

    /// A program with its arguments that becomes the daemon.
    pub(crate) fn run_by(mut self, command: &[&str]) -> Self {
        self.run_by = command.iter().map(|&word| word.to_owned()).collect();
        self
    }
}

/// Real servers of one daemon. Kafka is that of the run, the topics are the daemon's own: else it would begin with all that others
/// left there.
pub(crate) struct Services {
    pub(crate) mosquitto: Mosquitto,
    pub(crate) redis: Redis,
    pub(crate) redis_qr: Redis,
    pub(crate) kafka: KafkaAddress,
    pub(crate) own_kafka: Option<Kafka>,
    pub(crate) kafka_proxy: Option<KafkaProxy>,
    topic_prefix: String,
    pub(crate) postgres: Option<Postgres>,
    // Dropped with the daemon.
    _database: Option<Database>,
    postgres_url: String,
}

pub(crate) struct World {
    pub(crate) daemon: Daemon,
    pub(crate) data_dir: PathBuf,
    pub(crate) services: Option<Services>,
    environment: Vec<(String, String)>,
    embedded_broker: bool,
    // Last: the daemon is gone when its files go.
    _folder: TempDir,
}

static EMBEDDED: OnceCell<World> = OnceCell::const_new();
static SERVICES: OnceCell<World> = OnceCell::const_new();

impl World {
    /// The daemon that tests share. Take devices of your own.
    pub(crate) async fn shared(mode: Mode) -> &'static Self {
        let cell = match mode {
            Mode::Embedded => &EMBEDDED,
            Mode::Services => &SERVICES,
        };
        cell.get_or_init(|| Self::start(mode, Setup::default().set("ws.stall_max_s", 120))).await
    }

    /// A daemon of the test's own.
    pub(crate) async fn start(mode: Mode, setup: Setup) -> Self {
        let folder = folder();
        let data_dir = folder.path().join("data");
        let mut config = DaemonConfig::default()
            .set("stream.public", "true")
            .set("limits.mode", "off")
            .set("auth.key_file", folder.path().join("keys").display().to_string());
        let mut services = None;
        if mode == Mode::Services {
            let (started, with_services) = Services::start(&setup, config).await;
            services = Some(started);
            config = with_services;
        }
        for (key, value) in &setup.settings {
            config = config.set(key, value);
        }
        config.run_by.clone_from(&setup.run_by);
        let environment = config.environment.clone();
        if mode == Mode::Services {
            let migrated = command(&environment, &data_dir, &["migrate"]);
            assert!(migrated.status.success(), "{}", String::from_utf8_lossy(&migrated.stderr));
        }
        let daemon = Daemon::spawn(&BINARY, config, &data_dir).await.unwrap();
        let embedded_broker = setup.embedded_broker || services.is_none();
        Self { daemon, data_dir, services, environment, embedded_broker, _folder: folder }
    }

    /// A daemon on servers that the test has started itself; not waited for.
    pub(crate) fn start_on(config: DaemonConfig) -> Self {
        let folder = folder();
        let data_dir = folder.path().join("data");
        let environment = config.environment.clone();
        let daemon = Daemon::spawn_without_waiting(&BINARY, config, &data_dir).unwrap();
        Self { daemon, data_dir, services: None, environment, embedded_broker: false, _folder: folder }
    }

    /// Another daemon on the same services, with the same keys.
    pub(crate) async fn another(&self) -> Self {
        self.another_with(Setup::default()).await
    }

    /// The same, with settings of its own.
    pub(crate) async fn another_with(&self, setup: Setup) -> Self {
        self.another_on(setup, |_| {}).await
    }

    /// The same, on a data directory that `prepare` may make.
    pub(crate) async fn another_on(&self, setup: Setup, prepare: impl FnOnce(&Path)) -> Self {
        let folder = folder();
        let data_dir = folder.path().join("data");
        prepare(&data_dir);
        let mut config = DaemonConfig::default();
        config.environment.clone_from(&self.environment);
        for (key, value) in &setup.settings {
            config = config.set(key, value);
        }
        let environment = config.environment.clone();
        let daemon = Daemon::spawn(&BINARY, config, &data_dir).await.unwrap();
        let embedded_broker = self.embedded_broker;
        Self { daemon, data_dir, services: None, environment, embedded_broker, _folder: folder }
    }

    /// `mqtt://host:port` of the broker that devices publish to.
    pub(crate) fn mqtt_url(&self) -> String {
        match &self.services {
            Some(services) if !self.embedded_broker => services.mosquitto.url().to_owned(),
            _ => format!("mqtt://{}", self.daemon.mqtt_address()),
        }
    }

    /// A device, connected.
    pub(crate) async fn device(&self) -> Device {
        Device::connect(&self.mqtt_url()).await.unwrap()
    }

    /// A plain WebSocket: `watch("?device=D")`.
    pub(crate) async fn watch(&self, query: &str) -> Socket {
        Socket::open(self.daemon.ws_address(), query).await.unwrap()
    }

    /// GET on the HTTP port.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        request(self.daemon.http_address(), "GET", path, &[]).await
    }

    /// Runs `orinoco` to its end, with the daemon's configuration.
    pub(crate) fn command(&self, arguments: &[&str]) -> Output {
        command(&self.environment(), &self.data_dir, arguments)
    }

    /// The same, with something to read.
    pub(crate) fn command_with_input(&self, arguments: &[&str], input: &str) -> Output {
        let mut command = prepared(&self.environment(), &self.data_dir, arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    }

    /// The same, beside what else the test does.
    pub(crate) async fn command_beside(&self, arguments: &[&str]) -> Output {
        let mut prepared = prepared(&self.environment(), &self.data_dir, arguments);
        tokio::task::spawn_blocking(move || prepared.output().unwrap()).await.unwrap()
    }

    /// The daemon's configuration, for other commands.
    pub(crate) fn environment(&self) -> Vec<(String, String)> {
        let mut environment = self.environment.clone();
        let addresses = [
            ("HTTP__LISTEN", self.daemon.http_address()),
            ("WS__LISTEN", self.daemon.ws_address()),
            ("MQTT__LISTEN", self.daemon.mqtt_address()),
        ];
        environment.extend(addresses.map(|(name, value)| (format!("ORINOCO__{name}"), value.to_owned())));
        environment
    }

    /// One number of the metrics, by its name with its labels; `None` without an answer, or without the number.
    pub(crate) async fn metric(&self, name: &str) -> Option<f64> {
        let answer = self.daemon.get("/metrics").await.ok()?;
        answer.body.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
    }

    /// The objects that a command with `--json` prints.
    pub(crate) fn json(&self, arguments: &[&str]) -> Vec<serde_json::Value> {
        let output = self.command(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// `host:port` of Kafka.
    pub(crate) fn kafka(&self) -> &str {
        self.services.as_ref().unwrap().kafka.brokers()
    }

    /// The name that a topic of the daemon has in Kafka.
    pub(crate) fn topic(&self, name: &str) -> String {
        format!("{}{name}", self.services.as_ref().unwrap().topic_prefix)
    }
}

/// What a failed test needs to be understood.
impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.daemon.stderr().unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            let tail = lines[lines.len().saturating_sub(LOG_LINES_MAX)..].join("\n");
            println!("the daemon's log ends:\n{tail}");
        }
    }
}

impl Services {
    /// All of the database, as SQL.
    pub(crate) fn dump_postgres(&self) -> Vec<u8> {
        output_of(Command::new("pg_dump").arg(&self.postgres_url))
    }

    /// All keys and values of Redis QR.
    pub(crate) fn dump_redis_qr(&self) -> Vec<u8> {
        output_of(Command::new("redis-cli").args(["-u", self.redis_qr.url(), "EVAL", DUMP, "0"]))
    }

    /// The topics of the coordinates, as Kafka knows them.
    pub(crate) fn topics(&self) -> [String; 2] {
        ["coordX", "coordY"].map(|name| format!("{}{name}", self.topic_prefix))
    }

    async fn start(setup: &Setup, config: DaemonConfig) -> (Self, DaemonConfig) {
        let mosquitto = Mosquitto::start().await.unwrap();
        let redis = Redis::start(RedisKind::Ws).await.unwrap();
        let redis_qr = Redis::start(RedisKind::Qr).await.unwrap();
        let kafka_proxy = if setup.kafka_proxy { Some(KafkaProxy::listen().await) } else { None };
        let own_kafka = match &kafka_proxy {
            Some(proxy) => Some(Kafka::start_behind(proxy.port()).await.unwrap()),
            None if setup.own_kafka => Some(Kafka::start().await.unwrap()),
            None => None,
        };
        let kafka = match &own_kafka {
            Some(kafka) => kafka.address().clone(),
            None => Kafka::shared().await.unwrap(),
        };
        // With its own Kafka, all servers are the test's to stop.
        let postgres = if setup.own_kafka { Some(Postgres::start().await.unwrap()) } else { None };
        let database = match &postgres {
            Some(_) => None,
            None => Some(Postgres::shared().await.unwrap().fresh_database().await.unwrap()),
        };
        let postgres_url = match (&postgres, &database) {
            (Some(server), _) => server.url().to_owned(),
            (None, Some(database)) => database.url().to_owned(),
            (None, None) => unreachable!(),
        };
        let mut brokers = kafka.brokers().to_owned();
        if let Some(proxy) = &kafka_proxy {
            proxy.forward_to(&brokers);
            brokers = format!("127.0.0.1:{}", proxy.port());
        }
        let topic_prefix = format!("{}.", unique_name("front-door"));
        let config = config
            .set("mode", "services")
            .set("mqtt.url", mosquitto.url())
            .set("mqtt.client_id", unique_name("ingest"))
            .set("redis_ws.url", redis.url())
            .set("redis_qr.url", redis_qr.url())
            .set("kafka.brokers", brokers)
            .set("kafka.topic_prefix", &topic_prefix)
            .set("postgres.url", &postgres_url);
        let services = Self {
            mosquitto,
            redis,
            redis_qr,
            kafka,
            own_kafka,
            kafka_proxy,
            topic_prefix,
            postgres,
            _database: database,
            postgres_url,
        };
        (services, config)
    }
}

fn output_of(command: &mut Command) -> Vec<u8> {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// The daemon under test.
pub(crate) fn binary() -> &'static Path {
    &BINARY
}

/// Runs `orinoco` to its end, with this environment alone as its configuration.
pub(crate) fn command(environment: &[(String, String)], data_dir: &Path, arguments: &[&str]) -> Output {
    prepared(environment, data_dir, arguments).output().unwrap()
}

/// The command, before it runs.
pub(crate) fn prepared(environment: &[(String, String)], data_dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new("timeout");
    // A command that hangs ends, with 124.
    command.arg(DEADLINE.as_secs().to_string()).arg(&*BINARY).arg("--data-dir").arg(data_dir).args(arguments);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("ORINOCO__")) {
        command.env_remove(name);
    }
    command.envs(environment.iter().map(|(name, value)| (name, value))).stdin(Stdio::null());
    let folder = data_dir.ancestors().skip(1).find(|path| path.is_dir());
    command.current_dir(folder.unwrap());
    command
}

/// A folder of this test process; those of earlier processes, which were killed, go. (The path of a Unix socket is short, so it is not
/// in the target directory.)
pub(crate) fn folder() -> TempDir {
    for entry in fs::read_dir(std::env::temp_dir()).unwrap().flatten() {
        let name = entry.file_name();
        let owner = name.to_str().and_then(|name| name.strip_prefix(FOLDER_PREFIX)?.split('-').next()?.parse().ok());
        if owner.is_some_and(|pid: u32| !process_is_running(pid)) {
            // Another test may be removing it as well.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    TempDir::with_prefix(format!("{FOLDER_PREFIX}{}-", std::process::id())).unwrap()
}
