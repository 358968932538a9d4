#![allow(clippy::unwrap_used)]
use orinoco_domain::{Axis, DeadLetter, RawRecord};

use super::work::Work;

fn record(value: &str) -> RawRecord {
    RawRecord { value: value.as_bytes().to_vec(), ..RawRecord::default() }
}

fn open(work: &Work) -> Vec<(u32, Vec<String>)> {
    let text = |(_, record): &(Axis, RawRecord)| String::from_utf8(record.value.clone()).unwrap();
    work.open().map(|(partition, records)| (partition, records.iter().map(text).collect())).collect()
}

#[test]
fn records_are_split_by_partition_in_order_and_what_is_done_is_not_tried_again() {
    let records = vec![(1, Axis::X, record("a")), (0, Axis::X, record("b")), (1, Axis::Y, record("c"))];
    let mut work = Work::new(records, Vec::new(), 3);
    assert_eq!(open(&work), [(0, vec!["b".to_owned()]), (1, vec!["a".to_owned(), "c".to_owned()])]);
    work.done(1);
    assert_eq!(open(&work), [(0, vec!["b".to_owned()])]);
    work.done(0);
    assert_eq!(open(&work), []);
}

#[test]
fn a_record_that_is_too_large_becomes_a_dead_letter_and_the_rest_goes_on() {
    let mut work = Work::new(vec![(0, Axis::X, record("a")), (0, Axis::X, record("b"))], Vec::new(), 1);
    work.give_up(0, 1, "too large", 0);
    assert_eq!(open(&work), [(0, vec!["a".to_owned()])]);
    let letter: DeadLetter = serde_json::from_slice(&work.open_dead_letters()[0].value).unwrap();
    assert_eq!((letter.reason.as_str(), letter.payload().unwrap()), ("too large", b"b".to_vec()));
    // An index that is not there must not make it try forever.
    work.give_up(0, 7, "too large", 0);
    assert_eq!(open(&work), []);
}

#[test]
fn dead_letters_are_open_until_done() {
    let mut work = Work::new(Vec::new(), vec![record("x")], 1);
    assert_eq!(work.open_dead_letters().len(), 1);
    work.dead_letters_done();
    assert!(work.open_dead_letters().is_empty());
    assert_eq!(work.dead_letters(), 1);
}

#[test]
fn a_dead_letter_that_is_too_large_is_cut_and_says_so() {
    let letter = |work: &Work| serde_json::from_slice::<DeadLetter>(&work.open_dead_letters()[0].value).unwrap();
    let id = "mqtt/1/j/1".parse().unwrap();
    let whole = DeadLetter::new("coordX", b"12345678", "no number", "t").encode(&id, 0);
    let mut work = Work::new(Vec::new(), vec![whole], 1);
    assert!(work.cut_letter(0) && work.cut_letter(0));
    assert_eq!(letter(&work).payload().unwrap(), b"12");
    assert_eq!(letter(&work).reason, "no number (payload cut to its first 2 bytes)");
    assert!(work.cut_letter(0) && work.cut_letter(0));
    assert!(!work.cut_letter(0), "nothing is left to cut");
}
