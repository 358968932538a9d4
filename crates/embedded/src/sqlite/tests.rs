#![allow(clippy::unwrap_used)]
//! Opening, and what a transaction that several share does when one of them fails.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc, Barrier,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use rusqlite::{Connection, TransactionBehavior};
use tempfile::TempDir;

use super::*;

fn path(directory: &TempDir) -> PathBuf {
    directory.path().join("test.sqlite")
}

fn database(path: &Path) -> Database<'_> {
    let tables = "CREATE TABLE number (value INTEGER UNIQUE) STRICT;";
    Database { path, version: 1, tables, cache_kib: 100, durability: Durability::Power }
}

/// Counts transactions, those that changed something, and those that were committed.
#[derive(Clone, Default)]
struct Counts {
    begun: Arc<AtomicUsize>,
    changed: Arc<AtomicUsize>,
    committed: Arc<AtomicUsize>,
}

impl Counts {
    fn get(&self) -> (usize, usize, usize) {
        let get = |count: &AtomicUsize| count.load(Ordering::SeqCst);
        (get(&self.begun), get(&self.changed), get(&self.committed))
    }
}

impl Unit for Counts {
    fn begin(&mut self) {
        self.begun.fetch_add(1, Ordering::SeqCst);
    }

    fn before_commit(&mut self, _: &Connection, _: usize) -> rusqlite::Result<()> {
        self.changed.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    fn committed(&mut self) {
        self.committed.fetch_add(1, Ordering::SeqCst);
    }
}

fn writer(directory: &TempDir, counts: &Counts) -> Arc<Writer<Counts>> {
    let connection = database(&path(directory)).open_for_writing().unwrap();
    Arc::new(Writer::start("test", connection, counts.clone(), 100).unwrap())
}

/// A write that its thread sits in, so that those that follow wait and share one transaction, until the barrier is reached by another.
async fn hold_up(writer: &Arc<Writer<Counts>>) -> Arc<Barrier> {
    let (entered, barrier) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
    let (writer, entering, held) = (Arc::clone(writer), Arc::clone(&entered), Arc::clone(&barrier));
    tokio::spawn(async move {
        let wait = move |_: &Connection, _: &mut Counts| {
            entering.wait();
            held.wait();
            Ok(())
        };
        writer.write(wait).await.unwrap();
    });
    tokio::task::spawn_blocking(move || entered.wait()).await.unwrap();
    barrier
}

fn insert(connection: &Connection, value: i64) -> rusqlite::Result<()> {
    connection.execute("INSERT INTO number VALUES (?1)", [value]).map(drop)
}

fn values(directory: &TempDir) -> Vec<i64> {
    let connection = Connection::open(path(directory)).unwrap();
    let mut select = connection.prepare("SELECT value FROM number ORDER BY value").unwrap();
    select.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
}

/// Writes, all at once, in one transaction: each of `values`, and a failure in place of those that `failure` gives one for.
async fn write_together(
    writer: &Arc<Writer<Counts>>,
    values: std::ops::Range<i64>,
    failure: fn(i64) -> Option<rusqlite::Error>,
) -> Vec<Result<(), Fault>> {
    let barrier = hold_up(writer).await;
    let mut tasks = Vec::new();
    for value in values {
        let task_writer = Arc::clone(writer);
        tasks.push(tokio::spawn(async move {
            let write = move |connection: &Connection, _: &mut Counts| match failure(value) {
                Some(error) => Err(error),
                None => insert(connection, value),
            };
            task_writer.write(write).await
        }));
    }
    // One thread runs these tests' tasks: each has sent its write before it waits for the answer.
    tokio::task::yield_now().await;
    tokio::task::spawn_blocking(move || barrier.wait()).await.unwrap();
    let mut outcomes = Vec::new();
    for task in tasks {
        outcomes.push(task.await.unwrap());
    }
    outcomes
}

#[tokio::test]
async fn what_waits_together_is_committed_together() {
    let directory = tempfile::tempdir().unwrap();
    let counts = Counts::default();
    let writer = writer(&directory, &counts);
    let outcomes = write_together(&writer, 0..50, |_| None).await;
    assert!(outcomes.iter().all(Result::is_ok));
    assert_eq!(counts.get(), (2, 1, 2), "the first one changed nothing");
    assert_eq!(values(&directory), (0..50).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_write_that_finds_damage_fails_alone() {
    let directory = tempfile::tempdir().unwrap();
    let writer = writer(&directory, &Counts::default());
    let damage = |value| (value % 3 == 1).then(|| unreadable(0, std::fmt::Error));
    let outcomes = write_together(&writer, 0..9, damage).await;
    for (value, outcome) in outcomes.into_iter().enumerate() {
        assert_eq!(matches!(outcome, Err(Fault::Damaged(_))), value % 3 == 1, "{outcome:?}");
    }
    assert_eq!(values(&directory), [0, 2, 3, 5, 6, 8]);
}

#[tokio::test]
async fn where_the_disk_fails_nothing_is_written_and_the_next_ones_go_on() {
    let directory = tempfile::tempdir().unwrap();
    let counts = Counts::default();
    let writer = writer(&directory, &counts);
    let trouble = |value| (value == 3).then_some(rusqlite::Error::InvalidQuery);
    let outcomes = write_together(&writer, 0..5, trouble).await;
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Err(Fault::Unavailable(_)))), "{outcomes:?}");
    assert!(values(&directory).is_empty());
    writer.write(|connection, _| insert(connection, 7)).await.unwrap();
    assert_eq!(values(&directory), [7]);
    assert_eq!(counts.get(), (3, 1, 2));
}

#[tokio::test]
async fn a_write_whose_caller_gave_up_is_done_all_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let writer = writer(&directory, &Counts::default());
    let barrier = hold_up(&writer).await;
    let mut given_up = Box::pin(writer.write(|connection, _| insert(connection, 1)));
    assert!(is_pending(given_up.as_mut()).await, "it waits");
    drop(given_up);
    tokio::task::spawn_blocking(move || barrier.wait()).await.unwrap();
    writer.write(|connection, _| insert(connection, 2)).await.unwrap();
    assert_eq!(values(&directory), [1, 2]);
}

/// Polls once; whether it is pending.
async fn is_pending<F: Future + ?Sized>(mut future: std::pin::Pin<&mut F>) -> bool {
    std::future::poll_fn(|context| std::task::Poll::Ready(future.as_mut().poll(context).is_pending())).await
}

#[tokio::test]
async fn a_file_that_another_program_has_locked_is_waited_for_and_then_named_so() {
    let directory = tempfile::tempdir().unwrap();
    let writer = writer(&directory, &Counts::default());
    let mut other = Connection::open(path(&directory)).unwrap();
    let locked = other.transaction_with_behavior(TransactionBehavior::Immediate).unwrap();
    let refused = writer.write(|connection, _| insert(connection, 1)).await.unwrap_err();
    assert!(matches!(&refused, Fault::Unavailable(reason) if reason.contains("another program")), "{refused:?}");
    drop(locked);
    writer.write(|connection, _| insert(connection, 1)).await.unwrap();
}

#[test]
fn many_may_open_a_new_file_at_once() {
    for _ in 0..10 {
        let directory = tempfile::tempdir().unwrap();
        let path = path(&directory);
        thread::scope(|scope| {
            for value in 0..8 {
                let path = &path;
                scope.spawn(move || {
                    let connection = database(path).open_for_writing().unwrap();
                    insert(&connection, value).unwrap();
                });
            }
        });
        assert_eq!(values(&directory), (0..8).collect::<Vec<_>>());
    }
}

#[test]
fn its_files_are_private() {
    let directory = tempfile::tempdir().unwrap();
    let connection = database(&path(&directory)).open_for_writing().unwrap();
    insert(&connection, 1).unwrap();
    let mut files = 0;
    for entry in fs::read_dir(directory.path()).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", entry.path());
        files += 1;
    }
    assert!(files >= 2, "the database and its write-ahead log");
}

#[test]
fn what_is_written_is_synced() {
    let directory = tempfile::tempdir().unwrap();
    let connection = database(&path(&directory)).open_for_writing().unwrap();
    let ask = |pragma: &str| connection.query_row(pragma, [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(ask("PRAGMA synchronous"), 2, "FULL");
    assert_eq!(ask("PRAGMA cache_size"), -100);
}

#[test]
fn a_file_that_can_t_be_opened_is_an_error_that_says_why() {
    let directory = tempfile::tempdir().unwrap();
    let open = |path: &Path| database(path).open_for_writing().unwrap_err();
    let fault = open(directory.path());
    assert!(matches!(&fault, Fault::Unavailable(reason) if reason.contains("unable to open")), "{fault:?}");
    let fault = open(&directory.path().join("missing/test.sqlite"));
    assert!(
        matches!(&fault, Fault::Unavailable(reason) if reason.contains("its directory must be there")),
        "{fault:?}"
    );
    fs::write(path(&directory), "this is not a database, but long enough to be taken for one".repeat(100)).unwrap();
    let fault = open(&path(&directory));
    assert!(matches!(fault, Fault::Damaged(_)), "{fault:?}");
}

#[test]
fn a_file_of_a_newer_program_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    drop(database(&path(&directory)).open_for_writing().unwrap());
    Connection::open(path(&directory)).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let refused = database(&path(&directory)).open_for_writing().unwrap_err();
    assert_eq!(refused, Fault::Newer { found: 99, needed: 1 });
}
