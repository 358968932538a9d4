//! One client of the Centrifuge protocol, at its own pace.
//!
//! Supervised by `centrifuge_sessions`, one a socket, temporary: when it fails, its socket is closed with 3004, and the client connects
//! again and recovers. Invariants: in a channel of one device the client sees each frame once, in order, recovery and stream joined at one
//! position, or the subscription is ended with 2500; nothing here waits for the client; a command is looked at only where there is room for
//! its reply. Reading from the socket, tokens, and closing are left to the connection that made the session: it learns the close code
//! through `done`, or, when that is dropped without one, that the session failed.

mod commands;
mod filter;
mod outbox;
mod presence;
mod protocol;
mod subscription;

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use orinoco_ports::{ClientSocket, CoordinateStore};
use orinoco_supervision::{Actor, Address, Context, Failure, Group, Message, fault};
use tokio::{sync::oneshot, time::Instant};

use crate::{
    Close, HubEvent, StreamHubMessage, StreamPage, View, WsLimits,
    socket_writer::{Gone, SocketWriter, Waiting},
    stream_hub::HubBatch,
    ws_session::feed::{Feed, Stage},
};
use outbox::{Outbox, TooSlow};
use protocol::quoted;
use subscription::Subscription;

pub use presence::Presence;
pub use protocol::{
    Command, CommandError, HistoryRequest, Request, StreamPosition, SubscribeRequest, error_reply, parse_commands,
};

/// A request to a hub that was lost (the hub was killed) is made again.
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(500);
const STORE_TIMEOUT: Duration = Duration::from_secs(4);
/// A subscribe command that no hub has answered gets an error; clients wait for 5 s.
const SUBSCRIBE_TIMEOUT: Duration = Duration::from_secs(4);
/// What the connect command is told.
const VERSION: &str = concat!("orinoco ", env!("CARGO_PKG_VERSION"));

/// All that can happen to a [`CentrifugeSession`].
#[derive(Debug)]
pub enum CentrifugeSessionMessage {
    /// Of a hub, to one subscription.
    Hub { subscription: u32, event: HubEvent },
    /// What the client asks for. No others come before `handled` is told.
    Commands { commands: Vec<Command>, handled: oneshot::Sender<()> },
    /// The client has shown a new token; `id` is that of its command.
    Refreshed { id: u32, view: View, ttl_s: Option<u64> },
    /// The client takes more.
    Writable,
    /// Time to see whether a hub owes an answer.
    Ask,
    /// Time to look at further commands.
    GoOn,
    /// Time to send what was held to a rate.
    Due,
    /// To the client as it is: a pong of the WebSocket protocol.
    Control(Bytes),
    /// Who else has come or gone in the channel of a subscription that asked for it.
    News { subscription: u32, push: Bytes },
    /// Time for a ping.
    Ping,
    /// The client is gone, or must go.
    Gone(Close),
}

impl CentrifugeSessionMessage {
    fn of_socket(flushed: Result<(), Gone>) -> Self {
        match flushed {
            Ok(()) => Self::Writable,
            Err(Gone) => Self::Gone(Close::NORMAL),
        }
    }
}

impl Message for CentrifugeSessionMessage {
    fn kind(&self) -> &'static str {
        match self {
            Self::Hub { event: HubEvent::Page(_), .. } => "page",
            Self::Hub { event: HubEvent::Live(_), .. } => "live",
            Self::Hub { event: HubEvent::HubStarted { .. }, .. } => "hub started",
            Self::Hub { event: HubEvent::Reset { .. }, .. } => "reset",
            Self::Hub { event: HubEvent::Lagged, .. } => "lagged",
            Self::Commands { .. } => "commands",
            Self::Refreshed { .. } => "refreshed",
            Self::Writable => "writable",
            Self::Ask => "ask",
            Self::GoOn => "go on",
            Self::Due => "due",
            Self::Control(_) => "control",
            Self::News { .. } => "news",
            Self::Ping => "ping",
            Self::Gone(_) => "gone",
        }
    }
}

/// What a client is told that has connected.
#[derive(Debug, Clone)]
pub struct Connected {
    /// Of its command.
    pub id: u32,
    /// Unique.
    pub client: String,
    /// Empty where anyone may watch.
    pub user: String,
    /// How long its token lasts; `None` where it needs none.
    pub ttl_s: Option<u64>,
    pub ping_s: u64,
}

/// What a [`CentrifugeSession`] needs.
pub struct CentrifugeSessionArguments {
    /// Unique in this process.
    pub session: u64,
    pub connected: Connected,
    pub socket: Arc<dyn ClientSocket>,
    pub view: View,
    pub hubs: Group<StreamHubMessage>,
    /// How many there are.
    pub partitions: u32,
    pub store: Arc<dyn CoordinateStore>,
    pub presence: Arc<Presence>,
    pub limits: WsLimits,
    /// Told how to close the socket.
    pub done: oneshot::Sender<Close>,
}

pub struct CentrifugeSessionState {
    session: u64,
    own: Address<CentrifugeSessionMessage>,
    client: Arc<str>,
    user: Arc<str>,
    writer: SocketWriter,
    view: View,
    hubs: Group<StreamHubMessage>,
    partitions: u32,
    store: Arc<dyn CoordinateStore>,
    presence: Arc<Presence>,
    limits: WsLimits,
    done: Option<oneshot::Sender<Close>>,
    subscriptions: HashMap<u32, Subscription>,
    last_subscription: u32,
    /// Of one message of the client.
    commands: VecDeque<Command>,
    handled: Option<oneshot::Sender<()>>,
    outbox: Outbox,
    /// Some hub may owe something.
    is_unsettled: bool,
    /// An `Ask` is on its way.
    asking: bool,
    /// A `Due` is on its way.
    due: bool,
}

/// See the module.
#[derive(Debug, Clone, Copy)]
pub struct CentrifugeSession;

impl Actor for CentrifugeSession {
    type Message = CentrifugeSessionMessage;
    type Arguments = CentrifugeSessionArguments;
    type State = CentrifugeSessionState;

    async fn pre_start(
        &self,
        context: &Context<CentrifugeSessionMessage>,
        arguments: CentrifugeSessionArguments,
    ) -> Result<CentrifugeSessionState, Failure> {
        let connected = arguments.connected;
        let mut state = CentrifugeSessionState {
            session: arguments.session,
            own: context.address(),
            client: connected.client.as_str().into(),
            user: connected.user.as_str().into(),
            writer: SocketWriter::new(arguments.socket),
            view: arguments.view,
            hubs: arguments.hubs,
            partitions: arguments.partitions,
            store: arguments.store,
            presence: arguments.presence,
            limits: arguments.limits,
            done: Some(arguments.done),
            subscriptions: HashMap::new(),
            last_subscription: 0,
            commands: VecDeque::new(),
            handled: None,
            outbox: Outbox::new(arguments.limits.queue_bytes_max),
            is_unsettled: false,
            asking: false,
            due: false,
        };
        let ping = format!(r#","ping":{},"pong":true"#, connected.ping_s);
        let result = state.lasting(connected.ttl_s, &ping);
        state.outbox.push_first(protocol::reply(connected.id, "connect", &result));
        state.flush(context).await;
        Ok(state)
    }

    async fn handle(
        &self,
        context: &Context<CentrifugeSessionMessage>,
        message: CentrifugeSessionMessage,
        state: &mut CentrifugeSessionState,
    ) -> Result<(), Failure> {
        match message {
            CentrifugeSessionMessage::Hub { subscription, event } => state.heard(subscription, event, context).await,
            CentrifugeSessionMessage::Commands { commands, handled } => {
                state.commands.extend(commands);
                state.handled = Some(handled);
            }
            CentrifugeSessionMessage::Refreshed { id, view, ttl_s } => state.refreshed(id, view, ttl_s),
            CentrifugeSessionMessage::Writable => state.writer.writable(),
            CentrifugeSessionMessage::Ask => state.ask_again(),
            CentrifugeSessionMessage::GoOn => {}
            CentrifugeSessionMessage::Due => state.send_due(context),
            CentrifugeSessionMessage::Control(message) => state.outbox.push_control(message),
            CentrifugeSessionMessage::News { subscription, push } => {
                // Else it has ended.
                if state.subscriptions.contains_key(&subscription) {
                    state.outbox.push_news(push);
                }
            }
            CentrifugeSessionMessage::Ping => state.outbox.push_control(protocol::ping()),
            CentrifugeSessionMessage::Gone(close) => state.close(close, context),
        }
        fault::point("centrifuge_session.before_effect").await?;
        state.flush(context).await;
        fault::point("centrifuge_session.after_effect").await?;
        Ok(())
    }

    async fn post_stop(
        &self,
        _context: &Context<CentrifugeSessionMessage>,
        state: &mut CentrifugeSessionState,
    ) -> Result<(), Failure> {
        for subscription in state.subscriptions.values() {
            subscription.leave(state.session);
        }
        if let Some(done) = state.done.take() {
            let _ = done.send(Close::SHUTDOWN);
        }
        Ok(())
    }
}

impl CentrifugeSessionState {
    fn close(&mut self, close: Close, context: &Context<CentrifugeSessionMessage>) {
        if let Some(done) = self.done.take() {
            let _ = done.send(close);
            context.stop();
        }
    }

    /// The result of a connect or refresh command.
    fn lasting(&self, ttl_s: Option<u64>, more: &str) -> String {
        let (client, version) = (quoted(&self.client), quoted(VERSION));
        let expires = ttl_s.map_or_else(String::new, |ttl_s| format!(r#","expires":true,"ttl":{ttl_s}"#));
        format!(r#"{{"client":{client},"version":{version}{expires}{more}}}"#)
    }

    fn refreshed(&mut self, id: u32, view: View, ttl_s: Option<u64>) {
        self.outbox.push_first(protocol::reply(id, "refresh", &self.lasting(ttl_s, "")));
        if view != self.view {
            self.view = view;
            // The client subscribes again to what it may still see.
            for subscription in self.subscriptions.keys().copied().collect::<Vec<_>>() {
                self.end(subscription);
            }
        }
    }

    async fn heard(&mut self, id: u32, event: HubEvent, context: &Context<CentrifugeSessionMessage>) {
        // Of a subscription that has ended.
        let Some(subscription) = self.subscriptions.get_mut(&id) else { return };
        match event {
            HubEvent::Page(page) => self.page(id, page).await,
            HubEvent::Live(batch) => self.live(id, &batch, context),
            HubEvent::HubStarted { partition } => {
                let feeds = subscription.feeds.iter_mut().filter(|feed| feed.partition == partition);
                feeds.for_each(Feed::forget_request);
                self.is_unsettled = true;
            }
            HubEvent::Reset { partition } => self.reset(id, partition),
            HubEvent::Lagged if subscription.lane.is_recoverable => self.end(id),
            HubEvent::Lagged => self.close(Close::SLOW, context),
        }
    }

    async fn page(&mut self, id: u32, page: StreamPage) {
        let Some(subscription) = self.subscriptions.get_mut(&id) else { return };
        let head = if matches!(subscription.view, View::Device(_)) { page.head } else { 0 };
        let Some(feed) = subscription.awaiting(&page) else { return };
        feed.accept(page.sequence);
        feed.stage = match &page.next {
            Some(cursor) => Stage::Paging { cursor: cursor.clone(), asked: false },
            None => Stage::Live { above: head },
        };
        self.is_unsettled = true;
        if let Some(owed) = subscription.owed.take() {
            return self.subscribed(id, owed, &page).await;
        }
        for publication in subscription.publications(&page) {
            self.outbox.push_first(publication);
        }
    }

    fn live(&mut self, id: u32, batch: &Arc<HubBatch>, context: &Context<CentrifugeSessionMessage>) {
        let Some(subscription) = self.subscriptions.get_mut(&id) else { return };
        subscription.live(batch, &mut self.outbox);
        if let Some(pace) = subscription.pace.as_ref().filter(|pace| pace.is_waiting())
            && !self.due
        {
            self.due = true;
            context.send_after(pace.tick(), CentrifugeSessionMessage::Due);
        }
        self.bound(context);
    }

    /// Holds what waits for the client to its bound.
    fn bound(&mut self, context: &Context<CentrifugeSessionMessage>) {
        if self.outbox.is_over_bound() {
            self.write(context);
        }
        let bounded = self.outbox.bound();
        let conflated = self.outbox.take_conflated();
        if conflated > 0 {
            metrics::counter!("orinoco_frames_conflated_total").increment(conflated);
        }
        let is_stalled = self.writer.is_stalled(self.limits.stall_max);
        match bounded {
            Ok(ended) if !is_stalled => ended.into_iter().for_each(|subscription| self.end(subscription)),
            Ok(_) | Err(TooSlow) => self.close(Close::SLOW, context),
        }
    }

    fn send_due(&mut self, context: &Context<CentrifugeSessionMessage>) {
        let now = Instant::now();
        let mut tick: Option<Duration> = None;
        for subscription in self.subscriptions.values_mut() {
            let Some(pace) = &mut subscription.pace else { continue };
            for (batch, index) in pace.due(now) {
                self.outbox.push_frame(subscription.lane, &batch, index);
            }
            if pace.is_waiting() {
                tick = Some(tick.map_or(pace.tick(), |tick| tick.min(pace.tick())));
            }
        }
        self.due = tick.is_some();
        if let Some(tick) = tick {
            context.send_after(tick, CentrifugeSessionMessage::Due);
        }
        self.bound(context);
    }

    /// A new stream epoch: recoverable subscriptions learn of it when they recover, the others get the values anew.
    fn reset(&mut self, id: u32, partition: u32) {
        let Some(subscription) = self.subscriptions.get_mut(&id) else { return };
        // Else its answer will be of the new epoch.
        if subscription.lane.is_recoverable && subscription.is_live() {
            return self.end(id);
        }
        if let Some(pace) = &mut subscription.pace {
            pace.clear();
        }
        for feed in subscription.feeds.iter_mut().filter(|feed| feed.partition == partition) {
            feed.stage = Stage::Joining { asked: false };
        }
        self.is_unsettled = true;
    }

    /// Ends a subscription from this side: the client subscribes again, and recovers.
    fn end(&mut self, id: u32) {
        let Some(subscription) = self.remove(id) else { return };
        self.outbox.push_first(match subscription.owed {
            Some(owed) => error_reply(owed.id, CommandError::INTERNAL),
            None => protocol::insufficient_state(&subscription.name),
        });
    }

    fn remove(&mut self, id: u32) -> Option<Subscription> {
        let subscription = self.subscriptions.remove(&id)?;
        subscription.leave(self.session);
        self.outbox.drop_live(id);
        Some(subscription)
    }

    fn ask_again(&mut self) {
        self.asking = false;
        self.is_unsettled = true;
        let mut late = Vec::new();
        for (id, subscription) in &mut self.subscriptions {
            subscription.feeds.iter_mut().for_each(Feed::forget_request);
            if subscription.owed.as_ref().is_some_and(|owed| owed.since.elapsed() > SUBSCRIBE_TIMEOUT) {
                late.push(*id);
            }
        }
        late.into_iter().for_each(|subscription| self.end(subscription));
    }

    /// Asks hubs for what is still owed.
    fn ask(&mut self, context: &Context<CentrifugeSessionMessage>) {
        if !self.is_unsettled {
            return;
        }
        let next_pages = self.outbox.is_empty();
        self.is_unsettled = false;
        for subscription in self.subscriptions.values_mut() {
            if !subscription.is_live() {
                subscription.ask(self.session, &self.own, next_pages);
                self.is_unsettled = true;
            }
        }
        if self.is_unsettled && !self.asking {
            self.asking = true;
            context.send_after(ASK_AGAIN_AFTER, CentrifugeSessionMessage::Ask);
        }
    }

    /// Answers commands, writes what the client takes, and asks for more when all is out. With more in the mailbox it waits for that: one
    /// write for all.
    async fn flush(&mut self, context: &Context<CentrifugeSessionMessage>) {
        if context.address().depth() > 0 {
            return;
        }
        loop {
            let goes_on_later = self.answer_commands(context).await;
            self.write(context);
            self.ask(context);
            let is_stuck = self.outbox.is_full_of_replies() || self.done.is_none();
            if goes_on_later || self.commands.is_empty() || is_stuck {
                return;
            }
        }
    }

    fn write(&mut self, context: &Context<CentrifugeSessionMessage>) {
        if self.done.is_some()
            && self.writer.write(&mut self.outbox, context, CentrifugeSessionMessage::of_socket).is_err()
        {
            self.close(Close::NORMAL, context);
        }
    }
}
