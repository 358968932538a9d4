//! The port for TLS, without TLS: what is behind the handshake. (The real thing is tested through the daemon's front door.)

use std::io;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use orinoco_embedded::broker::{BrokerOptions, Duplex, EmbeddedBroker, Encryption, TlsOptions};
use orinoco_ports::Server;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::client::{Client, Connect, PUBACK, Publish, VERSIONS, Version};
use crate::setup::{Setup, options};

/// Shakes hands by one byte.
struct OneByte;

#[async_trait]
impl Encryption for OneByte {
    async fn accept(&self, mut stream: TcpStream) -> io::Result<Box<dyn Duplex>> {
        match stream.read_u8().await? {
            0x16 => Ok(Box::new(stream)),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

fn encrypted() -> BrokerOptions {
    let tls = TlsOptions { listen: "127.0.0.1:0".to_owned(), encryption: Arc::new(OneByte) };
    BrokerOptions { tls: Some(tls), ..options() }
}

/// Past the handshake, with nothing said yet.
async fn open(broker: &EmbeddedBroker, version: Version) -> Client {
    let mut client = Client::open(broker.tls_addr().unwrap(), version).await;
    client.send(&[0x16]).await;
    client
}

async fn connect(broker: &EmbeddedBroker, version: Version, client_id: &str) -> Client {
    let mut client = open(broker, version).await;
    client.send(&Connect::new(version, client_id).encode()).await;
    assert_eq!(client.receive().await.expect("a CONNACK").connect_code(), 0);
    client
}

#[tokio::test]
async fn what_comes_over_tls_is_taken_and_passed_on_as_at_the_other_port() {
    let setup = Setup::with(encrypted()).await;
    let place = format!("mqtt://{}, mqtts://{}", setup.address, setup.broker.tls_addr().unwrap());
    assert_eq!(setup.running.place(), place);
    for (number, version) in VERSIONS.into_iter().enumerate() {
        let mut watcher = Client::connect(setup.address, Connect::new(version, "watcher")).await;
        watcher.subscribe("devices/#", 0).await;
        let mut device = connect(&setup.broker, version, "device").await;
        device.publish(Publish::qos1(1, "devices/d/coordX", b"1.5")).await;
        device.acknowledged(PUBACK, 1).await;
        assert_eq!(watcher.receive().await.unwrap().topic(), "devices/d/coordX");
        assert_eq!(setup.journal.topics().len(), number + 1);
        device.send(&[0xe0, 0]).await;
        device.finish_sending().await;
        device.ended().await;
    }
}

#[tokio::test]
async fn a_message_longer_than_any_buffer_goes_through_both_ways() {
    let setup = Setup::with(encrypted()).await;
    let payload = vec![b'1'; 250_000];
    let mut watcher = connect(&setup.broker, Version::V5, "watcher").await;
    watcher.subscribe("#", 0).await;
    let mut device = connect(&setup.broker, Version::V5, "device").await;
    device.publish(Publish::qos1(1, "coordX", &payload)).await;
    device.acknowledged(PUBACK, 1).await;
    assert_eq!(watcher.receive().await.unwrap().topic(), "coordX");
    assert_eq!(setup.journal.accepted.lock().unwrap()[0].payload, payload);
}

#[tokio::test]
async fn who_does_not_shake_hands_or_says_nothing_after_it_is_closed() {
    let setup = Setup::with(BrokerOptions { handshake_timeout: Duration::from_millis(300), ..encrypted() }).await;
    let whole = Connect::new(Version::V5, "slow").encode();
    let mut silent = Client::open(setup.broker.tls_addr().unwrap(), Version::V5).await;
    let mut plain = Client::open(setup.broker.tls_addr().unwrap(), Version::V5).await;
    plain.send(&whole).await;
    plain.ended().await;
    silent.ended().await;
    for sent in [0, 1, 4, 9, whole.len() - 1] {
        let mut client = open(&setup.broker, Version::V5).await;
        client.send(&whole[..sent]).await;
        while let Some(packet) = client.receive().await {
            assert_ne!(packet.connect_code(), 0);
        }
    }
    connect(&setup.broker, Version::V5, "device").await;
}

#[tokio::test]
async fn one_connection_too_many_waits_until_another_has_gone() {
    let setup = Setup::with(BrokerOptions { sessions_max: 2, ..encrypted() }).await;
    let first = connect(&setup.broker, Version::V3, "first").await;
    // A tenth more than sessions: one.
    let _silent = [open(&setup.broker, Version::V3).await, open(&setup.broker, Version::V3).await];
    let mut third = open(&setup.broker, Version::V3).await;
    third.send(&Connect::new(Version::V3, "third").encode()).await;
    let answer = tokio::spawn(async move { third.receive().await.unwrap().connect_code() });
    let counters = setup.broker.counters();
    tokio::task::yield_now().await;
    assert!(!answer.is_finished() && counters.connections == 1, "it waits");
    drop(first);
    assert_eq!(answer.await.unwrap(), 0);
}

#[tokio::test]
async fn without_the_other_port_it_stands_alone_and_starts_again_where_it_was() {
    let broker = EmbeddedBroker::new(BrokerOptions { listen: String::new(), ..encrypted() });
    let running = broker.start().await.unwrap();
    let address = broker.tls_addr().unwrap();
    assert_eq!((broker.local_addr(), running.place()), (None, &*format!("mqtts://{address}")));
    let mut device = connect(&broker, Version::V5, "device").await;
    running.drain().await;
    while device.receive().await.is_some() {}

    let tls = TlsOptions { listen: address.to_string(), encryption: Arc::new(OneByte) };
    let fixed = EmbeddedBroker::new(BrokerOptions { listen: String::new(), tls: Some(tls), ..options() });
    for _ in 0..3 {
        let running = fixed.start().await.unwrap();
        let mut device = connect(&fixed, Version::V5, "device").await;
        drop(running);
        while device.receive().await.is_some() {}
    }
}
