//! Subscribers see the devices' messages; retained ones are kept.

use std::time::Duration;

use orinoco_embedded::broker::BrokerOptions;

use crate::client::{Client, Connect, DEADLINE, PUBACK, PUBLISH, Publish, VERSIONS, Version};
use crate::setup::{Setup, options, until};

#[tokio::test]
async fn subscribers_see_what_devices_publish() {
    let setup = Setup::new().await;
    for (from, to) in [(Version::V3, Version::V5), (Version::V5, Version::V3)] {
        let mut subscriber = Client::connect(setup.address, Connect::new(to, "watcher")).await;
        subscriber.subscribe("devices/+/coordX", 0).await;
        let mut device = Client::connect(setup.address, Connect::new(from, "device")).await;
        device.publish(Publish::qos1(1, "devices/D/coordX", b"12.5")).await;
        device.acknowledged(PUBACK, 1).await;
        let message = subscriber.receive().await.unwrap();
        assert_eq!(message.topic(), "devices/D/coordX");
        assert!(message.body.ends_with(b"12.5"));
    }
}

#[tokio::test]
async fn what_is_no_topic_name_reaches_no_subscriber() {
    let setup = Setup::new().await;
    let mut subscriber = Client::connect(setup.address, Connect::new(Version::V3, "watcher")).await;
    subscriber.subscribe("#", 0).await;
    let mut device = Client::connect(setup.address, Connect::new(Version::V3, "device")).await;
    let deep = "/".repeat(32);
    for (packet_id, topic) in (1..).zip(["a/+", "a\0b", &deep, "fine"]) {
        device.publish(Publish::qos1(packet_id, topic, b"x")).await;
        device.acknowledged(PUBACK, packet_id).await;
    }
    assert_eq!(subscriber.receive().await.unwrap().topic(), "fine");
    assert_eq!(setup.journal.payloads().len(), 4);
}

#[tokio::test]
async fn a_repeated_qos_2_message_reaches_subscribers_once() {
    let setup = Setup::new().await;
    let mut subscriber = Client::connect(setup.address, Connect::new(Version::V3, "watcher")).await;
    subscriber.subscribe("#", 0).await;
    for repeated in [false, true] {
        let mut device = Client::connect(setup.address, Connect::new(Version::V5, "device").persistent()).await;
        device.publish(Publish { dup: repeated, ..Publish::qos2(1, "once", b"x") }).await;
        device.acknowledged(crate::client::PUBREC, 1).await;
        device.cut();
    }
    let mut device = Client::connect(setup.address, Connect::new(Version::V5, "device")).await;
    device.publish(Publish::qos1(1, "next", b"x")).await;
    assert_eq!(subscriber.receive().await.unwrap().topic(), "once");
    assert_eq!(subscriber.receive().await.unwrap().topic(), "next");
}

async fn retain(device: &mut Client, topic: &str, payload: &[u8]) {
    device.publish(Publish { retain: true, ..Publish::qos1(1, topic, payload) }).await;
    device.acknowledged(PUBACK, 1).await;
}

#[tokio::test]
async fn retained_messages_are_kept_up_to_the_limit_and_across_a_restart_of_the_listener() {
    let mut setup = Setup::with(BrokerOptions { retained_max: 2, ..options() }).await;
    let mut device = Client::connect(setup.address, Connect::new(Version::V5, "device")).await;
    for (topic, payload) in [("a", b"1"), ("b", b"1"), ("c", b"1"), ("a", b"2")] {
        retain(&mut device, topic, payload).await;
    }
    retain(&mut device, "b", b"").await; // removes it, which makes room
    retain(&mut device, "d/e", b"4").await;
    assert_eq!(setup.broker.counters().retained_refused, 1);

    setup.running.drain().await;
    setup.running = orinoco_ports::Server::start(&*setup.broker).await.unwrap();
    for version in VERSIONS {
        let mut subscriber =
            Client::connect(setup.broker.local_addr().unwrap(), Connect::new(version, "watcher")).await;
        subscriber.subscribe("#", 0).await;
        let mut seen = Vec::new();
        for _ in 0..2 {
            let message = subscriber.receive().await.unwrap();
            assert_eq!((message.kind(), message.first_byte & 1), (PUBLISH, 1), "a PUBLISH with RETAIN");
            seen.push((message.topic().to_owned(), *message.body.last().unwrap()));
        }
        seen.sort();
        assert_eq!(seen, [("a".to_owned(), b'2'), ("d/e".to_owned(), b'4')]);
    }
}

#[tokio::test]
async fn a_subscriber_that_does_not_read_is_cut_off_and_holds_up_nobody() {
    let options = BrokerOptions { send_timeout: Duration::from_millis(200), queue_messages_max: 10, ..options() };
    let setup = Setup::with(options).await;
    let mut subscriber = Client::connect(setup.address, Connect::new(Version::V3, "watcher")).await;
    subscriber.subscribe("#", 1).await;
    let mut device = Client::connect(setup.address, Connect::new(Version::V5, "device")).await;
    let payload = vec![b'x'; 200_000];
    let mut packet_id = 0;
    until("the subscriber is cut off", async || {
        packet_id = packet_id % 1_000 + 1;
        device.publish(Publish::qos1(packet_id, "coordX", &payload)).await;
        device.acknowledged(PUBACK, packet_id).await;
        (setup.broker.counters().connections == 1).then_some(())
    })
    .await;
    device.publish(Publish::qos1(1, "coordX", b"1")).await;
    device.acknowledged(PUBACK, 1).await;
}

#[tokio::test]
async fn what_waits_for_a_subscriber_that_does_not_read_is_bounded_before_it_is_cut_off() {
    let options = BrokerOptions { send_timeout: 10 * DEADLINE, queue_messages_max: 10, inflight_max: 5, ..options() };
    let setup = Setup::with(options).await;
    let mut subscriber = Client::connect(setup.address, Connect::new(Version::V3, "watcher")).await;
    subscriber.subscribe("#", 0).await;
    let mut device = Client::connect(setup.address, Connect::new(Version::V5, "device")).await;
    // The session sits in its first send that does not fit into the socket, so that nothing else can drop anything.
    let payload = vec![b'x'; 200_000];
    let mut packet_id = 0;
    until("copies are refused", async || {
        packet_id += 1;
        device.publish(Publish::qos1(packet_id, "coordX", &payload)).await;
        device.acknowledged(PUBACK, packet_id).await;
        (setup.broker.counters().queue_full > 10).then_some(())
    })
    .await;
    assert_eq!(setup.broker.counters().connections, 2);
    assert_eq!(setup.journal.payloads().len(), usize::from(packet_id));
}
