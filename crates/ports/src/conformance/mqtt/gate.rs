//! Sources that devices deliver to directly: their PUBACK is ours to hold back.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use async_trait::async_trait;
use tokio::sync::{Semaphore, watch};

use super::{
    MqttFactory, PublishedMessage,
    fixture::{Recorder, connect, message, publish},
};
use crate::{InboundMessage, Intake, Refused, conformance::within_deadline};

pub async fn a_puback_says_that_the_message_was_accepted(factory: &dyn MqttFactory) {
    let intake = Recorder::accepting();
    let _link = connect(&*factory.source().await, &intake).await;
    let mut publisher = factory.publisher().await;
    for number in 0..300 {
        publish(&mut *publisher, &message("d", number)).await;
        let last = intake.seen().accepted.pop().map(|received| received.message);
        assert_eq!(last, Some(message("d", number)), "acknowledged before it was accepted");
    }
}

/// Holds each message until a permit is there.
struct Held {
    entered: watch::Sender<usize>,
    permits: Semaphore,
    returned: AtomicUsize,
}

#[async_trait]
impl Intake for Held {
    fn accept_blocking(&self, _message: InboundMessage<'_>) -> Result<(), Refused> {
        panic!("an adapter with asynchronous hooks must not block a thread");
    }

    async fn accept(&self, _message: InboundMessage<'_>) -> Result<(), Refused> {
        self.entered.send_modify(|entered| *entered += 1);
        self.permits.acquire().await.unwrap().forget();
        self.returned.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

pub async fn a_message_that_is_held_up_gets_no_puback_and_stops_no_other_device(factory: &dyn MqttFactory) {
    const DEVICES: usize = 4;
    let held =
        Arc::new(Held { entered: watch::Sender::new(0), permits: Semaphore::new(0), returned: AtomicUsize::new(0) });
    let source = factory.source().await;
    let intake: Arc<dyn Intake> = Arc::clone(&held) as Arc<dyn Intake>;
    let _link = source.connect(intake).await.unwrap();
    let released = Arc::new(AtomicBool::new(false));
    let mut waiting = Vec::new();
    for device in 0..DEVICES {
        let (mut publisher, released) = (factory.publisher().await, Arc::clone(&released));
        waiting.push(tokio::spawn(async move {
            publisher.publish(&message(&format!("d{device}"), 0)).await.unwrap();
            assert!(released.load(Ordering::SeqCst), "acknowledged while the intake held it");
        }));
    }
    let mut entered = held.entered.subscribe();
    // All of them are in the intake at the same time: none waits behind another.
    within_deadline("each device's message", entered.wait_for(|entered| *entered == DEVICES)).await.unwrap();
    assert_eq!(held.returned.load(Ordering::SeqCst), 0);
    assert!(waiting.iter().all(|device| !device.is_finished()));
    released.store(true, Ordering::SeqCst);
    held.permits.add_permits(DEVICES);
    for device in waiting {
        within_deadline("a PUBACK", device).await.unwrap();
    }
}

pub async fn a_message_refused_for_want_of_room_is_taken_when_there_is_room(factory: &dyn MqttFactory) {
    let intake = Recorder::with_verdict(|number| if number < 3 { Err(Refused::Full) } else { Ok(()) });
    let _link = connect(&*factory.source().await, &intake).await;
    let mut publisher = factory.publisher().await;
    for _ in 0..3 {
        let refused = within_deadline("an answer", publisher.publish(&message("d", 0))).await;
        assert!(refused.is_err(), "a refused message was acknowledged");
    }
    within_deadline("a PUBACK", publisher.publish(&message("d", 0))).await.unwrap();
    let seen = intake.seen();
    assert_eq!((seen.refused.len(), seen.accepted.len()), (3, 1));
}

pub async fn without_a_link_no_device_is_acknowledged(factory: &dyn MqttFactory) {
    let source = factory.source().await;
    let intake = Recorder::accepting();
    let mut publisher = factory.publisher().await;
    for _round in 0..3 {
        let link = connect(&*source, &intake).await;
        publish(&mut *publisher, &message("d", 0)).await;
        let before = intake.seen().accepted.len();
        link.disconnect().await;
        let refused = within_deadline("an answer", publisher.publish(&message("d", 1))).await;
        assert!(refused.is_err(), "acknowledged, and nobody took it");
        assert_eq!(intake.seen().accepted.len(), before);
    }
}

pub async fn topics_of_any_kind_reach_the_intake(factory: &dyn MqttFactory) {
    let intake = Recorder::accepting();
    let _link = connect(&*factory.source().await, &intake).await;
    let mut publisher = factory.publisher().await;
    let long = "t".repeat(1_000);
    let topics = ["coordX", "coordY", "other", "devices/a b/coordX", "devices//coordX", "/", "é/漢", " ", &long];
    for topic in topics {
        let published = PublishedMessage { topic: topic.to_owned(), payload: b"1".to_vec(), traceparent: None };
        publish(&mut *publisher, &published).await;
    }
    let accepted = intake.accepted(topics.len()).await;
    assert!(accepted.iter().map(|received| received.message.topic.as_str()).eq(topics));
}
