//! Who may connect, and where a client may publish.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use orinoco_embedded::broker::{Authenticator, BrokerOptions, Decision};

use crate::client::{Client, Connect, PUBACK, Publish, VERSIONS, Version};
use crate::setup::{Setup, options};

/// Knows `D` with its password; asked about others it hangs, panics, or denies.
struct OneDevice;

#[async_trait]
impl Authenticator for OneDevice {
    async fn check(&self, username: Option<&str>, password: Option<&[u8]>, _: &str) -> Decision {
        match (username, password) {
            (Some("D"), Some(b"secret")) => Decision::Allow { publish_prefix: Some("devices/D/".to_owned()) },
            (Some("operator"), _) => Decision::Allow { publish_prefix: None },
            (Some("hang"), _) => std::future::pending().await,
            (Some("panic"), _) => panic!("the check was told to panic"),
            _ => Decision::Deny,
        }
    }
}

fn with_credentials(anonymous: bool) -> BrokerOptions {
    BrokerOptions {
        anonymous,
        authenticator: Some(Arc::new(OneDevice)),
        authentication_timeout: Duration::from_millis(100),
        ..options()
    }
}

fn not_authorized(version: Version) -> u8 {
    if version == Version::V3 { 5 } else { 0x87 }
}

#[tokio::test]
async fn without_anonymous_and_without_an_authenticator_nobody_connects() {
    let setup = Setup::with(BrokerOptions { anonymous: false, ..options() }).await;
    for version in VERSIONS {
        for credentials in [None, Some(("D", b"secret".as_slice()))] {
            let connect = Connect { credentials, ..Connect::new(version, "device") };
            let (_, connack) = Client::try_connect(setup.address, connect).await;
            assert_eq!(connack.unwrap().connect_code(), not_authorized(version));
        }
    }
    assert_eq!(setup.broker.counters().connections_denied, 4);
}

#[tokio::test]
async fn credentials_are_checked_and_the_check_fails_closed() {
    for anonymous in [false, true] {
        let setup = Setup::with(with_credentials(anonymous)).await;
        for version in VERSIONS {
            for username in ["D", "unknown", "hang", "panic"] {
                let connect = Connect { credentials: Some((username, b"wrong")), ..Connect::new(version, "device") };
                let (_, connack) = Client::try_connect(setup.address, connect).await;
                assert_eq!(connack.unwrap().connect_code(), not_authorized(version), "{username}");
            }
            let (_, connack) = Client::try_connect(setup.address, Connect::new(version, "device")).await;
            assert_eq!(connack.unwrap().connect_code() == 0, anonymous);
        }
    }
}

#[tokio::test]
async fn a_client_publishes_and_subscribes_below_its_prefix_only() {
    let setup = Setup::with(with_credentials(false)).await;
    for version in VERSIONS {
        let credentials = Connect { credentials: Some(("D", b"secret")), ..Connect::new(version, "device") };
        let mut client = Client::connect(setup.address, credentials.clone()).await;
        assert_eq!(client.subscribe("devices/D/#", 1).await.body.last(), Some(&1));
        assert!(*client.subscribe("devices/#", 1).await.body.last().unwrap() >= 0x80);
        client.publish(Publish { topic: "devices/D/coordX", payload: b"1", ..Publish::default() }).await;
        client.receive().await.unwrap(); // its own message, as a subscriber
        client.publish(Publish::qos1(2, "devices/E/coordX", b"1")).await;
        client.ended().await;
        assert_eq!(setup.journal.topics(), ["devices/D/coordX"]);
        setup.journal.accepted.lock().unwrap().clear();

        let will = Connect { will: Some(("devices/E/coordX", b"1")), ..credentials };
        let (_, connack) = Client::try_connect(setup.address, will).await;
        assert_eq!(connack.unwrap().connect_code(), not_authorized(version));

        let operator = Connect { credentials: Some(("operator", b"")), ..Connect::new(version, "operator") };
        let mut client = Client::connect(setup.address, operator).await;
        client.publish(Publish::qos1(1, "anywhere", b"1")).await;
        client.acknowledged(PUBACK, 1).await;
        setup.journal.accepted.lock().unwrap().clear();
    }
    assert_eq!(setup.broker.counters().unauthorized, 4);
}
