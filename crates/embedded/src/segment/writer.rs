//! Appending. There is one writer to a directory.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
    time::SystemTime,
};

use super::{
    FrameBuffer, SegmentError, SegmentOptions, SegmentSet,
    header::{HEADER_BYTES, Header},
    recovery::recover,
    set::Segment,
};
use crate::files;

/// The one that appends.
#[derive(Debug)]
pub(crate) struct SegmentWriter {
    set: Arc<SegmentSet>,
    options: SegmentOptions,
    active: Arc<Segment>,
    file: Arc<File>,
    next: u64,
    salt: u32,
    /// What a failed write left could not be cut off yet.
    has_leftover: bool,
    /// Full segments, and whether segments were made, since `unsynced` was asked last.
    sealed: Vec<(PathBuf, Arc<File>)>,
    made_segment: bool,
}

/// What must be done for all that was appended so far to survive a power cut. Needs no lock.
#[derive(Debug)]
pub(crate) struct SyncTask {
    files: Vec<(PathBuf, Arc<File>)>,
    directory: Option<PathBuf>,
}

impl SyncTask {
    /// # Errors
    /// [`SegmentError::Io`]: what was appended may be lost, even where a later call succeeds (the kernel reports a failed write once).
    pub(crate) fn run(&self) -> Result<(), SegmentError> {
        // Oldest first, so that what is on disk has no hole.
        for (path, file) in &self.files {
            file.sync_data().map_err(SegmentError::io(path))?;
        }
        if let Some(directory) = &self.directory {
            files::sync_directory(directory).map_err(SegmentError::io(directory))?;
        }
        Ok(())
    }
}

impl SegmentWriter {
    /// Opens the segments of `directory` (made if missing), cuts off a torn tail, and is ready to append. Where there is no segment
    /// the first record gets the ordinal `first`, with `mark`.
    ///
    /// # Errors
    /// [`SegmentError`].
    pub(crate) fn open(directory: &Path, options: SegmentOptions, first: u64, mark: u64) -> Result<Self, SegmentError> {
        files::create_directory(directory).map_err(SegmentError::io(directory))?;
        let (segments, next) = recover(directory)?;
        let list: Vec<Arc<Segment>> = segments.into_iter().map(Arc::new).collect();
        let (active, file, next, made_segment) = match list.last() {
            Some(active) => {
                let file = files::private_file().open(&active.path).map_err(SegmentError::io(&active.path))?;
                (Arc::clone(active), Arc::new(file), next, false)
            }
            None => {
                let salt = files::random_u64().map_err(SegmentError::io(directory))? as u32;
                let header = Header { base: first, previous_base: first, previous_end: first, mark, salt };
                let (active, file) = make_segment(directory, header)?;
                (active, file, first, true)
            }
        };
        let set = SegmentSet::new(directory.to_owned(), list);
        if made_segment {
            set.push(Arc::clone(&active));
        }
        let salt = active.header.salt;
        let set = Arc::new(set);
        Ok(Self { set, options, active, file, next, salt, has_leftover: false, sealed: Vec::new(), made_segment })
    }

    pub(crate) fn set(&self) -> &Arc<SegmentSet> {
        &self.set
    }

    /// Ordinal of the next record.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// Ordinal after the last record there ever was; below `next` where a leap was the last thing that happened.
    pub(crate) fn end(&self) -> u64 {
        if self.next == self.active.header.base { self.active.header.previous_end } else { self.next }
    }

    /// Ordinal of the first record of the segment that is appended to.
    pub(crate) fn active_base(&self) -> u64 {
        self.active.header.base
    }

    pub(crate) fn frames(&self) -> FrameBuffer {
        FrameBuffer::new(self.salt)
    }

    /// Bytes that appending `frames` would add to the disk.
    pub(crate) fn cost_bytes(&self, frames: &FrameBuffer) -> u64 {
        let header_bytes = if self.is_active_full() { HEADER_BYTES as u64 } else { 0 };
        frames.as_bytes().len() as u64 + header_bytes
    }

    /// Whether the next append begins a new segment.
    pub(crate) fn is_active_full(&self) -> bool {
        self.active.end() >= self.options.segment_bytes_max && self.next > self.active.header.base
    }

    /// When the active segment was last written to; `None` where it is empty.
    pub(crate) fn last_written(&self) -> Option<SystemTime> {
        if self.next == self.active.header.base {
            return None;
        }
        self.file.metadata().and_then(|metadata| metadata.modified()).ok()
    }

    /// Appends all of `frames` with one write; returns the ordinal of the first. `mark` belongs to that ordinal.
    ///
    /// # Errors
    /// [`SegmentError::Io`]: nothing was appended.
    pub(crate) fn append(&mut self, frames: &FrameBuffer, mark: u64) -> Result<u64, SegmentError> {
        self.cut_leftover()?;
        if self.is_active_full() {
            self.roll(self.next, mark)?;
        }
        let end = self.active.end();
        if let Err(error) = write_at_once(&self.file, frames.as_bytes(), end) {
            self.has_leftover = true;
            // Tried again before the next append.
            let _ = self.cut_leftover();
            return Err(SegmentError::io(&self.active.path)(error));
        }
        self.active.note(self.next, end);
        self.active.end.store(end + frames.as_bytes().len() as u64, Ordering::Release);
        let first = self.next;
        self.next += frames.records();
        Ok(first)
    }

    fn cut_leftover(&mut self) -> Result<(), SegmentError> {
        if self.has_leftover {
            self.file.set_len(self.active.end()).map_err(SegmentError::io(&self.active.path))?;
            self.has_leftover = false;
        }
        Ok(())
    }

    /// Begins a new segment, so that the ones before may be removed. Nothing happens where the active one is empty.
    ///
    /// # Errors
    /// [`SegmentError::Io`]: the active one goes on.
    pub(crate) fn seal(&mut self, mark: u64) -> Result<(), SegmentError> {
        if self.next == self.active.header.base {
            return Ok(());
        }
        self.cut_leftover()?;
        self.roll(self.next, mark)
    }

    /// Goes on at ordinal `to`, so that no ordinal below is ever used again.
    ///
    /// # Errors
    /// [`SegmentError::Io`].
    pub(crate) fn leap(&mut self, to: u64, mark: u64) -> Result<(), SegmentError> {
        debug_assert!(to > self.next, "a leap goes forward");
        self.cut_leftover()?;
        self.roll(to, mark)?;
        self.next = to;
        Ok(())
    }

    fn roll(&mut self, base: u64, mark: u64) -> Result<(), SegmentError> {
        let header =
            Header { base, previous_base: self.active.header.base, previous_end: self.next, mark, salt: self.salt };
        let (active, file) = make_segment(self.set.directory(), header)?;
        self.sealed.push((self.active.path.clone(), Arc::clone(&self.file)));
        self.made_segment = true;
        self.set.push(Arc::clone(&active));
        self.active = active;
        self.file = file;
        Ok(())
    }

    /// What to sync for everything appended so far, and the ordinal after that. Full segments are handed out once.
    pub(crate) fn unsynced(&mut self) -> (SyncTask, u64) {
        let mut task = self.unsynced_sealed();
        task.files.push((self.active.path.clone(), Arc::clone(&self.file)));
        (task, self.next)
    }

    /// The same for full segments only.
    pub(crate) fn unsynced_sealed(&mut self) -> SyncTask {
        let directory = std::mem::take(&mut self.made_segment).then(|| self.set.directory().to_owned());
        SyncTask { files: std::mem::take(&mut self.sealed), directory }
    }
}

fn make_segment(directory: &Path, header: Header) -> Result<(Arc<Segment>, Arc<File>), SegmentError> {
    let path = header.path(directory);
    let file = files::private_file().create_new(true).open(&path).map_err(SegmentError::io(&path))?;
    if let Err(error) = write_at_once(&file, &header.encode(), 0) {
        // Without its head it would stand in the way of the next try.
        let _ = fs::remove_file(&path);
        return Err(SegmentError::io(&path)(error));
    }
    let file = Arc::new(file);
    let segment = Segment::new(path, header, HEADER_BYTES as u64, Some(Arc::clone(&file)));
    Ok((Arc::new(segment), file))
}

/// One `pwrite`; what it wrote short is an error, with the cause that the rest of the write gives.
fn write_at_once(file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
    let written = loop {
        match file.write_at(bytes, at) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => break result?,
        }
    };
    if written < bytes.len() {
        // A full disk writes short first, and says why only then.
        file.write_all_at(&bytes[written..], at + written as u64)?;
    }
    Ok(())
}
