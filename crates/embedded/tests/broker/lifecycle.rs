//! Start, end, and what is between.

use std::time::Duration;

use orinoco_embedded::broker::{BrokerOptions, EmbeddedBroker};
use orinoco_ports::{MqttSource, Server, ServerError};
use tokio::time::timeout;

use crate::client::{Client, Connect, DEADLINE, PUBACK, Publish, VERSIONS, Version};
use crate::setup::{Setup, options, until_true};

#[tokio::test]
async fn a_busy_port_and_a_bad_address_are_said_with_the_key() {
    let setup = Setup::new().await;
    for listen in [setup.address.to_string(), "nonsense".to_owned(), "127.0.0.1:99999".to_owned()] {
        let broker = EmbeddedBroker::new(BrokerOptions { listen: listen.clone(), ..options() });
        let Err(error) = broker.start().await else { panic!("{listen} can't be bound") };
        assert!(matches!(error, ServerError::Bind { key: "mqtt.listen", .. }));
        assert!(error.to_string().contains(&listen), "{error}");
        assert_eq!(broker.local_addr(), None);
    }
}

#[tokio::test]
async fn it_says_where_it_listens_and_does_not_fail_by_itself() {
    let mut setup = Setup::new().await;
    assert_eq!(setup.running.place(), format!("mqtt://{}", setup.address));
    assert!(timeout(Duration::from_millis(50), setup.running.failed()).await.is_err());
}

#[tokio::test]
async fn a_drain_frees_the_port_disconnects_clients_and_publishes_no_wills() {
    let setup = Setup::new().await;
    let mut clients = Vec::new();
    for version in VERSIONS {
        let client_id = format!("{version:?}");
        let connect = Connect { will: Some(("coordX", b"gone")), ..Connect::new(version, &client_id).persistent() };
        clients.push(Client::connect(setup.address, connect).await);
    }
    let kept = Connect { will: None, ..Connect::new(Version::V3, "kept").persistent() };
    Client::connect(setup.address, kept).await.cut();

    timeout(DEADLINE, setup.running.drain()).await.unwrap();
    assert!(tokio::net::TcpStream::connect(setup.address).await.is_err(), "nobody listens");
    for client in &mut clients {
        client.ended().await;
    }
    assert_eq!(setup.broker.counters().connections, 0);
    assert!(setup.journal.payloads().is_empty());
}

#[tokio::test]
async fn dropped_and_started_again_it_serves_the_same_port() {
    let mut setup = Setup::new().await;
    let address = setup.address;
    let handshake_timeout = Duration::from_millis(500);
    let fixed = EmbeddedBroker::new(BrokerOptions { listen: address.to_string(), handshake_timeout, ..options() });
    drop(setup.running);
    setup.running = {
        // The other broker had the port; its socket goes when its task does.
        crate::setup::until("the port is free", async || fixed.start().await.ok()).await
    };
    let _link = fixed.connect(setup.journal.clone()).await.unwrap();
    let mut silent = Client::open(address, Version::V3).await;
    for round in 0..3 {
        let mut client = Client::connect(address, Connect::new(Version::V5, "device").persistent()).await;
        client.publish(Publish::qos1(1, "coordX", b"1")).await;
        client.acknowledged(PUBACK, 1).await;
        drop(setup.running);
        setup.running = fixed.start().await.unwrap_or_else(|error| panic!("round {round}: {error}"));
        client.ended().await;
    }
    silent.ended().await;
    until_true("the sessions of before have ended", || fixed.counters().connections == 0).await;
}

#[tokio::test]
async fn a_link_that_disconnects_leaves_nothing_under_way() {
    let mut setup = Setup::new().await;
    let mut client = Client::connect(setup.address, Connect::new(Version::V5, "device")).await;
    for packet_id in 1..=1_000 {
        client.publish(Publish::qos1(packet_id, "coordX", b"1")).await;
    }
    client.acknowledged(PUBACK, 1).await;
    setup.link.take().unwrap().disconnect().await;
    let accepted = setup.journal.payloads().len();
    let mut acknowledged = 1;
    while client.receive().await.is_some_and(|packet| packet.kind() == PUBACK) {
        acknowledged += 1;
    }
    assert_eq!(setup.journal.payloads().len(), accepted, "nothing is accepted afterwards");
    assert!(acknowledged <= accepted);
}
