//! What is acknowledged has been accepted, and the other way round.

use std::sync::atomic::Ordering;

use orinoco_ports::MqttSource;

use crate::client::{Client, Connect, PUBACK, Publish, VERSIONS, Version, packet, user_property};
use crate::setup::{Setup, until_true};

#[tokio::test]
async fn a_message_is_acknowledged_once_it_is_in_the_journal() {
    let setup = Setup::new().await;
    for version in VERSIONS {
        let mut client = Client::connect(setup.address, Connect::new(version, "device")).await;
        client.publish(Publish::qos1(7, "devices/D/coordX", b"12.5")).await;
        client.acknowledged(PUBACK, 7).await;
        let accepted = setup.journal.accepted.lock().unwrap().pop().unwrap();
        assert_eq!((accepted.topic.as_str(), accepted.payload.as_slice()), ("devices/D/coordX", b"12.5".as_slice()));
        assert!(!accepted.redelivered);
        assert_eq!(accepted.traceparent, None);
    }
    assert_eq!(setup.broker.counters().accepted, 2);
}

#[tokio::test]
async fn qos_0_goes_through_the_journal_too() {
    let setup = Setup::new().await;
    for version in VERSIONS {
        let mut client = Client::connect(setup.address, Connect::new(version, "device")).await;
        client.publish(Publish { topic: "coordX", payload: b"1", ..Publish::default() }).await;
        until_true("the message arrives", || setup.journal.accepted.lock().unwrap().pop().is_some()).await;
    }
}

#[tokio::test]
async fn dup_and_traceparent_are_handed_on() {
    let setup = Setup::new().await;
    let mut client = Client::connect(setup.address, Connect::new(Version::V5, "device")).await;
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let (short, long) = (user_property("traceparent", parent), user_property("traceparent", &"0".repeat(65)));
    client.publish(Publish { properties: &short, ..Publish::qos1(1, "coordX", b"1").repeated() }).await;
    client.publish(Publish { properties: &long, ..Publish::qos1(2, "coordX", b"2") }).await;
    client.acknowledged(PUBACK, 1).await;
    client.acknowledged(PUBACK, 2).await;
    let accepted = setup.journal.accepted.lock().unwrap();
    assert!(accepted[0].redelivered);
    assert_eq!(accepted[0].traceparent.as_deref(), Some(parent));
    assert_eq!(accepted[1].traceparent, None, "more than 64 characters");
}

#[tokio::test]
async fn odd_topics_are_accepted_and_acknowledged() {
    let setup = Setup::new().await;
    let deep = "/".repeat(60_000);
    let odd =
        ["a/+", "#", "a\0b", "line\nfeed", "$SYS/x", "$share/g/t", "a/#/b", "+/a", "wild+card", " ", "/", "ä", &deep];
    for version in VERSIONS {
        let mut client = Client::connect(setup.address, Connect::new(version, "device")).await;
        for (index, topic) in odd.iter().enumerate() {
            let packet_id = u16::try_from(index + 1).unwrap();
            client.publish(Publish { retain: true, ..Publish::qos1(packet_id, topic, b"x") }).await;
            client.acknowledged(PUBACK, packet_id).await;
        }
        assert_eq!(setup.journal.topics(), odd);
        setup.journal.accepted.lock().unwrap().clear();
    }
}

#[tokio::test]
async fn a_closed_gate_closes_the_connection_without_an_acknowledgement() {
    let mut setup = Setup::new().await;
    setup.link = None;
    for version in VERSIONS {
        for qos in 0..=2 {
            let mut client = Client::connect(setup.address, Connect::new(version, "device")).await;
            client.publish(Publish { qos, ..Publish::qos1(1, "coordX", b"1") }).await;
            client.ended().await;
        }
    }
    assert_eq!(setup.broker.counters().refused, 6);
    let _link = setup.broker.connect(setup.journal.clone()).await.unwrap();
    let mut client = Client::connect(setup.address, Connect::new(Version::V3, "device")).await;
    client.publish(Publish::qos1(1, "coordX", b"1").repeated()).await;
    client.acknowledged(PUBACK, 1).await;
}

#[tokio::test]
async fn a_full_journal_closes_the_connection_and_the_repetition_is_accepted() {
    let setup = Setup::new().await;
    for version in VERSIONS {
        setup.journal.is_full.store(true, Ordering::SeqCst);
        let mut client = Client::connect(setup.address, Connect::new(version, "device")).await;
        client.publish(Publish::qos1(1, "coordX", b"1")).await;
        client.ended().await;
        assert!(setup.journal.payloads().is_empty());

        setup.journal.is_full.store(false, Ordering::SeqCst);
        let mut client = Client::connect(setup.address, Connect::new(version, "device")).await;
        client.publish(Publish::qos1(1, "coordX", b"1").repeated()).await;
        client.acknowledged(PUBACK, 1).await;
        assert_eq!(setup.journal.accepted.lock().unwrap().drain(..).count(), 1);
    }
}

#[tokio::test]
async fn a_panic_of_the_intake_counts_as_refused_and_costs_one_connection() {
    let setup = Setup::new().await;
    let mut bystander = Client::connect(setup.address, Connect::new(Version::V5, "bystander")).await;
    setup.journal.panics.store(true, Ordering::SeqCst);
    let mut client = Client::connect(setup.address, Connect::new(Version::V3, "device")).await;
    client.publish(Publish::qos1(1, "coordX", b"1")).await;
    client.ended().await;
    setup.journal.panics.store(false, Ordering::SeqCst);
    bystander.publish(Publish::qos1(1, "coordX", b"2")).await;
    bystander.acknowledged(PUBACK, 1).await;
    let counters = setup.broker.counters();
    assert_eq!((counters.panics, counters.refused, counters.accepted), (1, 1, 1));
    until_true("the connection's end is counted", || setup.broker.counters().connections == 1).await;
}

#[tokio::test]
async fn ten_thousand_pipelined_messages_keep_their_order() {
    let setup = Setup::new().await;
    for version in VERSIONS {
        let mut client = Client::connect(setup.address, Connect::new(version, "device")).await;
        let mut burst = Vec::new();
        for number in 1..=10_000_u16 {
            burst.extend(Publish::qos1(number, "coordX", number.to_string().as_bytes()).encode(version));
        }
        let sending = client.send_in_background(burst);
        for number in 1..=10_000 {
            client.acknowledged(PUBACK, number).await;
        }
        sending.await.unwrap();
        let expected: Vec<String> = (1..=10_000).map(|number| number.to_string()).collect();
        assert!(setup.journal.payloads() == expected, "in order, each once");
        setup.journal.accepted.lock().unwrap().clear();
    }
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_when_clients_are_cut() {
    let setup = Setup::new().await;
    let mut cutting = tokio::task::JoinSet::new();
    for device in 0..20_usize {
        let address = setup.address;
        cutting.spawn(async move {
            let mut acknowledged = Vec::new();
            for round in 0..5_usize {
                let client_id = format!("device-{device}");
                let version = VERSIONS[round % 2];
                let mut client = Client::connect(address, Connect::new(version, &client_id)).await;
                let payload = |packet_id: u16| format!("{device}:{round}:{packet_id}");
                for packet_id in 1..=100 {
                    client.publish(Publish::qos1(packet_id, "coordX", payload(packet_id).as_bytes())).await;
                }
                for packet_id in 1..=u16::try_from(5 + 17 * round).unwrap() {
                    client.acknowledged(PUBACK, packet_id).await;
                    acknowledged.push(payload(packet_id));
                }
                client.cut();
            }
            acknowledged
        });
    }
    let acknowledged: Vec<String> = cutting.join_all().await.into_iter().flatten().collect();
    let accepted: std::collections::HashSet<String> = setup.journal.payloads().into_iter().collect();
    assert!(acknowledged.iter().all(|payload| accepted.contains(payload)));
    assert_eq!(acknowledged.len(), 20 * (5 + 22 + 39 + 56 + 73));
}

#[tokio::test]
async fn a_takeover_of_a_client_id_keeps_the_order() {
    let setup = Setup::new().await;
    for version in VERSIONS {
        let mut first = Client::connect(setup.address, Connect::new(version, "device").persistent()).await;
        for packet_id in 1..=500 {
            first.publish(Publish::qos1(packet_id, "coordX", format!("first {packet_id:03}").as_bytes())).await;
        }
        let mut second = Client::connect(setup.address, Connect::new(version, "device").persistent()).await;
        second.publish(Publish::qos1(1, "coordX", b"second")).await;
        second.acknowledged(PUBACK, 1).await;
        let payloads = setup.journal.payloads();
        assert_eq!(payloads.last().unwrap(), "second", "nothing of the first connection comes after the takeover");
        assert!(payloads.is_sorted());
        while first.receive().await.is_some() {}
        assert_eq!(setup.journal.payloads(), payloads);
        setup.journal.accepted.lock().unwrap().clear();
    }
}

#[tokio::test]
async fn a_will_is_a_message_of_the_device() {
    let setup = Setup::new().await;
    for version in VERSIONS {
        let will = Connect { will: Some(("devices/D/coordX", b"gone")), ..Connect::new(version, "device") };
        Client::connect(setup.address, will.clone()).await.cut();
        until_true("the will arrives", || setup.journal.payloads() == ["gone"]).await;
        setup.journal.accepted.lock().unwrap().clear();

        let mut orderly = Client::connect(setup.address, will).await;
        orderly.send(&packet(0xe0, &[])).await;
        orderly.finish_sending().await;
        orderly.ended().await;
        until_true("the end is noticed", || setup.broker.counters().connections == 0).await;
        assert!(setup.journal.payloads().is_empty(), "no will after DISCONNECT");
    }
}

#[tokio::test]
async fn a_will_that_nobody_takes_is_counted_as_lost() {
    let mut setup = Setup::new().await;
    setup.link = None;
    let will = Connect { will: Some(("coordX", b"gone")), ..Connect::new(Version::V3, "device") };
    Client::connect(setup.address, will).await.cut();
    until_true("the will is counted", || setup.broker.counters().wills_lost == 1).await;
}

#[tokio::test]
async fn malformed_packets_end_their_connection_only() {
    let setup = Setup::new().await;
    let mut bystander = Client::connect(setup.address, Connect::new(Version::V5, "bystander")).await;
    let malformed: [&[u8]; 8] = [
        b"GET / HTTP/1.1\r\n\r\n",
        &[0x10, 0xff, 0xff, 0xff, 0xff, 0xff],
        &[0x10, 2, 0, 4],
        &[0x00, 0x00],
        &[0x10, 12, 0, 4, b'M', b'Q', b'T', b'T', 9, 2, 0, 0, 0, 0],
        &[0x10, 6, 0, 4, b'M', b'Q', b'T', b'T'],
        &[0x10, 10, 0, 4, b'M', b'Q', b'T', b'T', 5, 2, 0, 0],
        &[0xff; 64],
    ];
    for bytes in malformed {
        let mut client = Client::open(setup.address, Version::V3).await;
        client.send(bytes).await;
        client.finish_sending().await;
        while client.receive().await.is_some() {}
    }
    for version in VERSIONS {
        for bytes in
            [&[0x36, 3, 0, 1, b'a'][..], &[0x32, 2, 0, 9], &[0x32, 5, 0, 1, 0xff, 0, 1], &[0x82, 2, 0, 1], &[0x40, 0]]
        {
            let mut client = Client::connect(setup.address, Connect::new(version, "device")).await;
            client.send(bytes).await;
            client.ended().await;
        }
    }
    bystander.publish(Publish::qos1(1, "coordX", b"1")).await;
    bystander.acknowledged(PUBACK, 1).await;
    assert_eq!(setup.journal.payloads(), ["1"]);
}

#[tokio::test]
async fn a_topic_alias_that_was_not_offered_is_a_protocol_error() {
    let setup = Setup::new().await;
    let mut client = Client::connect(setup.address, Connect::new(Version::V5, "device")).await;
    client.publish(Publish { properties: &[0x23, 0, 1], ..Publish::qos1(1, "coordX", b"1") }).await;
    client.ended().await;
    assert!(setup.journal.payloads().is_empty());
}
