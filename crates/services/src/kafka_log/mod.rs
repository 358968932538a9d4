//! Kafka: topics `coordX`, `coordY` and `coord.dlq`, through rskafka.
//!
//! Invariants: nothing is written but by `acks=all`, in order per axis; every call ends, and after one that got no answer all
//! connections are made anew; what rskafka keeps to itself (retries) ends within a second.

mod cluster;
mod connection;
mod dead_letters;
mod fetch;
mod merge;
mod produce;
mod record;
mod salvage;
mod topics;
mod version;

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use orinoco_domain::{Axis, Position, RawRecord};
use orinoco_ports::{BackendInfo, DeadLetterPage, Fetched, FetchedRecord, LogError, RecordLog};

use self::{
    cluster::{Cluster, Trouble},
    connection::Security,
    dead_letters::DeadLetters,
    fetch::{FetchTrouble, Reader},
    produce::Producer,
};

use crate::tls::TlsOptions;

pub use self::connection::{KafkaSasl, SaslMechanism};

/// Readers of a partition that are kept for the next fetch. One reads; a second is there while the partition changes hands.
const READERS_MAX: usize = 2;

/// How to reach Kafka, and what to make there.
#[derive(Debug, Clone)]
pub struct KafkaLogOptions {
    /// `host:port`, to begin with; the others are learned from it.
    pub brokers: Vec<String>,
    /// `None`: in the clear.
    pub tls: Option<TlsOptions>,
    /// `None`: without a name.
    pub sasl: Option<KafkaSasl>,
    /// Before all topic names.
    pub topic_prefix: String,
    /// Whether missing topics are made.
    pub create_topics: bool,
    /// Of `coordX` and `coordY`, where they are made.
    pub partitions: u32,
    /// Of topics that are made.
    pub replication_factor: i16,
    /// What any call may take, beyond the wait that it was asked for.
    pub call_timeout: Duration,
}

impl KafkaLogOptions {
    #[must_use]
    pub fn new(brokers: Vec<String>) -> Self {
        Self {
            brokers,
            tls: None,
            sasl: None,
            topic_prefix: String::new(),
            create_topics: true,
            partitions: 4,
            replication_factor: 1,
            call_timeout: Duration::from_millis(5_000),
        }
    }
}

/// [`RecordLog`] in Kafka, 0.11 or newer. Must be used inside a tokio runtime.
#[derive(Debug)]
pub struct KafkaLog {
    options: KafkaLogOptions,
    topic_x: String,
    topic_y: String,
    topic_dead: String,
    fetching: Cluster,
    producer: Producer,
    readers: Readers,
    dead_partitions: tokio::sync::OnceCell<u32>,
}

#[derive(Default)]
struct Readers(Mutex<HashMap<u32, Vec<Reader>>>);

impl std::fmt::Debug for Readers {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Readers")
    }
}

impl Readers {
    /// One whose polls under way go on from there, if possible.
    fn take(&self, partition: u32, from: Position) -> Option<Reader> {
        let mut readers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = readers.get_mut(&partition)?;
        let fitting = idle.iter().position(|reader| reader.fits(from));
        fitting.map(|index| idle.swap_remove(index)).or_else(|| idle.pop())
    }

    fn give_back(&self, partition: u32, reader: Reader) {
        let mut readers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = readers.entry(partition).or_default();
        if idle.len() < READERS_MAX {
            idle.push(reader);
        }
    }
}

impl KafkaLog {
    /// Connects when first used.
    #[must_use]
    pub fn new(options: KafkaLogOptions) -> Self {
        let topic = |name: &str| format!("{}{name}", options.topic_prefix);
        let security = Security { tls: options.tls.clone(), sasl: options.sasl.clone() };
        let cluster = || Cluster::new(options.brokers.clone(), security.clone(), options.call_timeout);
        Self {
            topic_x: topic(Axis::X.name()),
            topic_y: topic(Axis::Y.name()),
            topic_dead: topic("coord.dlq"),
            fetching: cluster(),
            producer: Producer::new(cluster()),
            readers: Readers::default(),
            dead_partitions: tokio::sync::OnceCell::new(),
            options,
        }
    }

    fn topic(&self, axis: Axis) -> &str {
        match axis {
            Axis::X => &self.topic_x,
            Axis::Y => &self.topic_y,
        }
    }

    /// The topic's partition count; makes the topic if it may and must.
    async fn ensure(&self, counts: &HashMap<String, u32>, topic: &str, partitions: u32) -> Result<u32, LogError> {
        if let Some(count) = counts.get(topic) {
            return Ok(*count);
        }
        if !self.options.create_topics {
            return Err(LogError::Misconfigured(format!(
                "Kafka {} has no topic {topic}; create it with {partitions} partitions, or set kafka.create_topics = true",
                self.fetching.place()
            )));
        }
        topics::create(self.producer.cluster(), &self.options, topic, partitions).await
    }

    /// Partition count of the dead letters' topic; looked up, and made if need be, once.
    async fn dead_partitions(&self) -> Result<u32, LogError> {
        let look_up = async || {
            let counts = topics::partition_counts(self.producer.cluster()).await?;
            self.ensure(&counts, &self.topic_dead, 1).await
        };
        self.dead_partitions.get_or_try_init(look_up).await.copied()
    }

    async fn reader(&self, partition: u32, from: Position) -> Result<Reader, LogError> {
        if let Some(reader) = self.readers.take(partition, from) {
            return Ok(reader);
        }
        let topics = [self.topic_x.as_str(), self.topic_y.as_str()];
        let (x, y, (_, end)) = tokio::try_join!(
            self.fetching.partition(topics[0], partition),
            self.fetching.partition(topics[1], partition),
            self.producer.bounds_of_both(topics, partition),
        )?;
        Ok(Reader::new(x, y, end, self.options.call_timeout))
    }

    /// Reads one axis past what rskafka fails on.
    async fn salvage(
        &self,
        partition: u32,
        axis: Axis,
        from: Position,
        bytes_max: usize,
        reason: &str,
    ) -> Result<Fetched, LogError> {
        let (topic, offset) = (self.topic(axis), from.of(axis));
        tracing::debug!(topic, partition, offset, reason, "reading records in our own way");
        let wanted = salvage::Wanted { topic, partition, from: offset, bytes_max };
        let (brokers, call_timeout) = (&self.options.brokers, self.options.call_timeout);
        let salvaged = salvage::fetch(brokers, self.fetching.security(), wanted, call_timeout).await;
        let salvaged = salvaged.map_err(|error| self.fetching.unavailable(error))?;
        let (mut next, mut end) = (from, from);
        next.set(axis, salvaged.next);
        end.set(axis, salvaged.high_watermark.max(salvaged.next));
        let record = |(offset, record)| FetchedRecord { axis, offset, record };
        Ok(Fetched { records: salvaged.records.into_iter().map(record).collect(), next, end })
    }

    async fn fetch_failed(&self, partition: u32, from: Position, failed: FetchTrouble) -> LogError {
        let FetchTrouble { axis, trouble } = failed;
        let topic = self.topic(axis);
        match trouble {
            Trouble::OutOfRange => match self.producer.bounds(topic, partition).await {
                Ok((first, end)) => {
                    LogError::OutOfRange { topic: topic.to_owned(), partition, wanted: from.of(axis), first, end }
                }
                Err(error) => error,
            },
            trouble => {
                self.fetching.forget().await;
                self.fetching.error(trouble)
            }
        }
    }
}

#[async_trait]
impl RecordLog for KafkaLog {
    async fn partitions(&self) -> Result<u32, LogError> {
        let counts = topics::partition_counts(self.producer.cluster()).await?;
        // What is there decides how the missing one is made.
        let wanted = counts.get(&self.topic_x).or(counts.get(&self.topic_y)).copied();
        let wanted = wanted.unwrap_or(self.options.partitions.max(1));
        let x = self.ensure(&counts, &self.topic_x, wanted).await?;
        let y = self.ensure(&counts, &self.topic_y, wanted).await?;
        self.ensure(&counts, &self.topic_dead, 1).await?;
        if x != y {
            return Err(LogError::Misconfigured(format!(
                "Kafka {}: topic {} has {x} partitions and {} has {y}; make them equal (kafka-topics.sh --alter)",
                self.fetching.place(),
                self.topic_x,
                self.topic_y
            )));
        }
        Ok(x)
    }

    async fn produce(&self, partition: u32, records: &[(Axis, RawRecord)]) -> Result<(), LogError> {
        let (x, y) = (produce::of_axis(records, Axis::X), produce::of_axis(records, Axis::Y));
        let (x, y) = tokio::join!(
            self.producer.write(&self.topic_x, partition, &x),
            self.producer.write(&self.topic_y, partition, &y),
        );
        x.and(y)
    }

    async fn produce_dead_letters(&self, letters: &[RawRecord]) -> Result<(), LogError> {
        self.dead_partitions().await?;
        let indexed: Vec<_> = letters.iter().enumerate().collect();
        self.producer.write(&self.topic_dead, 0, &indexed).await
    }

    async fn fetch(
        &self,
        partition: u32,
        from: Position,
        bytes_max: usize,
        wait_max: Duration,
    ) -> Result<Fetched, LogError> {
        let mut reader = self.reader(partition, from).await?;
        match reader.fetch(from, bytes_max, wait_max).await {
            Ok(fetched) => {
                self.readers.give_back(partition, reader);
                Ok(fetched)
            }
            Err(FetchTrouble { axis, trouble: Trouble::Unreadable(reason) }) => {
                let salvaged = self.salvage(partition, axis, from, bytes_max, &reason).await;
                self.readers.give_back(partition, reader);
                salvaged
            }
            // The reader goes, with its connections.
            Err(failed) => Err(self.fetch_failed(partition, from, failed).await),
        }
    }

    async fn bounds(&self, partition: u32) -> Result<(Position, Position), LogError> {
        self.producer.bounds_of_both([&self.topic_x, &self.topic_y], partition).await
    }

    async fn dead_letters(&self, cursor: Option<&str>, letters_max: usize) -> Result<DeadLetterPage, LogError> {
        let partitions = self.dead_partitions().await?;
        let letters = DeadLetters {
            options: &self.options,
            cluster: &self.fetching,
            producer: &self.producer,
            topic: &self.topic_dead,
            partitions,
        };
        let page = letters.page(cursor, letters_max).await;
        if page.is_err() {
            self.fetching.forget().await;
        }
        page
    }

    async fn probe(&self) -> Result<BackendInfo, LogError> {
        let counts = topics::partition_counts(self.producer.cluster()).await?;
        let mut advice = Vec::new();
        for topic in [&self.topic_x, &self.topic_y, &self.topic_dead] {
            if !counts.contains_key(topic) && !self.options.create_topics {
                advice.push(format!("topic {topic} is missing: create it, or set kafka.create_topics = true"));
            }
        }
        if let (Some(x), Some(y)) = (counts.get(&self.topic_x), counts.get(&self.topic_y))
            && x != y
        {
            advice.push(format!("{} has {x} partitions and {} has {y}: make them equal", self.topic_x, self.topic_y));
        }
        let (brokers, security) = (&self.options.brokers, self.fetching.security());
        let version = version::of_cluster(brokers, security, self.options.call_timeout).await;
        Ok(BackendInfo { version: version.unwrap_or_else(|| "Kafka without a metadata.version".to_owned()), advice })
    }
}
