//! From the device to the intake.

use crate::Refused;

use super::{
    MqttFactory, PublishedMessage,
    fixture::{Recorder, assert_none_lost, connect, message, publish, publish_beside},
};
use crate::conformance::within_deadline;

pub async fn a_message_arrives_as_it_was_published(factory: &dyn MqttFactory) {
    let intake = Recorder::accepting();
    let _link = connect(&*factory.source().await, &intake).await;
    let mut publisher = factory.publisher().await;
    let every_byte: Vec<u8> = (0..=255).collect();
    let payloads = [b"12.5".to_vec(), Vec::new(), every_byte, vec![b'1'; 100_000]];
    let mut published = Vec::new();
    for (number, payload) in payloads.into_iter().enumerate() {
        for traceparent in [None, Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_owned())] {
            let topic = message("samu31", number).topic;
            published.push(PublishedMessage { topic, payload: payload.clone(), traceparent });
        }
    }
    for message in &published {
        publish(&mut *publisher, message).await;
    }
    let accepted = intake.accepted(published.len()).await;
    let accepted: Vec<_> = accepted.into_iter().map(|received| received.message).collect();
    assert_eq!(accepted, published);
}

pub async fn messages_of_each_device_arrive_in_order_and_once(factory: &dyn MqttFactory) {
    const DEVICES: usize = 3;
    const MESSAGES: usize = 500;
    let intake = Recorder::accepting();
    let _link = connect(&*factory.source().await, &intake).await;
    let mut devices = Vec::new();
    for device in 0..DEVICES {
        let mut publisher = factory.publisher().await;
        devices.push(tokio::spawn(async move {
            for number in 0..MESSAGES {
                publish(&mut *publisher, &message(&format!("d{device}"), number)).await;
            }
        }));
    }
    for device in devices {
        within_deadline("a device", device).await.unwrap();
    }
    let accepted = intake.accepted(DEVICES * MESSAGES).await;
    assert_eq!(accepted.len(), DEVICES * MESSAGES, "nothing was redelivered, so nothing comes twice");
    for device in 0..DEVICES {
        let device = format!("d{device}");
        let prefix = format!("devices/{device}/");
        let of_device = accepted.iter().filter(|received| received.message.topic.starts_with(&prefix));
        let expected = (0..MESSAGES).map(|number| message(&device, number));
        assert!(of_device.map(|received| received.message.clone()).eq(expected), "{device} out of order");
    }
    assert!(accepted.iter().all(|received| !received.redelivered), "a first delivery is no redelivery");
}

pub async fn nothing_is_lost_while_the_link_is_down(factory: &dyn MqttFactory) {
    const MESSAGES: usize = 60;
    let source = factory.source().await;
    let intake = Recorder::accepting();
    let link = connect(&*source, &intake).await;
    publish(&mut *factory.publisher().await, &message("d", 0)).await;
    intake.accepted(1).await;
    link.disconnect().await;
    let publishing = publish_beside(factory, MESSAGES).await;
    let _link = connect(&*source, &intake).await;
    within_deadline("the device", publishing).await.unwrap();
    let accepted = intake.accepted(1 + MESSAGES).await;
    assert_none_lost(&accepted[1..], MESSAGES);
}

pub async fn nothing_is_lost_when_links_end_under_load(factory: &dyn MqttFactory) {
    const MESSAGES: usize = 2_000;
    let source = factory.source().await;
    let intake = Recorder::accepting();
    let publishing = publish_beside(factory, MESSAGES).await;
    for round in 1.. {
        let link = connect(&*source, &intake).await;
        let before = intake.seen().accepted.len();
        if round == 12 || publishing.is_finished() {
            within_deadline("the device", publishing).await.unwrap();
            intake.accepted_up_to(&message("d", MESSAGES - 1)).await;
            drop(link);
            break;
        }
        intake.accepted((before + 20).min(MESSAGES)).await;
        if round % 2 == 0 {
            link.disconnect().await;
        } else {
            drop(link);
        }
    }
    assert_none_lost(&intake.seen().accepted, MESSAGES);
}

pub async fn a_refused_message_comes_again_and_in_order(factory: &dyn MqttFactory) {
    const MESSAGES: usize = 100;
    let source = factory.source().await;
    let closing = Recorder::with_verdict(|number| if number < 30 { Ok(()) } else { Err(Refused::Closed) });
    let link = connect(&*source, &closing).await;
    let publishing = publish_beside(factory, MESSAGES).await;
    let refused = closing.refused().await;
    assert_eq!(refused.message, message("d", 30));
    within_deadline("a link whose intake has closed", link.disconnect()).await;
    let intake = Recorder::accepting();
    let _link = connect(&*source, &intake).await;
    within_deadline("the device", publishing).await.unwrap();
    let again = intake.accepted_up_to(&message("d", MESSAGES - 1)).await;
    assert!(again.iter().any(|received| received.message == refused.message), "refused, and yet acknowledged");
    assert_none_lost(closing.seen().accepted.iter().chain(&again), MESSAGES);
}
