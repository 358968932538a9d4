//! One partition of `coordX` and `coordY` together.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use orinoco_domain::{Axis, Position, RawRecord};
use orinoco_ports::{Fetched, LogError};
use tokio::sync::watch;

use super::{
    FileLogOptions, RECORD_BYTES_MAX, interrupted,
    read::{Collector, furthest, position_before},
    record::{self, Stand},
    tail::{Chunk, Tail},
    writer::LogWriter,
};
use crate::{
    power::LEAP,
    segment::{FrameBuffer, Place, SegmentError, SegmentSet, Step},
};

#[derive(Debug)]
pub(super) struct Partition {
    number: u32,
    set: Arc<SegmentSet>,
    writer: Arc<tokio::sync::Mutex<LogWriter>>,
    /// Exclusive; moves after the records can be read.
    end: watch::Sender<Position>,
    tail: Mutex<Tail>,
    /// Where the last read of the disk ended.
    reader: Mutex<Option<(Position, Place)>>,
}

impl Partition {
    pub(super) fn open(
        directory: &Path,
        number: u32,
        options: FileLogOptions,
        power_was_lost: bool,
    ) -> Result<Self, SegmentError> {
        let mut writer = LogWriter::open(directory, options)?;
        let mut end = find_end(&writer)?;
        if power_was_lost {
            // Both offsets leap, and with them the ordinal, which is their sum.
            let leap = LEAP.cast_signed();
            end = Position { x: end.x + leap, y: end.y + leap };
            writer.leap(2 * LEAP, end.x.cast_unsigned())?;
        }
        debug_assert_eq!((end.x + end.y).cast_unsigned(), writer.next(), "ordinal is the sum of both positions");
        writer.retain(end.x.cast_unsigned());
        Ok(Self {
            number,
            set: Arc::clone(writer.set()),
            writer: Arc::new(tokio::sync::Mutex::new(writer)),
            end: watch::Sender::new(end),
            tail: Mutex::new(Tail::new(options.tail_bytes_max)),
            reader: Mutex::new(None),
        })
    }

    pub(super) fn set(&self) -> &SegmentSet {
        &self.set
    }

    pub(super) fn bounds(&self) -> (Position, Position) {
        // In this order: the end never lies before the first.
        let (base, mark) = self.set.first();
        let first = Position { x: mark.cast_signed(), y: (base - mark).cast_signed() };
        (first, *self.end.borrow())
    }

    pub(super) async fn produce(self: &Arc<Self>, records: &[(Axis, RawRecord)]) -> Result<(), LogError> {
        if records.is_empty() {
            return Ok(());
        }
        let mut writer = Arc::clone(&self.writer).lock_owned().await;
        let start = *self.end.borrow();
        let (frames, end) = encode(records, start, writer.frames())?;
        let partition = Arc::clone(self);
        // Once begun it goes on to its end, with the lock, even where the caller gives up.
        let write = move || {
            let ordinal = writer.append(&frames, start.x.cast_unsigned(), end.x.cast_unsigned())?;
            let chunk = Chunk { start, ordinal, frames: Bytes::from(frames.into_bytes()) };
            partition.tail.lock().unwrap_or_else(PoisonError::into_inner).push(chunk);
            partition.end.send_replace(end);
            Ok(writer.make_durable()?)
        };
        tokio::task::spawn_blocking(write).await.map_err(interrupted(self.set.directory()))?
    }

    pub(super) async fn fetch(
        self: &Arc<Self>,
        from: Position,
        bytes_max: usize,
        wait_max: Duration,
    ) -> Result<Fetched, LogError> {
        self.retain_if_due();
        let wait = tokio::time::sleep(wait_max);
        tokio::pin!(wait);
        let mut end_moves = self.end.subscribe();
        let mut position = from;
        loop {
            let end = *end_moves.borrow_and_update();
            self.check_range(position, end)?;
            if position != end {
                let collector = self.collect(position, end, bytes_max).await?;
                position = collector.next;
                if !collector.records.is_empty() {
                    let end = *self.end.borrow();
                    return Ok(Fetched { records: collector.records, next: position, end });
                }
                continue;
            }
            tokio::select! {
                // The sender is `self`'s.
                _ = end_moves.changed() => {}
                () = &mut wait => return Ok(Fetched { records: Vec::new(), next: position, end }),
            }
        }
    }

    fn check_range(&self, position: Position, end: Position) -> Result<(), LogError> {
        let (first, _) = self.bounds();
        for axis in Axis::BOTH {
            let (wanted, first, end) = (position.of(axis), first.of(axis), end.of(axis));
            if wanted < first || wanted > end {
                let end = end.max(first);
                let topic = axis.name().to_owned();
                return Err(LogError::OutOfRange { topic, partition: self.number, wanted, first, end });
            }
        }
        Ok(())
    }

    /// Records from `from` on, up to `end` unless the bound stops it.
    async fn collect(self: &Arc<Self>, from: Position, end: Position, bytes_max: usize) -> Result<Collector, LogError> {
        let chunks = self.tail.lock().unwrap_or_else(PoisonError::into_inner).from(from);
        let mut collector = match chunks {
            Some(chunks) => self.collect_from_memory(&chunks, from, end, bytes_max)?,
            None => {
                let partition = Arc::clone(self);
                let read = move || partition.collect_from_disk(from, end, bytes_max);
                tokio::task::spawn_blocking(read).await.map_err(interrupted(self.set.directory()))??
            }
        };
        if !collector.stopped {
            collector.next = furthest(collector.next, end);
        }
        Ok(collector)
    }

    fn collect_from_memory(
        &self,
        chunks: &[Chunk],
        from: Position,
        end: Position,
        bytes_max: usize,
    ) -> Result<Collector, LogError> {
        let mut collector = Collector::new(from, end, bytes_max);
        for chunk in chunks {
            for (ordinal, payload) in (chunk.ordinal..).zip(FrameBuffer::payloads(&chunk.frames)) {
                let step = collector.visit(ordinal, payload).map_err(|malformed| {
                    LogError::Misconfigured(format!("{}: {malformed}", self.set.directory().display()))
                })?;
                if step == Step::Stop {
                    return Ok(collector);
                }
            }
        }
        Ok(collector)
    }

    fn collect_from_disk(&self, from: Position, end: Position, bytes_max: usize) -> Result<Collector, SegmentError> {
        let lock_reader = || self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        let held = lock_reader().take_if(|(position, _)| *position == from).map(|(_, place)| place);
        let place = match held {
            Some(place) => Some(place),
            None => self.set.place_by(&|ordinal, payload| {
                let before = position_before(ordinal, Stand::decode(payload)?.0);
                Ok(before.x <= from.x && before.y <= from.y)
            })?,
        };
        let mut collector = Collector::new(from, end, bytes_max);
        if let Some(mut place) = place {
            self.set.read(&mut place, bytes_max, &mut |ordinal, payload| collector.visit(ordinal, payload))?;
            *lock_reader() = Some((collector.next, place));
        }
        Ok(collector)
    }

    /// Writing looks after retention by itself; this is for times without writing.
    fn retain_if_due(self: &Arc<Self>) {
        let Ok(mut writer) = Arc::clone(&self.writer).try_lock_owned() else { return };
        if writer.is_retention_due() {
            let mark = self.end.borrow().x.cast_unsigned();
            tokio::task::spawn_blocking(move || writer.retain(mark));
        }
    }
}

/// The records as frames from `start` on, and the position after them.
fn encode(
    records: &[(Axis, RawRecord)],
    start: Position,
    mut frames: FrameBuffer,
) -> Result<(FrameBuffer, Position), LogError> {
    let mut end = start;
    for (index, (axis, record)) in records.iter().enumerate() {
        let offset = end.of(*axis);
        let bytes_before = frames.as_bytes().len();
        let pushed = frames.push(|bytes| {
            Stand { axis: *axis, offset }.encode(bytes);
            record::encode(record, bytes);
        });
        let record_bytes = pushed.map_or_else(|refused| refused, |()| frames.as_bytes().len() - bytes_before);
        if record_bytes > RECORD_BYTES_MAX {
            let reason = format!("{record_bytes} bytes are above the limit of {RECORD_BYTES_MAX} bytes");
            return Err(LogError::TooLarge { index, reason });
        }
        end.set(*axis, offset + 1);
    }
    Ok((frames, end))
}

/// The end of the log: the last record's place tells both axes.
fn find_end(writer: &LogWriter) -> Result<Position, SegmentError> {
    let (base, mark) = writer.set().last();
    let mut end = Position { x: mark.cast_signed(), y: (base - mark).cast_signed() };
    if writer.next() > base
        && let Some(mut place) = writer.set().place_of(writer.end() - 1)?
    {
        writer.set().read(&mut place, 0, &mut |ordinal, payload| {
            let (stand, _) = Stand::decode(payload)?;
            end = position_before(ordinal, stand);
            end.set(stand.axis, stand.offset + 1);
            Ok(Step::Next)
        })?;
    }
    Ok(end)
}
