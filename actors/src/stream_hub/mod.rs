//! Gives one partition's publications to all sockets that watch it, encoded once.
//!
//! Supervised by `stream`, one a partition. Invariant: each frame goes out once, in order of its device's offset; what a lost
//! publication held is read from history. Publications are at most once, so a new subscription begins with a comparison of all heads.
//! Snapshots are given a page at a time, each at the hub's position: a session takes live frames of the devices it has a page of.

mod batch;
mod cache;
mod watcher;

use std::{sync::Arc, time::Duration};

use orinoco_domain::{DeviceId, Frame};
use orinoco_ports::{CoordinateStore, Publication, StoreError, Subscription};
use orinoco_supervision::{Actor, Context, Failure, Message, Reply, fault};

use crate::{Audience, Health};
use cache::Cache;

pub(crate) use batch::{ChannelKind, Place, push};
pub use batch::{HubBatch, HubFrame};
pub use cache::{DevicePage, StreamPage};
pub(crate) use watcher::Told;
pub use watcher::{HubEvent, HubWatcher, HubWatcherId};

/// What a store may take for one call; its own timeouts are shorter.
const STORE_TIMEOUT: Duration = Duration::from_secs(4);
const RESYNC_AFTER: Duration = Duration::from_millis(250);
/// Entries of a page of the store's snapshot, frames of a page of history.
const STORE_PAGE_MAX: usize = 512;

/// What a session may see, of one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum View {
    All,
    Device(DeviceId),
}

/// All that can happen to a [`StreamHub`].
pub enum StreamHubMessage {
    /// One watches from now on; answered with its first page (`snapshot`: of values; else an empty one with the position).
    Join {
        watcher: HubWatcher,
        view: View,
        snapshot: bool,
    },
    /// One wants the page after `after`.
    NextPage {
        watcher: HubWatcher,
        view: View,
        after: Option<DeviceId>,
    },
    Leave {
        watcher: HubWatcherId,
        view: View,
    },
    /// The names of devices with a value, for REST.
    Devices {
        after: Option<DeviceId>,
        devices_max: usize,
        reply: Reply<DevicePage>,
    },
    Published(Publication),
    SubscriptionEnded(StoreError),
    /// Time to subscribe (again).
    Resync,
}

impl Message for StreamHubMessage {
    fn kind(&self) -> &'static str {
        match self {
            Self::Join { .. } => "join",
            Self::NextPage { .. } => "next page",
            Self::Leave { .. } => "leave",
            Self::Devices { .. } => "devices",
            Self::Published(_) => "published",
            Self::SubscriptionEnded(_) => "subscription ended",
            Self::Resync => "resync",
        }
    }
}

/// What a [`StreamHub`] needs.
pub struct StreamHubArguments {
    pub store: Arc<dyn CoordinateStore>,
    pub audience: Arc<Audience>,
    pub health: Health,
}

pub struct StreamHubState {
    arguments: StreamHubArguments,
    partition: u32,
    component: String,
    cache: Cache,
    /// Whether publications arrive; without, pages wait for the resync.
    in_sync: bool,
    delivered: metrics::Counter,
    gaps: metrics::Counter,
}

/// See the module.
#[derive(Debug, Clone, Copy)]
pub struct StreamHub;

impl Actor for StreamHub {
    type Message = StreamHubMessage;
    type Arguments = StreamHubArguments;
    type State = StreamHubState;

    async fn pre_start(
        &self,
        context: &Context<StreamHubMessage>,
        arguments: StreamHubArguments,
    ) -> Result<StreamHubState, Failure> {
        let partition = context.instance();
        context.send_after(Duration::ZERO, StreamHubMessage::Resync);
        arguments.audience.hub_started(partition);
        let labels = [("partition", partition.to_string())];
        Ok(StreamHubState {
            arguments,
            partition,
            component: format!("stream/{partition}"),
            cache: Cache::default(),
            in_sync: false,
            delivered: metrics::counter!("orinoco_frames_delivered_total", &labels),
            gaps: metrics::counter!("orinoco_publication_gaps_total", &labels),
        })
    }

    async fn handle(
        &self,
        context: &Context<StreamHubMessage>,
        message: StreamHubMessage,
        state: &mut StreamHubState,
    ) -> Result<(), Failure> {
        match message {
            StreamHubMessage::Join { watcher, view, snapshot } => state.join(&watcher, &view, snapshot),
            StreamHubMessage::NextPage { watcher, view, after } => state.page(&watcher, &view, after, true),
            StreamHubMessage::Leave { watcher, view } => state.arguments.audience.leave(watcher, &view),
            StreamHubMessage::Devices { after, devices_max, reply } => {
                // Out of sync some may be missing: who asks is told nothing rather than that.
                if state.in_sync {
                    reply.send(state.cache.devices(after.as_ref(), devices_max));
                }
            }
            StreamHubMessage::Published(publication) => {
                fault::point("stream_hub.before_effect").await?;
                state.published(publication, context).await;
                fault::point("stream_hub.after_effect").await?;
            }
            StreamHubMessage::SubscriptionEnded(error) => state.out_of_sync(&error, context),
            StreamHubMessage::Resync => {
                if let Err(error) = state.resync(context).await {
                    state.out_of_sync(&error, context);
                }
            }
        }
        Ok(())
    }
}

impl StreamHubState {
    fn join(&mut self, watcher: &HubWatcher, view: &View, snapshot: bool) {
        // Out of sync there is no position to join at: it asks again.
        if self.in_sync {
            self.arguments.audience.join(watcher.clone(), view);
            self.page(watcher, view, None, snapshot);
        }
    }

    fn page(&self, watcher: &HubWatcher, view: &View, after: Option<DeviceId>, snapshot: bool) {
        let Some(epoch) = self.arguments.audience.epoch().filter(|_| self.in_sync) else { return };
        let sequence = self.arguments.audience.sequence();
        let mut page = match view {
            View::Device(device) => self.cache.device_page(device, snapshot),
            View::All => self.cache.page(after.as_ref()),
        };
        if let View::Device(device) = view {
            page.head = self.arguments.audience.head(device);
        }
        (page.partition, page.sequence, page.epoch, page.after) = (self.partition, sequence, epoch, after);
        // Down: it has gone. Full: it asks again.
        let _ = watcher.tell(HubEvent::Page(page));
    }

    async fn published(&mut self, publication: Publication, context: &Context<StreamHubMessage>) {
        if !self.in_sync {
            return;
        }
        if self.arguments.audience.epoch().as_ref() != Some(&publication.epoch) {
            let error = unavailable("a new stream epoch began");
            return self.out_of_sync(&error, context);
        }
        let mut frames = Vec::with_capacity(publication.frames.len());
        for published in publication.frames {
            let device = &published.frame.device;
            let pending = frames.iter().rev().find(|frame: &&HubFrame| frame.device == *device);
            let head = pending.map_or_else(|| self.arguments.audience.head(device), |frame| frame.offset);
            if published.frame.offset <= head {
                continue;
            }
            if published.frame.offset > head + 1 {
                self.gaps.increment(1);
                match self.history(device, head, published.frame.offset - 1).await {
                    Ok(missed) => frames.extend(missed.iter().map(|frame| HubFrame::new(frame, true))),
                    Err(error) => {
                        self.deliver(frames);
                        return self.out_of_sync(&error, context);
                    }
                }
            }
            frames.push(HubFrame::new(&published.frame, published.is_latest));
        }
        self.deliver(frames);
    }

    fn deliver(&mut self, frames: Vec<HubFrame>) {
        self.delivered.increment(frames.len() as u64);
        self.cache.take(&frames);
        self.arguments.audience.deliver(self.partition, frames);
    }

    fn out_of_sync(&mut self, error: &StoreError, context: &Context<StreamHubMessage>) {
        self.arguments.health.down(&self.component, error);
        self.in_sync = false;
        context.send_after(RESYNC_AFTER, StreamHubMessage::Resync);
    }

    /// Subscribes, then compares all heads with what was given out: what was missed comes from history.
    async fn resync(&mut self, context: &Context<StreamHubMessage>) -> Result<(), StoreError> {
        if self.in_sync {
            return Ok(());
        }
        let store = Arc::clone(&self.arguments.store);
        let subscription = bounded(store.subscribe(self.partition)).await?;
        let epoch = bounded(store.epoch(self.partition)).await?;
        let is_new = self.arguments.audience.epoch().as_ref() != Some(&epoch);
        if is_new {
            self.arguments.audience.begin(self.partition, epoch);
            self.cache = Cache::default();
        }
        let mut cursor: Option<String> = None;
        loop {
            let page = bounded(store.snapshot(self.partition, cursor.as_deref(), STORE_PAGE_MAX)).await?;
            for entry in page.entries {
                self.compare(entry, is_new).await?;
            }
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        self.in_sync = true;
        self.arguments.health.up(&self.component);
        pump(subscription, context);
        Ok(())
    }

    async fn compare(&mut self, entry: orinoco_ports::SnapshotEntry, is_new: bool) -> Result<(), StoreError> {
        let device = entry.latest.device.clone();
        let audience = Arc::clone(&self.arguments.audience);
        if is_new {
            audience.assume(&device, entry.head);
        }
        let latest_offset = entry.latest.offset;
        let head = audience.head(&device);
        if entry.head > head {
            let missed = self.history(&device, head, entry.head).await?;
            let is_latest = |frame: &Frame| frame.offset <= latest_offset;
            self.deliver(missed.iter().map(|frame| HubFrame::new(frame, is_latest(frame))).collect());
        }
        if self.cache.offset(&device) != latest_offset {
            self.cache.put(&entry.latest);
            if entry.head > latest_offset {
                let late = self.history(&device, latest_offset, entry.head).await?;
                self.cache.put_late(late.iter());
            }
        }
        Ok(())
    }

    /// What history holds after `after`, up to `through` inclusive.
    async fn history(&self, device: &DeviceId, after: u64, through: u64) -> Result<Vec<Frame>, StoreError> {
        let mut frames: Vec<Frame> = Vec::new();
        loop {
            let from = frames.last().map_or(after, |frame| frame.offset);
            let store = &self.arguments.store;
            let page = bounded(store.history(self.partition, device, from, STORE_PAGE_MAX)).await?;
            let wanted = page.frames.into_iter().filter(|frame| frame.offset <= through);
            let before = frames.len();
            frames.extend(wanted);
            if frames.len() == before {
                return Ok(frames);
            }
        }
    }
}

/// A helper that hands publications to the hub, which holds it back by its mailbox.
fn pump(mut subscription: Box<dyn Subscription>, context: &Context<StreamHubMessage>) {
    let own = context.address();
    context.spawn(async move {
        loop {
            let (message, goes_on) = match subscription.next().await {
                Ok(publication) => (StreamHubMessage::Published(publication), true),
                Err(error) => (StreamHubMessage::SubscriptionEnded(error), false),
            };
            if own.send(message).await.is_err() || !goes_on {
                return;
            }
        }
    });
}

async fn bounded<T>(call: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    tokio::time::timeout(STORE_TIMEOUT, call).await.unwrap_or_else(|_| Err(unavailable("no answer in time")))
}

fn unavailable(reason: &str) -> StoreError {
    StoreError::Unavailable { place: "coordinates".to_owned(), reason: reason.to_owned() }
}
