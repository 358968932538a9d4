//! What an actor knows of itself, and the helpers that end with it.

use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::actor::Message;
use crate::address::Address;
use crate::alarm::Alarm;
use crate::cell::Cell as _;
use crate::mailbox::Mailbox;
use crate::plan::StopMode;

/// An incarnation's view of itself. Timers and helper tasks started here end with the incarnation, however it ends.
pub struct Context<M: Message> {
    mailbox: Arc<Mailbox<M>>,
    incarnation: u64,
    helpers: OnceLock<CancellationToken>,
}

impl<M: Message> Context<M> {
    pub(crate) fn new(mailbox: Arc<Mailbox<M>>, incarnation: u64) -> Self {
        Self { mailbox, incarnation, helpers: OnceLock::new() }
    }

    /// Where it is in the tree, for instance `root/stream/writer.0`.
    pub fn path(&self) -> &str {
        self.mailbox.path()
    }

    /// Its number among the instances of its `start` name; 0 for a single child and for a pool's children.
    pub fn instance(&self) -> u32 {
        self.mailbox.instance()
    }

    /// 0 at the first start, one more at each further one.
    pub fn incarnation(&self) -> u64 {
        self.incarnation
    }

    /// Its own address; unlike others' it takes messages while `pre_start` runs too.
    pub fn address(&self) -> Address<M> {
        Address::own(Arc::clone(&self.mailbox))
    }

    /// Ends the actor normally after the current message; what is queued is dropped.
    pub fn stop(&self) {
        self.mailbox.stop_self();
    }

    /// Ends the actor normally once what is queued is handled; nothing new is taken.
    pub fn finish(&self) {
        self.mailbox.begin_stop(StopMode::Drain);
    }

    /// Sends a message to itself at a time, however full the mailbox is by then; taken back when the alarm is dropped. A
    /// pool's child enters it into the pool's one queue of deadlines: 100,000 children may have one each at the price of
    /// an entry in a map, where [`Context::send_after`] is a task.
    #[must_use = "dropping the alarm takes the message back"]
    pub fn alarm_at(&self, at: Instant, message: M) -> Alarm {
        match self.mailbox.profile().and_then(|profile| profile.delays.as_ref()) {
            Some(delays) => Alarm::queued(delays, Arc::clone(&self.mailbox), at, message),
            None => Alarm::timer(self.send_after(at.saturating_duration_since(Instant::now()), message)),
        }
    }

    /// Sends a message to itself later; it waits for room at the end of the delay. Aborted when the actor ends.
    pub fn send_after(&self, delay: Duration, message: M) -> Timer {
        let address = self.address();
        Timer(self.spawn(async move {
            tokio::time::sleep(delay).await;
            // Down means that the actor ends, and its timers with it.
            let _ = address.send(message).await;
        }))
    }

    /// Runs a helper beside the actor, for instance a pump from a socket into the mailbox. Aborted when the actor ends.
    /// A panic in it ends only the helper: report failures to the actor as messages.
    pub fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) -> Task {
        let ended = self.helpers.get_or_init(CancellationToken::new).clone();
        let task = tokio::spawn(async move {
            let _ = ended.run_until_cancelled(future).await;
        });
        Task(task.abort_handle())
    }

    #[cfg(feature = "faults")]
    pub(crate) fn cell(&self) -> Arc<dyn crate::cell::Cell> {
        Arc::clone(&self.mailbox) as _
    }

    /// Ends timers and helpers.
    pub(crate) fn end_helpers(&self) {
        if let Some(helpers) = self.helpers.get() {
            helpers.cancel();
        }
    }
}

impl<M: Message> Drop for Context<M> {
    fn drop(&mut self) {
        self.end_helpers();
    }
}

/// A message that will arrive unless it is cancelled; dropping the handle does not cancel it.
#[derive(Debug)]
pub struct Timer(Task);

impl Timer {
    /// Takes the message back, if it has not been sent.
    pub fn cancel(&self) {
        self.0.abort();
    }

    /// Whether it was sent or cancelled.
    pub fn is_finished(&self) -> bool {
        self.0.is_finished()
    }
}

/// A helper task; dropping the handle leaves it running until the actor ends.
#[derive(Debug)]
pub struct Task(AbortHandle);

impl Task {
    /// Ends the task at its next await.
    pub fn abort(&self) {
        self.0.abort();
    }

    /// Whether it has ended.
    pub fn is_finished(&self) -> bool {
        self.0.is_finished()
    }
}
