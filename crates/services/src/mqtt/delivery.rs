//! What happens to a message between paho's callback and the PUBACK. On paho's one receiving thread.
//!
//! Invariant: after a message that the intake did not accept, nothing is sent on that connection any more, no PUBACK in particular.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use orinoco_ports::{InboundMessage, Intake};
use paho_mqtt::Message;
use tokio::sync::watch;

use super::{metadata::Metadata, sockets::Sockets};

/// W3C Trace Context needs 55.
const TRACEPARENT_LENGTH_MAX: usize = 64;

/// One connection's receiving end, shared by its callbacks and its link.
pub(super) struct Delivery {
    intake: Arc<dyn Intake>,
    /// Of the process, before this connection.
    sockets_before: Option<Sockets>,
    /// This connection's, once it is made; `None` where the system doesn't tell.
    sockets: OnceLock<Option<Sockets>>,
    remote_port: u16,
    /// For how long the broker keeps a silent connection, at most.
    silence_max: Duration,
    /// The link is gone: nothing is accepted any more.
    ended: AtomicBool,
    /// So many messages more may be redeliveries, where their DUP flag can't be had.
    redeliveries_max: AtomicU32,
    /// Why the connection is over.
    lost: watch::Sender<Option<String>>,
}

impl Delivery {
    pub(super) fn new(intake: Arc<dyn Intake>, remote_port: u16, receive_maximum: u16, keep_alive: Duration) -> Self {
        Self {
            intake,
            sockets_before: Sockets::open_now(),
            sockets: OnceLock::new(),
            remote_port,
            // MQTT 5.0, section 3.1.2.10: one and a half times the keep-alive. Blocked in the callback, paho sends no PINGREQ.
            silence_max: keep_alive * 3 / 2 + Duration::from_secs(5),
            ended: AtomicBool::new(false),
            redeliveries_max: AtomicU32::new(u32::from(receive_maximum)),
            lost: watch::Sender::new(None),
        }
    }

    /// To be called once connected, before anything else in this process connects to the broker.
    pub(super) fn connected(&self, session_present: bool) {
        if !session_present {
            self.redeliveries_max.store(0, Ordering::Relaxed);
        }
        if self.sockets.get_or_init(|| self.find_sockets()).is_none() {
            tracing::warn!(
                silence_ms = self.silence_max.as_millis(),
                "/proc can't be read: a refused message will block the connection until the broker gives it up"
            );
        }
    }

    /// Those of a connection that is not made yet are looked for each time: there may be none now, and one a moment later.
    fn sockets(&self) -> Option<Sockets> {
        self.sockets.get().cloned().unwrap_or_else(|| self.find_sockets())
    }

    fn find_sockets(&self) -> Option<Sockets> {
        Sockets::opened_since(self.sockets_before.as_ref(), self.remote_port)
    }

    /// Returns when the message may be acknowledged, or can't be any more.
    pub(super) fn deliver(&self, message: &Message) {
        // A panic must not unwind into C. It leaves the intake as it is, and the message unacknowledged.
        let accepted = catch_unwind(AssertUnwindSafe(|| self.accept(message))).unwrap_or_else(|_| {
            tracing::error!("intake panicked, its message is refused");
            false
        });
        if !accepted {
            self.cut_off("a message was refused: the ingest has ended");
        }
    }

    fn accept(&self, message: &Message) -> bool {
        if self.ended.load(Ordering::Acquire) {
            return false;
        }
        let properties = message.properties();
        let traceparent = if properties.is_empty() { None } else { properties.find_user_property("traceparent") };
        let (redelivered, packet_id) = match Metadata::of(message) {
            Some(metadata) => (metadata.is_duplicate, metadata.packet_id),
            None => (self.may_be_redelivery(), None),
        };
        let inbound = InboundMessage {
            topic: message.topic(),
            payload: message.payload(),
            traceparent: traceparent.as_deref().filter(|text| text.len() <= TRACEPARENT_LENGTH_MAX),
            // A retained message may have been delivered when it was published.
            redelivered: redelivered || message.retained(),
            packet_id,
        };
        self.intake.accept_blocking(inbound).is_ok()
    }

    fn may_be_redelivery(&self) -> bool {
        let count_down = |left: u32| left.checked_sub(1);
        self.redeliveries_max.fetch_update(Ordering::Relaxed, Ordering::Relaxed, count_down).is_ok()
    }

    /// Nothing leaves by this connection any more.
    // Sleeps on paho's thread, not on one of the runtime.
    #[allow(clippy::disallowed_methods)]
    fn cut_off(&self, reason: &str) {
        self.ended.store(true, Ordering::Release);
        match self.sockets() {
            // There may be none any more: the broker ended it, as another connection asked for the session, that of an ingest that has
            // just ended for instance. A PUBACK finds nobody then.
            Some(sockets) => drop(sockets.shut_down()),
            // The broker gives the connection up in that time.
            None => std::thread::sleep(self.silence_max),
        }
        self.lose(reason);
    }

    /// Ends the delivery from outside, at once.
    pub(super) fn end(&self) {
        self.ended.store(true, Ordering::Release);
    }

    /// Ends the connection from outside, also where a callback is blocked.
    pub(super) fn shut_down(&self) {
        self.end();
        if let Some(sockets) = self.sockets() {
            sockets.shut_down();
        }
    }

    /// The first reason counts.
    pub(super) fn lose(&self, reason: &str) {
        self.lost.send_if_modified(|lost| {
            let first = lost.is_none();
            lost.get_or_insert_with(|| reason.to_owned());
            first
        });
    }

    /// Waits until the connection is over, and says why. Cancel safe.
    pub(super) async fn lost(&self) -> String {
        let mut lost = self.lost.subscribe();
        match lost.wait_for(Option::is_some).await.map(|reason| reason.clone()) {
            Ok(Some(reason)) => reason,
            _ => "the connection is over".to_owned(),
        }
    }
}
