//! Backups beside whoever appends to the journal, moves records into the log and applies them to the store: each backup is a state to go on from.

use std::{
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
    time::Instant,
};

use super::*;

const PARTITIONS: u64 = 2;
const BACKUPS: usize = 12;
/// Read from the journal, or fetched from the log, at once.
const STEP_BYTES: usize = 2_000;
/// Messages a millisecond, about.
const BURST: usize = 10;
/// Should a part stop, the test ends.
const TIME_MAX: Duration = Duration::from_secs(120);

fn journal_options() -> JournalOptions {
    // Segments of 4 KiB, given back as soon as they are committed.
    JournalOptions { bytes_max: 64 << 10, tail_bytes_max: 1 << 10, ..JournalOptions::default() }
}

fn log_options() -> FileLogOptions {
    FileLogOptions { partitions: PARTITIONS as u32, segment_bytes_max: 8 << 10, ..FileLogOptions::default() }
}

/// The daemon's way of a message, cut down to its stores.
struct Chain {
    journal: FileJournal,
    log: FileLog,
    store: SqliteStore,
    /// Sequence of the last message that was acknowledged.
    acknowledged: AtomicU64,
    /// Records that the store has.
    applied: AtomicU64,
    ends: AtomicBool,
}

impl Chain {
    fn open(directory: &DataDir) -> Self {
        Self {
            journal: FileJournal::open(&directory.journal(), journal_options()).unwrap(),
            log: FileLog::open(&directory.log(), log_options()).unwrap(),
            store: open_store(directory, 1 << 20),
            acknowledged: AtomicU64::new(0),
            applied: AtomicU64::new(0),
            ends: AtomicBool::new(false),
        }
    }

    fn goes_on(&self) -> bool {
        !self.ends.load(Ordering::Relaxed)
    }

    async fn append(&self) {
        while self.goes_on() {
            for _ in 0..BURST {
                // Full: what moves is slower.
                let Ok(sequence) = self.journal.append(&journal_record()) else { break };
                self.acknowledged.store(sequence, Ordering::Release);
            }
            // Else retention would come to what is looked at.
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    async fn produce(&self) {
        while self.goes_on() {
            let entries = self.journal.read_after(self.journal.committed(), STEP_BYTES).unwrap();
            let Some(last) = entries.last().map(|entry| entry.sequence) else {
                tokio::task::yield_now().await;
                continue;
            };
            for partition in 0..PARTITIONS {
                let own = entries.iter().filter(|entry| entry.sequence % PARTITIONS == partition);
                let records: Vec<_> = own.map(|entry| (Axis::X, numbered(entry.sequence))).collect();
                self.log.produce(partition as u32, &records).await.unwrap();
            }
            self.journal.commit(last).unwrap();
        }
    }

    async fn consume(&self, partition: u32) {
        let mut state = self.store.load(partition, 1).await.unwrap();
        while self.goes_on() {
            let fetched =
                self.log.fetch(partition, state.position, STEP_BYTES, Duration::from_millis(10)).await.unwrap();
            let Some(last) = fetched.records.last() else { continue };
            let batch = Batch {
                partition,
                fence: 1,
                revision: state.revision,
                from: state.position,
                to: fetched.next,
                marks: vec![("journal".to_owned(), number(&last.record))],
                devices: Vec::new(),
                history_max: 1,
            };
            assert_eq!(self.store.apply(&batch).await.unwrap(), Applied::Done);
            state.revision += 1;
            state.position = fetched.next;
            self.applied.fetch_add(fetched.records.len() as u64, Ordering::Relaxed);
        }
    }
}

fn numbered(sequence: u64) -> RawRecord {
    RawRecord { value: sequence.to_string().into_bytes(), ..RawRecord::default() }
}

fn number(record: &RawRecord) -> u64 {
    std::str::from_utf8(&record.value).unwrap().parse().unwrap()
}

/// What is in the directory is a state that loses nothing up to `acknowledged`, and doubles nothing.
async fn check(target: &Path, acknowledged: u64) {
    let directory = DataDir::open(target).unwrap();
    let chain = Chain::open(&directory);
    let committed = chain.journal.committed();
    let held: Vec<u64> =
        chain.journal.read_after(committed, usize::MAX).unwrap().iter().map(|entry| entry.sequence).collect();
    assert!(held.iter().copied().eq(committed + 1..=committed + held.len() as u64), "the journal has no hole");
    let journal_end = committed + held.len() as u64;
    for partition in 0..PARTITIONS {
        let state = chain.store.load(partition as u32, 1).await.unwrap();
        let mut values = Vec::new();
        let mut position = Position::default();
        loop {
            let fetched = chain.log.fetch(partition as u32, position, 1 << 20, Duration::ZERO).await.unwrap();
            if fetched.records.is_empty() {
                break;
            }
            values.extend(fetched.records.iter().map(|fetched| number(&fetched.record)));
            position = fetched.next;
        }
        let first = if partition == 0 { PARTITIONS } else { partition };
        let expected = (first..).step_by(PARTITIONS as usize).take(values.len());
        assert!(
            values.iter().copied().eq(expected),
            "partition {partition} has each record once, in order: {:?}",
            values.first()
        );
        let last = values.last().copied().unwrap_or(0);
        assert!(last + PARTITIONS > committed, "what left the journal is in the log: {last}, {committed}");
        assert!(
            journal_end.max(last + PARTITIONS - 1) >= acknowledged,
            "{journal_end}, {last}: {acknowledged} is lost"
        );
        let applied = usize::try_from(state.position.x).unwrap();
        assert!(applied <= values.len(), "the position lies within the log");
        let marked = state.marks.first().map_or(0, |(_, sequence)| *sequence);
        let applied_last = applied.checked_sub(1).map_or(0, |index| values[index]);
        assert_eq!(marked, applied_last, "position and mark are of one moment");
    }
    // It may be full, as the one it was copied from.
    chain.journal.commit(journal_end).unwrap();
    let next = chain.journal.append(&journal_record()).unwrap();
    assert!(next > LEAP, "what comes next is no repeat");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn each_backup_beside_a_busy_daemon_is_a_state_to_go_on_from() {
    let setup = Setup::new();
    let directory = DataDir::open(&setup.data_dir).unwrap();
    let chain = Arc::new(Chain::open(&directory));
    let mut parts = tokio::task::JoinSet::new();
    let part = || Arc::clone(&chain);
    let (append, produce) = (part(), part());
    parts.spawn(async move { append.append().await });
    parts.spawn(async move { produce.produce().await });
    for partition in 0..PARTITIONS as u32 {
        let consume = part();
        parts.spawn(async move { consume.consume(partition).await });
    }
    let began = Instant::now();
    for _ in 0..BACKUPS {
        // Each with work under way.
        let before = chain.applied.load(Ordering::Relaxed);
        while chain.applied.load(Ordering::Relaxed) < before + 500 {
            assert!(began.elapsed() < TIME_MAX && parts.try_join_next().is_none(), "a part has stopped");
            tokio::task::yield_now().await;
        }
        let acknowledged = chain.acknowledged.load(Ordering::Acquire);
        tokio::task::block_in_place(|| {
            assert!(setup.save().is_running);
            setup.restore().unwrap();
        });
        check(&setup.target, acknowledged).await;
        fs::remove_dir_all(&setup.target).unwrap();
    }
    println!("{} messages, {BACKUPS} backups", chain.acknowledged.load(Ordering::Relaxed));
    chain.ends.store(true, Ordering::Relaxed);
    while let Some(ended) = parts.join_next().await {
        ended.unwrap();
    }
}
