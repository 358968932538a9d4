#![allow(clippy::unwrap_used)]
//! What the store promises beyond the port's conformance suite: its file, its bounds, its errors.

use std::{fs, os::unix::fs::PermissionsExt as _};

use orinoco_domain::{Frame, Position, pairing::DeviceState};
use orinoco_ports::{DeviceUpdate, PublishedFrame};
use rusqlite::Connection;
use tempfile::TempDir;

use super::*;

fn path(directory: &TempDir) -> PathBuf {
    directory.path().join("coordinates.sqlite")
}

fn open(directory: &TempDir) -> SqliteStore {
    SqliteStore::open(&path(directory), SqliteStoreOptions::default()).unwrap()
}

/// Every batch goes to the tables.
fn open_folding(directory: &TempDir) -> SqliteStore {
    let options = SqliteStoreOptions { recent_bytes_max: 0, ..SqliteStoreOptions::default() };
    SqliteStore::open(&path(directory), options).unwrap()
}

fn device() -> DeviceId {
    DeviceId::parse("samu31").unwrap()
}

/// One frame of one device.
fn batch(revision: u64, history_max: usize) -> Batch {
    let offset = revision + 1;
    let frame = Frame { device: device(), offset, json: format!("{{\"offset\":{offset}}}").into() };
    let state = DeviceState { head: offset, ..DeviceState::default() };
    let frames = vec![PublishedFrame { frame, is_latest: true }];
    Batch {
        partition: 3,
        fence: 1,
        revision,
        from: Position { x: revision.cast_signed(), y: 0 },
        to: Position { x: offset.cast_signed(), y: 0 },
        marks: Vec::new(),
        devices: vec![DeviceUpdate { device: device(), state, frames }],
        history_max,
    }
}

async fn apply(store: &SqliteStore, revisions: std::ops::Range<u64>, history_max: usize) {
    for revision in revisions {
        assert_eq!(store.apply(&batch(revision, history_max)).await.unwrap(), Applied::Done);
    }
}

#[tokio::test]
async fn its_files_are_private() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory);
    apply(&store, 0..1, 10).await;
    let mut files = 0;
    for entry in fs::read_dir(directory.path()).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", entry.path());
        files += 1;
    }
    assert!(files >= 2, "the database and its write-ahead log");
}

#[tokio::test]
async fn frames_out_of_history_are_deleted_before_they_are_many() {
    let directory = tempfile::tempdir().unwrap();
    let store = open_folding(&directory);
    for history_max in [20, 5, 0] {
        let revision = store.load(3, 1).await.unwrap().revision;
        apply(&store, revision..revision + 200, history_max).await;
        let page = store.history(3, &device(), 0, 1000).await.unwrap();
        assert_eq!(page.frames.len(), history_max);
        // Answered after the last batch has gone to the tables.
        store.probe().await.unwrap();
        let reader = Connection::open(path(&directory)).unwrap();
        let held: i64 = reader.query_row("SELECT count(*) FROM frame", [], |row| row.get(0)).unwrap();
        assert!(held <= history_max as i64 + 17, "{held} frames for a history of {history_max}");
    }
}

#[tokio::test]
async fn a_subscriber_too_far_behind_is_told_so_for_good() {
    let directory = tempfile::tempdir().unwrap();
    let options = SqliteStoreOptions { publications_max: 4, ..SqliteStoreOptions::default() };
    let store = SqliteStore::open(&path(&directory), options).unwrap();
    let mut slow = store.subscribe(3).await.unwrap();
    let mut anew = store.subscribe(3).await.unwrap();
    apply(&store, 0..9, 10).await;
    for _ in 0..2 {
        assert!(matches!(slow.next().await, Err(StoreError::Unavailable { .. })));
    }
    assert!(anew.next().await.is_err());
    let mut anew = store.subscribe(3).await.unwrap();
    apply(&store, 9..10, 10).await;
    assert_eq!(anew.next().await.unwrap().frames[0].frame.offset, 10);
}

#[tokio::test]
async fn a_batch_that_sqlite_refuses_changes_nothing_and_the_next_one_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory);
    apply(&store, 0..3, 10).await;
    let other = Connection::open(path(&directory)).unwrap();
    // The kind of trouble that a failing disk makes in the middle of a transaction.
    other
        .execute_batch("CREATE TRIGGER broken BEFORE INSERT ON recent BEGIN SELECT raise(ABORT, 'disk trouble'); END")
        .unwrap();
    let error = store.apply(&batch(3, 10)).await.unwrap_err();
    assert!(matches!(&error, StoreError::Unavailable { reason, .. } if reason.contains("disk trouble")), "{error}");
    assert_eq!(store.latest(3, &device()).await.unwrap().unwrap().head, 3);
    other.execute_batch("DROP TRIGGER broken").unwrap();
    let state = store.load(3, 1).await.unwrap();
    assert_eq!((state.revision, state.position.x, state.devices[0].1.head), (3, 3, 3));
    apply(&store, 3..4, 10).await;
    assert_eq!(store.history(3, &device(), 0, 10).await.unwrap().frames.len(), 4);
}

#[test]
fn a_file_that_is_no_database_is_an_error_with_a_remedy() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(path(&directory), "this is not a database, but long enough to be taken for one".repeat(100)).unwrap();
    let error = SqliteStore::open(&path(&directory), SqliteStoreOptions::default()).unwrap_err();
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
    assert!(error.to_string().contains("move the file away"), "{error}");
}

#[test]
fn a_newer_schema_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    drop(open(&directory));
    Connection::open(path(&directory)).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let error = SqliteStore::open(&path(&directory), SqliteStoreOptions::default()).unwrap_err().to_string();
    assert!(error.contains("schema 99"), "{error}");
}

#[tokio::test]
async fn a_state_that_can_t_be_read_is_reported_with_its_device() {
    let directory = tempfile::tempdir().unwrap();
    let store = open_folding(&directory);
    apply(&store, 0..1, 10).await;
    // Answered after the batch has gone to the tables.
    store.probe().await.unwrap();
    Connection::open(path(&directory)).unwrap().execute("UPDATE device SET state = '{'", []).unwrap();
    let error = store.load(3, 1).await.unwrap_err();
    assert!(matches!(&error, StoreError::Corrupt { reason, .. } if reason.contains("samu31")), "{error}");
}

#[tokio::test]
async fn revisions_count_on_over_a_reset_so_that_no_batch_of_before_fits() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory);
    assert_eq!(store.load(3, 1).await.unwrap().revision, 0);
    store.reset(3, 1).await.unwrap();
    assert!(matches!(store.apply(&batch(0, 10)).await.unwrap(), Applied::Conflict { revision: 1, .. }));
}
