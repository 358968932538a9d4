//! Writing: in order per axis, acknowledged by all in-sync replicas (rskafka always asks for that).

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use orinoco_domain::{Axis, Position, RawRecord};
use orinoco_ports::LogError;
use rskafka::client::partition::{Compression, OffsetAt, PartitionClient};

use super::{
    cluster::{Cluster, Trouble},
    record::{size_of, to_kafka},
};

/// Below Kafka's default `max.message.bytes` (1,048,588), which counts the batch: a call's records go in as many batches as that takes.
const BATCH_BYTES_MAX: usize = 900_000;

/// A record of the caller, with its place in the call.
type Indexed<'a> = (usize, &'a RawRecord);

/// Connections for writing, one an axis and partition, and one a partition of the dead letters. What asks for offsets uses them too,
/// as no long poll ever holds them up.
#[derive(Debug)]
pub(super) struct Producer {
    cluster: Cluster,
    clients: Mutex<HashMap<(String, u32), Arc<PartitionClient>>>,
}

impl Producer {
    pub(super) fn new(cluster: Cluster) -> Self {
        Self { cluster, clients: Mutex::default() }
    }

    pub(super) fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Writes the records of one topic's partition in order.
    ///
    /// # Errors
    /// As `RecordLog::produce`.
    pub(super) async fn write(&self, topic: &str, partition: u32, records: &[Indexed<'_>]) -> Result<(), LogError> {
        if records.is_empty() {
            return Ok(());
        }
        let client = self.client(topic, partition).await?;
        // The next batch last.
        let mut batches: Vec<&[Indexed<'_>]> = batches_of(records);
        batches.reverse();
        while let Some(batch) = batches.pop() {
            let encoded = batch.iter().map(|(_, record)| to_kafka(record)).collect();
            let writing = client.produce(encoded, Compression::NoCompression);
            match self.cluster.bounded(writing).await {
                Ok(_offsets) => {}
                Err(Trouble::TooLarge(reason)) => match batch {
                    [(index, _)] => return Err(LogError::TooLarge { index: *index, reason }),
                    // The topic allows less than usual, or one of them is to blame.
                    _ => {
                        let (first, second) = batch.split_at(batch.len() / 2);
                        batches.extend([second, first]);
                    }
                },
                Err(trouble) => return Err(self.failed(&client, trouble).await),
            }
        }
        Ok(())
    }

    /// First offset held, and the end (exclusive).
    ///
    /// # Errors
    /// [`LogError::Unavailable`], [`LogError::Misconfigured`].
    pub(super) async fn bounds(&self, topic: &str, partition: u32) -> Result<(i64, i64), LogError> {
        let client = self.client(topic, partition).await?;
        let first = self.cluster.bounded(client.get_offset(OffsetAt::Earliest)).await;
        let end = match first {
            Ok(_) => self.cluster.bounded(client.get_offset(OffsetAt::Latest)).await,
            Err(trouble) => return Err(self.failed(&client, trouble).await),
        };
        match (first, end) {
            (Ok(first), Ok(end)) => Ok((first, end)),
            (_, Err(trouble)) | (Err(trouble), _) => Err(self.failed(&client, trouble).await),
        }
    }

    /// [`Producer::bounds`] of both axes.
    pub(super) async fn bounds_of_both(
        &self,
        topics: [&str; 2],
        partition: u32,
    ) -> Result<(Position, Position), LogError> {
        let [x, y] = topics;
        let (x, y) = tokio::try_join!(self.bounds(x, partition), self.bounds(y, partition))?;
        Ok((Position { x: x.0, y: y.0 }, Position { x: x.1, y: y.1 }))
    }

    async fn client(&self, topic: &str, partition: u32) -> Result<Arc<PartitionClient>, LogError> {
        let key = (topic.to_owned(), partition);
        if let Some(client) = self.clients().get(&key) {
            return Ok(Arc::clone(client));
        }
        let client = Arc::new(self.cluster.partition(topic, partition).await?);
        self.clients().insert(key, Arc::clone(&client));
        Ok(client)
    }

    fn clients(&self) -> std::sync::MutexGuard<'_, HashMap<(String, u32), Arc<PartitionClient>>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn failed(&self, client: &Arc<PartitionClient>, trouble: Trouble) -> LogError {
        if !trouble.is_answer() {
            self.clients().retain(|_, held| !Arc::ptr_eq(held, client));
            self.cluster.forget().await;
        }
        self.cluster.error(trouble)
    }
}

/// The records of one axis, with their places in the call.
pub(super) fn of_axis(records: &[(Axis, RawRecord)], axis: Axis) -> Vec<Indexed<'_>> {
    let indexed = records.iter().enumerate();
    indexed.filter(|(_, (of, _))| *of == axis).map(|(index, (_, record))| (index, record)).collect()
}

/// Cuts into batches of at most [`BATCH_BYTES_MAX`], of one record at least.
fn batches_of<'a, 'r>(records: &'a [Indexed<'r>]) -> Vec<&'a [Indexed<'r>]> {
    let mut batches = Vec::new();
    let (mut start, mut bytes) = (0, 0);
    for (at, (_, record)) in records.iter().enumerate() {
        let size = size_of(record);
        if at > start && bytes + size > BATCH_BYTES_MAX {
            batches.push(&records[start..at]);
            (start, bytes) = (at, 0);
        }
        bytes += size;
    }
    batches.push(&records[start..]);
    batches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_hold_every_record_once_and_stay_below_the_bound() {
        let sized = |size| RawRecord { value: vec![b'1'; size], ..RawRecord::default() };
        let sizes = [10, 899_000, 10, 2_000_000, 10, 400_000, 400_000, 400_000];
        let records: Vec<RawRecord> = sizes.into_iter().map(sized).collect();
        let indexed: Vec<Indexed<'_>> = records.iter().enumerate().collect();
        let batches = batches_of(&indexed);
        let indexes: Vec<Vec<usize>> =
            batches.iter().map(|batch| batch.iter().map(|(index, _)| *index).collect()).collect();
        assert_eq!(indexes, [vec![0, 1, 2], vec![3], vec![4, 5, 6], vec![7]]);
    }
}
