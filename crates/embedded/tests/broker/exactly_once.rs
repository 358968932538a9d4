//! QoS 2 (MQTT 5.0, section 4.3.3): one acceptance for one message.

use crate::client::{Client, Connect, PUBCOMP, PUBREC, Publish, VERSIONS, Version};
use crate::setup::{Setup, until_true};

async fn connect(setup: &Setup, version: Version) -> Client {
    Client::connect(setup.address, Connect::new(version, "device").persistent()).await
}

#[tokio::test]
async fn the_handshake_accepts_before_pubrec() {
    let setup = Setup::new().await;
    for version in VERSIONS {
        let mut client = connect(&setup, version).await;
        client.publish(Publish::qos2(3, "coordX", b"1")).await;
        client.acknowledged(PUBREC, 3).await;
        assert_eq!(setup.journal.accepted.lock().unwrap().drain(..).count(), 1);
        client.release(3).await;
        client.acknowledged(PUBCOMP, 3).await;
        assert!(setup.journal.payloads().is_empty());
    }
}

#[tokio::test]
async fn a_repetition_on_one_connection_is_accepted_once() {
    let setup = Setup::new().await;
    for version in VERSIONS {
        let mut client = connect(&setup, version).await;
        client.publish(Publish::qos2(3, "coordX", b"1")).await;
        client.acknowledged(PUBREC, 3).await;
        client.publish(Publish::qos2(3, "coordX", b"1").repeated()).await;
        client.acknowledged(PUBREC, 3).await;
        client.release(3).await;
        client.acknowledged(PUBCOMP, 3).await;
        assert_eq!(setup.journal.accepted.lock().unwrap().drain(..).count(), 1);
    }
}

#[tokio::test]
async fn a_repetition_on_the_next_connection_is_accepted_once() {
    let setup = Setup::new().await;
    for version in VERSIONS {
        let mut client = connect(&setup, version).await;
        client.publish(Publish::qos2(3, "coordX", b"1")).await;
        client.acknowledged(PUBREC, 3).await;
        client.cut();

        let mut client = connect(&setup, version).await;
        client.publish(Publish::qos2(3, "coordX", b"1").repeated()).await;
        client.acknowledged(PUBREC, 3).await;
        client.release(3).await;
        client.acknowledged(PUBCOMP, 3).await;
        assert_eq!(setup.journal.accepted.lock().unwrap().drain(..).count(), 1);
    }
    assert_eq!(setup.broker.counters().repeated, 2);
}

#[tokio::test]
async fn a_message_that_never_arrived_is_not_taken_for_an_earlier_one_like_it() {
    let setup = Setup::new().await;
    for version in VERSIONS {
        let mut client = connect(&setup, version).await;
        client.publish(Publish::qos2(3, "coordX", b"1")).await;
        client.acknowledged(PUBREC, 3).await;
        client.release(3).await;
        client.acknowledged(PUBCOMP, 3).await;
        client.cut(); // and with it the next message, of the same content, under the same identifier

        let mut client = connect(&setup, version).await;
        client.publish(Publish::qos2(3, "coordX", b"1").repeated()).await;
        client.acknowledged(PUBREC, 3).await;
        assert_eq!(setup.journal.accepted.lock().unwrap().drain(..).count(), 2);
        client.release(3).await;
        client.acknowledged(PUBCOMP, 3).await;
    }
}

#[tokio::test]
async fn a_session_that_begins_anew_remembers_nothing() {
    let setup = Setup::new().await;
    let mut client = connect(&setup, Version::V5).await;
    client.publish(Publish::qos2(3, "coordX", b"1")).await;
    client.acknowledged(PUBREC, 3).await;
    client.cut();
    let mut client = Client::connect(setup.address, Connect::new(Version::V5, "device")).await;
    client.publish(Publish::qos2(3, "coordX", b"1").repeated()).await;
    client.acknowledged(PUBREC, 3).await;
    assert_eq!(setup.journal.payloads().len(), 2);
}

#[tokio::test]
async fn other_packets_between_do_not_confuse_it() {
    let setup = Setup::new().await;
    for version in VERSIONS {
        let mut client = connect(&setup, version).await;
        client.publish(Publish::qos2(3, "coordX", b"1")).await;
        client.acknowledged(PUBREC, 3).await;
        client.publish(Publish::qos1(4, "coordY", b"2")).await;
        client.acknowledged(crate::client::PUBACK, 4).await;
        client.subscribe("news", 1).await;
        client.send(&[0xc0, 0]).await; // PINGREQ
        assert_eq!(client.receive().await.unwrap().kind(), 0xd0);
        client.cut();

        let mut client = connect(&setup, version).await;
        client.publish(Publish::qos2(3, "coordX", b"1").repeated()).await;
        client.acknowledged(PUBREC, 3).await;
        until_true("each is accepted once", || setup.journal.payloads() == ["1", "2"]).await;
        setup.journal.accepted.lock().unwrap().clear();
        client.release(3).await;
        client.acknowledged(PUBCOMP, 3).await;
    }
}
