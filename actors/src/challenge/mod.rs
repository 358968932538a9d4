//! One QR challenge: a copy of its record, and a timer.
//!
//! Supervised by `challenges`, one a challenge that this daemon is asked about, temporary; found and started by the
//! [`ChallengeRegistry`](crate::ChallengeRegistry). Invariant: the store is the truth. What is written is written by compare-and-set; what is
//! refused or shown is proved by a copy that the store held after the request was made, or by a terminal one, which never changes. So it
//! can be killed between any two awaits, and its successor, or that of another daemon, goes on from the store with the original deadline.
//! At the deadline it writes EXPIRED; a minute after its end the challenge can't be read any more and its actor ends.

mod action;
mod held;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use orinoco_domain::{
    challenge::{Challenge as Record, ChallengeKey, NewChallenge, Refusal, Status, expire},
    refresh::Family,
    secret::DerivationKeys,
};
use orinoco_ports::{LoginStore, LoginStoreError, Swap};
use orinoco_supervision::{Actor, Alarm, Context, Failure, Message, Reply, fault};
use tokio::time::Instant;

use crate::sse_session::Watcher;
use held::Held;

pub use action::{Acted, Action, BegunLogin, PollAnswer};

/// What a store may take for one call; its own timeouts are shorter. A handler makes three at most that get no answer.
const STORE_TIMEOUT: Duration = Duration::from_secs(3);
/// A store that was away is asked again, by those that somebody watches or whose deadline has passed.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// All that are watched read again after a lost subscription, spread over this time.
const REREAD_WITHIN_MS: u64 = 500;
/// An alarm that came early, by rounding or by a clock that was set, comes again no sooner.
const ALARM_AFTER_MIN: Duration = Duration::from_millis(5);

/// The keys that nonces, one-time codes and refresh tokens are derived with; asked at each decision, as keys rotate.
pub type KeySource = Arc<dyn Fn() -> Arc<DerivationKeys> + Send + Sync>;

/// A challenge as the store held it, and the store's clock then, ms since 1970.
#[derive(Debug, Clone)]
pub struct ChallengeView {
    pub record: Arc<Record>,
    pub now_ms: i64,
}

impl ChallengeView {
    /// What holds, whether its expiry is written or not.
    #[must_use]
    pub fn status(&self) -> Status {
        self.record.status_at(self.now_ms)
    }
}

/// Why a request was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChallengeError {
    /// None, or none that who asks may see.
    #[error("there is no such challenge")]
    NotFound,
    /// It is too late or too early for that; this is the status that won.
    #[error("the challenge is {0}")]
    Conflict(Status),
    /// After the last try the challenge is CANCELLED.
    #[error("wrong otc; {tries_left} more tries")]
    WrongOtc { tries_left: u32 },
    /// There is another challenge, or login, with this random name: draw again.
    #[error("the name is taken")]
    Taken,
    /// As many challenges as may be, or more requests than are handled: shed the load, try again later.
    #[error("too many challenges, or requests about one")]
    Overloaded,
    /// The store can't be reached, or gave no answer in time. A request to change something may have been done: looking tells.
    #[error("challenges are not available: {reason}")]
    Unavailable { reason: String },
    /// What is stored can't be understood: somebody must look.
    #[error("the login store holds what can't be read: {reason}")]
    Corrupt { reason: String },
}

impl ChallengeError {
    pub(crate) fn unavailable(reason: &str) -> Self {
        Self::Unavailable { reason: reason.to_owned() }
    }
}

impl From<LoginStoreError> for ChallengeError {
    fn from(error: LoginStoreError) -> Self {
        match &error {
            LoginStoreError::Taken { .. } => Self::Taken,
            LoginStoreError::Unavailable { .. } => Self::Unavailable { reason: error.to_string() },
            LoginStoreError::Corrupt { .. } => Self::Corrupt { reason: error.to_string() },
        }
    }
}

impl From<Refusal> for ChallengeError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NotFound => Self::NotFound,
            Refusal::Conflict(status) => Self::Conflict(status),
            Refusal::WrongOtc { tries_left } => Self::WrongOtc { tries_left },
        }
    }
}

/// All that can happen to a [`Challenge`]. `asked_at` is the daemon's own clock when the request was made.
#[derive(Debug)]
pub enum ChallengeMessage {
    /// Its record is written.
    Create { new: Box<NewChallenge>, reply: Reply<Result<ChallengeView, ChallengeError>> },
    /// How does it stand? Changes nothing.
    Look { asked_at: std::time::Instant, reply: Reply<Result<ChallengeView, ChallengeError>> },
    /// See [`Action`]. `again`: the same request was made before, and it is not known whether it was done.
    Act { action: Box<Action>, again: bool, asked_at: std::time::Instant, reply: Reply<Result<Acted, ChallengeError>> },
    /// A stream wants to know how it stands, and each change of its status.
    Watch { watcher: Watcher, asked_at: std::time::Instant },
    /// Some daemon wrote this version.
    Changed { version: u64 },
    /// Changes may have been missed.
    Reread,
    /// The time that was waited for has come: the deadline, the end of the readable minute, or another try.
    Due,
}

impl Message for ChallengeMessage {
    fn kind(&self) -> &'static str {
        match self {
            Self::Create { .. } => "create",
            Self::Look { .. } => "look",
            Self::Act { action, .. } => action.kind(),
            Self::Watch { .. } => "watch",
            Self::Changed { .. } => "changed",
            Self::Reread => "reread",
            Self::Due => "due",
        }
    }
}

impl ChallengeMessage {
    /// Answers a request that can't be handed over. What needs no answer is told to nobody.
    pub(crate) fn refuse(self, error: ChallengeError) {
        match self {
            Self::Create { reply, .. } | Self::Look { reply, .. } => reply.send(Err(error)),
            Self::Act { reply, .. } => reply.send(Err(error)),
            // Its drop tells the stream, which asks again.
            Self::Watch { .. } | Self::Changed { .. } | Self::Reread | Self::Due => {}
        }
    }

    /// Whether nobody waits for it any more.
    fn is_abandoned(&self) -> bool {
        match self {
            Self::Create { reply, .. } | Self::Look { reply, .. } => reply.is_closed(),
            Self::Act { reply, .. } => reply.is_closed(),
            Self::Watch { .. } | Self::Changed { .. } | Self::Reread | Self::Due => false,
        }
    }
}

/// What all [`Challenge`]s of a daemon share.
pub struct ChallengeDeps {
    pub store: Arc<dyn LoginStore>,
    pub keys: KeySource,
    /// Streams that may watch one challenge. Policy at the bound: a further one ends, and its client tries again.
    pub watchers_max: usize,
}

/// What a [`Challenge`] needs.
pub struct ChallengeArguments {
    pub key: ChallengeKey,
    pub deps: Arc<ChallengeDeps>,
}

pub struct ChallengeState {
    key: ChallengeKey,
    deps: Arc<ChallengeDeps>,
    held: Option<Box<Held>>,
    watchers: Vec<Watcher>,
    /// The status that watchers were told.
    told: Option<Status>,
    /// When to ask the store again, whatever else is due.
    try_at: Option<Instant>,
    alarm: Option<(Instant, Alarm)>,
}

impl Drop for ChallengeState {
    fn drop(&mut self) {
        metrics::gauge!("orinoco_challenges").decrement(1.0);
    }
}

/// See the module.
#[derive(Debug, Clone, Copy)]
pub struct Challenge;

impl Actor for Challenge {
    type Message = ChallengeMessage;
    type Arguments = ChallengeArguments;
    type State = ChallengeState;

    async fn pre_start(
        &self,
        _context: &Context<ChallengeMessage>,
        arguments: ChallengeArguments,
    ) -> Result<ChallengeState, Failure> {
        let ChallengeArguments { key, deps } = arguments;
        metrics::gauge!("orinoco_challenges").increment(1.0);
        Ok(ChallengeState { key, deps, held: None, watchers: Vec::new(), told: None, try_at: None, alarm: None })
    }

    async fn handle(
        &self,
        context: &Context<ChallengeMessage>,
        message: ChallengeMessage,
        state: &mut ChallengeState,
    ) -> Result<(), Failure> {
        if message.is_abandoned() {
            return Ok(());
        }
        match message {
            ChallengeMessage::Create { new, reply } => {
                fault::point("challenge.before_effect").await?;
                let created = state.create(&new).await;
                fault::point("challenge.after_effect").await?;
                reply.send(created);
            }
            ChallengeMessage::Look { asked_at, reply } => reply.send(state.look(asked_at).await),
            ChallengeMessage::Act { action, again, asked_at, reply } => {
                fault::point("challenge.before_effect").await?;
                let acted = state.act(&action, again, asked_at).await;
                fault::point("challenge.after_effect").await?;
                reply.send(acted);
                fault::point("challenge.after_acknowledgement").await?;
            }
            ChallengeMessage::Watch { watcher, asked_at } => state.watch(watcher, asked_at).await,
            ChallengeMessage::Changed { version } => state.changed(version).await,
            ChallengeMessage::Reread => state.reread(),
            ChallengeMessage::Due => state.due().await,
        }
        state.rest(context);
        Ok(())
    }

    async fn expired(&self, context: &Context<ChallengeMessage>, _state: &mut ChallengeState) -> Result<(), Failure> {
        // The file's `ttl`: the store is the truth, whoever still needs it starts it anew.
        context.finish();
        Ok(())
    }
}

impl ChallengeState {
    async fn create(&mut self, new: &NewChallenge) -> Result<ChallengeView, ChallengeError> {
        let as_of = std::time::Instant::now();
        match in_time(self.deps.store.create_challenge(new)).await {
            Ok(record) => {
                let now_ms = record.created_at_ms;
                self.hold(record, now_ms, as_of);
            }
            // By this very request, when its first answer was lost: the salt is random.
            Err(ChallengeError::Taken) => {
                self.load().await?;
                if self.held.as_ref().is_none_or(|held| held.record.salt != new.salt) {
                    return Err(ChallengeError::Taken);
                }
            }
            Err(error) => return Err(error),
        }
        self.view()
    }

    async fn look(&mut self, asked_at: std::time::Instant) -> Result<ChallengeView, ChallengeError> {
        if !self.held.as_ref().is_some_and(|held| held.proves(asked_at)) {
            self.load().await?;
        }
        self.view()
    }

    async fn watch(&mut self, watcher: Watcher, asked_at: std::time::Instant) {
        self.watchers.retain(|present| present.is_up() && !present.is_of(&watcher));
        if self.watchers.len() >= self.deps.watchers_max {
            return watcher.tell_too_many();
        }
        match self.look(asked_at).await {
            Ok(view) if watcher.tell(&view) => self.watchers.push(watcher),
            Ok(_) => {}
            Err(ChallengeError::NotFound) => watcher.tell_gone(),
            Err(_) => {
                self.watchers.push(watcher);
                // Whatever is read next, this one has not been told.
                self.told = None;
                self.try_later(TRY_AGAIN_AFTER);
            }
        }
    }

    async fn changed(&mut self, version: u64) {
        let is_news = self.held.as_ref().is_none_or(|held| held.record.version < version);
        if is_news && self.load().await.is_err() {
            self.try_later(TRY_AGAIN_AFTER);
        }
    }

    /// Requests read for themselves; streams wait for changes.
    fn reread(&mut self) {
        if !self.watchers.is_empty() {
            self.try_later(Duration::from_millis(fastrand::u64(0..REREAD_WITHIN_MS)));
        }
    }

    async fn due(&mut self) {
        self.alarm = None;
        if self.try_at.take_if(|at| *at <= Instant::now()).is_some() && self.load().await.is_err() {
            return self.try_later(TRY_AGAIN_AFTER);
        }
        let Some(held) = &self.held else { return };
        if held.record.status.is_terminal() {
            if held.now_ms() >= held.record.purge_at_ms() {
                self.forget();
            }
            return;
        }
        // Before the store agrees nobody is told: another daemon may have ended it in time.
        if let Some(next) = expire(&held.record, held.now_ms())
            && self.swap(next, None).await.is_err()
        {
            self.try_later(TRY_AGAIN_AFTER);
        }
    }

    /// Reads the record; it is held from now on, if there is one.
    async fn load(&mut self) -> Result<(), ChallengeError> {
        let as_of = std::time::Instant::now();
        let loaded = in_time(self.deps.store.load_challenge(&self.key)).await?;
        match loaded.record {
            Some(record) => self.hold(record, loaded.now_ms, as_of),
            None => self.forget(),
        }
        Ok(())
    }

    /// Writes the next version; what the store holds then is held here, and `true` says that it is `next`.
    async fn swap(&mut self, next: Record, began: Option<&Family>) -> Result<bool, ChallengeError> {
        let now_ms = self.held.as_ref().map_or(next.created_at_ms, |held| held.now_ms());
        let as_of = std::time::Instant::now();
        match in_time(self.deps.store.swap_challenge(&next, began)).await {
            Ok(Swap::Swapped) => {
                if next.status.is_terminal() {
                    metrics::counter!("orinoco_challenges_ended_total", "status" => next.status.as_str()).increment(1);
                }
                self.hold(next, now_ms, as_of);
                Ok(true)
            }
            Ok(Swap::Conflict { current, now_ms }) => {
                self.hold(current, now_ms, as_of);
                Ok(false)
            }
            Ok(Swap::Gone) => {
                self.forget();
                Err(ChallengeError::NotFound)
            }
            // The answer may be lost, and not the request.
            Err(ChallengeError::Unavailable { reason }) => {
                self.load().await?;
                match &self.held {
                    Some(held) if *held.record == next => self.is_own(began).await,
                    _ => Err(ChallengeError::Unavailable { reason }),
                }
            }
            Err(error) => Err(error),
        }
    }

    /// Whether a record that is what was to be written was written from here. Two daemons that exchange within the same millisecond write
    /// equal records; the login that began beside it is one's alone. What else is equal was asked for by the same creator or phone, with
    /// the same outcome.
    async fn is_own(&self, began: Option<&Family>) -> Result<bool, ChallengeError> {
        let Some(family) = began else { return Ok(true) };
        Ok(in_time(self.deps.store.load_family(&family.id)).await?.record.is_some())
    }

    fn hold(&mut self, record: Record, now_ms: i64, as_of: std::time::Instant) {
        self.held = Some(Box::new(Held::new(record, now_ms, as_of)));
        if let Ok(view) = self.view()
            && self.told != Some(view.status())
        {
            self.tell(&view);
        }
    }

    /// There is no such record (any more).
    fn forget(&mut self) {
        self.held = None;
        self.tell_gone();
    }

    fn view(&self) -> Result<ChallengeView, ChallengeError> {
        self.held.as_ref().map(|held| held.view()).ok_or(ChallengeError::NotFound)
    }

    fn tell(&mut self, view: &ChallengeView) {
        self.told = Some(view.status());
        self.watchers.retain(|watcher| watcher.tell(view));
    }

    fn tell_gone(&mut self) {
        self.told = None;
        self.watchers.drain(..).for_each(Watcher::tell_gone);
    }

    fn try_later(&mut self, after: Duration) {
        let at = Instant::now() + after;
        self.try_at = Some(self.try_at.map_or(at, |earlier| earlier.min(at)));
    }

    /// Sets the alarm to what comes next, or ends where nothing does.
    fn rest(&mut self, context: &Context<ChallengeMessage>) {
        if self.held.is_none() && self.watchers.is_empty() {
            return context.finish();
        }
        let due = self.held.as_ref().map(|held| held.next_at());
        let next = match (due, self.try_at) {
            // What is overdue could not be done: the store is away.
            (Some(due), Some(try_at)) if due <= Instant::now() => Some(try_at),
            (due, try_at) => [due, try_at].into_iter().flatten().min(),
        };
        let Some(next) = next else { return };
        if self.alarm.as_ref().is_none_or(|(at, _)| *at != next) {
            let at = next.max(Instant::now() + ALARM_AFTER_MIN);
            self.alarm = Some((next, context.alarm_at(at, ChallengeMessage::Due)));
        }
    }
}

/// The answer of the store, if it comes in time.
async fn in_time<T>(call: impl Future<Output = Result<T, LoginStoreError>>) -> Result<T, ChallengeError> {
    let answer = tokio::time::timeout(STORE_TIMEOUT, call).await;
    let answer = answer.map_err(|_elapsed| ChallengeError::unavailable("the login store does not answer"))?;
    answer.map_err(ChallengeError::from).inspect_err(|error| {
        if let ChallengeError::Corrupt { reason } = error {
            tracing::error!(%reason, "a challenge can't be read");
        }
    })
}
