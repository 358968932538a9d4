//! Dead letters.

use std::collections::BTreeSet;

use orinoco_domain::{DeadLetter, RawRecord, RecordId};

use super::{LogFactory, fixture::now_ms};
use crate::{RecordLog, StoredDeadLetter, conformance::within_deadline};

pub async fn no_dead_letters_are_one_empty_page(factory: &dyn LogFactory) {
    let log = factory.open().await;
    let page = within_deadline("dead letters", log.dead_letters(None, 10)).await.unwrap();
    assert_eq!((page.letters.len(), page.next), (0, None));
}

pub async fn dead_letters_come_back_whole_and_oldest_first(factory: &dyn LogFactory) {
    let log = factory.open().await;
    let every_byte: Vec<u8> = (0..=255).collect();
    let letters = [
        letter(1, b"abc"),
        letter(2, b""),
        letter(3, &every_byte),
        letter(4, &vec![0xff; 100_000]),
        (id(5), DeadLetter::new("devices/é \u{0}\"\\/coordX", b"\n", "payload is empty", "2026-01-02T03:04:05Z")),
    ];
    for call in letters.chunks(2) {
        produce_letters(&*log, call).await;
    }
    let found = all_letters(&*log, 10).await;
    assert_eq!(found.len(), letters.len());
    for (stored, (id, letter)) in found.iter().zip(&letters) {
        assert_eq!(stored.id.as_deref(), Some(id.to_string().as_str()));
        assert_eq!(stored.letter, *letter);
    }
    assert_eq!(found[2].letter.payload().unwrap(), every_byte);
}

pub async fn dead_letters_are_paged_without_gap_and_repeat(factory: &dyn LogFactory) {
    const LETTERS: u64 = 1_000;
    let log = factory.open().await;
    let letters: Vec<_> = (0..LETTERS).map(|sequence| letter(sequence, b"x")).collect();
    for call in letters.chunks(100) {
        produce_letters(&*log, call).await;
    }
    let mut cursors = None;
    for letters_max in [1_000, 7, 100, 999, 5_000] {
        let found = all_letters(&*log, letters_max).await;
        let ids: Vec<_> = found.iter().map(|stored| stored.id.clone()).collect();
        let expected: Vec<_> = (0..LETTERS).map(|sequence| Some(id(sequence).to_string())).collect();
        assert_eq!(ids, expected, "in pages of {letters_max}");
        let found: Vec<_> = found.into_iter().map(|stored| stored.cursor).collect();
        assert_eq!(found.iter().collect::<BTreeSet<_>>().len(), found.len(), "cursors are unique");
        assert_eq!(cursors.get_or_insert(found.clone()), &found, "cursors stay the same");
    }
    for (index, cursor) in (0..).zip(cursors.unwrap()).step_by(333) {
        let page = log.dead_letters(Some(&cursor), 1).await.unwrap();
        let after = page.letters.first().and_then(|stored| stored.id.clone());
        assert_eq!(after, (index + 1 < LETTERS).then(|| id(index + 1).to_string()), "after letter {index}");
    }
}

pub async fn a_reader_at_the_end_finds_later_dead_letters(factory: &dyn LogFactory) {
    let log = factory.open().await;
    produce_letters(&*log, &[letter(1, b"x"), letter(2, b"x")]).await;
    let cursor = all_letters(&*log, 10).await.pop().unwrap().cursor;
    let page = log.dead_letters(Some(&cursor), 10).await.unwrap();
    assert_eq!((page.letters.len(), page.next), (0, None));
    produce_letters(&*log, &[letter(3, b"x")]).await;
    let page = log.dead_letters(Some(&cursor), 10).await.unwrap();
    assert_eq!(page.letters.iter().map(|stored| stored.id.clone()).collect::<Vec<_>>(), [Some(id(3).to_string())]);
}

pub async fn dead_letters_are_there_after_reopening_and_after_a_kill(factory: &dyn LogFactory) {
    let log = factory.open().await;
    produce_letters(&*log, &[letter(1, b"x"), letter(2, b"y")]).await;
    let before = all_letters(&*log, 10).await;
    assert_eq!(all_letters(&*factory.open_as_after_kill().await, 10).await, before);
    drop(log);
    let log = factory.open().await;
    assert_eq!(all_letters(&*log, 10).await, before);
    produce_letters(&*log, &[letter(3, b"z")]).await;
    assert_eq!(all_letters(&*log, 10).await.len(), 3);
}

fn id(sequence: u64) -> RecordId {
    format!("mqtt/1/9f2c/{sequence}").parse().unwrap()
}

fn letter(sequence: u64, payload: &[u8]) -> (RecordId, DeadLetter) {
    let letter = DeadLetter::new("devices/a/coordX", payload, "payload is empty", "2026-01-02T03:04:05.678Z");
    (id(sequence), letter)
}

async fn produce_letters(log: &dyn RecordLog, letters: &[(RecordId, DeadLetter)]) {
    let records: Vec<RawRecord> = letters.iter().map(|(id, letter)| letter.encode(id, now_ms())).collect();
    within_deadline("dead letters", log.produce_dead_letters(&records)).await.unwrap();
}

async fn all_letters(log: &dyn RecordLog, letters_max: usize) -> Vec<StoredDeadLetter> {
    let mut letters = Vec::new();
    let mut cursor = None;
    loop {
        let page = within_deadline("dead letters", log.dead_letters(cursor.as_deref(), letters_max)).await.unwrap();
        assert!(page.letters.len() <= letters_max, "{} letters a page", page.letters.len());
        assert!(page.next.is_none() || page.next != cursor, "a page led nowhere");
        letters.extend(page.letters);
        match page.next {
            None => return letters,
            next => cursor = next,
        }
    }
}
