//! One server-sent event stream (WHATWG HTML, section 9.2): the status of a challenge to its creator.
//!
//! Supervised by `sse_sessions`, one a stream, temporary: when it fails, the response ends and EventSource connects again. Invariant: the
//! client sees the status at once, then each change, never an older one after a newer one, and nothing after a terminal one, with which the
//! stream ends. What it shows came from the store: while that, or its [`Challenge`](crate::Challenge), is away it says nothing but comments,
//! and catches up. Who may see the challenge is for the HTTP server to check, before; what stands in an event is for it to render.

mod event;
mod stream;
mod watcher;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use orinoco_domain::challenge::{ChallengeKey, Status};
use orinoco_supervision::{Actor, Alarm, Context, Failure, Group, Message, SendError, fault};
use tokio::{
    sync::mpsc::{self, error::TrySendError},
    time::Instant,
};

use crate::{ChallengeMessage, ChallengeRegistryMessage, ChallengeView};

pub use stream::{SseStream, SseStreams};
pub use watcher::Watcher;

/// A challenge that was lost (its actor was killed) is asked for again after this, and twice as long each time that was in vain.
const ATTACH_AGAIN_AFTER_MIN: Duration = Duration::from_millis(20);
const ATTACH_AGAIN_AFTER_MAX: Duration = Duration::from_secs(1);
/// A mailbox that rejects is tried again after so long.
const TELL_AGAIN_AFTER: Duration = Duration::from_millis(20);

/// Makes the JSON of an event; the same that a poll answers with.
pub type SseRender = Arc<dyn Fn(&ChallengeView) -> String + Send + Sync>;

/// All that can happen to an [`SseSession`]. An `attachment` that is not the present one means nothing.
#[derive(Debug)]
pub enum SseSessionMessage {
    /// How its challenge stands.
    Now { attachment: u64, view: ChallengeView },
    /// There is no such challenge (any more).
    NoChallenge { attachment: u64 },
    /// Too many streams watch the challenge.
    TooMany { attachment: u64 },
    /// Its challenge tells it nothing any more.
    Lost { attachment: u64 },
    /// Time for a comment, or to ask for the challenge.
    Tick,
    /// The client takes more.
    Writable,
    /// The client is gone.
    ClientGone,
}

impl Message for SseSessionMessage {
    fn kind(&self) -> &'static str {
        match self {
            Self::Now { .. } => "now",
            Self::NoChallenge { .. } => "no challenge",
            Self::TooMany { .. } => "too many",
            Self::Lost { .. } => "lost",
            Self::Tick => "tick",
            Self::Writable => "writable",
            Self::ClientGone => "client gone",
        }
    }
}

/// Bounds of a stream.
#[derive(Debug, Clone, Copy)]
pub struct SseLimits {
    /// A comment is sent this often, so that proxies keep the stream; then it also asks how the challenge stands.
    pub comment_interval: Duration,
    /// How long a client with a full connection may take nothing; looked at with each comment.
    pub stall_max: Duration,
    /// After this the client shall connect again.
    pub retry: Duration,
    /// Events and comments that wait for a slow client. What does not fit is left out: the newest status comes when there is room.
    pub chunks_max: usize,
}

impl Default for SseLimits {
    fn default() -> Self {
        Self {
            comment_interval: Duration::from_secs(15),
            stall_max: Duration::from_secs(30),
            retry: Duration::from_secs(2),
            chunks_max: 8,
        }
    }
}

/// What an [`SseSession`] needs.
pub struct SseSessionArguments {
    /// Unique in this process.
    pub session: u64,
    pub key: ChallengeKey,
    pub registry: Group<ChallengeRegistryMessage>,
    pub render: SseRender,
    pub limits: SseLimits,
    /// The body of the response, at most `chunks_max`.
    pub chunks: mpsc::Sender<Bytes>,
}

pub struct SseSessionState {
    arguments: SseSessionArguments,
    attachment: u64,
    /// Tries since it was told something.
    attempts: u32,
    attach_at: Option<Instant>,
    comment_at: Instant,
    alarm: Option<(Instant, Alarm)>,
    /// What the client was sent last.
    shown: Option<(u64, Status)>,
    /// What there was no room for.
    unsent: Option<ChallengeView>,
    /// The client takes nothing since then, and a helper waits for it.
    blocked_since: Option<Instant>,
}

impl Drop for SseSessionState {
    fn drop(&mut self) {
        metrics::gauge!("orinoco_sse_streams").decrement(1.0);
    }
}

/// See the module.
#[derive(Debug, Clone, Copy)]
pub struct SseSession;

impl Actor for SseSession {
    type Message = SseSessionMessage;
    type Arguments = SseSessionArguments;
    type State = SseSessionState;

    async fn pre_start(
        &self,
        context: &Context<SseSessionMessage>,
        arguments: SseSessionArguments,
    ) -> Result<SseSessionState, Failure> {
        metrics::gauge!("orinoco_sse_streams").increment(1.0);
        let now = Instant::now();
        let comment_at = now + arguments.limits.comment_interval;
        let mut state = SseSessionState {
            arguments,
            attachment: 0,
            attempts: 0,
            attach_at: Some(now),
            comment_at,
            alarm: None,
            shown: None,
            unsent: None,
            blocked_since: None,
        };
        let retry = event::retry(state.arguments.limits.retry);
        state.write(context, retry);
        // A watcher is told nothing before its stream is up: asked for at the first tick.
        state.rest(context);
        Ok(state)
    }

    async fn handle(
        &self,
        context: &Context<SseSessionMessage>,
        message: SseSessionMessage,
        state: &mut SseSessionState,
    ) -> Result<(), Failure> {
        match message {
            SseSessionMessage::Now { attachment, view } if attachment == state.attachment => state.now(context, view),
            SseSessionMessage::Lost { attachment } if attachment == state.attachment => state.lost(),
            SseSessionMessage::NoChallenge { attachment } | SseSessionMessage::TooMany { attachment }
                if attachment == state.attachment =>
            {
                context.stop();
            }
            SseSessionMessage::Now { .. }
            | SseSessionMessage::Lost { .. }
            | SseSessionMessage::NoChallenge { .. }
            | SseSessionMessage::TooMany { .. } => {}
            SseSessionMessage::Tick => state.tick(context),
            SseSessionMessage::Writable => {
                state.blocked_since = None;
                state.show(context);
            }
            SseSessionMessage::ClientGone => context.stop(),
        }
        fault::point("sse_session.after_effect").await?;
        state.rest(context);
        Ok(())
    }
}

impl SseSessionState {
    fn now(&mut self, context: &Context<SseSessionMessage>, view: ChallengeView) {
        self.attempts = 0;
        self.attach_at = None;
        self.unsent = Some(view);
        self.show(context);
    }

    fn lost(&mut self) {
        let wait = ATTACH_AGAIN_AFTER_MIN.saturating_mul(1 << self.attempts.min(6)).min(ATTACH_AGAIN_AFTER_MAX);
        self.attempts += 1;
        self.attach_at = Some(Instant::now() + wait.mul_f64(0.5 + fastrand::f64() / 2.0));
    }

    fn tick(&mut self, context: &Context<SseSessionMessage>) {
        self.alarm = None;
        let now = Instant::now();
        if self.comment_at <= now {
            self.comment_at = now + self.arguments.limits.comment_interval;
            // A message that was lost for want of room, here or there, is made good.
            self.attach_at = Some(now);
            let stalled = self.blocked_since.is_some_and(|since| now - since >= self.arguments.limits.stall_max);
            if stalled {
                metrics::counter!("orinoco_sse_stalled_total").increment(1);
                return context.stop();
            }
            if self.blocked_since.is_none() {
                self.write(context, event::comment());
            }
        }
        if self.attach_at.take_if(|at| *at <= now).is_some() {
            self.attach(context);
        }
    }

    /// Asks the challenge to tell it what happens. What is lost on the way comes back as `Lost`.
    fn attach(&mut self, context: &Context<SseSessionMessage>) {
        self.attachment += 1;
        let watcher = Watcher::new(context.address(), self.arguments.session, self.attachment);
        let message = ChallengeMessage::Watch { watcher, asked_at: std::time::Instant::now() };
        let hand = ChallengeRegistryMessage::Hand { key: self.arguments.key, message };
        let _ = self.arguments.registry.one().try_send(hand);
    }

    /// Sends what is new of the status that is not sent yet, if there is room.
    fn show(&mut self, context: &Context<SseSessionMessage>) {
        if self.blocked_since.is_some() {
            return;
        }
        let Some(view) = self.unsent.take() else { return };
        let (version, status) = (view.record.version, view.status());
        let is_news = self.shown.is_none_or(|(shown, told)| version >= shown && status != told);
        if !is_news {
            return;
        }
        let event = event::status(version, &(self.arguments.render)(&view));
        if self.write(context, event) {
            self.shown = Some((version, status));
            metrics::counter!("orinoco_sse_events_total", "status" => status.as_str()).increment(1);
            if status.is_terminal() {
                context.stop();
            }
        } else {
            self.unsent = Some(view);
        }
    }

    /// Whether there was room; a helper says when there is again.
    fn write(&mut self, context: &Context<SseSessionMessage>, chunk: Bytes) -> bool {
        match self.arguments.chunks.try_send(chunk) {
            Ok(()) => true,
            Err(TrySendError::Closed(_)) => {
                context.stop();
                false
            }
            Err(TrySendError::Full(_)) => {
                self.blocked_since = Some(Instant::now());
                self.wait(context);
                false
            }
        }
    }

    fn wait(&self, context: &Context<SseSessionMessage>) {
        let (chunks, own) = (self.arguments.chunks.clone(), context.address());
        context.spawn(async move {
            let has_room = chunks.reserve().await.is_ok();
            loop {
                let message = if has_room { SseSessionMessage::Writable } else { SseSessionMessage::ClientGone };
                match own.send(message).await {
                    Err(SendError::Full(_)) => tokio::time::sleep(TELL_AGAIN_AFTER).await,
                    Ok(()) | Err(SendError::Down(_)) => return,
                }
            }
        });
    }

    /// Sets the alarm to what comes next.
    fn rest(&mut self, context: &Context<SseSessionMessage>) {
        let next = self.attach_at.map_or(self.comment_at, |at| at.min(self.comment_at));
        if self.alarm.as_ref().is_none_or(|(at, _)| *at != next) {
            self.alarm = Some((next, context.alarm_at(next, SseSessionMessage::Tick)));
        }
    }
}
