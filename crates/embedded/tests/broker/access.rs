//! Who may connect, and where a client may publish.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use orinoco_embedded::broker::{Anonymous, Authenticator, BrokerOptions, Decision, Permission, Rights};
use tokio::sync::watch;

use crate::client::{Client, Connect, PUBACK, PUBREC, Publish, VERSIONS, Version};
use crate::setup::{Setup, options};

/// Knows `D` with its password, for whom alone `devices/D/` is; asked about others it hangs, panics, can't say, or denies.
struct OneDevice {
    changes: watch::Sender<()>,
    revoked: Arc<AtomicBool>,
}

struct OneDeviceRights {
    is_device: bool,
    revoked: Arc<AtomicBool>,
}

#[async_trait]
impl Authenticator for OneDevice {
    async fn check(&self, username: Option<&str>, password: Option<&[u8]>, _: &str) -> Decision {
        let allow = |is_device| Decision::Allow(Arc::new(OneDeviceRights { is_device, revoked: self.revoked.clone() }));
        match (username, password) {
            (Some("D"), Some(b"secret")) if !self.revoked.load(Ordering::SeqCst) => allow(true),
            (None, None) => allow(false),
            (Some("hang"), _) => std::future::pending().await,
            (Some("panic"), _) => panic!("the check was told to panic"),
            (Some("away"), _) => Decision::Unavailable,
            _ => Decision::Deny,
        }
    }

    fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }
}

#[async_trait]
impl Rights for OneDeviceRights {
    async fn may_publish(&self, topic: &str) -> Permission {
        match topic {
            "unknown" => Permission::Unknown,
            _ if topic.starts_with("devices/D/") == self.is_device => Permission::Granted,
            _ => Permission::Denied,
        }
    }

    fn may_subscribe(&self, filter: &str) -> bool {
        !self.is_device || filter.starts_with("devices/D/")
    }

    fn hold(&self) -> bool {
        !self.is_device || !self.revoked.load(Ordering::SeqCst)
    }
}

fn with_credentials(anonymous: Anonymous) -> (BrokerOptions, Arc<OneDevice>) {
    let authenticator = Arc::new(OneDevice { changes: watch::Sender::new(()), revoked: Arc::default() });
    let options = BrokerOptions {
        anonymous,
        authenticator: Some(authenticator.clone()),
        authentication_timeout: Duration::from_millis(100),
        ..options()
    };
    (options, authenticator)
}

fn not_authorized(version: Version) -> u8 {
    if version == Version::V3 { 5 } else { 0x87 }
}

fn unavailable(version: Version) -> u8 {
    if version == Version::V3 { 3 } else { 0x88 }
}

async fn connect_code(address: SocketAddr, connect: Connect<'_>) -> u8 {
    let (_, connack) = Client::try_connect(address, connect).await;
    connack.expect("a CONNACK").connect_code()
}

fn device(version: Version) -> Connect<'static> {
    Connect { credentials: Some(("D", b"secret")), ..Connect::new(version, "device") }
}

#[tokio::test]
async fn without_anonymous_and_without_an_authenticator_nobody_connects() {
    let setup = Setup::with(BrokerOptions { anonymous: Anonymous::Nowhere, ..options() }).await;
    for version in VERSIONS {
        for credentials in [None, Some(("D", b"secret".as_slice()))] {
            let connect = Connect { credentials, ..Connect::new(version, "device") };
            assert_eq!(connect_code(setup.address, connect).await, not_authorized(version));
        }
    }
    assert_eq!(setup.broker.counters().connections_denied, 4);
}

#[tokio::test]
async fn credentials_are_checked_and_the_check_fails_closed() {
    for anonymous in [Anonymous::Nowhere, Anonymous::Loopback, Anonymous::Everywhere] {
        let setup = Setup::with(with_credentials(anonymous).0).await;
        for version in VERSIONS {
            for (username, expected) in [
                ("D", not_authorized(version)),
                ("unknown", not_authorized(version)),
                ("", not_authorized(version)),
                ("hang", unavailable(version)),
                ("panic", unavailable(version)),
                ("away", unavailable(version)),
            ] {
                let connect = Connect { credentials: Some((username, b"wrong")), ..Connect::new(version, "device") };
                assert_eq!(connect_code(setup.address, connect).await, expected, "{username}");
            }
            let code = connect_code(setup.address, Connect::new(version, "device")).await;
            assert_eq!(code == 0, anonymous != Anonymous::Nowhere);
        }
    }
}

#[tokio::test]
async fn a_device_publishes_and_subscribes_below_its_name_only() {
    let setup = Setup::with(with_credentials(Anonymous::Nowhere).0).await;
    for version in VERSIONS {
        let mut client = Client::connect(setup.address, device(version)).await;
        assert_eq!(client.subscribe("devices/D/#", 1).await.body.last(), Some(&1));
        assert!(*client.subscribe("devices/#", 1).await.body.last().unwrap() >= 0x80);
        client.publish(Publish { topic: "devices/D/coordX", payload: b"1", ..Publish::default() }).await;
        client.receive().await.unwrap(); // its own message, as a subscriber
        refused(&mut client, version, "devices/E/coordX").await;
        let mut client = Client::connect(setup.address, device(version)).await;
        client.publish(Publish { topic: "devices/E/coordX", payload: b"1", ..Publish::default() }).await;
        client.ended().await; // at QoS 0 nothing else could tell it
        assert_eq!(setup.journal.topics(), ["devices/D/coordX"]);
        setup.journal.accepted.lock().unwrap().clear();

        let will = Connect { will: Some(("devices/E/coordX", b"1")), ..device(version) };
        assert_eq!(connect_code(setup.address, will).await, not_authorized(version));
    }
}

#[tokio::test]
async fn nobody_else_publishes_for_a_device_and_is_told_so() {
    let setup = Setup::with(with_credentials(Anonymous::Loopback).0).await;
    for version in VERSIONS {
        let mut client = Client::connect(setup.address, Connect::new(version, "anyone")).await;
        client.publish(Publish::qos1(1, "devices/E/coordX", b"1")).await;
        client.acknowledged(PUBACK, 1).await;
        refused(&mut client, version, "devices/D/coordX").await;
        let will = Connect { will: Some(("devices/D/coordX", b"1")), ..Connect::new(version, "anyone") };
        assert_eq!(connect_code(setup.address, will).await, not_authorized(version));
        // Not known whether it may: sent again later.
        let mut client = Client::connect(setup.address, Connect::new(version, "anyone")).await;
        client.publish(Publish::qos1(2, "unknown", b"1")).await;
        client.ended().await;
    }
    assert_eq!(setup.journal.topics(), ["devices/E/coordX"; 2]);
}

/// PUBACK and PUBREC of MQTT 5.0 say "not authorized" (0x87), and the client goes on; MQTT 3.1.1 has no such answer.
async fn refused(client: &mut Client, version: Version, topic: &str) {
    if version == Version::V3 {
        client.publish(Publish::qos1(7, topic, b"1")).await;
        client.ended().await;
        return;
    }
    for (kind, publish) in [(PUBACK, Publish::qos1(7, topic, b"1")), (PUBREC, Publish::qos2(8, topic, b"1"))] {
        let packet_id = publish.packet_id;
        client.publish(publish).await;
        let answer = client.receive().await.expect("an answer, not the end");
        assert_eq!((answer.kind(), answer.packet_id(), answer.body[2]), (kind, packet_id, 0x87));
    }
}

#[tokio::test]
async fn a_session_ends_with_its_rights_and_leaves_no_will() {
    for version in VERSIONS {
        let (options, authenticator) = with_credentials(Anonymous::Loopback);
        let setup = Setup::with(options).await;
        let will = Connect { will: Some(("devices/D/coordX", b"gone")), ..device(version).persistent() };
        let mut client = Client::connect(setup.address, will).await;
        let mut other = Client::connect(setup.address, Connect::new(version, "anyone")).await;
        client.publish(Publish::qos1(1, "devices/D/coordX", b"1")).await;
        client.acknowledged(PUBACK, 1).await;
        // A change that is none to this session.
        authenticator.changes.send_replace(());
        client.publish(Publish::qos1(2, "devices/D/coordX", b"2")).await;
        client.acknowledged(PUBACK, 2).await;

        authenticator.revoked.store(true, Ordering::SeqCst);
        authenticator.changes.send_replace(());
        while let Some(packet) = client.receive().await {
            assert_eq!(packet.kind(), 0xe0, "DISCONNECT at most");
        }
        assert_eq!(connect_code(setup.address, device(version)).await, not_authorized(version));
        other.publish(Publish::qos1(1, "devices/E/coordX", b"3")).await;
        other.acknowledged(PUBACK, 1).await;
        assert_eq!(setup.journal.payloads(), ["1", "2", "3"]);
    }
}
