//! A fetch of our own, for what rskafka can't read: a header without a value, or a transaction's marker, makes it fail the whole fetch, for
//! ever, and a partition must not be stalled by one record. Only used then, on connections of its own.

mod batch;
pub(super) mod wire;

use std::{io, time::Duration};

use orinoco_domain::RawRecord;

use self::{
    batch::Aborted,
    wire::{Reader, Writer},
};
use super::connection::{self, Security};

const FETCH: i16 = 1;
/// The first with transactions, and the oldest that Kafka 4 knows.
const FETCH_VERSION: i16 = 4;
const METADATA: i16 = 3;
const METADATA_VERSION: i16 = 1;

/// What was read of one topic's partition.
#[derive(Debug)]
pub(super) struct Salvaged {
    /// With their offsets.
    pub(super) records: Vec<(i64, RawRecord)>,
    /// Where to go on: behind markers and gaps too.
    pub(super) next: i64,
    pub(super) high_watermark: i64,
}

/// Which records.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub(super) topic: &'a str,
    pub(super) partition: u32,
    pub(super) from: i64,
    pub(super) bytes_max: usize,
}

/// Reads what is there, without waiting for more.
///
/// # Errors
/// For people; the caller tries again later.
pub(super) async fn fetch(
    brokers: &[String],
    security: &Security,
    wanted: Wanted<'_>,
    call_timeout: Duration,
) -> Result<Salvaged, String> {
    let fetching = async {
        let leader = leader_of(brokers, security, wanted).await?;
        fetch_from(&leader, security, wanted).await
    };
    let fetched = tokio::time::timeout(call_timeout, fetching).await;
    fetched.map_err(|_| format!("no answer within {} ms", call_timeout.as_millis()))?
}

/// `host:port` of the partition's leader.
async fn leader_of(brokers: &[String], security: &Security, wanted: Wanted<'_>) -> Result<String, String> {
    let mut request = Writer::default();
    request.int32(1).string(wanted.topic);
    let mut failure = "no broker is configured".to_owned();
    for broker in brokers {
        match exchange(broker, security, METADATA, METADATA_VERSION, &request.0).await {
            Ok(response) => {
                let leader = read_leader(Reader(&response), wanted.partition);
                return leader.ok_or_else(|| format!("{}/{} has no leader", wanted.topic, wanted.partition));
            }
            Err(error) => failure = format!("{broker}: {error}"),
        }
    }
    Err(failure)
}

/// MetadataResponse, version 1, of one topic.
fn read_leader(mut response: Reader<'_>, partition: u32) -> Option<String> {
    let mut brokers = Vec::new();
    for _ in 0..response.array()? {
        let (id, host, port) = (response.int32()?, response.string()?, response.int32()?);
        // A null rack has length -1.
        let rack_length = usize::try_from(response.int16()?).unwrap_or(0);
        response.bytes(rack_length)?;
        brokers.push((id, format!("{host}:{port}")));
    }
    let _controller = response.int32()?;
    let _topics = response.array()?;
    let (_error, _name, _is_internal) = (response.int16()?, response.string()?, response.int8()?);
    for _ in 0..response.array()? {
        let (_error, number, leader) = (response.int16()?, response.int32()?, response.int32()?);
        for _list in ["replicas", "in sync"] {
            for _ in 0..response.array()? {
                response.int32()?;
            }
        }
        if u32::try_from(number) == Ok(partition) {
            return brokers.into_iter().find(|(id, _)| *id == leader).map(|(_, address)| address);
        }
    }
    None
}

async fn fetch_from(leader: &str, security: &Security, wanted: Wanted<'_>) -> Result<Salvaged, String> {
    let bytes_max = i32::try_from(wanted.bytes_max).unwrap_or(i32::MAX).clamp(1, 50 << 20);
    let partition = i32::try_from(wanted.partition).map_err(|error| error.to_string())?;
    let mut request = Writer::default();
    // A client, not a replica; no wait; at least a byte; committed records only.
    request.int32(-1).int32(0).int32(1).int32(bytes_max).int8(1);
    request.int32(1).string(wanted.topic).int32(1).int32(partition).int64(wanted.from).int32(bytes_max);
    let response = exchange(leader, security, FETCH, FETCH_VERSION, &request.0).await;
    let response = response.map_err(|error| error.to_string())?;
    let answer = read_fetched(Reader(&response)).ok_or("the answer to a fetch can't be read")?;
    if answer.error != 0 {
        return Err(format!("a fetch failed with error {}", answer.error));
    }
    let decoded = batch::decode(answer.batches, wanted.from, answer.aborted);
    let next = decoded.next.unwrap_or(wanted.from).max(wanted.from);
    Ok(Salvaged { records: decoded.records, next, high_watermark: answer.high_watermark })
}

struct FetchAnswer<'a> {
    error: i16,
    high_watermark: i64,
    aborted: Vec<Aborted>,
    batches: &'a [u8],
}

/// FetchResponse, version 4, of one partition.
fn read_fetched(mut response: Reader<'_>) -> Option<FetchAnswer<'_>> {
    let (_throttle_ms, _topics, _topic) = (response.int32()?, response.array()?, response.string()?);
    let (_partitions, _partition) = (response.array()?, response.int32()?);
    let (error, high_watermark, _last_stable) = (response.int16()?, response.int64()?, response.int64()?);
    let mut aborted = Vec::new();
    for _ in 0..response.array()? {
        aborted.push(Aborted { producer_id: response.int64()?, first_offset: response.int64()? });
    }
    Some(FetchAnswer { error, high_watermark, aborted, batches: response.nullable_bytes()? })
}

/// One request on a connection of its own; the body of the response.
async fn exchange(
    address: &str,
    security: &Security,
    api_key: i16,
    api_version: i16,
    body: &[u8],
) -> io::Result<Vec<u8>> {
    let mut stream = security.connect_as_user(address).await?;
    connection::exchange(&mut stream, api_key, api_version, body).await
}
