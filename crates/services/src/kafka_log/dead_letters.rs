//! Dead letters, read back: all partitions of the topic (we write to the first only), merged by time.

use std::sync::Arc;

use orinoco_domain::{DeadLetter, HEADER_ID, RawRecord, Timestamp};
use orinoco_ports::{DeadLetterPage, LogError, StoredDeadLetter};
use rskafka::client::partition::PartitionClient;

use super::{
    KafkaLogOptions,
    cluster::{Cluster, Trouble},
    produce::Producer,
    record::from_kafka,
    salvage,
};

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
    waiting: Vec<(i64, RawRecord)>,
}

/// The dead letters' topic, and the ways to it.
pub(super) struct DeadLetters<'a> {
    pub(super) options: &'a KafkaLogOptions,
    pub(super) cluster: &'a Cluster,
    pub(super) producer: &'a Producer,
    pub(super) topic: &'a str,
    pub(super) partitions: u32,
}

impl DeadLetters<'_> {
    pub(super) async fn page(&self, cursor: Option<&str>, letters_max: usize) -> Result<DeadLetterPage, LogError> {
        let mut sources = self.sources(cursor).await?;
        let mut letters = Vec::new();
        while letters.len() < letters_max {
            let Some(source) = self.oldest(&mut sources).await? else { break };
            let Some((offset, record)) = sources[source].waiting.pop() else { break };
            sources[source].next = offset + 1;
            let place = format!("kafka:{}/{}/{offset}", self.topic, sources[source].number);
            letters.push(stored(record, &place, position(&sources).text()));
        }
        let more = sources.iter().any(|source| source.next < source.end) && letters_max > 0;
        Ok(DeadLetterPage { letters, next: more.then(|| position(&sources).text()) })
    }

    async fn sources(&self, cursor: Option<&str>) -> Result<Vec<Source>, LogError> {
        let cursor = match cursor {
            None => Cursor(Vec::new()),
            Some(text) => Cursor::parse(text)
                .ok_or_else(|| LogError::Misconfigured(format!("`{text}` is not a cursor of the dead letters")))?,
        };
        let mut sources = Vec::new();
        for number in 0..self.partitions {
            let (first, end) = self.producer.bounds(self.topic, number).await?;
            // Letters that retention took are passed over; a partition may have been added since the cursor was made.
            let wanted = cursor.0.get(number as usize).copied().unwrap_or(first);
            let next = wanted.clamp(first, end);
            let client = Arc::new(self.cluster.partition(self.topic, number).await?);
            sources.push(Source { number, client, next, end, waiting: Vec::new() });
        }
        Ok(sources)
    }

    /// The partition whose next letter is the oldest.
    async fn oldest(&self, sources: &mut [Source]) -> Result<Option<usize>, LogError> {
        for source in sources.iter_mut() {
            while source.waiting.is_empty() && source.next < source.end {
                let (records, next) = self.fetch(source).await?;
                source.waiting = records.into_iter().filter(|(offset, _)| *offset < source.end).rev().collect();
                if source.waiting.is_empty() {
                    // Nothing but gaps, or markers, so far.
                    source.next = next.unwrap_or(source.end).clamp(source.next + 1, source.end);
                }
            }
        }
        let time = |source: &Source| source.waiting.last().map(|(_, record)| record.timestamp_ms);
        let waiting = sources.iter().enumerate().filter_map(|(index, source)| Some((time(source)?, index)));
        Ok(waiting.min().map(|(_, index)| index))
    }

    /// The next records, and where to go on if that is known.
    async fn fetch(&self, source: &Source) -> Result<(Vec<(i64, RawRecord)>, Option<i64>), LogError> {
        let fetching = source.client.fetch_records(source.next, 1..FETCH_BYTES_MAX, 0);
        match self.cluster.bounded(fetching).await {
            Ok((records, _)) => {
                Ok((records.into_iter().map(|found| (found.offset, from_kafka(found.record))).collect(), None))
            }
            Err(Trouble::Unreadable(_)) => {
                let bytes_max = FETCH_BYTES_MAX.unsigned_abs() as usize;
                let (topic, partition, from) = (self.topic, source.number, source.next);
                let wanted = salvage::Wanted { topic, partition, from, bytes_max };
                let (brokers, call_timeout) = (&self.options.brokers, self.options.call_timeout);
                let salvaged = salvage::fetch(brokers, self.cluster.security(), wanted, call_timeout).await;
                let salvaged = salvaged.map_err(|error| self.cluster.unavailable(error))?;
                Ok((salvaged.records, Some(salvaged.next)))
            }
            Err(trouble) => Err(self.cluster.error(trouble)),
        }
    }
}

fn position(sources: &[Source]) -> Cursor {
    Cursor(sources.iter().map(|source| source.next).collect())
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
