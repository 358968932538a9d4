//! Sources that are a client of a broker: it keeps our session, and redelivers what we did not acknowledge.

use crate::{MqttError, Refused, conformance::within_deadline};

use super::{
    BrokerFactory,
    fixture::{Recorder, assert_none_lost, connect, message, publish, publish_beside},
};

pub async fn what_the_broker_kept_comes_first_and_in_order(factory: &dyn BrokerFactory) {
    let source = factory.source().await;
    let intake = Recorder::accepting();
    connect(&*source, &intake).await.disconnect().await;
    let mut publisher = factory.publisher().await;
    for number in 0..200 {
        publish(&mut *publisher, &message("d", number)).await;
    }
    let _link = connect(&*source, &intake).await;
    publish(&mut *publisher, &message("d", 200)).await;
    let accepted = intake.accepted(201).await;
    assert_eq!(accepted.len(), 201);
    assert_none_lost(&accepted, 201);
}

pub async fn a_redelivery_is_told_by_its_flag_and_its_packet_identifier(factory: &dyn BrokerFactory) {
    let source = factory.source().await;
    let closing = Recorder::with_verdict(|number| if number < 5 { Ok(()) } else { Err(Refused::Closed) });
    let link = connect(&*source, &closing).await;
    let mut publisher = factory.publisher().await;
    for number in 0..10 {
        publish(&mut *publisher, &message("d", number)).await;
    }
    let refused = closing.refused().await;
    assert!(!refused.redelivered);
    within_deadline("a link whose intake has closed", link.disconnect()).await;
    let intake = Recorder::accepting();
    let _link = connect(&*source, &intake).await;
    let again = intake.accepted(10 - closing.seen().accepted.len()).await;
    let of_refused = again.iter().find(|received| received.message == refused.message).unwrap();
    assert!(of_refused.redelivered, "the broker had delivered it before");
    if refused.packet_id.is_some() {
        assert_eq!(of_refused.packet_id, refused.packet_id, "MQTT 5.0, section 4.4");
    }
    publish(&mut *publisher, &message("d", 10)).await;
    let all = intake.accepted(again.len() + 1).await;
    assert_none_lost(closing.seen().accepted.iter().chain(&all), 11);
}

pub async fn a_lost_connection_is_noticed_and_nothing_is_lost_by_it(factory: &dyn BrokerFactory) {
    const MESSAGES: usize = 1_000;
    let source = factory.source().await;
    let intake = Recorder::accepting();
    let mut link = connect(&*source, &intake).await;
    let publishing = publish_beside(factory, MESSAGES).await;
    for round in 1..=3 {
        intake.accepted(round * 50).await;
        factory.stop_broker().await;
        let why = within_deadline("the loss of the link", link.lost()).await;
        assert!(matches!(why, MqttError::Unavailable { .. }), "{why}");
        drop(link);
        factory.start_broker().await;
        link = connect(&*source, &intake).await;
    }
    within_deadline("the device", publishing).await.unwrap();
    let last = message("d", MESSAGES - 1);
    crate::conformance::until("the last message", async || {
        intake.seen().accepted.iter().any(|received| received.message == last).then_some(())
    })
    .await;
    assert_none_lost(&intake.seen().accepted, MESSAGES);
}

pub async fn a_broker_that_is_away_is_unavailable_and_named(factory: &dyn BrokerFactory) {
    let source = factory.source().await;
    factory.stop_broker().await;
    for _ in 0..3 {
        let intake = Recorder::accepting();
        match within_deadline("a refusal", source.connect(intake)).await {
            Err(MqttError::Unavailable { url, reason }) => assert!(!url.is_empty() && !reason.is_empty()),
            Err(other) => panic!("{other}"),
            Ok(_) => panic!("connected to a broker that is away"),
        }
    }
    factory.start_broker().await;
    let intake = Recorder::accepting();
    let _link = connect(&*source, &intake).await;
    publish(&mut *factory.publisher().await, &message("d", 0)).await;
    intake.accepted(1).await;
}
