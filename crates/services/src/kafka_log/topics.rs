//! The topics: there, or made.

use std::{collections::HashMap, time::Duration};

use orinoco_ports::LogError;
use rskafka::client::error::{Error, ProtocolError};

use super::{
    KafkaLogOptions,
    cluster::{Cluster, Trouble},
};

const LEADERS_DEADLINE: Duration = Duration::from_secs(10);
const LEADERS_POLL: Duration = Duration::from_millis(50);

/// Partition counts of the topics that are there, by name.
pub(super) async fn partition_counts(cluster: &Cluster) -> Result<HashMap<String, u32>, LogError> {
    let client = cluster.client().await?;
    let topics = match cluster.bounded(async { client.list_topics().await }).await {
        Ok(topics) => topics,
        Err(trouble) => {
            cluster.forget().await;
            return Err(cluster.error(trouble));
        }
    };
    let count = |topic: rskafka::topic::Topic| (topic.name, u32::try_from(topic.partitions.len()).unwrap_or(u32::MAX));
    Ok(topics.into_iter().map(count).collect())
}

/// Makes a topic and waits until all its partitions have a leader; returns their number, which is not the one asked for where somebody
/// else made the topic at the same moment.
pub(super) async fn create(
    cluster: &Cluster,
    options: &KafkaLogOptions,
    topic: &str,
    partitions: u32,
) -> Result<u32, LogError> {
    tracing::info!(topic, partitions, replication_factor = options.replication_factor, "creating topic");
    let client = cluster.client().await?;
    let controller = client.controller_client().map_err(|error| cluster.error(Trouble::from(error)))?;
    let timeout_ms = i32::try_from(cluster.call_timeout().as_millis()).unwrap_or(i32::MAX);
    let count = i32::try_from(partitions).unwrap_or(i32::MAX);
    let creating = async {
        match controller.create_topic(topic, count, options.replication_factor, timeout_ms).await {
            // Another daemon was faster.
            Err(Error::ServerError { protocol_error: ProtocolError::TopicAlreadyExists, .. }) => Ok(()),
            outcome => outcome,
        }
    };
    cluster.bounded(creating).await.map_err(|trouble| match cluster.error(trouble) {
        LogError::Misconfigured(reason) => LogError::Misconfigured(format!("topic {topic} can't be created: {reason}")),
        other => other,
    })?;
    let deadline = tokio::time::Instant::now() + LEADERS_DEADLINE;
    loop {
        let outcome = count_with_leaders(cluster, topic).await;
        match outcome {
            Ok(Some(count)) => return Ok(count),
            Err(error) if tokio::time::Instant::now() >= deadline => return Err(error),
            Ok(None) if tokio::time::Instant::now() >= deadline => {
                return Err(cluster.unavailable(format!("topic {topic} was created and is not there")));
            }
            _ => tokio::time::sleep(LEADERS_POLL).await,
        }
    }
}

/// `None` where the broker asked does not know the topic yet.
async fn count_with_leaders(cluster: &Cluster, topic: &str) -> Result<Option<u32>, LogError> {
    let Some(count) = partition_counts(cluster).await?.get(topic).copied() else { return Ok(None) };
    for partition in 0..count {
        cluster.partition(topic, partition).await?;
    }
    Ok(Some(count))
}
