//! What a client asks for, and what it is answered.

use std::time::Duration;

use orinoco_domain::{DeviceId, Frame, partition_of};
use orinoco_supervision::Context;
use tokio::time::{Instant, timeout};

use super::{
    CentrifugeSessionMessage, CentrifugeSessionState, STORE_TIMEOUT,
    filter::Filter,
    presence::Listener,
    protocol::{Command, CommandError, HistoryRequest, Request, SubscribeRequest, error_reply, quoted, reply},
    subscription::{Channel, Owed, Subscription},
};
use crate::{StreamPage, View, stream_hub::ChannelKind, wire, ws_session::feed::Stage};

/// Subscriptions of a connection; a further one gets error 106.
const CHANNELS_MAX: usize = 128;
/// Publications of one answer to a history command; of more, the first of what was asked for.
const HISTORY_MAX: usize = 1_000;
/// Publications that a recovery gives at once; beyond it the position counts as lost.
const RECOVERED_MAX: usize = 4_096;
/// Of these, what a store gives at a time.
const HISTORY_PAGE_MAX: usize = 512;

/// What became of a position.
enum Recovery {
    Frames(Vec<Frame>),
    Gone,
}

impl CentrifugeSessionState {
    /// Answers commands for as long as there is room for replies. One that reads from the store is the last for now: then this is true.
    pub(super) async fn answer_commands(&mut self, context: &Context<CentrifugeSessionMessage>) -> bool {
        while !self.outbox.is_full_of_replies() {
            let Some(command) = self.commands.pop_front() else { break };
            if let Command { id, request: Request::History(request) } = command {
                self.history(id, request).await;
                context.send_after(Duration::ZERO, CentrifugeSessionMessage::GoOn);
                return true;
            }
            self.answer(command);
        }
        if self.commands.is_empty()
            && let Some(handled) = self.handled.take()
        {
            // The connection may have ended.
            let _ = handled.send(());
        }
        false
    }

    fn answer(&mut self, Command { id, request }: Command) {
        let answer = match request {
            Request::Subscribe(request) => {
                if let Err(error) = self.subscribe(id, request) {
                    self.outbox.push_first(error_reply(id, error));
                }
                return;
            }
            Request::Unsubscribe { channel } => {
                self.unsubscribe(&channel);
                Ok(("unsubscribe", "{}".to_owned()))
            }
            Request::Presence { channel } => self.visible(&channel).and_then(|_| {
                let listed = self.presence.list(&channel).ok_or(CommandError::LIMIT_EXCEEDED);
                listed.map(|listed| ("presence", listed))
            }),
            Request::PresenceStats { channel } => {
                self.visible(&channel).map(|_| ("presence_stats", self.presence.stats(&channel)))
            }
            Request::Publish => Err(CommandError::PERMISSION_DENIED),
            Request::Unavailable => Err(CommandError::NOT_AVAILABLE),
            Request::Send | Request::Pong => return,
            // Those the connection answers, and history reads from the store.
            Request::Connect { .. } | Request::Refresh { .. } | Request::History(_) => Err(CommandError::BAD_REQUEST),
        };
        self.outbox.push_first(match answer {
            Ok((name, result)) => reply(id, name, &result),
            Err(error) => error_reply(id, error),
        });
    }

    /// A channel that the client may see, and what it sees there.
    fn visible(&self, name: &str) -> Result<(Channel, View), CommandError> {
        let channel = Channel::parse(name).ok_or(CommandError::UNKNOWN_CHANNEL)?;
        let view = channel.view(&self.view).ok_or(CommandError::PERMISSION_DENIED)?;
        Ok((channel, view))
    }

    fn subscribe(&mut self, id: u32, mut request: SubscribeRequest) -> Result<(), CommandError> {
        let (channel, view) = self.visible(&request.channel)?;
        if self.find(&request.channel).is_some() {
            return Err(CommandError::ALREADY_SUBSCRIBED);
        }
        if self.subscriptions.len() >= CHANNELS_MAX {
            return Err(CommandError::LIMIT_EXCEEDED);
        }
        if request.kind != 0 {
            return Err(CommandError::NOT_AVAILABLE);
        }
        let filter = Filter::parse(request.data.take(), channel.kind()).map_err(|_| CommandError::BAD_REQUEST)?;
        if request.tf.is_some() {
            return Err(CommandError::BAD_REQUEST);
        }
        self.last_subscription += 1;
        let name = request.channel.clone();
        let mut subscription = Subscription::new(self.last_subscription, name, &channel, view, filter);
        subscription.find_hubs(&self.hubs, self.partitions);
        match channel.kind() {
            ChannelKind::Device => subscription.owed = Some(Owed { id, request, since: Instant::now() }),
            ChannelKind::Devices => {
                let own = Listener { session: self.own.clone(), subscription: self.last_subscription };
                let listener = request.join_leave.then_some(own);
                subscription.present =
                    Some(self.presence.enter(&subscription.name, &self.client, &self.user, listener));
                self.outbox.push_first(reply(id, "subscribe", "{}"));
            }
        }
        self.subscriptions.insert(self.last_subscription, subscription);
        self.is_unsettled = true;
        Ok(())
    }

    fn unsubscribe(&mut self, channel: &str) {
        if let Some(subscription) = self.find(channel)
            && let Some(owed) = self.remove(subscription).and_then(|removed| removed.owed)
        {
            self.outbox.push_first(error_reply(owed.id, CommandError::INTERNAL));
        }
    }

    fn find(&self, channel: &str) -> Option<u32> {
        self.subscriptions.iter().find(|(_, subscription)| subscription.name == channel).map(|(id, _)| *id)
    }

    /// Answers a subscribe command, now that the hub has told its position.
    pub(super) async fn subscribed(&mut self, id: u32, owed: Owed, page: &StreamPage) {
        let Some(subscription) = self.subscriptions.get(&id) else { return };
        let View::Device(device) = subscription.view.clone() else { return };
        let is_recoverable = subscription.lane.is_recoverable;
        let was_recovering = owed.request.recover && is_recoverable;
        let recovery = if was_recovering {
            match timeout(STORE_TIMEOUT, self.recover(&device, &owed.request, page)).await {
                Ok(Some(recovery)) => recovery,
                // An outage.
                Ok(None) | Err(_) => return self.refuse(id, owed.id, CommandError::INTERNAL),
            }
        } else {
            Recovery::Gone
        };
        if was_recovering && matches!(recovery, Recovery::Gone) && owed.request.rejects_unrecovered() {
            return self.refuse(id, owed.id, CommandError::UNRECOVERABLE_POSITION);
        }
        let Some(subscription) = self.subscriptions.get_mut(&id) else { return };
        let (frames, recovered) = match recovery {
            Recovery::Frames(frames) => (frames, true),
            Recovery::Gone => (Vec::new(), false),
        };
        let offset = frames.last().map_or(page.head, |frame| frame.offset.max(page.head));
        for feed in &mut subscription.feeds {
            feed.accept(page.sequence);
            feed.stage = Stage::Live { above: offset };
        }
        let listener = owed.request.join_leave.then(|| Listener { session: self.own.clone(), subscription: id });
        subscription.present = Some(self.presence.enter(&subscription.name, &self.client, &self.user, listener));
        let mut fields = Vec::new();
        if is_recoverable {
            let epoch = quoted(&page.epoch);
            fields.push(format!(r#""recoverable":true,"positioned":true,"epoch":{epoch},"offset":{offset}"#));
        }
        if was_recovering {
            let wanted = frames
                .iter()
                .filter(|frame| subscription.filter.passes(&device, || serde_json::from_str(&frame.json).ok()));
            let publications = publications(wanted);
            fields.push(format!(r#""was_recovering":true,"recovered":{recovered},"publications":{publications}"#));
        }
        if let Some(latest) = page.messages.first().filter(|_| !recovered) {
            fields.push(format!(r#""data":{}"#, String::from_utf8_lossy(wire::text_of(latest))));
        }
        self.outbox.push_first(reply(owed.id, "subscribe", &format!("{{{}}}", fields.join(","))));
    }

    fn refuse(&mut self, subscription: u32, id: u32, error: CommandError) {
        self.remove(subscription);
        self.outbox.push_first(error_reply(id, error));
    }

    /// What was published after a position, up to the page's at least; `None` in an outage.
    async fn recover(&self, device: &DeviceId, request: &SubscribeRequest, page: &StreamPage) -> Option<Recovery> {
        let is_of_epoch = request.epoch.is_empty() || *request.epoch == *page.epoch;
        if !is_of_epoch || request.offset > page.head || page.head - request.offset > RECOVERED_MAX as u64 {
            return Some(Recovery::Gone);
        }
        let partition = partition_of(device.as_str().as_bytes(), self.partitions);
        let mut frames: Vec<Frame> = Vec::new();
        loop {
            let last = frames.last().map_or(request.offset, |frame| frame.offset);
            if last >= page.head {
                return Some(Recovery::Frames(frames));
            }
            let history = self.store.history(partition, device, last, HISTORY_PAGE_MAX).await.ok()?;
            if history.epoch != page.epoch || history.first > last + 1 || history.frames.is_empty() {
                return Some(Recovery::Gone);
            }
            frames.extend(history.frames);
        }
    }

    async fn history(&mut self, id: u32, request: HistoryRequest) {
        let read = timeout(STORE_TIMEOUT, self.read_history(&request)).await;
        self.outbox.push_first(match read.unwrap_or(Err(CommandError::INTERNAL)) {
            Ok(result) => reply(id, "history", &result),
            Err(error) => error_reply(id, error),
        });
    }

    async fn read_history(&self, request: &HistoryRequest) -> Result<String, CommandError> {
        let (Channel::Device(device), _) = self.visible(&request.channel)? else {
            return Err(CommandError::NOT_AVAILABLE);
        };
        let partition = partition_of(device.as_str().as_bytes(), self.partitions);
        let read = async |after, frames_max| {
            self.store.history(partition, &device, after, frames_max).await.map_err(|_| CommandError::INTERNAL)
        };
        let limit = usize::try_from(request.limit).unwrap_or(HISTORY_MAX).min(HISTORY_MAX);
        // For the position, and for where history begins.
        let begin = read(0, 1).await?;
        let since = request.since.as_ref();
        if since.is_some_and(|since| !since.epoch.is_empty() && *since.epoch != *begin.epoch) {
            return Err(CommandError::UNRECOVERABLE_POSITION);
        }
        let (after, before) = if request.reverse {
            let before = since.map_or(u64::MAX, |since| since.offset).min(begin.head.saturating_add(1));
            (before.saturating_sub(limit as u64 + 1), before)
        } else {
            (since.map_or(begin.first.saturating_sub(1), |since| since.offset), u64::MAX)
        };
        if since.is_some() && !request.reverse && (after.saturating_add(1) < begin.first || after > begin.head) {
            return Err(CommandError::UNRECOVERABLE_POSITION);
        }
        let mut frames = if limit == 0 { Vec::new() } else { read(after, limit).await?.frames };
        frames.retain(|frame| frame.offset < before);
        if request.reverse {
            frames.reverse();
        }
        let (publications, epoch) = (publications(frames.iter()), quoted(&begin.epoch));
        Ok(format!(r#"{{"publications":{publications},"epoch":{epoch},"offset":{}}}"#, begin.head))
    }
}

/// A list of JSON.
fn publications<'a>(frames: impl Iterator<Item = &'a Frame>) -> String {
    let publication = |frame: &Frame| format!(r#"{{"data":{},"offset":{}}}"#, frame.json, frame.offset);
    format!("[{}]", frames.map(publication).collect::<Vec<_>>().join(","))
}
