//! At every limit something stated happens, and others do not feel it.

use std::time::Duration;

use orinoco_embedded::broker::BrokerOptions;
use tokio::task::JoinSet;

use crate::client::{Client, Connect, PUBACK, PUBREC, Publish, VERSIONS, Version};
use crate::setup::{Setup, options, until, until_true};

#[tokio::test]
async fn a_packet_that_is_too_large_closes_the_connection() {
    let setup = Setup::with(BrokerOptions { packet_size_max: 1_000, ..options() }).await;
    for version in VERSIONS {
        let mut client = Client::connect(setup.address, Connect::new(version, "device")).await;
        // All of the packet counts, its fixed header too.
        let header = Publish::qos1(1, "coordX", &[b'x'; 900]).encode(version).len() - 900;
        let longest = vec![b'x'; 1_000 - header];
        client.publish(Publish::qos1(1, "coordX", &longest)).await;
        client.acknowledged(PUBACK, 1).await;
        client.publish(Publish::qos1(2, "coordX", &[longest, vec![b'x']].concat())).await;
        client.ended().await;
    }
    assert_eq!(setup.journal.payloads().len(), 2);
}

#[tokio::test]
async fn beyond_the_sessions_connack_says_unavailable_and_an_end_makes_room() {
    let setup = Setup::with(BrokerOptions { sessions_max: 2, ..options() }).await;
    for version in VERSIONS {
        let first = Client::connect(setup.address, Connect::new(version, "first")).await;
        let _second = Client::connect(setup.address, Connect::new(version, "second")).await;
        let (_, connack) = Client::try_connect(setup.address, Connect::new(version, "third")).await;
        assert_eq!(connack.unwrap().connect_code(), if version == Version::V3 { 3 } else { 0x88 });
        let _same = Client::connect(setup.address, Connect::new(version, "second")).await;
        first.cut();
        until("the third connects", async || {
            let (client, connack) = Client::try_connect(setup.address, Connect::new(version, "third")).await;
            (connack?.connect_code() == 0).then_some(client)
        })
        .await;
        until_true("all have gone but the one that took over", || setup.broker.counters().connections <= 1).await;
    }
}

#[tokio::test]
async fn a_connection_without_a_whole_connect_is_closed() {
    let setup = Setup::with(BrokerOptions { handshake_timeout: Duration::from_millis(300), ..options() }).await;
    let whole = Connect::new(Version::V5, "slow").encode();
    let mut device = Client::connect(setup.address, Connect::new(Version::V5, "device")).await;
    for sent in [0, 1, 4, 9, whole.len() - 1] {
        let mut client = Client::open(setup.address, Version::V5).await;
        client.send(&whole[..sent]).await;
        while let Some(packet) = client.receive().await {
            assert_ne!(packet.connect_code(), 0);
        }
    }
    // Once the version can be read, rmqtt's own timeout closes it.
    until_true("they are counted", || setup.broker.counters().connections_unidentified >= 3).await;
    device.publish(Publish::qos1(1, "coordX", b"1")).await;
    device.acknowledged(PUBACK, 1).await;
}

#[tokio::test]
async fn a_client_that_says_nothing_for_its_keep_alive_is_closed() {
    let setup = Setup::new().await;
    for version in VERSIONS {
        let mut client =
            Client::connect(setup.address, Connect { keep_alive_s: 1, ..Connect::new(version, "device") }).await;
        client.ended().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_comes_back_at_once_is_taken_however_it_left() {
    let setup = Setup::new().await;
    for version in VERSIONS {
        for round in 0..180 {
            let mut client = Client::connect(setup.address, Connect::new(version, "device")).await;
            match round % 3 {
                0 => client.cut(),
                1 => client.finish_sending().await,
                _ => client.send(&[0xe0, 0]).await,
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_take_over_from_each_other_are_all_taken() {
    let setup = Setup::new().await;
    let mut clients = JoinSet::new();
    for number in 0..40_usize {
        let address = setup.address;
        clients.spawn(async move { Client::connect(address, Connect::new(VERSIONS[number % 2], "device")).await });
    }
    let clients = clients.join_all().await;
    until_true("the last of them is left", || setup.broker.counters().connections == 1).await;
    drop(clients);
}

#[tokio::test]
async fn client_ids_filters_and_subscriptions_have_limits() {
    let setup = Setup::with(BrokerOptions { subscriptions_max: 2, topic_levels_max: 4, ..options() }).await;
    for version in VERSIONS {
        let (_, connack) = Client::try_connect(setup.address, Connect::new(version, &"x".repeat(257))).await;
        assert_eq!(connack.unwrap().connect_code(), if version == Version::V3 { 2 } else { 0x85 });
        let mut client = Client::connect(setup.address, Connect::new(version, "watcher")).await;
        assert!(*client.subscribe("a/b/c/d/e", 0).await.body.last().unwrap() >= 0x80);
        for filter in ["a", "b"] {
            assert_eq!(client.subscribe(filter, 0).await.body.last(), Some(&0));
        }
        assert!(*client.subscribe("c", 0).await.body.last().unwrap() >= 0x80);
    }
}

#[tokio::test]
async fn more_qos_2_messages_than_may_be_in_flight_close_the_connection() {
    let setup = Setup::with(BrokerOptions { inflight_max: 3, ..options() }).await;
    for version in VERSIONS {
        let mut client = Client::connect(setup.address, Connect::new(version, "device")).await;
        for packet_id in 1..=3 {
            client.publish(Publish::qos2(packet_id, "coordX", b"1")).await;
            client.acknowledged(PUBREC, packet_id).await;
        }
        client.publish(Publish::qos2(4, "coordX", b"1")).await;
        client.ended().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_clients_publish_at_once() {
    let setup = Setup::new().await;
    let mut clients = JoinSet::new();
    for number in 0..1_000_usize {
        let address = setup.address;
        clients.spawn(async move {
            let client_id = format!("device-{number}");
            let mut client = Client::connect(address, Connect::new(VERSIONS[number % 2], &client_id)).await;
            for packet_id in 1..=5 {
                client.publish(Publish::qos1(packet_id, "coordX", client_id.as_bytes())).await;
                client.acknowledged(PUBACK, packet_id).await;
            }
            client
        });
    }
    let clients = clients.join_all().await;
    assert_eq!(setup.broker.counters().connections, 1_000);
    assert_eq!(setup.journal.payloads().len(), 5_000);
    drop(clients);
    until_true("all have gone", || setup.broker.counters().connections == 0).await;
}
