//! Records on their way into the log: what is done and what is left. Pure.

use orinoco_domain::{Axis, DeadLetter, HEADER_TRACEPARENT, Origin, RawRecord, RecordId, Timestamp, TraceContext};
use orinoco_ports::Span;

/// Behind the reason of a letter whose payload was too large.
const CUT: &str = " (payload cut to its first ";

pub(super) struct Work {
    /// By partition; empty when done.
    partitions: Vec<Vec<(Axis, RawRecord)>>,
    dead_letters: Vec<RawRecord>,
    dead_letters_done: bool,
    records: u64,
    /// Of records that are traced.
    spans: Vec<Span>,
}

impl Work {
    /// Splits records by partition, keeping their order.
    pub(super) fn new(
        records: Vec<(u32, Axis, RawRecord)>,
        dead_letters: Vec<RawRecord>,
        partition_count: u32,
    ) -> Self {
        let count = records.len() as u64;
        let mut partitions = vec![Vec::new(); partition_count as usize];
        for (partition, axis, record) in records {
            debug_assert!(partition < partition_count, "partitions come from the partitioner");
            partitions[partition as usize].push((axis, record));
        }
        Self { partitions, dead_letters, dead_letters_done: false, records: count, spans: Vec::new() }
    }

    pub(super) fn with_spans(self, spans: Vec<Span>) -> Self {
        Self { spans, ..self }
    }

    pub(super) fn take_spans(&mut self) -> Vec<Span> {
        std::mem::take(&mut self.spans)
    }

    pub(super) fn records(&self) -> u64 {
        self.records
    }

    pub(super) fn dead_letters(&self) -> u64 {
        self.dead_letters.len() as u64
    }

    /// What is left, by partition.
    pub(super) fn open(&self) -> impl Iterator<Item = (u32, &[(Axis, RawRecord)])> {
        let numbered = (0_u32..).zip(&self.partitions);
        numbered.filter(|(_, records)| !records.is_empty()).map(|(partition, records)| (partition, records.as_slice()))
    }

    pub(super) fn open_dead_letters(&self) -> &[RawRecord] {
        if self.dead_letters_done { &[] } else { &self.dead_letters }
    }

    pub(super) fn done(&mut self, partition: u32) {
        self.partitions[partition as usize] = Vec::new();
    }

    pub(super) fn dead_letters_done(&mut self) {
        self.dead_letters_done = true;
    }

    /// A record that can never be written becomes a dead letter, without its bytes where those are what is too large.
    pub(super) fn give_up(&mut self, partition: u32, index: usize, reason: &str, now_ms: i64) {
        let records = &mut self.partitions[partition as usize];
        // An adapter that names a record which is not there would have us try forever: take the first.
        let index = if index < records.len() { index } else { 0 };
        let (axis, record) = records.remove(index);
        fail_span(&mut self.spans, &record, reason);
        let unknown = || RecordId { origin: Origin::Kafka { topic: axis.name().to_owned(), partition }, sequence: 0 };
        let id = record.id().unwrap_or_else(unknown);
        let time = Timestamp::from_epoch_ms(now_ms).map(|time| time.as_str().to_owned()).unwrap_or_default();
        let head = &record.value[..record.value.len().min(64 * 1024)];
        let letter = DeadLetter::new(format!("kafka:{}/{partition}", axis.name()), head, reason, time);
        self.dead_letters.push(letter.encode(&id, now_ms));
    }

    /// Cuts a dead letter's payload to its first half and says so in its reason; false where there is nothing left to cut.
    pub(super) fn cut_letter(&mut self, index: usize) -> bool {
        let Some(record) = self.dead_letters.get_mut(index) else { return false };
        let Ok(letter) = serde_json::from_slice::<DeadLetter>(&record.value) else { return false };
        let payload = letter.payload().unwrap_or_default();
        if payload.is_empty() {
            return false;
        }
        let kept = payload.len() / 2;
        let reason = letter.reason.split(CUT).next().unwrap_or_default();
        let cut = DeadLetter::new(letter.topic, &payload[..kept], format!("{reason}{CUT}{kept} bytes)"), letter.time);
        // Four strings always serialise.
        record.value = serde_json::to_vec(&cut).unwrap_or_default();
        true
    }
}

/// The record never came to the log.
fn fail_span(spans: &mut [Span], record: &RawRecord, reason: &str) {
    let header = record.header(HEADER_TRACEPARENT).and_then(|value| std::str::from_utf8(value).ok());
    let context = header.and_then(TraceContext::parse);
    if let Some(span) = spans.iter_mut().find(|span| Some(span.context) == context) {
        span.error = Some(reason.to_owned());
    }
}
