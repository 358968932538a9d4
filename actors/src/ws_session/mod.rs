//! One WebSocket client, at its own pace.
//!
//! Supervised by `ws_sessions`, one a socket, temporary: when it fails, its socket is closed with 1012 and the client resumes.
//! Invariant: the client sees each frame of a device once, in order, snapshot and stream joined at one position; nothing here waits
//! for the client. Reading from the socket, and closing it, are left to the connection that made the session: it learns the close code
//! through `done`, or, when that is dropped without one, that the session failed.

pub(crate) mod feed;
mod outbox;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use orinoco_domain::Frame;
use orinoco_ports::{ClientSocket, CoordinateStore};
use orinoco_supervision::{Actor, Context, Failure, Group, Message, fault};
use tokio::sync::oneshot;

use crate::{
    Close, HubWatcher, HubWatcherId, StreamHubMessage, StreamPage, View,
    socket_writer::{Gone, SocketWriter, Waiting},
    stream_hub::HubBatch,
    wire,
};
use feed::{Feed, Stage};
use outbox::{Outbox, TooSlow};

/// Frames of a page of history.
const HISTORY_PAGE_MAX: usize = 128;
/// A request to a hub that was lost (the hub was killed) is made again.
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(500);
const STORE_TIMEOUT: Duration = Duration::from_secs(4);

/// All that can happen to a [`WsSession`].
#[derive(Debug)]
pub enum WsSessionMessage {
    /// A page of the snapshot, or the position to resume at.
    Page(StreamPage),
    /// Frames as they come.
    Live(Arc<HubBatch>),
    /// The hub started anew; requests to its predecessor may be lost.
    HubStarted { partition: u32 },
    /// A new stream epoch: what the client has means nothing any more.
    Reset { partition: u32 },
    /// The mailbox was full.
    Lagged,
    /// The client takes more.
    Writable,
    /// Time to see whether a hub owes an answer, or history has more.
    Ask,
    /// To the client as it is: a pong.
    Control(Bytes),
    /// Nothing was heard for a while.
    Ping,
    /// The client is gone, or must go.
    Gone(Close),
}

impl WsSessionMessage {
    fn of_socket(flushed: Result<(), Gone>) -> Self {
        match flushed {
            Ok(()) => Self::Writable,
            Err(Gone) => Self::Gone(Close::NORMAL),
        }
    }
}

impl Message for WsSessionMessage {
    fn kind(&self) -> &'static str {
        match self {
            Self::Page(_) => "page",
            Self::Live(_) => "live",
            Self::HubStarted { .. } => "hub started",
            Self::Reset { .. } => "reset",
            Self::Lagged => "lagged",
            Self::Writable => "writable",
            Self::Ask => "ask",
            Self::Control(_) => "control",
            Self::Ping => "ping",
            Self::Gone(_) => "gone",
        }
    }
}

/// The position that a client wants to go on after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resume {
    pub offset: u64,
    pub epoch: String,
}

/// Bounds of a session.
#[derive(Debug, Clone, Copy)]
pub struct WsLimits {
    /// Bytes of frames that wait for a slow client.
    pub queue_bytes_max: usize,
    /// How long a client with a full connection may take nothing at all.
    pub stall_max: Duration,
}

/// What a [`WsSession`] needs.
pub struct WsSessionArguments {
    /// Unique in this process.
    pub session: u64,
    pub socket: Arc<dyn ClientSocket>,
    pub view: View,
    /// Only with a view of one device.
    pub resume: Option<Resume>,
    /// The hubs of the partitions that the view spans.
    pub hubs: Group<StreamHubMessage>,
    pub partitions: Vec<u32>,
    pub store: Arc<dyn CoordinateStore>,
    pub limits: WsLimits,
    /// Told how to close the socket.
    pub done: oneshot::Sender<Close>,
}

pub struct WsSessionState {
    session: u64,
    writer: SocketWriter,
    view: View,
    resume: Option<Resume>,
    store: Arc<dyn CoordinateStore>,
    limits: WsLimits,
    done: Option<oneshot::Sender<Close>>,
    feeds: Vec<Feed>,
    outbox: Outbox,
    /// An `Ask` is on its way.
    asking: bool,
}

/// See the module.
#[derive(Debug, Clone, Copy)]
pub struct WsSession;

impl Actor for WsSession {
    type Message = WsSessionMessage;
    type Arguments = WsSessionArguments;
    type State = WsSessionState;

    async fn pre_start(
        &self,
        context: &Context<WsSessionMessage>,
        arguments: WsSessionArguments,
    ) -> Result<WsSessionState, Failure> {
        let feed = |partition: &u32| Feed {
            partition: *partition,
            hub: arguments.hubs.get(*partition),
            sequence: 0,
            stage: Stage::Joining { asked: false },
        };
        let mut state = WsSessionState {
            session: arguments.session,
            writer: SocketWriter::new(arguments.socket),
            view: arguments.view,
            resume: arguments.resume,
            store: arguments.store,
            limits: arguments.limits,
            done: Some(arguments.done),
            feeds: arguments.partitions.iter().map(feed).collect(),
            outbox: Outbox::new(arguments.limits.queue_bytes_max),
            asking: false,
        };
        state.flush(context).await;
        Ok(state)
    }

    async fn handle(
        &self,
        context: &Context<WsSessionMessage>,
        message: WsSessionMessage,
        state: &mut WsSessionState,
    ) -> Result<(), Failure> {
        match message {
            WsSessionMessage::Page(page) => state.page(page),
            WsSessionMessage::Live(batch) => state.live(&batch, context),
            WsSessionMessage::HubStarted { partition } => state.hub_started(partition),
            WsSessionMessage::Reset { partition } => state.reset(partition),
            WsSessionMessage::Lagged => state.close(Close::SLOW, context),
            WsSessionMessage::Writable => state.writer.writable(),
            WsSessionMessage::Ask => {
                state.asking = false;
                state.feeds.iter_mut().for_each(Feed::forget_request);
            }
            WsSessionMessage::Control(message) => state.outbox.push_control(message),
            WsSessionMessage::Ping => state.outbox.push_control(wire::ping_message()),
            WsSessionMessage::Gone(close) => state.close(close, context),
        }
        fault::point("ws_session.before_effect").await?;
        state.flush(context).await;
        fault::point("ws_session.after_effect").await?;
        Ok(())
    }

    async fn post_stop(&self, _context: &Context<WsSessionMessage>, state: &mut WsSessionState) -> Result<(), Failure> {
        for feed in &state.feeds {
            // Down: its successor finds us gone. Full: it finds us gone at the next frame.
            let watcher = HubWatcherId { session: state.session, subscription: 0 };
            let _ = feed.hub.try_send(StreamHubMessage::Leave { watcher, view: state.view.clone() });
        }
        if let Some(done) = state.done.take() {
            let _ = done.send(Close::RESTART);
        }
        Ok(())
    }
}

impl WsSessionState {
    fn close(&mut self, close: Close, context: &Context<WsSessionMessage>) {
        if let Some(done) = self.done.take() {
            let _ = done.send(close);
            context.stop();
        }
    }

    /// Asks hubs and history for what is still owed.
    async fn ask(&mut self, context: &Context<WsSessionMessage>) {
        let snapshot = self.resume.is_none();
        for feed in &mut self.feeds {
            let watcher = HubWatcher::Plain { session: self.session, address: context.address() };
            let view = self.view.clone();
            match &mut feed.stage {
                Stage::Joining { asked } if !*asked => {
                    let join = StreamHubMessage::Join { watcher, view, snapshot };
                    *asked = feed.hub.try_send(join).is_ok();
                }
                Stage::Paging { cursor, asked } if !*asked => {
                    let next = StreamHubMessage::NextPage { watcher, view, after: Some(cursor.clone()) };
                    *asked = feed.hub.try_send(next).is_ok();
                }
                Stage::Joining { .. } | Stage::Paging { .. } | Stage::Resuming { .. } | Stage::Live { .. } => {}
            }
        }
        self.read_history().await;
        if !self.asking && !self.feeds.iter().all(Feed::is_live) {
            self.asking = true;
            context.send_after(ASK_AGAIN_AFTER, WsSessionMessage::Ask);
        }
    }

    fn page(&mut self, page: StreamPage) {
        let Some(index) = self.feeds.iter().position(|feed| feed.partition == page.partition) else { return };
        let feed = &mut self.feeds[index];
        let is_awaited = match &feed.stage {
            Stage::Joining { .. } => page.after.is_none(),
            Stage::Paging { cursor, .. } => page.after.as_ref() == Some(cursor),
            Stage::Resuming { .. } | Stage::Live { .. } => false,
        };
        if !is_awaited {
            return;
        }
        feed.accept(page.sequence);
        if let Some(resume) = self.resume.take() {
            return self.resume_at(index, &resume, &page);
        }
        let above = if matches!(self.view, View::Device(_)) { page.head } else { 0 };
        feed.stage = match page.next {
            Some(cursor) => Stage::Paging { cursor, asked: false },
            None => Stage::Live { above },
        };
        for message in page.messages {
            self.outbox.push_first(message);
        }
    }

    fn resume_at(&mut self, index: usize, resume: &Resume, page: &StreamPage) {
        if *page.epoch != *resume.epoch || resume.offset > page.head {
            self.not_recovered(index);
        } else if resume.offset == page.head {
            self.feeds[index].stage = Stage::Live { above: page.head };
        } else {
            self.feeds[index].stage = Stage::Resuming { after: resume.offset, seen: page.head };
        }
    }

    /// Says so, and begins with a snapshot.
    fn not_recovered(&mut self, index: usize) {
        self.outbox.push_first(wire::text_message(r#"{"recovered":false}"#));
        self.feeds[index].stage = Stage::Joining { asked: false };
    }

    /// Reads the next page of what the client missed, if it resumes.
    async fn read_history(&mut self) {
        let View::Device(device) = self.view.clone() else { return };
        let Some(index) = self.feeds.iter().position(|feed| matches!(feed.stage, Stage::Resuming { .. })) else {
            return;
        };
        let Stage::Resuming { after, seen } = self.feeds[index].stage else { return };
        let read = self.store.history(self.feeds[index].partition, &device, after, HISTORY_PAGE_MAX);
        // An outage: asked again.
        let Ok(Ok(history)) = tokio::time::timeout(STORE_TIMEOUT, read).await else { return };
        if history.first > after + 1 {
            return self.not_recovered(index);
        }
        let last = history.frames.last().map_or(after, |frame: &Frame| frame.offset);
        for frame in &history.frames {
            self.outbox.push_first(wire::text_message(&frame.json));
        }
        self.feeds[index].stage = if last >= history.head && last >= seen {
            Stage::Live { above: last }
        } else {
            Stage::Resuming { after: last, seen }
        };
    }

    fn live(&mut self, batch: &Arc<HubBatch>, context: &Context<WsSessionMessage>) {
        let Some(index) = self.feeds.iter().position(|feed| feed.partition == batch.partition) else { return };
        let feed = &mut self.feeds[index];
        if !feed.accept(batch.sequence) {
            return;
        }
        match &mut feed.stage {
            Stage::Joining { .. } => {}
            Stage::Resuming { seen, .. } => {
                *seen = batch.frames.last().map_or(*seen, |frame| frame.offset.max(*seen));
            }
            Stage::Live { above: 0 } => self.outbox.push_batch(batch),
            Stage::Live { .. } | Stage::Paging { .. } => {
                let feed = &self.feeds[index];
                self.outbox.push_some(batch, |device, offset| feed.wants(device, offset));
            }
        }
        if self.outbox.is_over_bound() {
            self.write(context);
        }
        let bounded = self.outbox.bound();
        let conflated = self.outbox.take_conflated();
        if conflated > 0 {
            metrics::counter!("orinoco_frames_conflated_total").increment(conflated);
        }
        let stalled = self.writer.is_stalled(self.limits.stall_max);
        if bounded == Err(TooSlow) || stalled {
            self.close(Close::SLOW, context);
        }
    }

    fn hub_started(&mut self, partition: u32) {
        self.feeds.iter_mut().filter(|feed| feed.partition == partition).for_each(Feed::forget_request);
    }

    fn reset(&mut self, partition: u32) {
        if let Some(index) = self.feeds.iter().position(|feed| feed.partition == partition) {
            self.not_recovered(index);
        }
    }

    /// Writes what the client takes, and asks for more when all is out. With more in the mailbox, the write waits for it: one write for
    /// all.
    async fn flush(&mut self, context: &Context<WsSessionMessage>) {
        if context.address().depth() > 0 {
            return;
        }
        loop {
            self.write(context);
            if self.done.is_none() || self.writer.is_waiting() || !self.feeds.iter().any(Feed::owes) {
                return;
            }
            self.ask(context).await;
            if self.outbox.is_empty() {
                return;
            }
        }
    }

    fn write(&mut self, context: &Context<WsSessionMessage>) {
        if self.done.is_some() && self.writer.write(&mut self.outbox, context, WsSessionMessage::of_socket).is_err() {
            self.close(Close::NORMAL, context);
        }
    }
}
