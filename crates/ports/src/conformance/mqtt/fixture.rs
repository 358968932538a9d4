//! An intake that records, and a device that does not give up.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::watch;

use super::{MqttFactory, PublishedMessage, Publisher};
use crate::{
    InboundMessage, Intake, MqttLink, MqttSource, Refused,
    conformance::{until, within_deadline},
};

/// A message as it came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Received {
    pub(super) message: PublishedMessage,
    pub(super) redelivered: bool,
    pub(super) packet_id: Option<u16>,
}

/// Decides on the message with this number, counted from 0.
type Verdict = dyn Fn(usize) -> Result<(), Refused> + Send + Sync;

/// Accepts or refuses, and keeps both.
pub(super) struct Recorder {
    verdict: Box<Verdict>,
    seen: watch::Sender<Seen>,
}

#[derive(Default, Clone)]
pub(super) struct Seen {
    pub(super) accepted: Vec<Received>,
    pub(super) refused: Vec<Received>,
}

impl Recorder {
    pub(super) fn accepting() -> Arc<Self> {
        Self::with_verdict(|_| Ok(()))
    }

    pub(super) fn with_verdict(verdict: impl Fn(usize) -> Result<(), Refused> + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self { verdict: Box::new(verdict), seen: watch::Sender::default() })
    }

    pub(super) fn seen(&self) -> Seen {
        self.seen.borrow().clone()
    }

    /// Waits until so many messages were accepted, and returns all of them.
    pub(super) async fn accepted(&self, count: usize) -> Vec<Received> {
        let mut seen = self.seen.subscribe();
        let enough = seen.wait_for(|seen| seen.accepted.len() >= count);
        within_deadline("accepted messages", enough).await.unwrap().accepted.clone()
    }

    /// Waits for one message: the last of a device's, as what was accepted and not acknowledged in time comes again before it.
    pub(super) async fn accepted_up_to(&self, last: &PublishedMessage) -> Vec<Received> {
        let mut seen = self.seen.subscribe();
        let there = seen.wait_for(|seen| seen.accepted.iter().any(|received| received.message == *last));
        within_deadline("the last message", there).await.unwrap().accepted.clone()
    }

    /// Waits until a message was refused.
    pub(super) async fn refused(&self) -> Received {
        let mut seen = self.seen.subscribe();
        let any = seen.wait_for(|seen| !seen.refused.is_empty());
        within_deadline("a refused message", any).await.unwrap().refused[0].clone()
    }

    fn take(&self, message: InboundMessage<'_>) -> Result<(), Refused> {
        let received = Received {
            message: PublishedMessage {
                topic: message.topic.to_owned(),
                payload: message.payload.to_vec(),
                traceparent: message.traceparent.map(str::to_owned),
            },
            redelivered: message.redelivered,
            packet_id: message.packet_id,
        };
        let mut outcome = Ok(());
        self.seen.send_modify(|seen| {
            outcome = (self.verdict)(seen.accepted.len() + seen.refused.len());
            let list = if outcome.is_ok() { &mut seen.accepted } else { &mut seen.refused };
            list.push(received);
        });
        outcome
    }
}

#[async_trait]
impl Intake for Recorder {
    fn accept_blocking(&self, message: InboundMessage<'_>) -> Result<(), Refused> {
        self.take(message)
    }

    async fn accept(&self, message: InboundMessage<'_>) -> Result<(), Refused> {
        self.take(message)
    }
}

/// Connects, as often as it takes: a broker may still be starting, or keep a connection that we have left.
pub(super) async fn connect(source: &dyn MqttSource, intake: &Arc<Recorder>) -> Box<dyn MqttLink> {
    until("a connection", async || {
        let intake: Arc<dyn Intake> = Arc::clone(intake) as Arc<dyn Intake>;
        source.connect(intake).await.ok()
    })
    .await
}

/// Number `number` of a device.
pub(super) fn message(device: &str, number: usize) -> PublishedMessage {
    PublishedMessage {
        topic: format!("devices/{device}/{}", ["coordX", "coordY"][number % 2]),
        payload: number.to_string().into_bytes(),
        traceparent: None,
    }
}

/// Publishes until there is a PUBACK.
pub(super) async fn publish(publisher: &mut dyn Publisher, message: &PublishedMessage) {
    within_deadline("a PUBACK", async {
        while publisher.publish(message).await.is_err() {
            tokio::time::sleep(crate::conformance::POLL_INTERVAL).await;
        }
    })
    .await;
}

/// A device that publishes `count` messages, each until it is acknowledged, beside whatever goes on.
pub(super) async fn publish_beside(factory: &dyn MqttFactory, count: usize) -> tokio::task::JoinHandle<()> {
    let mut publisher = factory.publisher().await;
    tokio::spawn(async move {
        for number in 0..count {
            publish(&mut *publisher, &message("d", number)).await;
        }
    })
}

/// Messages `0..count` of device `d`, each accepted at least once, and in order when repeats are passed over.
pub(super) fn assert_none_lost<'a>(accepted: impl IntoIterator<Item = &'a Received>, count: usize) {
    let mut numbers: Vec<usize> = Vec::new();
    for received in accepted {
        let number = std::str::from_utf8(&received.message.payload).unwrap().parse().unwrap();
        assert_eq!(received.message, message("d", number));
        if !numbers.contains(&number) {
            numbers.push(number);
        }
    }
    assert_eq!(numbers, (0..count).collect::<Vec<_>>(), "lost, or out of order");
}
