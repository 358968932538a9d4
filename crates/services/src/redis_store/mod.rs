//! Redis "WS": the coordinates of all partitions, in keys that share one hash slot a partition.
//!
//! | key | holds |
//! |---|---|
//! | `PREFIX:{P}:state` | hash: `fence`, `revision`, `x`, `y` (next offsets of the log), `epoch`, `history_max` (of the last batch) |
//! | `PREFIX:{P}:marks` | hash: highest sequence applied, by mark key |
//! | `PREFIX:{P}:device` | hash: state of the pairing (JSON), by device |
//! | `PREFIX:{P}:latest` | hash: `head TAB bound TAB offset TAB JSON`, by device; offset 0 and no JSON while there is no latest value |
//! | `PREFIX:{P}:history:DEVICE` | list of frames (JSON), oldest first, contiguous offsets up to the head; only the last `bound` count |
//! | `PREFIX:{P}:stream` | channel, one message a batch: the epoch, then a line a frame |
//!
//! Invariants: whatever changes a partition is one Lua script that checks before it writes. A batch that was made for another stream
//! epoch than the present one changes nothing. A server that comes back with an older state than this process saw acknowledged (writes
//! were lost) gets a new epoch at the next `load`: offsets under one epoch never mean two things.

mod decode;
mod encode;
mod probe;
mod scripts;
mod subscription;

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use orinoco_domain::DeviceId;
use orinoco_ports::{
    Applied, BackendInfo, Batch, CoordinateStore, HistoryPage, PartitionState, SnapshotEntry, SnapshotPage, StoreError,
    Subscription,
};
use redis::{Cmd, Value};

use self::{
    decode::{Fenceable, Scanned, Unreadable},
    encode::Encoded,
    subscription::RedisSubscription,
};
use crate::{
    redis_server::{Failure, Publications, Server, ServerOptions},
    tls::{TlsKeys, TlsOptions},
};

/// Frames of one history page, devices of one snapshot page: what is asked beyond comes with the next page.
const PAGE_MAX: usize = 100_000;

/// How to reach Redis "WS".
#[derive(Clone)]
pub struct RedisStoreOptions {
    /// `redis://[user:password@]host:port[/database]`, or `rediss://` for TLS.
    pub url: String,
    /// For `rediss://`.
    pub tls: TlsOptions,
    /// First part of all keys and channels. Channels are shared by all databases of a server.
    pub prefix: String,
    /// What any call may take, connecting included.
    pub call_timeout: Duration,
    pub connections_max: u32,
}

impl RedisStoreOptions {
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            tls: TlsOptions::default(),
            prefix: "orinoco".to_owned(),
            call_timeout: Duration::from_millis(2_000),
            connections_max: 4,
        }
    }
}

impl fmt::Debug for RedisStoreOptions {
    /// Without the URL, which may hold a password.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = formatter.debug_struct("RedisStoreOptions");
        text.field("prefix", &self.prefix).field("call_timeout", &self.call_timeout);
        text.field("connections_max", &self.connections_max).finish_non_exhaustive()
    }
}

/// [`CoordinateStore`] in Redis, 6.2 or newer. Cheap to share; must be made and used inside a tokio runtime.
pub struct RedisStore {
    server: Server,
    prefix: String,
    known: Mutex<HashMap<u32, Known>>,
}

/// What this process knows a partition to have held.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Known {
    epoch: Arc<str>,
    /// At least.
    revision: u64,
}

/// The names of a partition's keys.
struct Keys {
    state: String,
    marks: String,
    device: String,
    latest: String,
    channel: String,
    history_prefix: String,
}

impl Keys {
    fn history(&self, device: &str) -> String {
        [&self.history_prefix, device].concat()
    }
}

impl RedisStore {
    /// Connects when first used.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] for a URL that can't be understood.
    pub fn new(options: &RedisStoreOptions) -> Result<Self, StoreError> {
        let server = Server::new(&ServerOptions {
            url: &options.url,
            tls: &options.tls,
            tls_keys: &TlsKeys::REDIS_WS,
            connections_max: options.connections_max,
            call_timeout: options.call_timeout,
            url_setting: "redis_ws.url",
            room_remedy: "lower stream.history_max",
        });
        Ok(Self { server: server.map_err(failed)?, prefix: options.prefix.clone(), known: Mutex::default() })
    }

    fn keys(&self, partition: u32) -> Keys {
        let key = |name: &str| format!("{}:{{{partition}}}:{name}", self.prefix);
        Keys {
            state: key("state"),
            marks: key("marks"),
            device: key("device"),
            latest: key("latest"),
            channel: key("stream"),
            history_prefix: key("history:"),
        }
    }

    fn unreadable(&self, error: Unreadable) -> StoreError {
        failed(self.server.place().corrupt(error))
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<u32, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The epoch for which the caller makes its batches: that of its last load.
    async fn epoch_of_batches(&self, partition: u32) -> Result<Arc<str>, StoreError> {
        let known = self.known().get(&partition).map(|known| Arc::clone(&known.epoch));
        match known {
            Some(epoch) => Ok(epoch),
            None => self.epoch(partition).await,
        }
    }

    async fn load_once(&self, partition: u32, fence: u64) -> Result<PartitionState, StoreError> {
        let keys = self.keys(partition);
        let candidate = new_epoch();
        let build = |command: &mut Cmd| {
            command.arg(3).arg(&keys.state).arg(&keys.marks).arg(&keys.device).arg(fence).arg(&candidate);
        };
        let parts: Vec<Value> = self.server.invoke(&scripts::LOAD, build, (8, 256)).await.map_err(failed)?;
        match decode::loaded(parts).map_err(|error| self.unreadable(error))? {
            Fenceable::Answer(state) => Ok(state),
            Fenceable::Fenced(fence) => Err(StoreError::Fenced { fence }),
        }
    }

    fn remember(&self, partition: u32, epoch: Arc<str>, revision: u64) {
        let mut known = self.known();
        let held = known.get(&partition).filter(|known| known.epoch == epoch).map_or(0, |known| known.revision);
        known.insert(partition, Known { epoch, revision: held.max(revision) });
    }
}

#[async_trait]
impl CoordinateStore for RedisStore {
    async fn load(&self, partition: u32, fence: u64) -> Result<PartitionState, StoreError> {
        // Taken before the call: what was acknowledged by then must be in the answer.
        let acknowledged = self.known().get(&partition).cloned();
        let mut state = self.load_once(partition, fence).await?;
        let behind = |known: &Known| known.epoch == state.epoch && known.revision > state.revision;
        if let Some(known) = acknowledged.filter(behind) {
            tracing::error!(
                partition,
                revision_acknowledged = known.revision,
                revision = state.revision,
                place = self.server.place().text(),
                "redis lost acknowledged writes, a new stream epoch begins"
            );
            self.reset(partition, fence).await?;
            state = self.load_once(partition, fence).await?;
        }
        self.remember(partition, Arc::clone(&state.epoch), state.revision);
        Ok(state)
    }

    async fn apply(&self, batch: &Batch) -> Result<Applied, StoreError> {
        let epoch = self.epoch_of_batches(batch.partition).await?;
        let keys = self.keys(batch.partition);
        let parts: Vec<Value> = {
            let encoded = Encoded::new(batch, &keys, &epoch)?;
            let size_hint = encoded.size_hint();
            self.server.invoke(&scripts::APPLY, |command| encoded.write(command), size_hint).await.map_err(failed)?
        };
        let applied = decode::applied(parts).map_err(|error| self.unreadable(error))?;
        if applied == Applied::Done {
            self.remember(batch.partition, epoch, batch.revision + 1);
        }
        Ok(applied)
    }

    async fn epoch(&self, partition: u32) -> Result<Arc<str>, StoreError> {
        let keys = self.keys(partition);
        let candidate = new_epoch();
        let build = |command: &mut Cmd| {
            command.arg(1).arg(&keys.state).arg(&candidate);
        };
        let epoch: String = self.server.invoke(&scripts::EPOCH, build, (4, 128)).await.map_err(failed)?;
        let epoch: Arc<str> = epoch.into();
        self.known().entry(partition).or_insert_with(|| Known { epoch: Arc::clone(&epoch), revision: 0 });
        Ok(epoch)
    }

    async fn reset(&self, partition: u32, fence: u64) -> Result<(), StoreError> {
        let keys = self.keys(partition);
        let epoch = new_epoch();
        let build = |command: &mut Cmd| {
            command.arg(4).arg(&keys.state).arg(&keys.marks).arg(&keys.device).arg(&keys.latest);
            command.arg(fence).arg(&epoch).arg(&keys.history_prefix);
        };
        let parts: Vec<Value> = self.server.invoke(&scripts::RESET, build, (8, 256)).await.map_err(failed)?;
        match decode::reset(parts).map_err(|error| self.unreadable(error))? {
            Fenceable::Answer(()) => Ok(()),
            Fenceable::Fenced(fence) => Err(StoreError::Fenced { fence }),
        }
    }

    async fn snapshot(
        &self,
        partition: u32,
        cursor: Option<&str>,
        entries_max: usize,
    ) -> Result<SnapshotPage, StoreError> {
        let keys = self.keys(partition);
        let candidate = new_epoch();
        let entries_max = entries_max.clamp(1, PAGE_MAX);
        let Cursor { scan, mut left_over } = Cursor::parse(cursor.unwrap_or("0"));
        let now = left_over.split_off(left_over.len().saturating_sub(entries_max));
        let build = |command: &mut Cmd| {
            command.arg(2).arg(&keys.state).arg(&keys.latest).arg(&candidate).arg(scan).arg(entries_max).arg(&now);
        };
        let parts: Vec<Value> = self.server.invoke(&scripts::SNAPSHOT, build, (8, 256)).await.map_err(failed)?;
        let Scanned { epoch, cursor: scan, mut pairs } =
            decode::scanned(parts).map_err(|error| self.unreadable(error))?;
        // HSCAN returns a little more than it was asked for now and then: by name, with the next page.
        let excess = pairs.split_off(pairs.len().min(entries_max));
        left_over.extend(excess.iter().map(|[device, _]| device.as_str()));
        let entry = |[name, stored]: &[String; 2]| decode::latest(&decode::device(name)?, stored);
        let entries = pairs.iter().filter_map(|pair| entry(pair).transpose()).collect::<Result<_, _>>();
        let entries = entries.map_err(|error| self.unreadable(error))?;
        Ok(SnapshotPage { epoch, entries, next: Cursor { scan: &scan, left_over }.text() })
    }

    async fn latest(&self, partition: u32, device: &DeviceId) -> Result<Option<SnapshotEntry>, StoreError> {
        let mut command = redis::cmd("HGET");
        command.arg(self.keys(partition).latest).arg(device.as_str());
        let stored: Option<String> = self.server.call(&command).await.map_err(failed)?;
        let Some(stored) = stored else { return Ok(None) };
        decode::latest(device, &stored).map_err(|error| self.unreadable(error))
    }

    async fn history(
        &self,
        partition: u32,
        device: &DeviceId,
        after: u64,
        frames_max: usize,
    ) -> Result<HistoryPage, StoreError> {
        let keys = self.keys(partition);
        let candidate = new_epoch();
        let frames_max = frames_max.min(PAGE_MAX);
        let build = |command: &mut Cmd| {
            command.arg(3).arg(&keys.state).arg(&keys.latest).arg(keys.history(device.as_str()));
            command.arg(&candidate).arg(device.as_str()).arg(after).arg(frames_max);
        };
        let parts: Vec<Value> = self.server.invoke(&scripts::HISTORY, build, (8, 256)).await.map_err(failed)?;
        decode::history(device, after, parts).map_err(|error| self.unreadable(error))
    }

    async fn subscribe(&self, partition: u32) -> Result<Box<dyn Subscription>, StoreError> {
        let channel = self.keys(partition).channel;
        let publications = Publications::open(&self.server, &channel).await.map_err(failed)?;
        Ok(Box::new(RedisSubscription { partition, publications }))
    }

    async fn probe(&self) -> Result<BackendInfo, StoreError> {
        let info: String = self.server.call(&redis::cmd("INFO")).await.map_err(failed)?;
        Ok(probe::backend_info(&info))
    }
}

fn failed(failure: Failure) -> StoreError {
    match failure {
        Failure::Unavailable { place, reason } | Failure::Denied { place, reason } => {
            StoreError::Unavailable { place, reason }
        }
        Failure::Corrupt { place, reason } => StoreError::Corrupt { place, reason },
    }
}

/// Where a snapshot goes on: HSCAN's cursor, and devices that one of its answers held beyond the page. `CURSOR[;DEVICE,...]`.
struct Cursor<'a> {
    scan: &'a str,
    left_over: Vec<&'a str>,
}

impl<'a> Cursor<'a> {
    fn parse(text: &'a str) -> Self {
        let (scan, left_over) = text.split_once(';').unwrap_or((text, ""));
        Self { scan, left_over: left_over.split(',').filter(|device| !device.is_empty()).collect() }
    }

    /// `None` after the last page.
    fn text(&self) -> Option<String> {
        match (self.scan, self.left_over.is_empty()) {
            ("0", true) => None,
            (scan, true) => Some(scan.to_owned()),
            (scan, false) => Some(format!("{scan};{}", self.left_over.join(","))),
        }
    }
}

/// 32 characters of `[a-z0-9]`, never the same twice.
fn new_epoch() -> String {
    format!("{:032x}", fastrand::u128(..))
}
