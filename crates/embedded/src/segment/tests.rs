#![allow(clippy::unwrap_used)]
//! The segmented file against a `Vec`, against torn tails and against flipped bits.

use std::{fs, path::PathBuf};

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

const OPTIONS: SegmentOptions = SegmentOptions { segment_bytes_max: 256 };

fn open(directory: &TempDir) -> SegmentWriter {
    SegmentWriter::open(directory.path(), OPTIONS, 1, 0).unwrap()
}

fn append(writer: &mut SegmentWriter, payloads: &[Vec<u8>]) -> Result<u64, SegmentError> {
    let mut frames = writer.frames();
    for payload in payloads {
        frames.push(|bytes| bytes.extend_from_slice(payload)).unwrap();
    }
    writer.append(&frames, 7)
}

fn read_from(set: &SegmentSet, ordinal: u64) -> Result<Vec<(u64, Vec<u8>)>, SegmentError> {
    let mut records = Vec::new();
    let Some(mut place) = set.place_of(ordinal)? else { return Ok(records) };
    set.read(&mut place, 1, &mut |ordinal, payload| {
        records.push((ordinal, payload.to_vec()));
        Ok(Step::Next)
    })?;
    Ok(records)
}

fn last_file(directory: &TempDir) -> PathBuf {
    let entries = fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.extension().is_some_and(|extension| extension == "segment")).max().unwrap()
}

#[derive(Debug, Clone)]
enum Operation {
    Append(Vec<Vec<u8>>),
    Seal,
    Leap(u64),
    Reopen,
    RemoveBelow(prop::sample::Index),
    TearTail(Vec<u8>),
}

fn operation() -> impl Strategy<Value = Operation> {
    let payload = prop::collection::vec(any::<u8>(), 1..80);
    prop_oneof![
        8 => prop::collection::vec(payload, 0..6).prop_map(Operation::Append),
        1 => Just(Operation::Seal),
        1 => (1_u64..1000).prop_map(Operation::Leap),
        2 => Just(Operation::Reopen),
        1 => any::<prop::sample::Index>().prop_map(Operation::RemoveBelow),
        1 => prop::collection::vec(any::<u8>(), 1..40).prop_map(Operation::TearTail),
    ]
}

/// Removes what lies below `ordinal`; whole segments only, so that more may be left.
fn remove_below(writer: &SegmentWriter, ordinal: u64) {
    writer.set().remove_oldest(|oldest| oldest.end <= ordinal).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn it_holds_what_a_vector_holds(operations in prop::collection::vec(operation(), 1..60)) {
        let directory = tempfile::tempdir().unwrap();
        let mut writer = open(&directory);
        let mut model: Vec<(u64, Vec<u8>)> = Vec::new();
        let mut next = 1;
        for operation in operations {
            match operation {
                Operation::Append(payloads) => {
                    prop_assert_eq!(append(&mut writer, &payloads).unwrap(), next);
                    for payload in payloads {
                        model.push((next, payload));
                        next += 1;
                    }
                }
                Operation::Seal => writer.seal(3).unwrap(),
                Operation::Leap(by) => {
                    next += by;
                    writer.leap(next, 5).unwrap();
                }
                Operation::Reopen => {
                    drop(writer);
                    writer = open(&directory);
                }
                Operation::RemoveBelow(index) => {
                    let below = model.get(index.index(model.len().max(1))).map_or(next, |(ordinal, _)| *ordinal);
                    remove_below(&writer, below);
                    let first = writer.set().first().0;
                    prop_assert!(first <= below || model.is_empty() || first == writer.active_base());
                    model.retain(|(ordinal, _)| *ordinal >= first);
                }
                Operation::TearTail(garbage) => {
                    drop(writer);
                    let mut bytes = fs::read(last_file(&directory)).unwrap();
                    bytes.extend_from_slice(&garbage);
                    fs::write(last_file(&directory), bytes).unwrap();
                    writer = open(&directory);
                }
            }
            prop_assert_eq!(writer.next(), next);
            prop_assert_eq!(&read_from(writer.set(), 0).unwrap(), &model);
            prop_assert_eq!(writer.set().records_from(0, next), model.len() as u64);
            let middle = model.get(model.len() / 2).map_or(0, |(ordinal, _)| *ordinal);
            let expected: Vec<_> = model.iter().filter(|(ordinal, _)| *ordinal >= middle).cloned().collect();
            prop_assert_eq!(&read_from(writer.set(), middle).unwrap(), &expected);
            let held = SegmentSet::open_read_only(directory.path()).unwrap();
            prop_assert_eq!(&read_from(&held, 0).unwrap(), &model);
        }
    }

    #[test]
    fn a_place_found_by_a_predicate_lies_before_the_first_that_does_not_hold(
        sizes in prop::collection::vec(1_usize..9000, 1..200),
        at in any::<prop::sample::Index>(),
        reopen in any::<bool>(),
    ) {
        let directory = tempfile::tempdir().unwrap();
        let options = SegmentOptions { segment_bytes_max: 300_000 };
        let mut writer = SegmentWriter::open(directory.path(), options, 0, 0).unwrap();
        for size in &sizes {
            append(&mut writer, &[vec![1; *size]]).unwrap();
        }
        if reopen {
            drop(writer);
            writer = SegmentWriter::open(directory.path(), options, 0, 0).unwrap();
        }
        let wanted = at.index(sizes.len()) as u64;
        let place = writer.set().place_by(&|ordinal, _| Ok(ordinal <= wanted)).unwrap().unwrap();
        prop_assert!(place.ordinal <= wanted);
        let between: usize = sizes[place.ordinal as usize..wanted as usize].iter().sum();
        prop_assert!(between < 80_000, "{} bytes to pass over", between);
    }
}

#[test]
fn a_tail_torn_at_any_byte_of_the_last_record_is_cut_off() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = open(&directory);
    append(&mut writer, &[b"first".to_vec(), b"second".to_vec()]).unwrap();
    let whole_until = fs::metadata(last_file(&directory)).unwrap().len() as usize;
    append(&mut writer, &[b"the last one".to_vec()]).unwrap();
    drop(writer);
    let path = last_file(&directory);
    let bytes = fs::read(&path).unwrap();
    for length in whole_until..bytes.len() {
        // Cut short, and with the rest of the record as zeros, as a file system may leave it.
        for zeros in [0, bytes.len() - length] {
            let mut torn = bytes[..length].to_vec();
            torn.resize(length + zeros, 0);
            fs::write(&path, torn).unwrap();
            let mut writer = open(&directory);
            assert_eq!(writer.next(), 3, "torn at byte {length}");
            assert_eq!(append(&mut writer, &[b"again".to_vec()]).unwrap(), 3);
            let records = read_from(writer.set(), 1).unwrap();
            assert_eq!(records.last().unwrap(), &(3, b"again".to_vec()));
            assert_eq!(records.len(), 3);
        }
    }
}

#[test]
fn a_flipped_bit_before_the_tail_is_an_error_with_file_and_byte() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = open(&directory);
    append(&mut writer, &[b"first".to_vec(), b"second".to_vec(), b"third".to_vec()]).unwrap();
    drop(writer);
    let path = last_file(&directory);
    let bytes = fs::read(&path).unwrap();
    let last_begins = bytes.len() - 5 - frame::FRAME_HEADER_BYTES;
    for at in 0..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << (at % 8);
        fs::write(&path, &flipped).unwrap();
        let opened = SegmentWriter::open(directory.path(), OPTIONS, 1, 0);
        if at >= last_begins {
            assert_eq!(opened.unwrap().next(), 3, "byte {at}: the last record may be torn");
            continue;
        }
        match opened {
            Err(SegmentError::Corrupt { path: named, at: byte, .. }) => {
                assert_eq!(named, path);
                assert!(byte <= at as u64);
            }
            other => panic!("byte {at}: {other:?}"),
        }
        assert_eq!(fs::read(&path).unwrap(), flipped, "what is damaged is left alone");
    }
}

#[test]
fn damage_in_an_older_segment_is_found_when_it_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = open(&directory);
    append(&mut writer, &[b"first".to_vec(), b"second".to_vec()]).unwrap();
    let path = last_file(&directory);
    writer.seal(0).unwrap();
    append(&mut writer, &[b"third".to_vec()]).unwrap();
    drop(writer);
    let bytes = fs::read(&path).unwrap();
    for damaged in [&bytes[..bytes.len() - 1], &bytes[..bytes.len() - 14], &[&bytes[..bytes.len() - 1], b"x"].concat()]
    {
        fs::write(&path, damaged).unwrap();
        let writer = open(&directory);
        assert!(matches!(read_from(writer.set(), 1), Err(SegmentError::Corrupt { .. })));
        assert_eq!(read_from(writer.set(), 3).unwrap().len(), 1, "what lies after it can be read");
    }
    fs::remove_file(&path).unwrap();
    let writer = open(&directory);
    assert_eq!(read_from(writer.set(), 1).unwrap(), [(3, b"third".to_vec())]);
}

#[test]
fn a_segment_whose_head_was_not_written_is_made_again() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = open(&directory);
    append(&mut writer, &[b"first".to_vec()]).unwrap();
    drop(writer);
    for bytes in [&b""[..], b"orinseg1", &[0; 47]] {
        fs::write(directory.path().join("00000000000000000002.segment"), bytes).unwrap();
        let writer = open(&directory);
        assert_eq!(writer.next(), 2);
        assert_eq!(read_from(writer.set(), 0).unwrap().len(), 1);
    }
}

#[test]
fn descriptors_do_not_grow_with_the_segments_that_are_kept() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = open(&directory);
    for number in 1..=40 {
        append(&mut writer, &[b"a record".to_vec()]).unwrap();
        assert_eq!(read_from(writer.set(), 1).unwrap().len(), number);
        writer.seal(0).unwrap();
        writer.unsynced_sealed().run().unwrap();
    }
    let open = fs::read_dir("/proc/self/fd").unwrap().filter_map(|entry| fs::read_link(entry.unwrap().path()).ok());
    let open = open.filter(|path| path.starts_with(directory.path())).count();
    assert!(open <= 3, "{open} files of 41 segments are open");
}

#[test]
fn a_reader_goes_on_in_a_segment_that_was_removed() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = open(&directory);
    append(&mut writer, &[b"first".to_vec()]).unwrap();
    let mut place = writer.set().place_of(1).unwrap().unwrap();
    writer.seal(0).unwrap();
    append(&mut writer, &[b"second".to_vec()]).unwrap();
    remove_below(&writer, 2);
    let mut records = Vec::new();
    let mut visit = |_: u64, payload: &[u8]| {
        records.push(payload.to_vec());
        Ok(Step::Next)
    };
    writer.set().read(&mut place, 1, &mut visit).unwrap();
    assert_eq!(records, [b"first".to_vec(), b"second".to_vec()]);
}

#[test]
fn records_of_the_greatest_size_go_through_and_greater_ones_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = open(&directory);
    let largest = vec![5; RECORD_BYTES_MAX];
    append(&mut writer, &[b"small".to_vec(), largest.clone(), b"small".to_vec()]).unwrap();
    let records = read_from(writer.set(), 2).unwrap();
    assert_eq!(records[0].1, largest);
    assert_eq!(records.len(), 2);
    let mut frames = writer.frames();
    assert_eq!(frames.push(|bytes| bytes.extend_from_slice(&vec![5; RECORD_BYTES_MAX + 1])), Err(RECORD_BYTES_MAX + 1));
    assert_eq!(frames.push(|_| {}), Err(0));
    assert_eq!(frames.records(), 0);
}
