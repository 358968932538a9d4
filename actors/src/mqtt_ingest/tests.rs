#![allow(clippy::unwrap_used)]
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use orinoco_domain::{Axis, DeadLetter, TopicFilters, TraceContext};
use orinoco_ports::{
    InboundMessage, Intake, Journal, JournalDepth, JournalEntry, JournalError, JournalRecord, Refused, SystemClock,
};
use orinoco_supervision::fault::Place;
use tokio::time::Instant;

use super::{decode::Decoder, intake::JournalIntake, journal_health::JournalHealth, traces::Traces};
use crate::{Tenure, Tracer, tracer::tests::tracer};

const EPOCH: u64 = 3;

/// A journal in memory, which can be made full, and whose next sync can be made to fail.
#[derive(Default)]
struct MemoryJournal {
    entries: Mutex<Vec<JournalEntry>>,
    full: AtomicBool,
    sync_fails: AtomicBool,
}

impl MemoryJournal {
    fn sync(&self) -> Result<(), JournalError> {
        if !self.sync_fails.swap(false, Ordering::SeqCst) {
            return Ok(());
        }
        Err(JournalError::Io { path: "journal".to_owned(), source: std::io::Error::other("no medium") })
    }
}

#[async_trait]
impl Journal for MemoryJournal {
    fn id(&self) -> &str {
        "j1"
    }

    fn append(&self, record: &JournalRecord) -> Result<u64, JournalError> {
        if self.full.load(Ordering::SeqCst) {
            return Err(JournalError::Full { bytes: 1, bytes_max: 1 });
        }
        let mut entries = self.entries.lock().unwrap();
        let sequence = entries.len() as u64 + 1;
        entries.push(JournalEntry { sequence, record: record.clone() });
        Ok(sequence)
    }

    async fn durable(&self, _sequence: u64) -> Result<(), JournalError> {
        self.sync()
    }

    fn durable_blocking(&self, _sequence: u64) -> Result<(), JournalError> {
        self.sync()
    }

    fn wait_for_room_blocking(&self, _wait_max: Duration) {
        // The disk is mended while the adapter waits.
        self.full.store(false, Ordering::SeqCst);
    }

    fn read_after(&self, sequence: u64, _bytes_max: usize) -> Result<Vec<JournalEntry>, JournalError> {
        Ok(self.entries.lock().unwrap().iter().filter(|entry| entry.sequence > sequence).cloned().collect())
    }

    fn tail(&self, records_max: usize) -> Vec<JournalEntry> {
        let entries = self.entries.lock().unwrap();
        entries[entries.len().saturating_sub(records_max)..].to_vec()
    }

    async fn wait_after(&self, _sequence: u64) {}

    fn commit(&self, _sequence: u64) -> Result<(), JournalError> {
        Ok(())
    }

    fn committed(&self) -> u64 {
        0
    }

    fn depth(&self) -> JournalDepth {
        JournalDepth::default()
    }
}

fn intake(journal: &Arc<MemoryJournal>) -> JournalIntake {
    let tenure = Tenure::new(Duration::from_secs(3_600));
    tenure.answered(Some(EPOCH), Instant::now());
    intake_under(journal, tenure)
}

fn intake_under(journal: &Arc<MemoryJournal>, tenure: Tenure) -> JournalIntake {
    let journal = Arc::clone(journal) as _;
    let (clock, health) = (Arc::new(SystemClock), JournalHealth::default());
    JournalIntake::new(journal, EPOCH, tenure, 100, clock, health, Place::default(), traces(Tracer::default()))
}

fn message(payload: &str, redelivered: bool, packet_id: u16) -> InboundMessage<'_> {
    let payload = payload.as_bytes();
    InboundMessage { topic: "coordX", payload, traceparent: None, redelivered, packet_id: Some(packet_id) }
}

fn payloads(journal: &MemoryJournal) -> Vec<String> {
    let entries = journal.entries.lock().unwrap();
    entries.iter().map(|entry| String::from_utf8(entry.record.payload.clone()).unwrap()).collect()
}

#[test]
fn a_redelivery_of_what_the_journal_holds_is_not_appended_again() {
    let journal = Arc::new(MemoryJournal::default());
    let first = intake(&journal);
    first.accept_blocking(message("1", false, 7)).unwrap();
    first.accept_blocking(message("2", false, 8)).unwrap();
    // The daemon was killed before the PUBACKs went out; the broker sends again what it had in flight.
    let second = intake(&journal);
    second.accept_blocking(message("1", true, 7)).unwrap();
    second.accept_blocking(message("2", true, 8)).unwrap();
    second.accept_blocking(message("3", true, 9)).unwrap();
    assert_eq!(payloads(&journal), ["1", "2", "3"]);
    assert!(journal.entries.lock().unwrap()[2].record.redelivered, "its first delivery did not reach the journal");
}

#[test]
fn an_equal_message_under_a_reused_packet_identifier_is_a_new_one() {
    let journal = Arc::new(MemoryJournal::default());
    let intake = intake(&journal);
    intake.accept_blocking(message("1", false, 7)).unwrap();
    intake.accept_blocking(message("2", false, 7)).unwrap();
    intake.accept_blocking(message("1", true, 7)).unwrap();
    assert_eq!(payloads(&journal), ["1", "2", "1"]);
}

#[test]
fn a_full_journal_holds_the_acknowledgement_back_and_drops_nothing() {
    let journal = Arc::new(MemoryJournal::default());
    journal.full.store(true, Ordering::SeqCst);
    let intake = intake(&journal);
    intake.accept_blocking(message("1", false, 1)).unwrap();
    assert_eq!(payloads(&journal), ["1"]);
}

#[tokio::test]
async fn a_full_journal_refuses_at_once_where_the_adapter_can_not_block() {
    let journal = Arc::new(MemoryJournal::default());
    journal.full.store(true, Ordering::SeqCst);
    let intake = intake(&journal);
    assert_eq!(intake.accept(message("1", false, 1)).await, Err(Refused::Full));
    assert_eq!(payloads(&journal), [""; 0]);
}

#[tokio::test]
async fn what_could_not_be_synced_is_offered_again_and_not_appended_again() {
    let journal = Arc::new(MemoryJournal::default());
    let intake = intake(&journal);
    journal.sync_fails.store(true, Ordering::SeqCst);
    assert_eq!(intake.accept(message("1", false, 1)).await, Err(Refused::Full));
    intake.accept(message("1", false, 1)).await.unwrap();
    journal.sync_fails.store(true, Ordering::SeqCst);
    intake.accept_blocking(message("2", false, 2)).unwrap();
    journal.sync_fails.store(true, Ordering::SeqCst);
    intake.accept_blocking(InboundMessage { packet_id: None, ..message("3", false, 0) }).unwrap();
    assert_eq!(payloads(&journal), ["1", "2", "3"]);
    // All of it is safe: equal bytes under the same identifier are a new message again.
    intake.accept(message("2", false, 2)).await.unwrap();
    assert_eq!(payloads(&journal), ["1", "2", "3", "2"]);
}

#[tokio::test(start_paused = true)]
async fn who_connected_without_proof_of_the_lease_accepts_nothing_before_there_is_one() {
    let time_to_live = Duration::from_secs(3);
    let (journal, tenure) = (Arc::new(MemoryJournal::default()), Tenure::new(time_to_live));
    let outage = async || {
        for _ in 0..4 {
            tokio::time::advance(time_to_live / 2).await;
            tenure.at_work();
        }
    };
    tenure.answered(Some(EPOCH), Instant::now());
    outage().await;
    let intake = intake_under(&journal, tenure.clone());
    assert_eq!(intake.accept(message("1", true, 1)).await, Err(Refused::Closed));
    assert_eq!(intake.accept_blocking(message("1", true, 1)), Err(Refused::Closed));
    tenure.answered(Some(EPOCH), Instant::now());
    intake.accept(message("1", true, 1)).await.unwrap();
    // Nobody had the session before it was taken under this lease: an outage of the lease store is no matter any more.
    outage().await;
    intake.accept(message("2", false, 2)).await.unwrap();
    assert_eq!(payloads(&journal), ["1", "2"]);
}

#[tokio::test(start_paused = true)]
async fn a_process_that_stood_still_accepts_nothing_until_the_lease_store_says_who_it_is() {
    let (journal, tenure) = (Arc::new(MemoryJournal::default()), Tenure::new(Duration::from_secs(3)));
    let intake = intake_under(&journal, tenure.clone());
    tenure.answered(Some(EPOCH), Instant::now());
    intake.accept(message("1", false, 1)).await.unwrap();
    tokio::time::advance(Duration::from_secs(3)).await;
    tenure.at_work();
    assert!(matches!(intake.accept(message("2", false, 2)).await, Err(Refused::Closed)));
    assert!(matches!(intake.accept_blocking(message("2", false, 2)), Err(Refused::Closed)));
    tenure.answered(Some(EPOCH + 1), Instant::now());
    assert!(matches!(intake.accept(message("2", true, 2)).await, Err(Refused::Closed)), "another's epoch");
    tenure.answered(Some(EPOCH), Instant::now());
    intake.accept(message("2", true, 2)).await.unwrap();
    assert_eq!(payloads(&journal), ["1", "2"]);
}

#[test]
fn a_closed_intake_accepts_nothing() {
    let journal = Arc::new(MemoryJournal::default());
    let intake = intake(&journal);
    intake.close();
    assert_eq!(intake.accept_blocking(message("1", false, 1)), Err(Refused::Closed));
}

fn entry(sequence: u64, topic: &str, payload: &[u8]) -> JournalEntry {
    let record = JournalRecord {
        topic: topic.to_owned(),
        payload: payload.to_vec(),
        traceparent: None,
        packet_id: None,
        redelivered: false,
        ingest_epoch: 3,
        received_ms: 1_767_323_045_678,
    };
    JournalEntry { sequence, record }
}

fn traces(tracer: Tracer) -> Traces {
    Traces::new(tracer, TopicFilters::default(), "j1")
}

fn decoder() -> Decoder {
    decoder_with(Tracer::default())
}

fn decoder_with(tracer: Tracer) -> Decoder {
    let traces = traces(tracer);
    Decoder { filters: TopicFilters::default(), partitions: 4, journal: "j1".to_owned(), traces }
}

#[test]
fn records_carry_their_identity_and_the_time_of_arrival() {
    let batch = decoder().decode(vec![entry(5, "devices/samu31/coordY", b"43.6")]);
    let (partition, axis, record) = &batch.records[0];
    assert_eq!((*partition, *axis), (orinoco_domain::partition_of(b"samu31", 4), Axis::Y));
    assert_eq!(record.header("orinoco-id"), Some(&b"mqtt/3/j1/5"[..]));
    assert_eq!(record.value, br#"{"message":"43.6","timestamp":"2026-01-02T03:04:05.678Z"}"#);
    let traceparent = String::from_utf8(record.header("traceparent").unwrap().to_vec()).unwrap();
    assert_eq!(traceparent.len(), 55, "{traceparent}");
    assert_eq!(batch.through, 5);
}

#[test]
fn what_can_not_be_understood_becomes_a_dead_letter_and_stalls_nothing() {
    let entries = vec![entry(1, "coordX", b"rubbish"), entry(2, "else/where", b"1"), entry(3, "coordX", b"1")];
    let batch = decoder().decode(entries);
    assert_eq!((batch.records.len(), batch.dead_letters.len(), batch.through), (1, 2, 3));
    let letter: DeadLetter = serde_json::from_slice(&batch.dead_letters[0].value).unwrap();
    assert_eq!((letter.topic.as_str(), letter.payload().unwrap()), ("coordX", b"rubbish".to_vec()));
    assert_eq!(letter.time, "2026-01-02T03:04:05.678Z");
}

#[test]
fn the_same_entries_give_the_same_records() {
    let entries = || vec![entry(1, "coordX", b"1"), entry(2, "coordY", b"x")];
    assert_eq!(decoder().decode(entries()), decoder().decode(entries()));
}

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn header_of(decoder: &Decoder, traceparent: Option<&str>) -> (String, usize) {
    let mut entry = entry(5, "devices/samu31/coordX", b"1");
    entry.record.traceparent = traceparent.map(str::to_owned);
    let batch = decoder.decode(vec![entry]);
    let header = batch.records[0].2.header("traceparent").unwrap().to_vec();
    (String::from_utf8(header).unwrap(), batch.spans.len())
}

#[test]
fn a_device_s_trace_goes_on_and_what_is_none_is_replaced() {
    let (off, on) = (decoder(), decoder_with(tracer(0, 10)));
    let unsampled = PARENT.replace("-01", "-00");
    assert_eq!(header_of(&off, Some(PARENT)), (PARENT.to_owned(), 0));
    for decoder in [&off, &on] {
        assert_eq!(header_of(decoder, Some(&unsampled)), (unsampled.clone(), 0));
        let own = header_of(decoder, None);
        assert_eq!((TraceContext::parse(&own.0).unwrap().is_sampled(), own.1), (false, 0));
        for rubbish in ["", "rubbish", &PARENT.replacen("00", "ff", 1), &format!("{PARENT}0")] {
            assert_eq!(header_of(decoder, Some(rubbish)), own, "{rubbish:?}");
        }
    }
    let (device, header) = (TraceContext::parse(PARENT).unwrap(), header_of(&on, Some(PARENT)));
    let record = TraceContext::parse(&header.0).unwrap();
    assert_eq!((record.trace_id(), record.is_sampled(), header.1), (device.trace_id(), true, 1));
    assert_ne!(record.span_id(), device.span_id());
}

#[test]
fn the_span_in_the_log_s_header_is_below_that_of_the_ingest() {
    let (tracer, journal) = (tracer(1_000_000, 10), Arc::new(MemoryJournal::default()));
    let tenure = Tenure::new(Duration::from_secs(3_600));
    tenure.answered(Some(EPOCH), Instant::now());
    let (clock, health) = (Arc::new(SystemClock), JournalHealth::default());
    let traces = traces(tracer.clone());
    let kept = Arc::clone(&journal) as _;
    let intake = JournalIntake::new(kept, EPOCH, tenure, 100, clock, health, Place::default(), traces);
    intake.accept_blocking(InboundMessage { traceparent: Some(PARENT), ..message("1", false, 1) }).unwrap();
    intake.accept_blocking(message("2", false, 2)).unwrap();
    let produced = decoder_with(tracer.clone()).decode(journal.read_after(0, 0).unwrap()).spans;
    let taken = tracer.take().unwrap();
    let device = TraceContext::parse(PARENT).unwrap();
    for (ingest, (produce, parent)) in taken.spans().iter().zip(produced.iter().zip([Some(device.span_id()), None])) {
        assert_eq!((ingest.name.as_str(), ingest.parent), ("receive coordX", parent));
        assert_eq!((produce.name.as_str(), produce.parent), ("send test.coordX", Some(ingest.context.span_id())));
        assert_eq!(produce.context.trace_id(), ingest.context.trace_id());
        assert!(ingest.begun_ns <= ingest.ended_ns);
    }
    assert_eq!((taken.spans().len(), produced.len()), (2, 2));
    assert_eq!(taken.spans()[0].context.trace_id(), device.trace_id());
}
