//! Kafka: one node in KRaft mode, from the jars that `scripts/install services` fetched.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use rustix::process::Signal;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio::time::timeout;

use crate::port::free_port;
use crate::process::Launch;
use crate::server::{Address, Server, shared};

const PROPERTIES: &str = include_str!("../../../deploy/kafka/server.properties");
/// Any 16 bytes in URL-safe base64; a server of its own is a cluster of its own.
const CLUSTER_ID: &str = "b3Jpbm9jby10ZXN0a2l0MQ";
/// ListOffsets: the time that stands for the end.
const LATEST: i64 = -1;
const TIMEOUT: Duration = Duration::from_secs(10);
const RESPONSE_BYTES_MAX: usize = 1 << 20;

/// Kafka protocol, api keys.
const LIST_OFFSETS: i16 = 2;
const METADATA: i16 = 3;
const DELETE_RECORDS: i16 = 21;
const CREATE_TOPICS: i16 = 19;
const DELETE_TOPICS: i16 = 20;

static SHARED: OnceCell<Kafka> = OnceCell::const_new();

/// A Kafka of one's own, 300 MB resident, ready in about 5 s.
pub type Kafka = Server<KafkaAddress>;

/// A listener beside the usual one.
#[derive(Debug, Clone, Default)]
pub struct KafkaListener {
    /// Such as `SASL_SSL://localhost:9094`; the address is what clients are told as well.
    pub place: Option<String>,
    /// Lines of server.properties, which must map its name to a protocol.
    pub properties: String,
    /// For the tool that formats the storage, such as `--add-scram`.
    pub format_arguments: Vec<String>,
}

/// Where a Kafka is.
#[derive(Debug, Clone)]
pub struct KafkaAddress {
    brokers: String,
}

impl Kafka {
    /// Starts a node on free ports.
    ///
    /// # Errors
    /// Java or the jars are missing, or it did not start; with the end of its log.
    pub async fn start() -> anyhow::Result<Self> {
        let port = free_port()?;
        Self::start_at(port, port, &KafkaListener::default()).await
    }

    /// Starts a node with one listener more.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn start_with(more: &KafkaListener) -> anyhow::Result<Self> {
        let port = free_port()?;
        Self::start_at(port, port, more).await
    }

    /// Starts a node that tells its clients to come to another port of the loopback address: that of a proxy. (Its own address, which
    /// leads past the proxy, is that of the handle.)
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn start_behind(port_of_proxy: u16) -> anyhow::Result<Self> {
        Self::start_at(free_port()?, port_of_proxy, &KafkaListener::default()).await
    }

    async fn start_at(port: u16, port_advertised: u16, more: &KafkaListener) -> anyhow::Result<Self> {
        let folder = TempDir::with_prefix("orinoco-kafka-")?;
        let (controller_port, data) = (free_port()?, folder.path().join("data"));
        let conf = folder.path().join("server.properties");
        let listener = more.place.as_ref().map(|place| format!(",{place}")).unwrap_or_default();
        fs::write(
            &conf,
            format!(
                "{PROPERTIES}\n\
                listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}{listener}\n\
                advertised.listeners=PLAINTEXT://127.0.0.1:{port_advertised}{listener}\n\
                controller.quorum.voters=1@127.0.0.1:{controller_port}\n\
                log.dirs={}\n{}\n",
                data.display(),
                more.properties
            ),
        )?;
        let classes = format!("{}/*", libraries()?.display());
        let java = || {
            Launch::new("java", folder.path(), folder.path().join("log")).arguments([
                "-Xmx512m",
                "-XX:+UseSerialGC",
                "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
                "-cp",
                &classes,
            ])
        };
        // The optimising compiler would not earn its time in a program of one second.
        let format = java()
            .arguments(["-XX:TieredStopAtLevel=1"])
            .arguments(["kafka.tools.StorageTool", "format", "--cluster-id", CLUSTER_ID, "--config"])
            .arguments([&conf])
            .arguments(&more.format_arguments);
        tokio::task::spawn_blocking(move || format.run_to_end()).await??;
        let launch = java().arguments(["kafka.Kafka"]).arguments([&conf]);
        Self::launch(launch, folder, KafkaAddress { brokers: format!("127.0.0.1:{port}") }, Signal::TERM).await
    }

    /// The Kafka that the tests of one run share: `ORINOCO_TEST_KAFKA_BROKERS`, else one for this process. Topics need a
    /// [`unique_name`](crate::unique_name).
    ///
    /// # Errors
    /// It does not answer, or could not be started.
    pub async fn shared() -> anyhow::Result<KafkaAddress> {
        shared("ORINOCO_TEST_KAFKA_BROKERS", |brokers| KafkaAddress { brokers }, &SHARED, Self::start).await
    }
}

impl KafkaAddress {
    /// `127.0.0.1:PORT`.
    pub fn brokers(&self) -> &str {
        &self.brokers
    }

    /// Creates a topic with one replica. (A broker of the daemon's configuration creates none by itself.)
    ///
    /// # Errors
    /// The broker refused (it exists already, for instance) or does not answer.
    pub async fn create_topic(&self, topic: &str, partitions: i32) -> anyhow::Result<()> {
        let mut request = Encoder::default();
        request.array(1).string(topic)?.int32(partitions).int16(1).array(0).array(0);
        request.int32(i32::try_from(TIMEOUT.as_millis())?).boolean(false);
        let response = self.request(CREATE_TOPICS, 4, &request.0).await?;
        // throttle_time_ms, then the array of one topic: name, error code, message.
        check_topic_error(&response, topic)
    }

    /// Deletes a topic, with its records.
    ///
    /// # Errors
    /// The broker refused (there is none, for instance) or does not answer.
    pub async fn delete_topic(&self, topic: &str) -> anyhow::Result<()> {
        let mut request = Encoder::default();
        request.array(1).string(topic)?.int32(i32::try_from(TIMEOUT.as_millis())?);
        let response = self.request(DELETE_TOPICS, 3, &request.0).await?;
        check_topic_error(&response, topic)
    }

    /// Deletes a partition's records below an offset, as retention does with old ones.
    ///
    /// # Errors
    /// The broker refused (the offset is beyond the end, for instance) or does not answer.
    pub async fn delete_records(&self, topic: &str, partition: i32, before_offset: i64) -> anyhow::Result<()> {
        let mut request = Encoder::default();
        request.array(1).string(topic)?.array(1).int32(partition).int64(before_offset);
        request.int32(i32::try_from(TIMEOUT.as_millis())?);
        let response = self.request(DELETE_RECORDS, 0, &request.0).await?;
        // The last two bytes of the answer for one partition: throttle time, topics (one), name, partitions (one), index, low watermark,
        // error code.
        match response.last_chunk::<2>().map(|bytes| i16::from_be_bytes(*bytes)) {
            Some(0) => Ok(()),
            code => bail!("Kafka refused to delete records of {topic}/{partition} with error {code:?}"),
        }
    }

    /// The offset that a partition's next record will have.
    ///
    /// # Errors
    /// There is no such partition, or the broker does not answer.
    pub async fn end_offset(&self, topic: &str, partition: i32) -> anyhow::Result<i64> {
        let mut request = Encoder::default();
        // The replica of a client, then the array of one topic.
        request.int32(-1).array(1).string(topic)?.array(1).int32(partition).int64(LATEST);
        let response = self.request(LIST_OFFSETS, 1, &request.0).await?;
        // For one partition, the answer ends: error code, timestamp, offset.
        let (code, rest) = response
            .last_chunk::<18>()
            .and_then(|end| end.split_first_chunk::<2>())
            .context("the response is too short")?;
        match (i16::from_be_bytes(*code), rest.last_chunk::<8>()) {
            (0, Some(offset)) => Ok(i64::from_be_bytes(*offset)),
            (code, _) => bail!("Kafka knows no end of {topic}/{partition}: error {code}"),
        }
    }

    /// Whether each partition of these topics has a leader, so that it can be written and read.
    ///
    /// # Errors
    /// The broker does not answer.
    pub async fn has_leaders(&self, topics: &[String]) -> anyhow::Result<bool> {
        let mut request = Encoder::default();
        request.array(i32::try_from(topics.len())?);
        for topic in topics {
            request.string(topic)?;
        }
        let response = self.request(METADATA, 1, &request.0).await?;
        leaders_are_known(&mut Decoder(&response)).context("Kafka's metadata end too soon")
    }

    /// One request on a connection of its own; the body of the response.
    async fn request(&self, api_key: i16, api_version: i16, body: &[u8]) -> anyhow::Result<Vec<u8>> {
        let mut request = Encoder::default();
        request.int16(api_key).int16(api_version).int32(1).string("orinoco-testkit")?;
        request.0.extend_from_slice(body);
        timeout(TIMEOUT, self.exchange(&request.0))
            .await
            .with_context(|| format!("{} does not answer", self.brokers))?
    }

    async fn exchange(&self, request: &[u8]) -> anyhow::Result<Vec<u8>> {
        let mut stream = TcpStream::connect(&self.brokers).await?;
        stream.write_i32(i32::try_from(request.len())?).await?;
        stream.write_all(request).await?;
        let length = usize::try_from(stream.read_i32().await?)?;
        ensure!((4..=RESPONSE_BYTES_MAX).contains(&length), "a response of {length} bytes");
        let mut response = vec![0; length];
        stream.read_exact(&mut response).await?;
        // Response header, version 0: the correlation id.
        Ok(response.split_off(4))
    }
}

impl Address for KafkaAddress {
    fn url(&self) -> &str {
        &self.brokers
    }

    /// Metadata, version 1, of no topic: there must be a broker and a controller.
    async fn answers(&self) -> anyhow::Result<()> {
        let mut request = Encoder::default();
        request.array(0);
        let response = self.request(METADATA, 1, &request.0).await?;
        let brokers = response.first_chunk::<4>().map(|bytes| i32::from_be_bytes(*bytes));
        if brokers.is_none_or(|count| count < 1) {
            bail!("{} knows no broker yet", self.brokers);
        }
        Ok(())
    }
}

/// The answers to CreateTopics v4 and DeleteTopics v3 begin alike: throttle time (4 bytes), number of topics (4), the
/// first topic's name (2 bytes of length, then as many), its error code (2).
fn check_topic_error(response: &[u8], topic: &str) -> anyhow::Result<()> {
    let code = response
        .get(10 + topic.len()..)
        .and_then(|rest| rest.first_chunk::<2>())
        .context("the response is too short")?;
    match i16::from_be_bytes(*code) {
        0 => Ok(()),
        3 => bail!("topic {topic} does not exist"),
        36 => bail!("topic {topic} exists already"),
        code => bail!("Kafka refused topic {topic} with error {code}"),
    }
}

/// Of a Metadata response, version 1; `None` where it ends too soon.
fn leaders_are_known(response: &mut Decoder<'_>) -> Option<bool> {
    // Node id, host, port, rack.
    for _ in 0..response.int32()? {
        response.int32()?;
        response.string()?;
        response.int32()?;
        response.string()?;
    }
    let _controller = response.int32()?;
    let mut known = true;
    for _ in 0..response.int32()? {
        known &= response.int16()? == 0;
        response.string()?;
        let _is_internal = response.take(1)?;
        for _ in 0..response.int32()? {
            let (error, _index, leader) = (response.int16()?, response.int32()?, response.int32()?);
            known &= error == 0 && leader >= 0;
            // Replicas, and those in sync.
            for _ in 0..2 {
                let nodes = usize::try_from(response.int32()?).ok()?;
                response.take(4 * nodes)?;
            }
        }
    }
    Some(known)
}

/// The other direction of [`Encoder`].
struct Decoder<'a>(&'a [u8]);

impl<'a> Decoder<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn int16(&mut self) -> Option<i16> {
        Some(i16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    fn int32(&mut self) -> Option<i32> {
        Some(i32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    /// Its bytes; a null string is an empty one.
    fn string(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.int16()?.max(0)).ok()?;
        self.take(length)
    }
}

/// Kafka's fixed encodings: big endian, strings with 2 bytes of length, arrays with 4.
#[derive(Debug, Default)]
struct Encoder(Vec<u8>);

impl Encoder {
    fn int16(&mut self, value: i16) -> &mut Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    fn int32(&mut self, value: i32) -> &mut Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    fn int64(&mut self, value: i64) -> &mut Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    fn array(&mut self, length: i32) -> &mut Self {
        self.int32(length)
    }

    fn boolean(&mut self, value: bool) -> &mut Self {
        self.0.push(u8::from(value));
        self
    }

    fn string(&mut self, value: &str) -> anyhow::Result<&mut Self> {
        self.int16(i16::try_from(value.len())?);
        self.0.extend_from_slice(value.as_bytes());
        Ok(self)
    }
}

fn libraries() -> anyhow::Result<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.stack/kafka/libs");
    folder
        .canonicalize()
        .with_context(|| format!("Kafka's jars are not in {}: run scripts/install services", folder.display()))
}
