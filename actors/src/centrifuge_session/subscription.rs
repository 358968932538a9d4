//! One subscription of a client: its channel, what it has been told, what it wants. Pure, but for the requests to its hubs.

use std::sync::Arc;

use bytes::Bytes;
use orinoco_domain::{DeviceId, partition_of};
use orinoco_supervision::{Address, Group};
use serde::Deserialize;
use tokio::time::Instant;

use super::{
    CentrifugeSessionMessage,
    filter::{Filter, Pace},
    outbox::{Lane, Outbox},
    presence::Present,
    protocol::SubscribeRequest,
};
use crate::{
    HubWatcher, HubWatcherId, StreamHubMessage, StreamPage, View,
    stream_hub::{ChannelKind, HubBatch, Place, push},
    wire,
    ws_session::feed::{Feed, Stage},
};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Channel {
    /// `device:{orin_id}`
    Device(DeviceId),
    /// `devices`: all that the client may see.
    Devices,
}

impl Channel {
    /// `None`: there is no such channel.
    pub(super) fn parse(name: &str) -> Option<Self> {
        match name.strip_prefix("device:") {
            Some(device) => DeviceId::parse(device).ok().map(Self::Device),
            None => (name == "devices").then_some(Self::Devices),
        }
    }

    pub(super) fn kind(&self) -> ChannelKind {
        match self {
            Self::Device(_) => ChannelKind::Device,
            Self::Devices => ChannelKind::Devices,
        }
    }

    /// What a client with this view gets of it; `None`: nothing at all.
    pub(super) fn view(&self, view: &View) -> Option<View> {
        match (self, view) {
            (Self::Devices, view) => Some(view.clone()),
            (Self::Device(device), View::Device(own)) if device != own => None,
            (Self::Device(device), _) => Some(View::Device(device.clone())),
        }
    }
}

/// A subscribe command without its reply, which waits for the hub's position.
pub(super) struct Owed {
    pub(super) id: u32,
    pub(super) request: SubscribeRequest,
    pub(super) since: Instant,
}

pub(super) struct Subscription {
    pub(super) name: String,
    pub(super) lane: Lane,
    pub(super) view: View,
    pub(super) filter: Filter,
    pub(super) pace: Option<Pace>,
    pub(super) feeds: Vec<Feed>,
    pub(super) owed: Option<Owed>,
    /// From the reply on.
    pub(super) present: Option<Present>,
}

/// What a filter asks of a frame.
#[derive(Deserialize)]
struct Told {
    device: String,
    offset: u64,
    #[serde(flatten)]
    place: Place,
}

impl Subscription {
    pub(super) fn new(id: u32, name: String, channel: &Channel, view: View, filter: Filter) -> Self {
        let pace = filter.interval.map(Pace::new);
        let kind = channel.kind();
        // One that is held to a rate leaves frames out: there is no position to recover at.
        let is_recoverable = kind == ChannelKind::Device && pace.is_none();
        let lane = Lane { subscription: id, kind, is_recoverable };
        Self { name, lane, view, filter, pace, feeds: Vec::new(), owed: None, present: None }
    }

    /// Finds the hubs of the partitions that its view spans.
    pub(super) fn find_hubs(&mut self, hubs: &Group<StreamHubMessage>, partitions: u32) {
        let spanned = match &self.view {
            View::All => (0..partitions).collect(),
            View::Device(device) => vec![partition_of(device.as_str().as_bytes(), partitions)],
        };
        let stage = || Stage::Joining { asked: false };
        let feed = |partition: u32| Feed { partition, hub: hubs.get(partition), sequence: 0, stage: stage() };
        self.feeds = spanned.into_iter().map(feed).collect();
    }

    /// Asks the hubs for what is owed; for further pages only where the client has taken those before.
    pub(super) fn ask(&mut self, session: u64, own: &Address<CentrifugeSessionMessage>, next_pages: bool) {
        let id = HubWatcherId { session, subscription: self.lane.subscription };
        for feed in &mut self.feeds {
            let watcher = HubWatcher::Centrifuge { id, address: own.clone() };
            let view = self.view.clone();
            match &mut feed.stage {
                Stage::Joining { asked } if !*asked => {
                    *asked = feed.hub.try_send(StreamHubMessage::Join { watcher, view, snapshot: true }).is_ok();
                }
                Stage::Paging { cursor, asked } if !*asked && next_pages => {
                    let next = StreamHubMessage::NextPage { watcher, view, after: Some(cursor.clone()) };
                    *asked = feed.hub.try_send(next).is_ok();
                }
                Stage::Joining { .. } | Stage::Paging { .. } | Stage::Resuming { .. } | Stage::Live { .. } => {}
            }
        }
    }

    pub(super) fn is_live(&self) -> bool {
        self.feeds.iter().all(Feed::is_live)
    }

    pub(super) fn leave(&self, session: u64) {
        let watcher = HubWatcherId { session, subscription: self.lane.subscription };
        for feed in &self.feeds {
            // Down: its successor does not find us. Full: what still comes is for nobody, and the audience forgets us with the session.
            let _ = feed.hub.try_send(StreamHubMessage::Leave { watcher, view: self.view.clone() });
        }
    }

    /// The feed that waits for this page.
    pub(super) fn awaiting(&mut self, page: &StreamPage) -> Option<&mut Feed> {
        let feed = self.feeds.iter_mut().find(|feed| feed.partition == page.partition)?;
        let is_awaited = match &feed.stage {
            Stage::Joining { .. } => page.after.is_none(),
            Stage::Paging { cursor, .. } => page.after.as_ref() == Some(cursor),
            Stage::Resuming { .. } | Stage::Live { .. } => false,
        };
        is_awaited.then_some(feed)
    }

    /// What of a page goes out, as publications.
    pub(super) fn publications(&self, page: &StreamPage) -> Vec<Bytes> {
        page.messages.iter().filter_map(|message| self.publication(wire::text_of(message))).collect()
    }

    fn publication(&self, json: &[u8]) -> Option<Bytes> {
        let told: Told = serde_json::from_slice(json).ok()?;
        let device = DeviceId::parse(&told.device).ok()?;
        let is_wanted = self.filter.passes(&device, || Some(told.place));
        is_wanted.then(|| push(self.lane.kind, &device, told.offset, json))
    }

    /// Queues what of a batch the client wants.
    pub(super) fn live(&mut self, batch: &Arc<HubBatch>, outbox: &mut Outbox) {
        let Some(feed) = self.feeds.iter_mut().find(|feed| feed.partition == batch.partition) else { return };
        if !feed.accept(batch.sequence) {
            return;
        }
        if let (Stage::Live { above }, Some(first)) = (&mut feed.stage, batch.frames.first())
            && first.offset > *above
            && matches!(self.view, View::Device(_))
        {
            // All that comes from now on is above it.
            *above = 0;
        }
        if feed.stage == (Stage::Live { above: 0 }) && self.pace.is_none() && self.filter.passes_all() {
            return outbox.push_batch(self.lane, batch);
        }
        let now = Instant::now();
        for (index, frame) in batch.frames.iter().enumerate() {
            if feed.wants(&frame.device, frame.offset)
                && self.filter.passes(&frame.device, || batch.places()[index])
                && self.pace.as_mut().is_none_or(|pace| pace.offer(now, batch, index))
            {
                outbox.push_frame(self.lane, batch, index);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn device(name: &str) -> DeviceId {
        DeviceId::parse(name).unwrap()
    }

    #[test]
    fn a_channel_is_a_device_s_or_that_of_all() {
        assert_eq!(Channel::parse("device:a"), Some(Channel::Device(device("a"))));
        assert_eq!(Channel::parse("devices"), Some(Channel::Devices));
        for name in ["device:", "device:a b", "device", "devices:a", "Devices", ""] {
            assert_eq!(Channel::parse(name), None, "{name}");
        }
    }

    #[test]
    fn nobody_gets_another_s_device() {
        let own = View::Device(device("a"));
        assert_eq!(Channel::Device(device("b")).view(&own), None);
        assert_eq!(Channel::Device(device("a")).view(&own), Some(own.clone()));
        assert_eq!(Channel::Devices.view(&own), Some(own.clone()));
        assert_eq!(Channel::Device(device("b")).view(&View::All), Some(View::Device(device("b"))));
    }

    #[test]
    fn a_subscription_held_to_a_rate_is_not_recoverable() {
        let channel = Channel::Device(device("a"));
        let subscription = |data| {
            let filter = Filter::parse(data, ChannelKind::Device).unwrap();
            Subscription::new(1, "device:a".to_owned(), &channel, View::All, filter)
        };
        assert!(subscription(None).lane.is_recoverable);
        assert!(!subscription(Some(serde_json::json!({"maxRate": 1}))).lane.is_recoverable);
    }
}
