//! One child of a pool: what must survive its restarts, kept small because there may be 100,000 of them.

use std::sync::{Arc, Mutex, Weak};

use tokio::time::Instant;

use super::runtime::PoolInner;
use super::start::Source;
use crate::actor::Actor;
use crate::address::Address;
use crate::delay::{self, Deadline, Due};
use crate::mailbox::Mailbox;
use crate::shell;
use crate::supervisor::intensity::Window;
use crate::sync::lock;

/// Names a child within its pool: its place among the partitions, in inspection and for [`super::Pool::get`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key(pub(super) Arc<str>);

impl From<u64> for Key {
    fn from(number: u64) -> Self {
        Self(number.to_string().into())
    }
}

impl From<&str> for Key {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl From<String> for Key {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl From<Arc<str>> for Key {
    fn from(text: Arc<str>) -> Self {
        Self(text)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChildPhase {
    Starting,
    Up,
    Backoff,
    /// It ended for good; nothing refers to it but who still holds it.
    Gone,
}

/// Where a child is in its life.
pub(super) struct Life {
    pub(super) phase: ChildPhase,
    /// Asked to stop: it is not restarted.
    pub(super) stopping: bool,
    /// When its time is over; fixed at its creation, or by each start with `ttl_from = "start"`.
    pub(super) ttl_at: Option<Instant>,
    pub(super) ttl_key: Option<delay::Key>,
    pub(super) idle_key: Option<delay::Key>,
    pub(super) restart_key: Option<delay::Key>,
    pub(super) up_since: Option<Instant>,
    /// Only for a child that has failed.
    pub(super) history: Option<Box<History>>,
}

/// The failures of a child that failed.
#[derive(Default)]
pub(super) struct History {
    pub(super) failures: u32,
    pub(super) window: Window,
    pub(super) last_failure: String,
}

pub(super) struct Child<A: Actor> {
    pub(super) mailbox: Arc<Mailbox<A::Message>>,
    pub(super) key: Arc<str>,
    pub(super) partition: usize,
    pool: Weak<PoolInner<A>>,
    source: Source<A>,
    pub(super) life: Mutex<Life>,
}

impl<A: Actor> Child<A> {
    pub(super) fn new(
        pool: &Arc<PoolInner<A>>,
        key: Arc<str>,
        partition: usize,
        source: Source<A>,
        ttl_at: Option<Instant>,
    ) -> Self {
        Self {
            mailbox: Arc::new(Mailbox::new()),
            key,
            partition,
            pool: Arc::downgrade(pool),
            source,
            life: Mutex::new(Life {
                phase: ChildPhase::Starting,
                stopping: false,
                ttl_at,
                ttl_key: None,
                idle_key: None,
                restart_key: None,
                up_since: None,
                history: None,
            }),
        }
    }

    pub(super) fn address(&self) -> Address<A::Message> {
        Address::new(Arc::clone(&self.mailbox))
    }

    pub(super) fn phase(&self) -> ChildPhase {
        lock(&self.life).phase
    }

    /// Whether it can be started again: the file may have come to ask for that when it was under way with arguments that exist once.
    pub(super) fn is_repeatable(&self) -> bool {
        matches!(self.source, Source::Factory(_))
    }

    /// How to make the next incarnation; `None` when the arguments were given once and are used up.
    pub(super) fn make(self: &Arc<Self>, pool: &PoolInner<A>) -> Option<shell::Make<A>> {
        let actor = Arc::clone(&pool.make);
        match &self.source {
            Source::Once(arguments) => {
                let arguments = lock(arguments).take()?;
                Some(Box::new(move || (actor(), *arguments)))
            }
            Source::Factory(_) => {
                let child = Arc::clone(self);
                Some(Box::new(move || {
                    let Source::Factory(arguments) = &child.source else {
                        unreachable!("a child's source never changes")
                    };
                    (actor(), arguments())
                }))
            }
        }
    }
}

impl<A: Actor> Due for Child<A> {
    fn due(self: Arc<Self>, deadline: Deadline) {
        if let Some(pool) = self.pool.upgrade() {
            pool.due(&self, deadline);
        }
    }
}
