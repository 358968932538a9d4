//! What the scripts answer and what is stored, as values.

use std::sync::Arc;

use orinoco_domain::{DeviceId, Frame, Position, pairing::DeviceState};
use orinoco_ports::{Applied, HistoryPage, PartitionState, Publication, PublishedFrame, SnapshotEntry};
use redis::{FromRedisValue, Value, from_redis_value};

/// Why an answer can't be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Unreadable(String);

fn unreadable(what: &str, text: impl std::fmt::Debug) -> Unreadable {
    Unreadable(format!("{what} is {text:?}"))
}

/// An answer's parts, in order.
pub(super) struct Answer(std::vec::IntoIter<Value>);

impl Answer {
    pub(super) fn new(parts: Vec<Value>) -> Self {
        Self(parts.into_iter())
    }

    fn next<T: FromRedisValue>(&mut self, what: &str) -> Result<T, Unreadable> {
        let value = self.0.next().ok_or_else(|| Unreadable(format!("{what} is missing")))?;
        from_redis_value(value).map_err(|error| Unreadable(format!("{what}: {error}")))
    }

    fn position(&mut self) -> Result<Position, Unreadable> {
        Ok(Position { x: self.next("position x")?, y: self.next("position y")? })
    }

    fn pairs(&mut self, what: &str) -> Result<Vec<[String; 2]>, Unreadable> {
        let flat: Vec<String> = self.next(what)?;
        let (pairs, rest) = flat.as_chunks::<2>();
        if !rest.is_empty() {
            return Err(unreadable(what, rest));
        }
        Ok(pairs.to_vec())
    }
}

/// What a script says that may have been fenced off.
pub(super) enum Fenceable<T> {
    Answer(T),
    Fenced(u64),
}

pub(super) fn loaded(parts: Vec<Value>) -> Result<Fenceable<PartitionState>, Unreadable> {
    let mut answer = Answer::new(parts);
    let kind: String = answer.next("kind of answer")?;
    if kind == "fenced" {
        return Ok(Fenceable::Fenced(answer.next("fence")?));
    }
    let epoch: String = answer.next("epoch")?;
    let revision = answer.next("revision")?;
    let position = answer.position()?;
    let marks = answer.pairs("marks")?.into_iter().map(|[key, sequence]| {
        let sequence = sequence.parse().map_err(|_| unreadable("a mark", &sequence))?;
        Ok((key, sequence))
    });
    let marks = marks.collect::<Result<_, Unreadable>>()?;
    let devices = answer.pairs("device states")?.into_iter().map(|[name, state]| {
        let state: DeviceState =
            serde_json::from_str(&state).map_err(|error| Unreadable(format!("state of device {name}: {error}")))?;
        Ok((device(&name)?, state))
    });
    let devices = devices.collect::<Result<_, Unreadable>>()?;
    Ok(Fenceable::Answer(PartitionState { position, revision, epoch: epoch.into(), marks, devices }))
}

pub(super) fn applied(parts: Vec<Value>) -> Result<Applied, Unreadable> {
    let mut answer = Answer::new(parts);
    let kind: String = answer.next("kind of answer")?;
    match kind.as_str() {
        "done" => Ok(Applied::Done),
        "fenced" => Ok(Applied::Fenced { fence: answer.next("fence")? }),
        "conflict" => Ok(Applied::Conflict { revision: answer.next("revision")?, position: answer.position()? }),
        other => Err(unreadable("kind of answer", other)),
    }
}

pub(super) fn reset(parts: Vec<Value>) -> Result<Fenceable<()>, Unreadable> {
    let mut answer = Answer::new(parts);
    let kind: String = answer.next("kind of answer")?;
    Ok(if kind == "fenced" { Fenceable::Fenced(answer.next("fence")?) } else { Fenceable::Answer(()) })
}

/// A step of a scan.
pub(super) struct Scanned {
    pub(super) epoch: Arc<str>,
    /// Of HSCAN; `0` at the end.
    pub(super) cursor: String,
    /// Devices with their latest values as stored.
    pub(super) pairs: Vec<[String; 2]>,
}

pub(super) fn scanned(parts: Vec<Value>) -> Result<Scanned, Unreadable> {
    let mut answer = Answer::new(parts);
    let epoch: String = answer.next("epoch")?;
    Ok(Scanned { epoch: epoch.into(), cursor: answer.next("cursor")?, pairs: answer.pairs("latest values")? })
}

pub(super) fn history(name: &DeviceId, after: u64, parts: Vec<Value>) -> Result<HistoryPage, Unreadable> {
    let mut answer = Answer::new(parts);
    let epoch: String = answer.next("epoch")?;
    let head: u64 = answer.next("head")?;
    let held: u64 = answer.next("number of frames held")?;
    let texts: Vec<String> = answer.next("frames")?;
    let first = (head + 1).checked_sub(held).ok_or_else(|| unreadable("number of frames held", held))?;
    let from = first.max(after.saturating_add(1));
    let frames = texts.into_iter().zip(from..);
    let frames = frames.map(|(json, offset)| Frame { device: name.clone(), offset, json: json.into() }).collect();
    Ok(HistoryPage { epoch: epoch.into(), frames, first, head })
}

/// `head TAB bound TAB offset TAB JSON`; offset 0 where there is no latest value yet.
pub(super) fn latest(name: &DeviceId, stored: &str) -> Result<Option<SnapshotEntry>, Unreadable> {
    let parts = |text: &str| {
        let mut fields = text.splitn(4, '\t');
        let (head, _bound, offset, json) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
        Some((head.parse().ok()?, offset.parse().ok()?, json.into()))
    };
    let (head, offset, json): (u64, u64, Arc<str>) =
        parts(stored).ok_or_else(|| unreadable("latest value", (name.as_str(), stored)))?;
    if offset == 0 {
        return Ok(None);
    }
    Ok(Some(SnapshotEntry { latest: Frame { device: name.clone(), offset, json }, head }))
}

/// The text that [`super::encode`] publishes.
pub(super) fn publication(partition: u32, text: &str) -> Result<Publication, Unreadable> {
    let mut lines = text.split('\n');
    let epoch = lines.next().unwrap_or_default().into();
    let mut frames: Vec<PublishedFrame> = Vec::with_capacity(text.len() / 256);
    for line in lines {
        let mut fields = line.splitn(4, '\t');
        let mut field = || fields.next().ok_or_else(|| unreadable("a line of a publication", line));
        let (name, offset, is_latest, json) = (field()?, field()?, field()?, field()?);
        // One device's frames follow one another: its name is shared.
        let device = match frames.last() {
            Some(last) if last.frame.device.as_str() == name => last.frame.device.clone(),
            _ => device(name)?,
        };
        let offset = offset.parse().map_err(|_| unreadable("offset", offset))?;
        frames.push(PublishedFrame { frame: Frame { device, offset, json: json.into() }, is_latest: is_latest == "1" });
    }
    Ok(Publication { partition, epoch, frames })
}

pub(super) fn device(name: &str) -> Result<DeviceId, Unreadable> {
    DeviceId::parse(name).map_err(|error| Unreadable(format!("device {name:?}: {error}")))
}
