//! All letters of a log, page by page, each once.

use std::collections::{HashSet, VecDeque};

use orinoco_ports::{LogError, RecordLog, StoredDeadLetter};

const PAGE_LETTERS_MAX: usize = 500;
/// How many ids are remembered. A repeated write follows the first one closely, so older ones can't come back.
const IDS_MAX: usize = 10_000;

/// The letters of a log, oldest first.
pub(crate) struct Letters<'a> {
    log: &'a dyn RecordLog,
    page: VecDeque<StoredDeadLetter>,
    /// Where the next page starts; `None` after the last.
    cursor: Option<Option<String>>,
    seen: HashSet<String>,
    seen_in_order: VecDeque<String>,
}

impl<'a> Letters<'a> {
    pub(crate) fn new(log: &'a dyn RecordLog) -> Self {
        Self { log, page: VecDeque::new(), cursor: Some(None), seen: HashSet::new(), seen_in_order: VecDeque::new() }
    }

    /// # Errors
    /// [`LogError`]: the log can't be read.
    pub(crate) async fn next(&mut self) -> Result<Option<StoredDeadLetter>, LogError> {
        loop {
            while let Some(letter) = self.page.pop_front() {
                if self.is_new(&letter) {
                    return Ok(Some(letter));
                }
            }
            let Some(cursor) = self.cursor.take() else { return Ok(None) };
            let page = self.log.dead_letters(cursor.as_deref(), PAGE_LETTERS_MAX).await?;
            self.page = page.letters.into();
            self.cursor = page.next.map(Some);
        }
    }

    fn is_new(&mut self, letter: &StoredDeadLetter) -> bool {
        // Without an id it was written by somebody else, and once.
        let Some(id) = &letter.id else { return true };
        if !self.seen.insert(id.clone()) {
            return false;
        }
        self.seen_in_order.push_back(id.clone());
        if self.seen_in_order.len() > IDS_MAX
            && let Some(oldest) = self.seen_in_order.pop_front()
        {
            self.seen.remove(&oldest);
        }
        true
    }
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Mutex;
    use std::time::Duration;

    use async_trait::async_trait;
    use orinoco_domain::{Axis, DeadLetter, Position, RawRecord};
    use orinoco_ports::{BackendInfo, DeadLetterPage, Fetched};

    use super::*;

    /// A log of dead letters in memory, in pages of two, that remembers what is produced.
    pub(crate) struct FixedLog {
        letters: Vec<StoredDeadLetter>,
        pub(crate) produced: Mutex<Vec<(u32, Axis, RawRecord)>>,
    }

    impl FixedLog {
        pub(crate) fn new(letters: impl Into<Vec<StoredDeadLetter>>) -> Self {
            Self { letters: letters.into(), produced: Mutex::default() }
        }
    }

    pub(crate) fn letter(number: u64, topic: &str, payload: &[u8]) -> StoredDeadLetter {
        StoredDeadLetter {
            cursor: number.to_string(),
            id: Some(format!("j/{number}")),
            letter: DeadLetter::new(topic, payload, "why", "2026-01-02T03:04:05Z"),
        }
    }

    #[async_trait]
    impl RecordLog for FixedLog {
        async fn partitions(&self) -> Result<u32, LogError> {
            Ok(4)
        }

        async fn produce(&self, partition: u32, records: &[(Axis, RawRecord)]) -> Result<(), LogError> {
            self.produced
                .lock()
                .unwrap()
                .extend(records.iter().cloned().map(|(axis, record)| (partition, axis, record)));
            Ok(())
        }

        async fn produce_dead_letters(&self, _: &[RawRecord]) -> Result<(), LogError> {
            Err(LogError::Misconfigured("read only".to_owned()))
        }

        async fn fetch(&self, _: u32, _: Position, _: usize, _: Duration) -> Result<Fetched, LogError> {
            Ok(Fetched::default())
        }

        async fn bounds(&self, _: u32) -> Result<(Position, Position), LogError> {
            Ok((Position::default(), Position::default()))
        }

        async fn dead_letters(&self, cursor: Option<&str>, _: usize) -> Result<DeadLetterPage, LogError> {
            let start: usize = cursor.map_or(0, |cursor| cursor.parse().unwrap());
            let end = (start + 2).min(self.letters.len());
            let next = (end < self.letters.len()).then(|| end.to_string());
            Ok(DeadLetterPage { letters: self.letters[start..end].to_vec(), next })
        }

        async fn probe(&self) -> Result<BackendInfo, LogError> {
            Ok(BackendInfo { version: "memory".to_owned(), advice: Vec::new() })
        }
    }

    #[tokio::test]
    async fn every_page_is_read_and_a_repeated_id_is_passed_over() {
        let mut letters: Vec<StoredDeadLetter> = (0..5).map(|number| letter(number, "t", b"x")).collect();
        letters.insert(2, letter(0, "t", b"x"));
        letters.push(StoredDeadLetter { id: None, ..letter(5, "t", b"x") });
        letters.push(StoredDeadLetter { id: None, ..letter(6, "t", b"x") });
        let log = FixedLog::new(letters);
        let mut reader = Letters::new(&log);
        let mut cursors = Vec::new();
        while let Some(letter) = reader.next().await.unwrap() {
            cursors.push(letter.cursor);
        }
        assert_eq!(cursors, ["0", "1", "2", "3", "4", "5", "6"]);
    }
}
