//! Collecting the files, in the order that `backup` explains.

use std::{
    collections::VecDeque,
    fs::{self, File},
    io::{self, BufWriter, Seek as _, Write},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::atomic::AtomicBool,
};

use rusqlite::{Connection, backup::StepResult};

use super::{
    BackupError, FORMAT, Label,
    archive::{ArchiveWriter, Beside, create, folder_of},
    error::fault_text,
};
use crate::{
    data_dir::{self, DataDir, DataDirError},
    segment::{SegmentCopy, SegmentError, SegmentSet},
    sqlite,
};

/// Newest segments of a partition that are opened at the log's moment, so that retention can't take them. The others are opened one
/// after the other.
const SEGMENTS_HELD_MAX: usize = 32;
/// Pages of a database that are copied at a time.
const STEP_PAGES: i32 = 256;
/// Of the disk that the daemon writes to; a backup leaves it free.
const RESERVE_BYTES: u64 = 64 << 20;

/// Where an archive goes.
pub enum BackupTarget<'a> {
    /// A file, mode 0600; it replaces one of that name, in one step and when it is whole.
    File(&'a Path),
    /// As it is made: what was written when an error came is no backup, and `unpack` says so. Copies of databases lie in the folder
    /// while they are made.
    Stream { out: &'a mut dyn Write, folder: &'a Path },
}

/// What was saved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupSummary {
    pub label: Label,
    /// Of the data directory.
    pub files: usize,
    /// Of the archive.
    pub bytes: u64,
    /// Whether a daemon, or another program, had the directory.
    pub is_running: bool,
}

/// Saves the data directory `path`. Blocks on the disk. `version`: of the program; `now_ms`: ms since 1970. It ends early once
/// `cancelled` is true.
///
/// # Errors
/// [`BackupError`]; nothing stands under the final name.
pub fn back_up(
    path: &Path,
    target: BackupTarget<'_>,
    version: &str,
    now_ms: i64,
    cancelled: &AtomicBool,
) -> Result<BackupSummary, BackupError> {
    if !path.join("journal").is_dir() {
        return Err(BackupError::NoDataDirectory { path: path.to_owned() });
    }
    // Nobody starts one meanwhile. Where one runs, it goes on.
    let lock = match DataDir::open(path) {
        Ok(lock) => Some(lock),
        Err(DataDirError::Held { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    let label = Label { format: FORMAT, orinoco: version.to_owned(), created_ms: now_ms };
    let is_running = lock.is_none();
    let (files, bytes) = match target {
        BackupTarget::Stream { out, folder } => {
            check_room(path, folder, largest_database(path))?;
            let archive = ArchiveWriter::begin(out, Path::new("the output"), label.clone(), cancelled)?;
            collect(path, &folder.join("orinoco-backup"), archive)?
        }
        BackupTarget::File(file) => write_file(path, file, &label, cancelled)?,
    };
    Ok(BackupSummary { label, files, bytes, is_running })
}

fn write_file(path: &Path, file: &Path, label: &Label, cancelled: &AtomicBool) -> Result<(usize, u64), BackupError> {
    let failed = |source| BackupError::Target { path: file.to_owned(), source };
    // What stands there goes when the archive takes its name: that must not be a device.
    if file.file_name().is_none() || fs::metadata(file).is_ok_and(|metadata| !metadata.is_file()) {
        return Err(failed(io::Error::other("it is no regular file")));
    }
    let needed_bytes = bytes_below(path).map_err(failed_at(path))? + largest_database(path);
    check_room(path, folder_of(file), needed_bytes)?;
    let beside = Beside::of(file, "new").map_err(failed)?;
    let created = create(beside.path()).map_err(failed)?;
    let mut out = BufWriter::new(&created);
    let written = collect(path, file, ArchiveWriter::begin(&mut out, file, label.clone(), cancelled)?)?;
    drop(out);
    created.sync_all().and_then(|()| beside.rename(file)).map_err(failed)?;
    Ok(written)
}

/// What is made in `folder` (the archive, and beside it one database at a time) must fit; on the daemon's own disk it must leave that room.
fn check_room(path: &Path, folder: &Path, needed_bytes: u64) -> Result<(), BackupError> {
    let failed = |at: &Path| {
        let path = at.to_owned();
        move |source| BackupError::Target { path, source }
    };
    let is_shared =
        fs::metadata(folder).map_err(failed(folder))?.dev() == fs::metadata(path).map_err(failed(path))?.dev();
    let space = rustix::fs::statvfs(folder).map_err(io::Error::from).map_err(failed(folder))?;
    let reserve_bytes = if is_shared { RESERVE_BYTES } else { 0 };
    let free_bytes = space.f_bavail.saturating_mul(space.f_frsize).saturating_sub(reserve_bytes);
    if free_bytes < needed_bytes {
        return Err(BackupError::NoRoom { path: folder.to_owned(), needed_bytes, free_bytes });
    }
    Ok(())
}

fn bytes_below(directory: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        bytes += match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => bytes_below(&entry.path())?,
            Ok(metadata) => metadata.len(),
            // Removed since.
            Err(_) => 0,
        };
    }
    Ok(bytes)
}

fn largest_database(path: &Path) -> u64 {
    let length = |name: &&str| fs::metadata(path.join(name)).map_or(0, |metadata| metadata.len());
    DATABASES.iter().map(length).max().unwrap_or(0)
}

const DATABASES: [&str; 3] = ["logins.sqlite", "accounts.sqlite", "coordinates.sqlite"];

/// All files of `path`. Copies of databases are made under names beside `near`.
fn collect(path: &Path, near: &Path, mut archive: ArchiveWriter<'_>) -> Result<(usize, u64), BackupError> {
    let [logins, accounts, coordinates] = DATABASES;
    for name in [logins, accounts] {
        if let Some(held) = HeldDatabase::begin(&path.join(name))? {
            held.copy(near, &archive)?.add(name, &mut archive)?;
        }
    }
    for name in ["keys.json", "leases.json", "partitions"] {
        add_small(path, name, &mut archive)?;
    }
    // While none is committed, each may be the one that the log has not.
    for copy in SegmentSet::open_read_only(&path.join("journal"))?.copies() {
        add_segment("journal", copy?, &mut archive)?;
    }
    for name in ["journal/id", "journal/checkpoint.json"] {
        add_small(path, name, &mut archive)?;
    }
    let held_coordinates = HeldDatabase::begin(&path.join(coordinates))?;
    let log = HeldLog::open(&data_dir::log_of(path))?;
    // Before the log, whose writing may wait for a slow reader: until a transaction ends, the daemon's write-ahead log grows.
    let copied_coordinates = held_coordinates.map(|held| held.copy(near, &archive)).transpose()?;
    add_small(path, "log/meta.json", &mut archive)?;
    log.add(&mut archive)?;
    if let Some(copied) = copied_coordinates {
        copied.add(coordinates, &mut archive)?;
    }
    archive.finish()
}

fn failed_at(path: &Path) -> impl FnOnce(io::Error) -> BackupError {
    |error| BackupError::Source { path: path.to_owned(), reason: error.to_string() }
}

/// A file that is replaced whole; where it is missing, so it is in the archive.
fn add_small(path: &Path, name: &str, archive: &mut ArchiveWriter<'_>) -> Result<(), BackupError> {
    let path = path.join(name);
    match fs::read(&path) {
        Ok(content) => archive.add_bytes(name, &content),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failed_at(&path)(error)),
    }
}

fn add_segment(directory: &str, copy: SegmentCopy, archive: &mut ArchiveWriter<'_>) -> Result<(), BackupError> {
    let (path, file) = (copy.path().to_owned(), copy.file());
    let length = copy.check()?;
    let name = format!("{directory}/{}", path.file_name().unwrap_or_default().display());
    (&*file).rewind().map_err(failed_at(&path))?;
    archive.add(&name, length, &mut &*file, &path)
}

type Copies = Box<dyn Iterator<Item = Result<SegmentCopy, SegmentError>>>;

/// The log's moment: the newest segments of each of its directories, opened.
struct HeldLog(Vec<(String, VecDeque<SegmentCopy>, Copies)>);

impl HeldLog {
    fn open(log: &Path) -> Result<Self, BackupError> {
        let mut held = Vec::new();
        let entries = match fs::read_dir(log) {
            Ok(entries) => entries,
            // Another log is used.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self(held)),
            Err(error) => return Err(failed_at(log)(error)),
        };
        for entry in entries {
            let name = entry.map_err(failed_at(log))?.file_name().to_string_lossy().into_owned();
            if name == "dead-letters" || name.starts_with("partition-") {
                let mut copies: Copies = Box::new(SegmentSet::open_read_only(&log.join(&name))?.copies());
                let newest = copies.by_ref().take(SEGMENTS_HELD_MAX).collect::<Result<_, SegmentError>>()?;
                held.push((format!("log/{name}"), newest, copies));
            }
        }
        Ok(Self(held))
    }

    fn add(self, archive: &mut ArchiveWriter<'_>) -> Result<(), BackupError> {
        for (directory, newest, older) in self.0 {
            for copy in newest.into_iter().map(Ok).chain(older) {
                add_segment(&directory, copy?, archive)?;
            }
        }
        Ok(())
    }
}

/// A database at one moment: an open read transaction.
struct HeldDatabase {
    path: PathBuf,
    connection: Connection,
}

impl HeldDatabase {
    /// `None` where there is none.
    fn begin(path: &Path) -> Result<Option<Self>, BackupError> {
        if !path.try_exists().map_err(failed_at(path))? {
            return Ok(None);
        }
        let connection = sqlite::open_beside(path).map_err(|fault| source_error(path, fault_text(fault)))?;
        let begun = connection
            .execute_batch("BEGIN")
            .and_then(|()| connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0)));
        begun.map_err(|error| source_error(path, error))?;
        Ok(Some(Self { path: path.to_owned(), connection }))
    }

    /// Ends the transaction.
    fn copy(self, near: &Path, archive: &ArchiveWriter<'_>) -> Result<CopiedDatabase, BackupError> {
        let failed = |source| BackupError::Target { path: near.to_owned(), source };
        let beside = Beside::of(near, "sqlite").map_err(failed)?;
        create(beside.path()).map_err(failed)?;
        self.copy_to(beside.path(), archive)?;
        // When this returns, no name of it is left, however the backup ends.
        let file = File::open(beside.path()).map_err(failed)?;
        Ok(CopiedDatabase { path: self.path, file })
    }

    /// Page by page, all of the transaction's moment.
    fn copy_to(&self, target: &Path, archive: &ArchiveWriter<'_>) -> Result<(), BackupError> {
        let failed = |error: rusqlite::Error| match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DiskFull) => {
                BackupError::Target { path: target.to_owned(), source: io::ErrorKind::StorageFull.into() }
            }
            _ => source_error(&self.path, error),
        };
        let mut copy = Connection::open(target).map_err(failed)?;
        // It is thrown away unless it becomes whole.
        copy.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;").map_err(failed)?;
        let backup = rusqlite::backup::Backup::new(&self.connection, &mut copy).map_err(failed)?;
        loop {
            archive.check_cancelled()?;
            match backup.step(STEP_PAGES).map_err(failed)? {
                StepResult::Done => return Ok(()),
                StepResult::More => {}
                // Nobody else has either file open in a way that locks this out.
                _ => return Err(source_error(&self.path, "another program has it locked")),
            }
        }
    }
}

/// A copy without a name.
struct CopiedDatabase {
    /// Of what it is a copy.
    path: PathBuf,
    file: File,
}

impl CopiedDatabase {
    fn add(mut self, name: &str, archive: &mut ArchiveWriter<'_>) -> Result<(), BackupError> {
        let length = self.file.metadata().map_err(failed_at(&self.path))?.len();
        archive.add(name, length, &mut self.file, &self.path)
    }
}

fn source_error(path: &Path, reason: impl ToString) -> BackupError {
    BackupError::Source { path: path.to_owned(), reason: reason.to_string() }
}
