//! How to reach an actor: addresses that survive its restarts, replies, and groups of instances.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::actor::Message;
use crate::fault;
use crate::mailbox::Mailbox;
use crate::sync::lock;

/// A message that was not taken; it comes back.
#[derive(thiserror::Error)]
pub enum SendError<M> {
    /// The mailbox is at its capacity (`backpressure`: only from `try_send`; `reject`: always).
    #[error("the mailbox is full")]
    Full(M),
    /// The actor does not run at present: it starts, waits for a restart, stops or has ended.
    #[error("the actor is down")]
    Down(M),
}

impl<M> SendError<M> {
    /// The message that was refused.
    pub fn into_message(self) -> M {
        match self {
            Self::Full(message) | Self::Down(message) => message,
        }
    }

    /// Whether it was refused for want of room.
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Full(_))
    }
}

impl<M> std::fmt::Debug for SendError<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.is_full() { "Full" } else { "Down" })
    }
}

/// A call without an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The mailbox is full and its policy is to reject.
    #[error("the mailbox is full")]
    Full,
    /// The actor does not run at present; the message was not taken.
    #[error("the actor is down")]
    Down,
    /// No answer in time; the message may yet be handled.
    #[error("no answer in time")]
    Timeout,
    /// The message was taken and the actor ended, or let the reply go, without an answer.
    #[error("the request was dropped without an answer")]
    Dropped,
}

/// The address of an actor, valid across its restarts; cheap to clone.
pub struct Address<M: Message> {
    mailbox: Arc<Mailbox<M>>,
    own: bool,
}

impl<M: Message> Clone for Address<M> {
    fn clone(&self) -> Self {
        Self { mailbox: Arc::clone(&self.mailbox), own: self.own }
    }
}

impl<M: Message> std::fmt::Debug for Address<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Address").field(&self.path()).finish()
    }
}

impl<M: Message> Address<M> {
    pub(crate) fn new(mailbox: Arc<Mailbox<M>>) -> Self {
        Self { mailbox, own: false }
    }

    /// The address that an actor has of itself: it works while `pre_start` runs too.
    pub(crate) fn own(mailbox: Arc<Mailbox<M>>) -> Self {
        Self { mailbox, own: true }
    }

    /// Where the actor is in the tree, for instance `root/stream/writer.0`.
    pub fn path(&self) -> &str {
        self.mailbox.path()
    }

    /// Queues a message without waiting.
    ///
    /// # Errors
    /// [`SendError::Full`] at capacity with `backpressure` and `reject` (`drop_oldest` and `drop_newest` drop and count
    /// instead), [`SendError::Down`] when the actor does not run.
    pub fn try_send(&self, message: M) -> Result<(), SendError<M>> {
        self.mailbox.offer(message, self.own)
    }

    /// Queues a message; with `backpressure` it waits for room. Dropping the future before it is done sends nothing.
    ///
    /// # Errors
    /// [`SendError::Down`] when the actor does not run or goes down meanwhile; [`SendError::Full`] only with `reject`.
    pub async fn send(&self, message: M) -> Result<(), SendError<M>> {
        self.mailbox.send(message, self.own).await
    }

    /// Sends a request and waits for its answer, `timeout` in all.
    ///
    /// # Errors
    /// See [`CallError`]; after `Timeout` and `Dropped` the request may have had its effect.
    pub async fn call<R: Send>(&self, make: impl FnOnce(Reply<R>) -> M, timeout: Duration) -> Result<R, CallError> {
        let (reply, answer) = Reply::pair();
        let request = make(reply);
        let exchange = async {
            match self.send(request).await {
                Ok(()) => answer.await.map_err(|_| CallError::Dropped),
                Err(SendError::Full(_)) => Err(CallError::Full),
                Err(SendError::Down(_)) => Err(CallError::Down),
            }
        };
        tokio::time::timeout(timeout, exchange).await.unwrap_or(Err(CallError::Timeout))
    }

    /// Whether an incarnation takes messages at present.
    pub fn is_up(&self) -> bool {
        self.mailbox.is_up()
    }

    /// Waits until an incarnation takes messages.
    pub async fn up(&self) {
        self.mailbox.wait_up().await;
    }

    /// How many messages are queued.
    pub fn depth(&self) -> usize {
        self.mailbox.depth()
    }

    /// How many messages may be queued; 0 before the tree is started.
    pub fn capacity(&self) -> usize {
        self.mailbox.capacity()
    }
}

/// The way back of one answer.
pub struct Reply<R>(oneshot::Sender<R>);

impl<R> Reply<R> {
    /// A reply and where its answer arrives, for callers that make their messages themselves.
    pub fn pair() -> (Self, oneshot::Receiver<R>) {
        let (sender, receiver) = oneshot::channel();
        (Self(sender), receiver)
    }

    /// Answers. A caller that has gone does not matter.
    pub fn send(self, value: R) {
        if fault::drops_reply() {
            return;
        }
        let _ = self.0.send(value);
    }

    /// Whether the caller has gone, so that the work may be left.
    pub fn is_closed(&self) -> bool {
        self.0.is_closed()
    }
}

impl<R> std::fmt::Debug for Reply<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Reply")
    }
}

struct GroupInner<M: Message> {
    start: &'static str,
    mailboxes: Mutex<Vec<Arc<Mailbox<M>>>>,
    /// None before the tree is started.
    len: OnceLock<AtomicU32>,
}

/// The addresses of all instances of one `start` name, numbered in the order of the file. May be taken before the tree
/// exists, so that actors can know each other in circles.
pub struct Group<M: Message>(Arc<GroupInner<M>>);

impl<M: Message> Clone for Group<M> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<M: Message> Group<M> {
    pub(crate) fn new(start: &'static str) -> Self {
        Self(Arc::new(GroupInner { start, mailboxes: Mutex::new(Vec::new()), len: OnceLock::new() }))
    }

    /// The address of an instance.
    ///
    /// # Panics
    /// When the running tree has no such instance: that is a mistake in the program.
    pub fn get(&self, instance: u32) -> Address<M> {
        Address::new(self.mailbox(instance))
    }

    /// The address of instance 0.
    ///
    /// # Panics
    /// When the running tree has no instance.
    pub fn one(&self) -> Address<M> {
        self.get(0)
    }

    /// How many instances there are; 0 before the tree is started.
    pub fn len(&self) -> u32 {
        self.0.len.get().map_or(0, |len| len.load(Ordering::Acquire))
    }

    /// Whether there are no instances, or none yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The addresses of all instances, in order.
    pub fn iter(&self) -> impl Iterator<Item = Address<M>> + '_ {
        (0..self.len()).map(|instance| self.get(instance))
    }

    pub(crate) fn mailbox(&self, instance: u32) -> Arc<Mailbox<M>> {
        if let Some(len) = self.0.len.get().map(|len| len.load(Ordering::Acquire)) {
            assert!(
                instance < len,
                "`{}` has {len} instances in the tree, instance {instance} was asked for",
                self.0.start
            );
        }
        let mut mailboxes = lock(&self.0.mailboxes);
        while mailboxes.len() <= instance as usize {
            mailboxes.push(Arc::new(Mailbox::new()));
        }
        Arc::clone(&mailboxes[instance as usize])
    }

    /// Fixes the number of instances; false when an address beyond it was given out already.
    pub(crate) fn fix_len(&self, len: u32) -> bool {
        let _ = self.0.len.set(AtomicU32::new(len));
        lock(&self.0.mailboxes).len() <= len as usize
    }

    /// Numbers are never taken back: an address that was given out stays one.
    pub(crate) fn extend_to(&self, len: u32) {
        if let Some(known) = self.0.len.get() {
            known.fetch_max(len, Ordering::AcqRel);
        }
    }
}
