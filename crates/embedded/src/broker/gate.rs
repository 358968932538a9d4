//! The gate between the broker and the ingest: open while a link lives, closed otherwise.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use orinoco_ports::{InboundMessage, Intake, MqttError, MqttLink, Refused};
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, timeout};

use super::panic::{Panicked, caught};

/// Between two attempts at an intake that says it is full.
const RETRY_INTERVAL: Duration = Duration::from_millis(50);
/// How long one message may take, all attempts together. rmqtt waits 5 s for a connection whose client id is taken over, and
/// then lets both live, which would mix up their order.
const ACCEPT_TIMEOUT: Duration = Duration::from_secs(4);
/// How long an orderly end waits for the acceptances under way.
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) struct Gate {
    listen: String,
    wait_max: Duration,
    opening: RwLock<Option<Arc<Opening>>>,
    /// Counts openings; changes wake those who wait at a closed gate.
    openings: watch::Sender<u64>,
}

/// One link's time. Those who are inside `accept` share it, so its end is the end of the last of them.
struct Opening {
    number: u64,
    intake: Arc<dyn Intake>,
    _ended: oneshot::Sender<()>,
}

/// Why a message did not get through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// No link, or the ingest has ended.
    Closed,
    Full,
    /// The intake did not answer. It may have the message all the same, and will get it again.
    Slow,
    Panicked,
}

impl Gate {
    pub(super) fn new(listen: String, wait_max: Duration) -> Arc<Self> {
        Arc::new(Self { listen, wait_max, opening: RwLock::new(None), openings: watch::Sender::new(0) })
    }

    /// Opens the gate to `intake`, in place of whom it was open to.
    pub(super) fn open(self: &Arc<Self>, intake: Arc<dyn Intake>) -> GateLink {
        let (sender, ended) = oneshot::channel();
        let mut opening = self.opening.write().unwrap_or_else(PoisonError::into_inner);
        let number = *self.openings.borrow() + 1;
        *opening = Some(Arc::new(Opening { number, intake, _ended: sender }));
        self.openings.send_replace(number);
        GateLink { gate: self.clone(), number, openings: self.openings.subscribe(), ended: Some(ended) }
    }

    /// Closes the gate if it is still open to that link.
    fn close(&self, number: u64) {
        let mut opening = self.opening.write().unwrap_or_else(PoisonError::into_inner);
        if opening.as_ref().is_some_and(|opening| opening.number == number) {
            *opening = None;
        }
    }

    fn opening(&self) -> Option<Arc<Opening>> {
        self.opening.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Hands the message to the intake; while it can't be taken, tries again for `wait_max`.
    pub(super) async fn accept(&self, message: InboundMessage<'_>) -> Result<(), Refusal> {
        timeout(ACCEPT_TIMEOUT, self.accept_patiently(message)).await.unwrap_or(Err(Refusal::Slow))
    }

    async fn accept_patiently(&self, message: InboundMessage<'_>) -> Result<(), Refusal> {
        let Err(mut refusal) = self.accept_now(message).await else { return Ok(()) };
        let deadline = Instant::now() + self.wait_max;
        let mut openings = self.openings.subscribe();
        while refusal != Refusal::Panicked && Instant::now() < deadline {
            // An opening wakes us at once, a full journal is asked again in a while.
            let pause = RETRY_INTERVAL.min(deadline - Instant::now());
            let _ = timeout(pause, openings.changed()).await;
            match self.accept_now(message).await {
                Ok(()) => return Ok(()),
                Err(again) => refusal = again,
            }
        }
        Err(refusal)
    }

    /// A will: handed to the intake once.
    pub(super) async fn accept_will(&self, message: InboundMessage<'_>) -> Result<(), Refusal> {
        timeout(ACCEPT_TIMEOUT, self.accept_now(message)).await.unwrap_or(Err(Refusal::Slow))
    }

    async fn accept_now(&self, message: InboundMessage<'_>) -> Result<(), Refusal> {
        let Some(opening) = self.opening() else { return Err(Refusal::Closed) };
        match caught(opening.intake.accept(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(Refused::Full)) => Err(Refusal::Full),
            Ok(Err(Refused::Closed)) => Err(Refusal::Closed),
            Err(Panicked) => Err(Refusal::Panicked),
        }
    }
}

/// Keeps the gate open.
pub(super) struct GateLink {
    gate: Arc<Gate>,
    number: u64,
    openings: watch::Receiver<u64>,
    ended: Option<oneshot::Receiver<()>>,
}

#[async_trait]
impl MqttLink for GateLink {
    async fn lost(&mut self) -> MqttError {
        let number = self.number;
        // An error means that the gate is gone, which our own reference to it rules out.
        let _ = self.openings.wait_for(|&current| current != number).await;
        MqttError::Unavailable {
            url: format!("mqtt://{} (embedded)", self.gate.listen),
            reason: "another ingest has taken its place".to_owned(),
        }
    }

    /// Closes the gate and waits for the acceptances under way, so that nothing is accepted after it returns.
    async fn disconnect(mut self: Box<Self>) {
        self.gate.close(self.number);
        if let Some(ended) = self.ended.take()
            && timeout(DISCONNECT_TIMEOUT, ended).await.is_err()
        {
            tracing::warn!(
                timeout_s = DISCONNECT_TIMEOUT.as_secs(),
                "an acceptance outlives the link of the embedded broker"
            );
        }
    }
}

impl Drop for GateLink {
    fn drop(&mut self) {
        self.gate.close(self.number);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Refuses as often as told, then accepts.
    #[derive(Default)]
    struct Refusing {
        refusals: AtomicUsize,
        accepted: Mutex<Vec<String>>,
    }

    #[async_trait]
    impl Intake for Refusing {
        fn accept_blocking(&self, _: InboundMessage<'_>) -> Result<(), Refused> {
            unreachable!("the embedded broker is asynchronous")
        }

        async fn accept(&self, message: InboundMessage<'_>) -> Result<(), Refused> {
            assert_ne!(message.topic, "panic");
            if message.topic == "hang" {
                std::future::pending::<()>().await;
            }
            if self.refusals.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok() {
                return Err(Refused::Full);
            }
            self.accepted.lock().unwrap().push(message.topic.to_owned());
            Ok(())
        }
    }

    fn message(topic: &str) -> InboundMessage<'_> {
        InboundMessage { topic, payload: b"1", traceparent: None, redelivered: false, packet_id: None }
    }

    #[tokio::test(start_paused = true)]
    async fn a_closed_gate_refuses_after_its_pause() {
        let gate = Gate::new("broker".into(), Duration::from_secs(1));
        let before = Instant::now();
        assert_eq!(gate.accept(message("a")).await, Err(Refusal::Closed));
        assert_eq!(before.elapsed(), Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_waits_for_the_gate_to_open() {
        let gate = Gate::new("broker".into(), Duration::from_secs(1));
        let intake = Arc::new(Refusing { refusals: AtomicUsize::new(3), ..Refusing::default() });
        let waiting = tokio::spawn({
            let gate = gate.clone();
            async move { gate.accept(message("a")).await }
        });
        tokio::time::sleep(Duration::from_millis(500)).await;
        let link = gate.open(intake.clone());
        assert_eq!(waiting.await.unwrap(), Ok(()));
        assert_eq!(*intake.accepted.lock().unwrap(), ["a"]);
        drop(link);
        assert_eq!(gate.accept_now(message("b")).await, Err(Refusal::Closed));
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_intake_refuses_after_the_pause_and_a_panic_at_once() {
        let gate = Gate::new("broker".into(), Duration::from_secs(1));
        let intake = Arc::new(Refusing { refusals: AtomicUsize::new(usize::MAX), ..Refusing::default() });
        let _link = gate.open(intake);
        assert_eq!(gate.accept(message("a")).await, Err(Refusal::Full));
        let before = Instant::now();
        assert_eq!(gate.accept(message("panic")).await, Err(Refusal::Panicked));
        assert_eq!(before.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn an_intake_that_does_not_answer_refuses_before_rmqtt_loses_patience() {
        let gate = Gate::new("broker".into(), Duration::from_secs(60));
        let _link = gate.open(Arc::new(Refusing::default()));
        let before = Instant::now();
        assert_eq!(gate.accept(message("hang")).await, Err(Refusal::Slow));
        assert!(before.elapsed() < Duration::from_secs(5));
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_link_has_the_gate_and_the_one_before_is_told() {
        let gate = Gate::new("broker".into(), Duration::from_secs(1));
        let (first, second) = (Arc::new(Refusing::default()), Arc::new(Refusing::default()));
        let mut first_link = gate.open(first.clone());
        let second_link = gate.open(second.clone());
        assert!(matches!(first_link.lost().await, MqttError::Unavailable { .. }));
        drop(first_link);
        gate.accept(message("a")).await.unwrap();
        assert!(first.accepted.lock().unwrap().is_empty());
        assert_eq!(*second.accepted.lock().unwrap(), ["a"]);
        Box::new(second_link).disconnect().await;
        assert_eq!(gate.accept_now(message("b")).await, Err(Refusal::Closed));
    }
}
