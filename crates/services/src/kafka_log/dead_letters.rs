//! Dead letters, read back: all partitions of the topic (we write to the first only), merged by time.

use std::sync::Arc;

use orinoco_domain::{DeadLetter, HEADER_ID, RawRecord, Timestamp};
use orinoco_ports::{DeadLetterPage, LogError, StoredDeadLetter};
use rskafka::{client::partition::PartitionClient, record::RecordAndOffset};

use super::{cluster::Cluster, produce::Producer, record::from_kafka};

const FETCH_BYTES_MAX: i32 = 4 << 20;

/// Next offset a partition, separated by dots: `17`, `17.0.3`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Cursor(Vec<i64>);

impl Cursor {
    fn parse(text: &str) -> Option<Self> {
        let offset = |part: &str| part.parse().ok().filter(|offset| *offset >= 0);
        text.split('.').map(offset).collect::<Option<_>>().map(Self)
    }

    fn text(&self) -> String {
        self.0.iter().map(i64::to_string).collect::<Vec<_>>().join(".")
    }
}

/// A partition that is being read.
struct Source {
    number: u32,
    client: Arc<PartitionClient>,
    next: i64,
    end: i64,
    /// Fetched, the next one last.
    waiting: Vec<RecordAndOffset>,
}

pub(super) async fn page(
    cluster: &Cluster,
    producer: &Producer,
    topic: &str,
    partitions: u32,
    cursor: Option<&str>,
    letters_max: usize,
) -> Result<DeadLetterPage, LogError> {
    let cursor = match cursor {
        None => Cursor(Vec::new()),
        Some(text) => Cursor::parse(text)
            .ok_or_else(|| LogError::Misconfigured(format!("`{text}` is not a cursor of the dead letters")))?,
    };
    let mut sources = Vec::new();
    for number in 0..partitions {
        let (first, end) = producer.bounds(topic, number).await?;
        // Letters that retention took are passed over; a partition may have been added since the cursor was made.
        let wanted = cursor.0.get(number as usize).copied().unwrap_or(first);
        let next = wanted.clamp(first, end);
        let client = Arc::new(cluster.partition(topic, number).await?);
        sources.push(Source { number, client, next, end, waiting: Vec::new() });
    }
    let mut letters = Vec::new();
    while letters.len() < letters_max {
        let Some(source) = oldest(cluster, &mut sources).await? else { break };
        let Some(RecordAndOffset { record, offset }) = sources[source].waiting.pop() else { break };
        sources[source].next = offset + 1;
        let place = format!("kafka:{topic}/{}/{offset}", sources[source].number);
        letters.push(stored(from_kafka(record), &place, position(&sources).text()));
    }
    let more = sources.iter().any(|source| source.next < source.end) && letters_max > 0;
    Ok(DeadLetterPage { letters, next: more.then(|| position(&sources).text()) })
}

fn position(sources: &[Source]) -> Cursor {
    Cursor(sources.iter().map(|source| source.next).collect())
}

/// The partition whose next letter is the oldest.
async fn oldest(cluster: &Cluster, sources: &mut [Source]) -> Result<Option<usize>, LogError> {
    for source in sources.iter_mut() {
        while source.waiting.is_empty() && source.next < source.end {
            let fetching = source.client.fetch_records(source.next, 1..FETCH_BYTES_MAX, 0);
            let (records, _) = cluster.bounded(fetching).await.map_err(|trouble| cluster.error(trouble))?;
            source.waiting = records.into_iter().filter(|record| record.offset < source.end).collect();
            source.waiting.reverse();
            if source.waiting.is_empty() {
                // Nothing but gaps up to the end.
                source.next = source.end;
            }
        }
    }
    let time = |source: &Source| source.waiting.last().map(|next| next.record.timestamp);
    let waiting = sources.iter().enumerate().filter_map(|(index, source)| Some((time(source)?, index)));
    Ok(waiting.min().map(|(_, index)| index))
}

/// A record that is no letter (somebody else wrote it) is shown as one.
fn stored(record: RawRecord, place: &str, cursor: String) -> StoredDeadLetter {
    let id = record.header(HEADER_ID).map(|id| String::from_utf8_lossy(id).into_owned());
    let letter = serde_json::from_slice(&record.value).unwrap_or_else(|_| {
        let time = Timestamp::from_epoch_ms(record.timestamp_ms);
        let time = time.map_or_else(|_| String::new(), |time| time.as_str().to_owned());
        DeadLetter::new(place, &record.value, "record of the dead-letter topic is no dead letter", time)
    });
    StoredDeadLetter { cursor, id, letter }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_survives_a_round_trip_and_nothing_else_is_one() {
        for text in ["0", "17", "17.0.3"] {
            assert_eq!(Cursor::parse(text).map(|cursor| cursor.text()).as_deref(), Some(text));
        }
        for text in ["", ".", "1.", "-1", "a", "1,2", "9223372036854775808"] {
            assert_eq!(Cursor::parse(text), None, "{text:?}");
        }
    }
}
