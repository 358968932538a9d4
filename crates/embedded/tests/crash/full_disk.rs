//! A disk that is full, by RLIMIT_FSIZE (setrlimit(2)): the kernel writes short, then refuses. The limit is the process's, so each case
//! has one of its own; it ignores SIGXFSZ, as it would not for ENOSPC.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use orinoco_domain::{Axis, Position, RawRecord};
use orinoco_embedded::{
    journal::{FileJournal, JournalOptions},
    log::{FileLog, FileLogOptions},
};
use orinoco_ports::{
    Applied, CoordinateStore, EndReason, Journal, JournalError, JournalRecord, LogError, LoginEvent, LoginStore,
    LoginStoreError, RecordLog, StoreError,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::{
    CHILD_ARGUMENTS, command,
    kill::{login, store},
};

fn run(role: &str) {
    let directory = tempfile::tempdir().unwrap();
    let mut shell = command(Path::new("/bin/sh"), role, directory.path());
    // What is ignored stays ignored across exec (POSIX, execve).
    shell.args(["-c", "trap '' XFSZ; exec \"$@\"", "sh"]).arg(std::env::current_exe().unwrap()).args(CHILD_ARGUMENTS);
    let output = shell.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("test child ... ok"), "{text}");
}

/// Files can't grow beyond `bytes`, until this is dropped.
struct Full(Rlimit);

impl Full {
    fn at(bytes: u64) -> Self {
        let before = getrlimit(Resource::Fsize);
        setrlimit(Resource::Fsize, Rlimit { current: Some(bytes), maximum: before.maximum }).unwrap();
        Self(before)
    }
}

impl Drop for Full {
    fn drop(&mut self) {
        let maximum = self.0.maximum;
        setrlimit(Resource::Fsize, Rlimit { current: self.0.current, maximum }).unwrap();
    }
}

fn only_segment(directory: &Path) -> PathBuf {
    let paths = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let segments: Vec<PathBuf> = paths.filter(|path| path.extension().is_some_and(|name| name == "segment")).collect();
    assert_eq!(segments.len(), 1);
    segments[0].clone()
}

fn length(path: &Path) -> u64 {
    fs::metadata(path).unwrap().len()
}

#[test]
fn a_full_disk_stops_the_journal_and_loses_nothing() {
    run("full disk journal");
}

pub(crate) fn journal_child(directory: &Path) {
    let record = |number: u64| JournalRecord {
        topic: "coordX".to_owned(),
        payload: vec![b'1'; 100],
        traceparent: None,
        packet_id: None,
        redelivered: false,
        ingest_epoch: number,
        received_ms: 1,
    };
    let journal = FileJournal::open(directory, JournalOptions::default()).unwrap();
    for number in 1..=5 {
        journal.append(&record(number)).unwrap();
    }
    let segment = only_segment(directory);
    let whole = length(&segment);
    // In the middle of the next record.
    let full = Full::at(whole + 50);
    for _ in 0..3 {
        assert!(matches!(journal.append(&record(6)), Err(JournalError::Io { .. })));
        assert_eq!(length(&segment), whole, "what was written short is cut off");
        assert!(journal.depth().full);
        journal.wait_for_room_blocking(Duration::from_millis(1));
    }
    drop(full);
    assert_eq!(journal.append(&record(6)).unwrap(), 6);
    assert!(!journal.depth().full);
    drop(journal);
    let journal = FileJournal::open(directory, JournalOptions::default()).unwrap();
    let epochs = journal.read_after(0, usize::MAX).unwrap().into_iter().map(|entry| entry.record.ingest_epoch);
    assert!(epochs.eq(1..=6));
}

#[test]
fn a_full_disk_stops_the_log_and_loses_nothing() {
    run("full disk log");
}

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn log_child(directory: &Path) {
    let options = FileLogOptions { partitions: 1, ..FileLogOptions::default() };
    let log = FileLog::open(directory, options).unwrap();
    let record = |number: u8| (Axis::X, RawRecord { value: vec![number; 100], ..RawRecord::default() });
    log.produce(0, &[record(0), record(1)]).await.unwrap();
    let segment = only_segment(&directory.join("partition-0"));
    let whole = length(&segment);
    // Behind the first of three records.
    let full = Full::at(whole + 150);
    for _ in 0..3 {
        let refused = log.produce(0, &[record(2), record(3), record(4)]).await;
        assert!(matches!(refused, Err(LogError::Unavailable { .. })), "{refused:?}");
        assert_eq!(length(&segment), whole, "what was written short is cut off");
    }
    drop(full);
    log.produce(0, &[record(2), record(3), record(4)]).await.unwrap();
    let fetched = log.fetch(0, Position::default(), 1 << 20, Duration::ZERO).await.unwrap();
    assert!(fetched.records.iter().map(|held| held.offset).eq(0..5));
    assert!(fetched.records.iter().map(|held| held.record.value[0]).eq(0..5));
}

#[test]
fn a_full_disk_stops_the_store_and_leaves_it_whole() {
    run("full disk store");
}

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn store_child(directory: &Path) {
    let store = store::open(directory);
    store.load(0, 1).await.unwrap();
    for revision in 0..20 {
        assert_eq!(store.apply(&store::batch(revision, 1)).await.unwrap(), Applied::Done);
    }
    let write_ahead_log = directory.join("coordinates.sqlite-wal");
    let full = Full::at(length(&write_ahead_log) + 5000);
    let refused = store.apply(&store::batch(20, 1)).await;
    assert!(matches!(refused, Err(StoreError::Unavailable { .. })), "{refused:?}");
    drop(full);
    let state = store.load(0, 1).await.unwrap();
    assert_eq!(state.revision, 20);
    assert_eq!(store.apply(&store::batch(20, 1)).await.unwrap(), Applied::Done);
    drop(store);
    assert_eq!(store::open(directory).load(0, 1).await.unwrap().position, Position { x: 21, y: 0 });
}

#[test]
fn a_full_disk_stops_the_login_store_and_ends_nothing() {
    run("full disk login");
}

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn login_child(directory: &Path) {
    let store = login::open(directory);
    let now_ms = store.now_ms().await.unwrap();
    for number in 0..20 {
        store.create_family(&login::family(number, now_ms)).await.unwrap();
    }
    let mut subscription = store.subscribe().await.unwrap();
    let full = Full::at(length(&directory.join("logins.sqlite-wal")) + 5000);
    for _ in 0..3 {
        let refused = store.create_family(&login::family(20, now_ms)).await;
        let Err(LoginStoreError::Unavailable { reason, .. }) = refused else { panic!("{refused:?}") };
        assert!(reason.contains("its disk"), "{reason}");
        assert!(store.end_family(&login::id(0), EndReason::Logout).await.is_err());
        assert!(login::is_live(&store, 0).await, "what was not answered can still be loaded");
    }
    drop(full);
    store.create_family(&login::family(20, now_ms)).await.unwrap();
    store.end_family(&login::id(1), EndReason::Logout).await.unwrap();
    let published = subscription.next().await.unwrap();
    assert!(matches!(published, LoginEvent::LoginsEnded { family: Some(family), .. } if family == login::id(1)));
    drop(store);
    let store = login::open(directory);
    for number in 0..21 {
        assert_eq!(login::is_live(&store, number).await, number != 1, "{number}");
    }
}
