#![allow(clippy::unwrap_used)]
//! What the log promises beyond the port's conformance suite: restarts, retention, power cuts, reading beside the writer.

use std::{fs, time::SystemTime};

use orinoco_domain::DeadLetter;
use tempfile::TempDir;

use super::*;
use crate::power::{LEAP, pretend_power_loss};

fn options() -> FileLogOptions {
    FileLogOptions {
        partitions: 2,
        retention_bytes: 256 << 10,
        segment_bytes_max: 16 << 10,
        ..FileLogOptions::default()
    }
}

fn open(directory: &TempDir) -> FileLog {
    FileLog::open(directory.path(), options()).unwrap()
}

fn record(number: u64, value_bytes: usize) -> (Axis, RawRecord) {
    let mut value = number.to_string().into_bytes();
    value.resize(value_bytes, b'.');
    (Axis::BOTH[(number % 2) as usize], RawRecord { value, ..RawRecord::default() })
}

async fn produce(log: &FileLog, from: u64, to: u64) {
    for number in from..to {
        log.produce(0, &[record(number, 1000)]).await.unwrap();
    }
}

async fn fetch(log: &FileLog, from: Position) -> Fetched {
    log.fetch(0, from, 1 << 20, Duration::ZERO).await.unwrap()
}

fn at(x: i64, y: i64) -> Position {
    Position { x, y }
}

fn segments(directory: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> = paths.filter(|path| path.extension().is_some_and(|name| name == "segment")).collect();
    paths.sort();
    paths
}

#[test]
fn another_count_of_partitions_is_refused_and_named() {
    let directory = tempfile::tempdir().unwrap();
    drop(open(&directory));
    let refused = FileLog::open(directory.path(), FileLogOptions { partitions: 3, ..options() }).unwrap_err();
    assert!(matches!(refused, LogError::Misconfigured(_)));
    assert!(refused.to_string().contains("made with 2 partitions, 3 are configured"), "{refused}");
    assert!(FileLog::open(directory.path(), FileLogOptions { partitions: 0, ..options() }).is_err());
}

#[tokio::test]
async fn retention_by_size_keeps_the_newest_and_moves_the_first_offsets() {
    let directory = tempfile::tempdir().unwrap();
    let log = open(&directory);
    produce(&log, 0, 1000).await;
    let (first, end) = log.bounds(0).await.unwrap();
    assert_eq!(end, at(500, 500));
    assert!(first.x > 300 && first.x < 450, "{first:?}");
    let held: u64 =
        segments(&directory.path().join("partition-0")).iter().map(|path| fs::metadata(path).unwrap().len()).sum();
    assert!(held <= (256 << 10) + (17 << 10), "{held}");
    assert!(matches!(
        log.fetch(0, at(0, 0), 1, Duration::ZERO).await,
        Err(LogError::OutOfRange { wanted: 0, end: 500, .. })
    ));
    let records = fetch(&log, first).await.records;
    assert_eq!((records[0].axis, records[0].offset), (Axis::X, first.x));
}

#[tokio::test]
async fn retention_by_age_removes_even_the_segment_written_last() {
    let directory = tempfile::tempdir().unwrap();
    let log = open(&directory);
    produce(&log, 0, 51).await;
    drop(log);
    let week_and_more = SystemTime::now() - Duration::from_secs(8 * 24 * 3600);
    let directory_of_0 = directory.path().join("partition-0");
    for path in segments(&directory_of_0) {
        fs::File::options().write(true).open(path).unwrap().set_modified(week_and_more).unwrap();
    }
    let log = open(&directory);
    assert_eq!(log.bounds(0).await.unwrap(), (at(26, 25), at(26, 25)));
    assert_eq!(segments(&directory_of_0).len(), 1);
    log.produce(0, &[record(51, 10)]).await.unwrap();
    drop(log);
    let log = open(&directory);
    let fetched = fetch(&log, at(26, 25)).await;
    assert_eq!((fetched.records[0].axis, fetched.records[0].offset, fetched.next), (Axis::Y, 25, at(26, 26)));
}

#[tokio::test]
async fn any_pair_of_positions_brings_each_record_from_there_once() {
    let directory = tempfile::tempdir().unwrap();
    let log = open(&directory);
    // Runs of one axis, so that the two positions lie far apart.
    let axes: Vec<Axis> = [(Axis::X, 40), (Axis::Y, 3), (Axis::X, 5), (Axis::Y, 60), (Axis::X, 1)]
        .into_iter()
        .flat_map(|(axis, count)| std::iter::repeat_n(axis, count))
        .collect();
    for (number, axis) in (0..).zip(&axes) {
        log.produce(0, &[(*axis, record(number, 1000).1)]).await.unwrap();
    }
    drop(log);
    for tail_bytes_max in [0, 20 << 10] {
        let log = FileLog::open(directory.path(), FileLogOptions { tail_bytes_max, ..options() }).unwrap();
        for x in 0..=46 {
            for y in (0..=63).step_by(7) {
                let (mut from, mut offsets) = (at(x, y), Vec::new());
                while from != at(46, 63) {
                    let fetched = log.fetch(0, from, 9_000, Duration::ZERO).await.unwrap();
                    offsets.extend(fetched.records.iter().map(|held| (held.axis, held.offset)));
                    from = fetched.next;
                }
                let expected = (x..46).map(|offset| (Axis::X, offset)).chain((y..63).map(|offset| (Axis::Y, offset)));
                offsets.sort_unstable();
                assert!(offsets.into_iter().eq(expected), "from {x}, {y}");
            }
        }
    }
}

#[tokio::test]
async fn after_a_power_cut_offsets_leap_and_the_gap_is_passed_over() {
    let directory = tempfile::tempdir().unwrap();
    let log = open(&directory);
    produce(&log, 0, 11).await;
    log.produce_dead_letters(&[letter("before")]).await.unwrap();
    drop(log);
    pretend_power_loss(directory.path()).unwrap();
    let log = open(&directory);
    let leap = LEAP.cast_signed();
    assert_eq!(log.bounds(0).await.unwrap(), (at(0, 0), at(6 + leap, 5 + leap)));
    let fetched = fetch(&log, at(4, 4)).await;
    assert_eq!((fetched.records.len(), fetched.next), (3, at(6 + leap, 5 + leap)));
    // A store that was further than the log is now.
    let beyond = at(900, 900);
    assert_eq!(fetch(&log, beyond).await.next, at(6 + leap, 5 + leap));
    log.produce(0, &[record(11, 10)]).await.unwrap();
    let fetched = fetch(&log, beyond).await;
    assert_eq!((fetched.records.len(), fetched.records[0].offset), (1, 5 + leap));
    assert_eq!(fetched.next, fetched.end);
    log.produce_dead_letters(&[letter("after")]).await.unwrap();
    assert_eq!(log.dead_letters(None, 10).await.unwrap().letters.len(), 2);
    drop(log);
    let log = open(&directory);
    assert_eq!(log.bounds(0).await.unwrap().1, at(6 + leap, 6 + leap), "an orderly end leads to no leap");
}

#[tokio::test]
async fn damage_is_named_with_its_remedy() {
    let directory = tempfile::tempdir().unwrap();
    let log = open(&directory);
    produce(&log, 0, 40).await;
    drop(log);
    let path = segments(&directory.path().join("partition-0"))[0].clone();
    let mut bytes = fs::read(&path).unwrap();
    bytes[2000] ^= 1;
    fs::write(&path, bytes).unwrap();
    let log = open(&directory);
    let error = log.fetch(0, at(0, 0), 1 << 20, Duration::ZERO).await.unwrap_err();
    assert!(matches!(error, LogError::Misconfigured(_)));
    let message = error.to_string();
    assert!(message.contains(&*path.to_string_lossy()) && message.contains("restore it from a copy"), "{message}");
}

fn letter(topic: &str) -> RawRecord {
    let letter = DeadLetter::new(topic, b"\xff\0", "rubbish", "2026-01-02T03:04:05.678Z");
    RawRecord { value: serde_json::to_vec(&letter).unwrap(), ..RawRecord::default() }
}

#[tokio::test]
async fn dead_letters_can_be_read_beside_the_daemon() {
    let directory = tempfile::tempdir().unwrap();
    let reader = DeadLetterReader::new(directory.path());
    assert_eq!(reader.page(None, 10).unwrap(), DeadLetterPage::default(), "before there is a log");
    let log = open(&directory);
    for number in 0..200 {
        log.produce_dead_letters(&[letter(&format!("t{number}")), letter("x")]).await.unwrap();
        assert_eq!(reader.page(None, 1000).unwrap().letters.len(), 2 * (number + 1));
    }
    // What the daemon is about to write.
    let path = segments(&directory.path().join("dead-letters")).pop().unwrap();
    let whole = fs::read(&path).unwrap();
    fs::write(&path, [&whole[..], &[40, 0, 0, 0, 1, 2]].concat()).unwrap();
    let page = reader.page(Some("397"), 1).unwrap();
    assert_eq!((page.letters[0].letter.topic.as_str(), page.next.as_deref()), ("t199", Some("398")));
    assert_eq!(reader.page(Some("398"), 10).unwrap().next, None);
    assert_eq!(page, log.dead_letters(Some("397"), 1).await.unwrap());
    assert!(reader.page(Some("x"), 1).is_err());
}

#[tokio::test]
async fn a_letter_that_can_t_be_read_is_shown_and_hides_no_other() {
    let directory = tempfile::tempdir().unwrap();
    let log = open(&directory);
    let odd = RawRecord { value: b"\xff".to_vec(), timestamp_ms: 1_767_323_045_678, ..RawRecord::default() };
    log.produce_dead_letters(&[odd, letter("t")]).await.unwrap();
    let letters = log.dead_letters(None, 10).await.unwrap().letters;
    assert_eq!(letters[0].letter.payload().unwrap(), b"\xff");
    assert!(letters[0].letter.reason.starts_with("letter can't be read"));
    assert_eq!(letters[0].letter.time, "2026-01-02T03:04:05.678Z");
    assert_eq!(letters[1].letter.topic, "t");
}
