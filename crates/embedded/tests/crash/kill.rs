//! SIGKILL in the middle of writing, again and again on the same files.

use std::path::Path;

use crate::{acknowledge, run_until_killed};

const ROUNDS: usize = 8;

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

pub(crate) mod journal {
    use orinoco_embedded::journal::{FileJournal, JournalOptions};
    use orinoco_ports::{Journal, JournalRecord};

    use super::*;

    fn open(directory: &Path) -> FileJournal {
        // Small segments, so that rolling and removing are hit as well.
        FileJournal::open(directory, JournalOptions { bytes_max: 512 << 10, ..JournalOptions::default() }).unwrap()
    }

    fn record(sequence: u64) -> JournalRecord {
        JournalRecord {
            topic: "coordX".to_owned(),
            payload: sequence.to_string().repeat(20).into_bytes(),
            traceparent: None,
            packet_id: None,
            redelivered: false,
            ingest_epoch: 1,
            received_ms: 1,
        }
    }

    pub(crate) fn child(directory: &Path) {
        let journal = open(directory);
        let mut sequence = journal.tail(1).last().map_or(0, |entry| entry.sequence);
        loop {
            sequence += 1;
            assert_eq!(journal.append(&record(sequence)).unwrap(), sequence);
            acknowledge(sequence);
            if sequence.is_multiple_of(50) {
                journal.commit(sequence - 30).unwrap();
            }
        }
    }

    #[test]
    fn what_the_journal_acknowledged_outlives_kill_9() {
        let directory = tempfile::tempdir().unwrap();
        let mut id = None;
        for round in 0..ROUNDS {
            let acknowledged = run_until_killed("kill journal", directory.path(), 700 + 97 * round);
            let journal = open(directory.path());
            assert_eq!(*id.get_or_insert_with(|| journal.id().to_owned()), journal.id());
            let committed = journal.committed();
            assert!(committed <= acknowledged);
            let entries = journal.read_after(committed, usize::MAX).unwrap();
            let last = entries.last().unwrap().sequence;
            assert!(last >= acknowledged && last <= acknowledged + 1, "{last}, {acknowledged} was acknowledged");
            assert!(entries.iter().map(|entry| entry.sequence).eq(committed + 1..=last));
            assert!(entries.iter().all(|entry| entry.record == record(entry.sequence)));
            assert_eq!(journal.depth().records, last - committed);
        }
    }
}

pub(crate) mod log {
    use std::time::Duration;

    use orinoco_domain::{Axis, Position, RawRecord};
    use orinoco_embedded::log::{FileLog, FileLogOptions};
    use orinoco_ports::RecordLog;

    use super::*;

    fn open(directory: &Path) -> FileLog {
        let options = FileLogOptions { partitions: 1, segment_bytes_max: 16 << 10, ..FileLogOptions::default() };
        FileLog::open(directory, options).unwrap()
    }

    fn record(ordinal: u64) -> (Axis, RawRecord) {
        let record = RawRecord { value: ordinal.to_string().into_bytes(), ..RawRecord::default() };
        (Axis::BOTH[usize::from(ordinal.is_multiple_of(3))], record)
    }

    pub(crate) fn child(directory: &Path) {
        runtime().block_on(async {
            let log = open(directory);
            let (_, end) = log.bounds(0).await.unwrap();
            let mut next = (end.x + end.y).unsigned_abs();
            for size in (1..40).cycle() {
                let records: Vec<_> = (next..next + size).map(record).collect();
                log.produce(0, &records).await.unwrap();
                log.produce_dead_letters(&[RawRecord { value: b"{}".to_vec(), ..RawRecord::default() }]).await.unwrap();
                next += size;
                acknowledge(next);
            }
        });
    }

    #[test]
    fn what_the_log_acknowledged_outlives_kill_9() {
        let directory = tempfile::tempdir().unwrap();
        let mut acks = 0;
        for round in 0..ROUNDS {
            let acknowledged = run_until_killed("kill log", directory.path(), 60 + 7 * round);
            acks += 60 + 7 * round;
            runtime().block_on(async {
                let log = open(directory.path());
                let (first, end) = log.bounds(0).await.unwrap();
                assert_eq!(first, Position::default());
                assert!((end.x + end.y).unsigned_abs() >= acknowledged);
                let (mut from, mut ordinal) = (first, 0);
                while from != end {
                    let fetched = log.fetch(0, from, 64 << 10, Duration::ZERO).await.unwrap();
                    for held in fetched.records {
                        assert_eq!((held.axis, held.record), record(ordinal), "at {ordinal}");
                        ordinal += 1;
                    }
                    from = fetched.next;
                }
                assert_eq!(ordinal, (end.x + end.y).unsigned_abs());
                assert!(log.dead_letters(None, 100_000).await.unwrap().letters.len() >= acks);
            });
        }
    }
}

pub(crate) mod store {
    use orinoco_domain::{DeviceId, Frame, Position, pairing::DeviceState};
    use orinoco_embedded::store::{SqliteStore, SqliteStoreOptions};
    use orinoco_ports::{Applied, Batch, CoordinateStore, DeviceUpdate, PublishedFrame};

    use super::*;

    const DEVICES: u64 = 7;
    const HISTORY_MAX: u64 = 10;

    pub(crate) fn open(directory: &Path) -> SqliteStore {
        // So that a kill hits the folding of batches as well.
        let options = SqliteStoreOptions { recent_bytes_max: 4 << 10, ..SqliteStoreOptions::default() };
        SqliteStore::open(&directory.join("coordinates.sqlite"), options).unwrap()
    }

    fn device(number: u64) -> DeviceId {
        DeviceId::parse(&format!("d{number}")).unwrap()
    }

    fn frame(number: u64, offset: u64) -> Frame {
        Frame { device: device(number), offset, json: format!("{{\"{number}\":{offset}}}").into() }
    }

    /// The batch at `revision` gives each device its next frame.
    pub(crate) fn batch(revision: u64, fence: u64) -> Batch {
        let offset = revision + 1;
        let update = |number| DeviceUpdate {
            device: device(number),
            state: DeviceState { head: offset, ..DeviceState::default() },
            frames: vec![PublishedFrame { frame: frame(number, offset), is_latest: true }],
        };
        Batch {
            partition: 0,
            fence,
            revision,
            from: Position { x: revision.cast_signed(), y: 0 },
            to: Position { x: offset.cast_signed(), y: 0 },
            marks: vec![("mqtt/j".to_owned(), offset)],
            devices: (0..DEVICES).map(update).collect(),
            history_max: usize::try_from(HISTORY_MAX).unwrap(),
        }
    }

    pub(crate) fn child(directory: &Path) {
        runtime().block_on(async {
            let store = open(directory);
            let mut revision = store.load(0, 1).await.unwrap().revision;
            loop {
                assert_eq!(store.apply(&batch(revision, 1)).await.unwrap(), Applied::Done);
                revision += 1;
                acknowledge(revision);
            }
        });
    }

    #[test]
    fn what_the_store_applied_outlives_kill_9_whole() {
        let directory = tempfile::tempdir().unwrap();
        let mut epoch = None;
        for round in 0..ROUNDS {
            let acknowledged = run_until_killed("kill store", directory.path(), 100 + 13 * round);
            runtime().block_on(async {
                let store = open(directory.path());
                let state = store.load(0, 1).await.unwrap();
                assert_eq!(*epoch.get_or_insert_with(|| state.epoch.clone()), state.epoch);
                let revision = state.revision;
                assert!((acknowledged..=acknowledged + 1).contains(&revision));
                assert_eq!(state.position.x.unsigned_abs(), revision);
                assert_eq!(state.marks, [("mqtt/j".to_owned(), revision)]);
                assert!(state.devices.iter().all(|(_, state)| state.head == revision));
                for number in 0..DEVICES {
                    let page = store.history(0, &device(number), 0, 1000).await.unwrap();
                    let first = (revision + 1).saturating_sub(HISTORY_MAX).max(1);
                    assert_eq!((page.first, page.head), (first, revision));
                    assert!(page.frames.into_iter().eq((first..=revision).map(|offset| frame(number, offset))));
                    let latest = store.latest(0, &device(number)).await.unwrap().unwrap();
                    assert_eq!((latest.latest, latest.head), (frame(number, revision), revision));
                }
            });
        }
    }
}

pub(crate) mod login {
    use orinoco_domain::{
        ClientInfo,
        account::UserId,
        refresh::{Family, FamilyId, NewFamily},
        secret::{DerivationKey, KeyId, Salt},
    };
    use orinoco_embedded::login::{EmbeddedLoginOptions, EmbeddedLoginStore};
    use orinoco_ports::{EndReason, LoginStore};

    use super::*;

    pub(crate) fn open(directory: &Path) -> EmbeddedLoginStore {
        EmbeddedLoginStore::open(&directory.join("logins.sqlite"), EmbeddedLoginOptions::default()).unwrap()
    }

    pub(crate) fn id(number: u64) -> FamilyId {
        FamilyId::from_bytes(u128::from(number).to_be_bytes())
    }

    /// Of a user of its own.
    pub(crate) fn family(number: u64, now_ms: i64) -> Family {
        let new = NewFamily {
            id: id(number),
            user_id: UserId(number.cast_signed()),
            generation: 0,
            client_id: None,
            salt: Salt::from_bytes([1; 16]),
            client: ClientInfo::new("::1", "curl"),
            ttl_ms: 3_600_000,
        };
        new.begin(&DerivationKey::from_bytes(KeyId(1), [2; 32]), now_ms).0
    }

    pub(crate) async fn is_live(store: &EmbeddedLoginStore, number: u64) -> bool {
        store.load_family(&id(number)).await.unwrap().record.is_some()
    }

    /// Every second login ends before it is told of.
    pub(crate) fn child(directory: &Path) {
        runtime().block_on(async {
            let store = open(directory);
            let mut number = 0;
            while is_live(&store, number + 1).await {
                number += 2;
            }
            // The one before may have begun and not ended.
            number = number.saturating_sub(1);
            loop {
                number += 1;
                if !is_live(&store, number).await {
                    store.create_family(&family(number, store.now_ms().await.unwrap())).await.unwrap();
                }
                if number.is_multiple_of(2) {
                    store.end_family(&id(number), EndReason::Logout).await.unwrap();
                }
                acknowledge(number);
            }
        });
    }

    #[test]
    fn logins_and_logouts_outlive_kill_9() {
        let directory = tempfile::tempdir().unwrap();
        for round in 0..ROUNDS {
            let acknowledged = run_until_killed("kill login", directory.path(), 50 + 13 * round);
            runtime().block_on(async {
                let store = open(directory.path());
                for number in 1..=acknowledged {
                    assert_eq!(is_live(&store, number).await, number % 2 == 1, "login {number} of {acknowledged}");
                }
                assert!(!is_live(&store, acknowledged + 2).await);
            });
        }
    }
}
