//! The segments there are, as readers see them.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::SystemTime,
};

use super::{
    SegmentError,
    header::{EXTENSION, HEADER_BYTES, Header},
};
use crate::files;

/// One file. `end` is what readers may read up to.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(super) path: PathBuf,
    pub(super) header: Header,
    /// Byte after the last whole frame.
    pub(super) end: AtomicU64,
    /// Of the last segment, which is read all the time; others are opened by each reader, so that descriptors don't grow with what is
    /// retained.
    file: Mutex<Option<Arc<File>>>,
    has_successor: AtomicBool,
    /// Some records and where they begin, in order: (ordinal, byte). Grows as records are written, or first read.
    pub(super) index: Mutex<Vec<(u64, u64)>>,
}

/// How far apart the entries of a segment's index are.
pub(super) const INDEX_EVERY_BYTES: u64 = 64 << 10;

impl Segment {
    pub(super) fn new(path: PathBuf, header: Header, end: u64, file: Option<Arc<File>>) -> Self {
        Self {
            path,
            header,
            end: AtomicU64::new(end),
            file: Mutex::new(file),
            has_successor: AtomicBool::new(false),
            index: Mutex::new(vec![(header.base, HEADER_BYTES as u64)]),
        }
    }

    pub(super) fn end(&self) -> u64 {
        self.end.load(Ordering::Acquire)
    }

    pub(super) fn file(&self) -> Result<Arc<File>, SegmentError> {
        let mut held = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = &*held {
            return Ok(Arc::clone(file));
        }
        let file = Arc::new(File::open(&self.path).map_err(SegmentError::io(&self.path))?);
        if !self.has_successor.load(Ordering::Acquire) {
            *held = Some(Arc::clone(&file));
        }
        Ok(file)
    }

    /// There is another one behind it from now on.
    fn succeeded(&self) {
        let mut held = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        self.has_successor.store(true, Ordering::Release);
        *held = None;
    }

    pub(super) fn index(&self) -> MutexGuard<'_, Vec<(u64, u64)>> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a place, if it lies far enough behind the last one noted.
    pub(super) fn note(&self, ordinal: u64, byte: u64) {
        let mut index = self.index();
        if index.last().is_none_or(|(_, last)| byte >= last + INDEX_EVERY_BYTES) {
            index.push((ordinal, byte));
        }
    }
}

/// All segments, oldest first; never empty once opened for writing.
#[derive(Debug)]
pub(crate) struct SegmentSet {
    directory: PathBuf,
    list: RwLock<Vec<Arc<Segment>>>,
}

impl SegmentSet {
    pub(super) fn new(directory: PathBuf, list: Vec<Arc<Segment>>) -> Self {
        if let [earlier @ .., _] = &list[..] {
            earlier.iter().for_each(|segment| segment.succeeded());
        }
        Self { directory, list: RwLock::new(list) }
    }

    /// The segments of `directory` as they are, for reading beside the process that writes them. A frame at the end that is not
    /// whole is passed over.
    ///
    /// # Errors
    /// [`SegmentError`].
    pub(crate) fn open_read_only(directory: &Path) -> Result<Self, SegmentError> {
        let mut list = list_segments(directory)?;
        // A segment whose head is still being written has no records.
        list.retain(|(_, found)| found.is_some());
        let list = list.into_iter().filter_map(|(_, found)| found).map(Arc::new).collect();
        Ok(Self::new(directory.to_owned(), list))
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    fn read_list(&self) -> std::sync::RwLockReadGuard<'_, Vec<Arc<Segment>>> {
        self.list.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn segments(&self) -> Vec<Arc<Segment>> {
        self.read_list().clone()
    }

    pub(super) fn push(&self, segment: Arc<Segment>) {
        let mut list = self.list.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(last) = list.last() {
            last.succeeded();
        }
        list.push(segment);
    }

    pub(super) fn successor(&self, of: &Segment) -> Option<Arc<Segment>> {
        self.read_list().iter().find(|segment| segment.header.base > of.header.base).cloned()
    }

    /// Ordinal of the first record held (or of the next one, where none is held), and the mark that belongs to it.
    pub(crate) fn first(&self) -> (u64, u64) {
        self.read_list().first().map_or((0, 0), |segment| (segment.header.base, segment.header.mark))
    }

    /// Ordinal and mark that the last segment begins with.
    pub(crate) fn last(&self) -> (u64, u64) {
        self.read_list().last().map_or((0, 0), |segment| (segment.header.base, segment.header.mark))
    }

    /// Makes all that was written before now safe from a power cut, by whomever it was written.
    ///
    /// # Errors
    /// [`SegmentError::Io`].
    pub(crate) fn sync_all(&self) -> Result<(), SegmentError> {
        for segment in self.segments() {
            let synced = File::open(&segment.path).and_then(|file| file.sync_data());
            synced.map_err(SegmentError::io(&segment.path))?;
        }
        files::sync_directory(&self.directory).map_err(SegmentError::io(&self.directory))
    }

    /// Bytes on disk.
    pub(crate) fn bytes(&self) -> u64 {
        self.read_list().iter().map(|segment| segment.end()).sum()
    }

    /// Records with an ordinal of `from` or more; `next` is the ordinal after the last.
    pub(crate) fn records_from(&self, from: u64, next: u64) -> u64 {
        let list = self.read_list();
        let ends = list.iter().skip(1).map(|segment| segment.header.previous_end).chain([next]);
        list.iter().zip(ends).map(|(segment, end)| end.saturating_sub(segment.header.base.max(from))).sum()
    }

    /// Ordinal from which on there are `records` records, or all where there are fewer; `next` is the ordinal after the last.
    pub(crate) fn ordinal_from_end(&self, records: u64, next: u64) -> u64 {
        let list = self.read_list();
        let (mut wanted, mut end) = (records, next);
        for segment in list.iter().rev() {
            let held = end.saturating_sub(segment.header.base);
            if held >= wanted {
                return end - wanted;
            }
            wanted -= held;
            end = segment.header.previous_end;
        }
        list.first().map_or(next, |segment| segment.header.base)
    }

    /// Removes the oldest segments for as long as `is_unneeded` says so, never the last one. Returns how many.
    ///
    /// # Errors
    /// [`SegmentError::Io`]; those removed so far are.
    pub(crate) fn remove_oldest(&self, is_unneeded: impl Fn(&OldestSegment) -> bool) -> Result<usize, SegmentError> {
        let mut removed = 0;
        loop {
            let oldest = {
                let list = self.read_list();
                let [oldest, successor, ..] = &list[..] else { return Ok(removed) };
                let summary = OldestSegment {
                    bytes: oldest.end(),
                    bytes_in_all: list.iter().map(|segment| segment.end()).sum(),
                    end: successor.header.previous_end,
                    path: &oldest.path,
                };
                if !is_unneeded(&summary) {
                    return Ok(removed);
                }
                Arc::clone(oldest)
            };
            match fs::remove_file(&oldest.path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(SegmentError::io(&oldest.path)(error));
                }
                _ => {}
            }
            self.list.write().unwrap_or_else(PoisonError::into_inner).retain(|held| !Arc::ptr_eq(held, &oldest));
            removed += 1;
        }
    }
}

/// What is asked about before a segment is removed.
#[derive(Debug)]
pub(crate) struct OldestSegment<'a> {
    pub(crate) bytes: u64,
    /// Of this one and all after it.
    pub(crate) bytes_in_all: u64,
    /// Ordinal after its last record.
    pub(crate) end: u64,
    path: &'a Path,
}

impl OldestSegment<'_> {
    /// When it was last written to.
    pub(crate) fn written(&self) -> Option<SystemTime> {
        fs::metadata(self.path).and_then(|metadata| metadata.modified()).ok()
    }
}

/// The segment files of a directory, oldest first; `None` for one that ends within its head.
pub(super) fn list_segments(directory: &Path) -> Result<Vec<(PathBuf, Option<Segment>)>, SegmentError> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(directory).map_err(SegmentError::io(directory))? {
        let path = entry.map_err(SegmentError::io(directory))?.path();
        if path.extension().is_some_and(|extension| extension == EXTENSION) {
            paths.push(path);
        }
    }
    // Names are numbers of equal length.
    paths.sort();
    let mut list = Vec::with_capacity(paths.len());
    for path in paths {
        let file = match File::open(&path) {
            Ok(file) => file,
            // Removed since, by the process that writes.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(SegmentError::io(&path)(error)),
        };
        let end = file.metadata().map_err(SegmentError::io(&path))?.len();
        let header = Header::read(&file, &path)?;
        list.push((path.clone(), header.map(|header| Segment::new(path, header, end, None))));
    }
    Ok(list)
}
