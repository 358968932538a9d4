#![allow(clippy::unwrap_used)]
//! Every difference in an archive is found, nothing else than a data directory comes out of one, and what came out of one passes for
//! nothing that was given out since.

mod beside;

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use orinoco_domain::{
    Axis, DeviceId, Frame, Position, RawRecord,
    account::{Email, PasswordHash, Role},
    pairing::DeviceState,
};
use orinoco_ports::{
    Accounts as _, Applied, Batch, CoordinateStore as _, DeviceUpdate, Journal as _, JournalRecord, Leases as _,
    NewAccount, PublishedFrame, RecordLog as _,
};
use proptest::prelude::*;
use tempfile::TempDir;

use super::{archive::ArchiveWriter, unpack::ArchiveReader, *};
use crate::{
    accounts::SqliteAccounts,
    data_dir::DataDir,
    journal::{FileJournal, JournalOptions},
    leases::LocalLeases,
    log::{FileLog, FileLogOptions},
    power::LEAP,
    segment::{SegmentOptions, SegmentWriter},
    store::{SqliteStore, SqliteStoreOptions},
};

const NOW_MS: i64 = 1_767_323_045_678;
static GOES_ON: AtomicBool = AtomicBool::new(false);

/// A data directory, its archive, and where that is restored to.
struct Setup {
    _folder: TempDir,
    data_dir: PathBuf,
    archive: PathBuf,
    target: PathBuf,
}

impl Setup {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        Self { data_dir: path("data"), archive: path("saved.tar"), target: path("restored"), _folder: folder }
    }

    /// The least that is a data directory.
    fn small() -> Self {
        let setup = Self::new();
        fs::create_dir_all(setup.data_dir.join("journal")).unwrap();
        fs::write(setup.data_dir.join("journal/id"), "abc").unwrap();
        fs::write(setup.data_dir.join("keys.json"), "x".repeat(513)).unwrap();
        setup
    }

    fn save(&self) -> BackupSummary {
        back_up(&self.data_dir, BackupTarget::File(&self.archive), "1.2.3", NOW_MS, &GOES_ON).unwrap()
    }

    fn restore(&self) -> Result<RestoreSummary, RestoreError> {
        unpack(&self.archive, &self.target, &GOES_ON)?.finish()
    }

    /// Restoring these bytes fails, and leaves nothing.
    fn refused(&self, bytes: &[u8], what: &str) -> String {
        fs::write(&self.archive, bytes).unwrap();
        let error = unpack(&self.archive, &self.target, &GOES_ON).map(drop).expect_err(what);
        assert!(!self.target.exists());
        let text = error.to_string();
        assert!(text.contains("saved.tar"), "{text}");
        text
    }

    fn archive_of(&self, label: &Label, files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut writer = ArchiveWriter::begin(&mut bytes, &self.archive, label.clone(), &GOES_ON).unwrap();
        for (name, content) in files {
            writer.add_bytes(name, content).unwrap();
        }
        writer.finish().unwrap();
        bytes
    }
}

fn label(format: u32) -> Label {
    Label { format, orinoco: "9.9.9".to_owned(), created_ms: NOW_MS }
}

#[test]
fn a_flipped_bit_in_any_byte_and_an_end_at_any_byte_are_found() {
    let setup = Setup::new();
    let whole = setup.archive_of(&label(FORMAT), &[("keys.json", &[b'x'; 513]), ("partitions", b"4")]);
    // Without what `unpack` does for a power cut: thousands of archives are read.
    let read = |bytes: &[u8]| {
        fs::write(&setup.archive, bytes).unwrap();
        fs::create_dir(&setup.target).unwrap();
        let content = ArchiveReader::open(&setup.archive, &GOES_ON).unwrap().unpack(&setup.target);
        fs::remove_dir_all(&setup.target).unwrap();
        fs::remove_file(&setup.archive).unwrap();
        content.map(|content| content.entries.len())
    };
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        assert!(read(&bytes).is_err(), "byte {at} of {}", whole.len());
        if at.is_multiple_of(61) {
            assert!(read(&whole[..at]).is_err(), "cut at {at}");
        }
    }
    assert!(read(&[&whole[..], b"\0"].concat()).is_err(), "a byte more");
    assert_eq!(read(&whole).unwrap(), 2);
}

#[test]
fn what_is_wrong_is_named_and_what_is_right_is_restored() {
    let setup = Setup::small();
    assert_eq!(setup.save().files, 2);
    let whole = fs::read(&setup.archive).unwrap();
    let at = whole.windows(3).position(|bytes| bytes == b"xxx").unwrap();
    let mut bytes = whole.clone();
    bytes[at] = b'y';
    assert!(setup.refused(&bytes, "flipped").contains("damaged: keys.json is not what was saved"));
    assert!(setup.refused(&whole[..at], "cut").contains("ends within keys.json"));
    assert!(setup.refused(b"PK", "another").contains("is no backup of orinoco"));
    fs::write(&setup.archive, &whole).unwrap();
    setup.restore().unwrap();
    assert_eq!(fs::read_to_string(setup.target.join("journal/id")).unwrap(), "abc");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn any_bytes_in_place_of_others_are_found(at in 0..9_000_usize, replacement in prop::collection::vec(any::<u8>(), 1..600)) {
        let setup = Setup::small();
        setup.save();
        let whole = fs::read(&setup.archive).unwrap();
        let mut bytes = whole.clone();
        let start = at % bytes.len();
        let end = (start + replacement.len()).min(bytes.len());
        bytes.splice(start..end, replacement);
        prop_assume!(bytes != whole);
        setup.refused(&bytes, "replaced");
    }
}

#[test]
fn what_has_no_place_in_a_data_directory_is_refused_and_so_is_a_newer_format() {
    let setup = Setup::new();
    for name in ["../evil", "/etc/passwd", "journal/../../evil", "lock", "control.sock", "journal/run.json"] {
        let bytes = setup.archive_of(&label(FORMAT), &[("keys.json", b"{}"), (name, b"evil")]);
        let text = setup.refused(&bytes, name);
        assert!(text.contains(name) && text.contains("has no place"), "{text}");
    }
    let twice = setup.archive_of(&label(FORMAT), &[("keys.json", b"{}"), ("keys.json", b"{}")]);
    assert!(setup.refused(&twice, "twice").contains("keys.json is there twice"));
    let large = setup.archive_of(&label(FORMAT), &[("keys.json", &vec![b'x'; (1 << 20) + 1])]);
    assert!(setup.refused(&large, "too large").contains("keys.json says that it has 1048577 bytes"));
    let newer = setup.archive_of(&label(FORMAT + 1), &[("something new", b"")]);
    assert!(setup.refused(&newer, "newer").contains("restore it with orinoco 9.9.9"));
    let left = fs::read_dir(setup.archive.parent().unwrap()).unwrap().count();
    assert_eq!(left, 1, "only the archive");
}

#[test]
fn only_a_missing_or_an_empty_directory_is_restored_to() {
    let setup = Setup::small();
    setup.save();
    fs::create_dir(&setup.target).unwrap();
    fs::write(setup.target.join("mine"), "").unwrap();
    assert!(matches!(setup.restore(), Err(RestoreError::NotEmpty { .. })));
    fs::remove_file(setup.target.join("mine")).unwrap();
    let held = DataDir::open(&setup.target).unwrap();
    assert!(matches!(setup.restore(), Err(RestoreError::InUse { .. })));
    drop(held);
    fs::remove_file(setup.target.join("lock")).unwrap();
    setup.restore().unwrap();
    assert!(matches!(setup.restore(), Err(RestoreError::NotEmpty { .. })));
    let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(setup.target.clone()), mode(setup.target.join("keys.json"))), (0o700, 0o600));
    assert_eq!(mode(setup.archive.clone()), 0o600);
}

#[test]
fn a_target_that_can_t_be_written_leaves_nothing_and_the_archive_before_as_it_was() {
    let setup = Setup::small();
    setup.save();
    let before = fs::read(&setup.archive).unwrap();
    let target = setup.archive.with_file_name("no folder").join("saved.tar");
    let refused = back_up(&setup.data_dir, BackupTarget::File(&target), "1", NOW_MS, &GOES_ON).unwrap_err();
    assert!(matches!(refused, BackupError::Target { .. }), "{refused}");
    for odd in ["/dev/null", "/"] {
        let refused = back_up(&setup.data_dir, BackupTarget::File(odd.as_ref()), "1", NOW_MS, &GOES_ON).unwrap_err();
        assert!(refused.to_string().contains("no regular file"), "{refused}");
    }
    // A segment that is damaged in its middle.
    let mut writer = segments(&setup.data_dir.join("journal"));
    append(&mut writer, 3);
    drop(writer);
    let path = setup.data_dir.join("journal/00000000000000000001.segment");
    let mut bytes = fs::read(&path).unwrap();
    bytes[60] ^= 1;
    fs::write(&path, bytes).unwrap();
    let refused = back_up(&setup.data_dir, BackupTarget::File(&setup.archive), "1", NOW_MS, &GOES_ON).unwrap_err();
    assert!(refused.to_string().contains("00000000000000000001.segment: damaged at byte 48"), "{refused}");
    assert_eq!(fs::read(&setup.archive).unwrap(), before);
    let folder = setup.archive.parent().unwrap();
    assert_eq!(fs::read_dir(folder).unwrap().count(), 2, "the data directory and the archive");
    // Nothing of it is on the disk, but it would be in the archive.
    fs::File::create(setup.data_dir.join("accounts.sqlite")).unwrap().set_len(1 << 43).unwrap();
    let refused = back_up(&setup.data_dir, BackupTarget::File(&setup.archive), "1", NOW_MS, &GOES_ON).unwrap_err();
    assert!(matches!(refused, BackupError::NoRoom { .. }), "{refused}");
    assert!(matches!(
        back_up(folder, BackupTarget::File(&setup.archive), "1", NOW_MS, &GOES_ON),
        Err(BackupError::NoDataDirectory { .. })
    ));
}

#[test]
fn what_is_interrupted_leaves_nothing() {
    let setup = Setup::small();
    let interrupted = AtomicBool::new(true);
    let saved = back_up(&setup.data_dir, BackupTarget::File(&setup.archive), "1", NOW_MS, &interrupted);
    assert!(matches!(saved, Err(BackupError::Cancelled)));
    assert!(!setup.archive.exists());
    setup.save();
    let restored = unpack(&setup.archive, &setup.target, &interrupted).map(drop);
    assert!(matches!(restored, Err(RestoreError::Cancelled)));
    assert_eq!(fs::read_dir(setup.archive.parent().unwrap()).unwrap().count(), 2);
}

fn segments(directory: &std::path::Path) -> SegmentWriter {
    SegmentWriter::open(directory, SegmentOptions { segment_bytes_max: 1 }, 1, 0).unwrap()
}

fn append(writer: &mut SegmentWriter, records: usize) {
    let mut frames = writer.frames();
    for _ in 0..records {
        frames.push(|bytes| bytes.extend_from_slice(b"record")).unwrap();
    }
    writer.append(&frames, 0).unwrap();
}

#[test]
fn segments_are_copied_newest_first_and_a_removed_one_ends_that() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = segments(directory.path());
    for _ in 0..4 {
        append(&mut writer, 1);
    }
    let set = crate::segment::SegmentSet::open_read_only(directory.path()).unwrap();
    let mut copies = set.copies();
    let newest = copies.next().unwrap().unwrap();
    assert!(newest.path().ends_with("00000000000000000004.segment"));
    // Opened before it is removed, it is still there.
    let third = copies.next().unwrap().unwrap();
    writer.set().remove_oldest(|oldest| oldest.end <= 4).unwrap();
    let bytes = third.check().unwrap();
    assert_eq!(bytes, newest.check().unwrap());
    assert!(copies.next().is_none());
    // A write that was cut short by a power cut, and one that is under way, are left out.
    let path = directory.path().join("00000000000000000004.segment");
    let whole = fs::read(&path).unwrap();
    for torn in [&b"\x06"[..], b"\x06\0\0\0\x01\x02\x03\x04record", &[0; 40]] {
        fs::write(&path, [&whole[..], torn].concat()).unwrap();
        let set = crate::segment::SegmentSet::open_read_only(directory.path()).unwrap();
        let newest = set.copies().next().unwrap().unwrap();
        assert_eq!(newest.check().unwrap(), bytes);
    }
}

fn device() -> DeviceId {
    DeviceId::parse("samu31").unwrap()
}

fn journal_record() -> JournalRecord {
    JournalRecord {
        topic: "coordX".to_owned(),
        payload: b"1".to_vec(),
        traceparent: None,
        packet_id: None,
        redelivered: false,
        ingest_epoch: 1,
        received_ms: 1,
    }
}

fn open_journal(directory: &DataDir) -> FileJournal {
    FileJournal::open(&directory.journal(), JournalOptions::default()).unwrap()
}

fn open_log(directory: &DataDir) -> FileLog {
    FileLog::open(&directory.log(), FileLogOptions { partitions: 1, ..FileLogOptions::default() }).unwrap()
}

fn open_store(directory: &DataDir, recent_bytes_max: usize) -> SqliteStore {
    let options = SqliteStoreOptions { recent_bytes_max, ..SqliteStoreOptions::default() };
    SqliteStore::open(&directory.coordinates(), options).unwrap()
}

async fn lease(directory: &DataDir) -> u64 {
    let leases = LocalLeases::open(&directory.leases(), "me").unwrap();
    leases.hold(&["ingest".to_owned()], 1, Duration::from_secs(1)).await.unwrap()[0].epoch
}

/// One frame, and what it leads to.
async fn apply(store: &SqliteStore, revision: u64) -> Applied {
    let (offset, epoch) = (revision + 1, store.epoch(0).await.unwrap());
    let json = format!(r#"{{"offset":{offset},"epoch":"{epoch}"}}"#).into();
    let frames = vec![PublishedFrame { frame: Frame { device: device(), offset, json }, is_latest: true }];
    let state = DeviceState { head: offset, ..DeviceState::default() };
    let batch = Batch {
        partition: 0,
        fence: 1,
        revision,
        from: Position { x: revision.cast_signed(), y: 0 },
        to: Position { x: offset.cast_signed(), y: 0 },
        marks: vec![("journal".to_owned(), offset)],
        devices: vec![DeviceUpdate { device: device(), state, frames }],
        history_max: 10,
    };
    store.apply(&batch).await.unwrap()
}

async fn sign_up(directory: &DataDir, name: &str) -> i64 {
    let accounts = SqliteAccounts::open(&directory.accounts()).unwrap();
    let new = NewAccount {
        email: Email::parse(&format!("{name}@example.org")).unwrap(),
        password_hash: PasswordHash::from_phc("$scrypt$ln=17,r=8,p=1$c2FsdA$aGFzaA"),
        orin_id: None,
        roles: BTreeSet::from([Role::User]),
    };
    accounts.create(&new).await.unwrap().id.0
}

async fn epochs(store: &SqliteStore) -> (Arc<str>, BTreeSet<String>) {
    let page = store.history(0, &device(), 0, 100).await.unwrap();
    let latest = store.latest(0, &device()).await.unwrap().unwrap().latest;
    let epoch_of = |frame: &Frame| {
        let value: serde_json::Value = serde_json::from_str(&frame.json).unwrap();
        value["epoch"].as_str().unwrap().to_owned()
    };
    (store.epoch(0).await.unwrap(), page.frames.iter().chain([&latest]).map(epoch_of).collect())
}

#[tokio::test]
async fn numbers_and_epochs_given_out_since_are_never_given_out_again() {
    let setup = Setup::new();
    let directory = DataDir::open(&setup.data_dir).unwrap();
    let (journal, log) = (open_journal(&directory), open_log(&directory));
    // Of four frames the first ones are in the tables of history, the last one waits for that.
    let store = open_store(&directory, 0);
    for revision in 0..3 {
        assert_eq!(apply(&store, revision).await, Applied::Done);
    }
    drop(store);
    let store = open_store(&directory, 1 << 20);
    assert_eq!(apply(&store, 3).await, Applied::Done);
    for _ in 0..3 {
        journal.append(&journal_record()).unwrap();
        log.produce(0, &[(Axis::X, RawRecord::default())]).await.unwrap();
    }
    journal.commit(2).unwrap();
    let (before, shown) = epochs(&store).await;
    assert_eq!(shown, BTreeSet::from([before.to_string()]));
    let (epoch, first) = (lease(&directory).await, sign_up(&directory, "ada").await);

    // Beside the one who has it.
    let summary = setup.save();
    assert_eq!((summary.is_running, summary.label.created_ms), (true, NOW_MS));
    let summary = setup.restore().unwrap();
    assert_eq!(summary.label.orinoco, "1.2.3");
    let restored = DataDir::open(&setup.target).unwrap();
    let (journal, log) = (open_journal(&restored), open_log(&restored));
    assert!(journal.append(&journal_record()).unwrap() > LEAP);
    assert_eq!(journal.read_after(2, usize::MAX).unwrap().len(), 2, "the one that was not committed, and the new one");
    let (from, end) = log.bounds(0).await.unwrap();
    assert!(from.x == 0 && end.x > LEAP.cast_signed() && end.y >= LEAP.cast_signed(), "{end:?}");
    let fetched = log.fetch(0, Position { x: 1, y: 0 }, 1 << 20, Duration::ZERO).await.unwrap();
    assert_eq!((fetched.records.len(), fetched.end), (2, end));
    assert_eq!(lease(&restored).await, epoch + LEAP + 1);
    assert!(sign_up(&restored, "grace").await > first + (1 << 20));
    let store = open_store(&restored, 1 << 20);
    let (after, shown) = epochs(&store).await;
    assert_ne!(after, before);
    assert_eq!(shown, BTreeSet::from([after.to_string()]), "in history, in what waits for it, and in the latest");
    assert_eq!(apply(&store, 4).await, Applied::Done, "it goes on where it was");
    assert_eq!(store.history(0, &device(), 0, 100).await.unwrap().frames.len(), 5);
}
