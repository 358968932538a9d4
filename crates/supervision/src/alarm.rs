//! A message to oneself at a time, on the pool's one queue of deadlines.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;

use crate::actor::Message;
use crate::address::SendError;
use crate::context::Timer;
use crate::delay::{Deadline, Delays, Due, Key};
use crate::mailbox::Mailbox;
use crate::sync::lock;

/// After so long a mailbox that was full, and rejects, is tried again.
const TRY_AGAIN_AFTER: Duration = Duration::from_millis(20);

/// A message that will arrive unless this is dropped: keep it in the actor's state. See [`crate::Context::alarm_at`].
pub struct Alarm(Kind);

enum Kind {
    Queued {
        delays: Arc<Delays>,
        key: Key,
    },
    /// The actor is in no pool.
    Timer(Timer),
}

impl Alarm {
    pub(crate) fn queued<M: Message>(delays: &Arc<Delays>, mailbox: Arc<Mailbox<M>>, at: Instant, message: M) -> Self {
        let who = Arc::new(Pending { mailbox, message: Mutex::new(Some(message)) });
        Self(Kind::Queued { delays: Arc::clone(delays), key: delays.insert(who, Deadline::Alarm, at) })
    }

    pub(crate) fn timer(timer: Timer) -> Self {
        Self(Kind::Timer(timer))
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        match &self.0 {
            Kind::Queued { delays, key } => delays.remove(key),
            Kind::Timer(timer) => timer.cancel(),
        }
    }
}

impl std::fmt::Debug for Alarm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Alarm")
    }
}

struct Pending<M: Message> {
    mailbox: Arc<Mailbox<M>>,
    message: Mutex<Option<M>>,
}

impl<M: Message> Due for Pending<M> {
    fn due(self: Arc<Self>, _: Deadline) {
        let Some(message) = lock(&self.message).take() else { return };
        if let Err(SendError::Full(mut message)) = self.mailbox.offer(message, true) {
            tokio::spawn(async move {
                // Room comes, or the actor ends.
                while let Err(SendError::Full(refused)) = self.mailbox.send(message, true).await {
                    message = refused;
                    tokio::time::sleep(TRY_AGAIN_AFTER).await;
                }
            });
        }
    }
}
