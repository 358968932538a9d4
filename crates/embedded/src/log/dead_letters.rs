//! The dead letters: one segmented file; a letter's cursor is its ordinal.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use orinoco_domain::{DeadLetter, HEADER_ID, RawRecord, Timestamp};
use orinoco_ports::{DeadLetterPage, LogError, StoredDeadLetter};

use super::{FileLogOptions, interrupted, record, writer::LogWriter};
use crate::{
    power::LEAP,
    segment::{RECORD_BYTES_MAX, SegmentError, SegmentSet, Step},
};

pub(super) fn directory_in(log: &Path) -> PathBuf {
    log.join("dead-letters")
}

#[derive(Debug)]
pub(super) struct DeadLetterFile {
    set: Arc<SegmentSet>,
    writer: Arc<tokio::sync::Mutex<LogWriter>>,
}

impl DeadLetterFile {
    pub(super) fn open(directory: &Path, options: FileLogOptions, power_was_lost: bool) -> Result<Self, SegmentError> {
        let mut writer = LogWriter::open(directory, options)?;
        if power_was_lost {
            writer.leap(LEAP, 0)?;
        }
        writer.retain(0);
        Ok(Self { set: Arc::clone(writer.set()), writer: Arc::new(tokio::sync::Mutex::new(writer)) })
    }

    pub(super) fn set(&self) -> &SegmentSet {
        &self.set
    }

    pub(super) async fn produce(&self, letters: &[RawRecord]) -> Result<(), LogError> {
        if letters.is_empty() {
            return Ok(());
        }
        let mut writer = Arc::clone(&self.writer).lock_owned().await;
        let mut frames = writer.frames();
        for (index, letter) in letters.iter().enumerate() {
            // A letter holds the payload of a record in base64: it may be larger than a record may.
            frames.push(|bytes| record::encode(letter, bytes)).map_err(|letter_bytes| LogError::TooLarge {
                index,
                reason: format!(
                    "a dead letter of {letter_bytes} bytes is above the limit of {} bytes",
                    RECORD_BYTES_MAX
                ),
            })?;
        }
        let write = move || {
            writer.append(&frames, 0, 0)?;
            Ok(writer.make_durable()?)
        };
        tokio::task::spawn_blocking(write).await.map_err(interrupted(self.set.directory()))?
    }

    pub(super) async fn page(&self, cursor: Option<&str>, letters_max: usize) -> Result<DeadLetterPage, LogError> {
        let after = parse_cursor(cursor)?;
        let set = Arc::clone(&self.set);
        let read = move || Ok(read_page(&set, after, letters_max)?);
        tokio::task::spawn_blocking(read).await.map_err(interrupted(self.set.directory()))?
    }
}

/// Reads dead letters beside the process that writes them, or without one.
#[derive(Debug, Clone)]
pub struct DeadLetterReader {
    directory: PathBuf,
}

impl DeadLetterReader {
    /// For the log in `directory`, which need not exist yet.
    #[must_use]
    pub fn new(directory: &Path) -> Self {
        Self { directory: directory_in(directory) }
    }

    /// As [`RecordLog::dead_letters`](orinoco_ports::RecordLog::dead_letters). Blocks on the disk.
    ///
    /// # Errors
    /// [`LogError::Unavailable`], [`LogError::Misconfigured`] where a file is damaged.
    pub fn page(&self, cursor: Option<&str>, letters_max: usize) -> Result<DeadLetterPage, LogError> {
        let after = parse_cursor(cursor)?;
        let exists = self.directory.try_exists().map_err(|error| LogError::Unavailable {
            place: self.directory.display().to_string(),
            reason: format!("{error}; run this as the user that the daemon runs as"),
        })?;
        if !exists {
            return Ok(DeadLetterPage::default());
        }
        let set = SegmentSet::open_read_only(&self.directory)?;
        Ok(read_page(&set, after, letters_max)?)
    }
}

/// The ordinal to go on after.
fn parse_cursor(cursor: Option<&str>) -> Result<Option<u64>, LogError> {
    let parse = |text: &str| {
        let refused = || LogError::Misconfigured(format!("`{text}` is not a cursor of the dead letters"));
        text.parse().map_err(|_| refused())
    };
    cursor.map(parse).transpose()
}

fn read_page(set: &SegmentSet, after: Option<u64>, letters_max: usize) -> Result<DeadLetterPage, SegmentError> {
    /// Bytes read at once, about.
    const CHUNK_BYTES: usize = 256 << 10;
    let mut page = DeadLetterPage::default();
    let Some(mut place) = set.place_of(after.map_or(0, |after| after.saturating_add(1)))? else { return Ok(page) };
    set.read(&mut place, CHUNK_BYTES, &mut |ordinal, payload| {
        if page.letters.len() >= letters_max.max(1) {
            page.next = page.letters.last().map(|letter| letter.cursor.clone());
            return Ok(Step::Stop);
        }
        page.letters.push(stored(ordinal, &record::decode(payload)?));
        Ok(Step::Next)
    })?;
    Ok(page)
}

fn stored(ordinal: u64, record: &RawRecord) -> StoredDeadLetter {
    let id = record.header(HEADER_ID).map(|id| String::from_utf8_lossy(id).into_owned());
    let letter = serde_json::from_slice(&record.value).unwrap_or_else(|error| {
        // Shown all the same, so that one odd letter hides no other.
        let time = Timestamp::from_epoch_ms(record.timestamp_ms).map(|time| time.as_str().to_owned());
        DeadLetter::new("coord.dlq", &record.value, format!("letter can't be read: {error}"), time.unwrap_or_default())
    });
    StoredDeadLetter { cursor: ordinal.to_string(), id, letter }
}
