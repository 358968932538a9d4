//! What is not HTTP, described: MQTT, Kafka and WebSocket, as AsyncAPI 3 (`GET /asyncapi.json`).
//!
//! Invariants: made of the same schemas as the description of the HTTP port; addresses are the defaults, as variables: where Kafka is, is not
//! everyone's to know. Tests have a parser of AsyncAPI check the document, and real messages compared with it.

mod messages;

use orinoco_domain::Axis;
use serde_json::{Map, Value, json};

const ABOUT: &str = "What orinoco takes and gives beside HTTP (`/openapi.json`). Devices publish coordinates over MQTT; they go through Kafka; \
    browsers watch them over WebSocket. `receive` is what orinoco receives, `send` what it sends.";

/// A channel: its key, its address, its server, the messages that go through it.
struct Channel {
    key: &'static str,
    address: String,
    server: &'static str,
    description: &'static str,
    messages: &'static [&'static str],
    more: Value,
}

/// What is done with a channel.
struct Operation {
    key: &'static str,
    action: &'static str,
    channel: &'static str,
    summary: &'static str,
    messages: &'static [&'static str],
    more: Value,
}

/// The whole description.
pub(super) fn document() -> Value {
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "orinoco",
            "version": env!("CARGO_PKG_VERSION"),
            "description": ABOUT,
            "license": { "name": "Apache-2.0" },
        },
        "defaultContentType": "application/json",
        "servers": servers(),
        "channels": channels(),
        "operations": operations(),
        "components": {
            "messages": messages::all(),
            "schemas": messages::schemas(),
            "securitySchemes": {
                "bearer": { "type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": "An access token. None is needed with `stream.public`." },
                "device": { "type": "userPassword", "description": "A device's name and its secret, where it has one." },
            },
        },
    })
}

fn servers() -> Value {
    let server = |protocol: &str, port: &str, description: &str, more: Value| {
        let mut server = json!({
            "host": "{host}:{port}",
            "protocol": protocol,
            "description": description,
            "variables": { "host": { "default": "localhost" }, "port": { "default": port } },
        });
        extend(&mut server, more);
        server
    };
    let secured = |scheme: &str| json!({ "security": [{ "$ref": format!("#/components/securitySchemes/{scheme}") }] });
    json!({
        "mqtt": server("mqtt", "3123", "MQTT 3.1.1 and 5: the broker inside orinoco, or one beside it.", secured("device")),
        "kafka": server("kafka", "9092", "In `services` mode, or wherever `kafka.backend` is a service.", json!({})),
        "websocket": server("ws", "8081", "For browsers.", secured("bearer")),
    })
}

fn channels() -> Value {
    let mut all: Vec<Channel> = Vec::new();
    for (axis, own, default, kafka) in [
        (Axis::X, "deviceCoordX", "defaultCoordX", "kafkaCoordX"),
        (Axis::Y, "deviceCoordY", "defaultCoordY", "kafkaCoordY"),
    ] {
        let device = json!({ "device": { "description": "Of letters, digits, `.`, `_` and `-`, 64 at most.", "examples": ["samu31"] } });
        all.push(Channel {
            key: own,
            address: format!("devices/{{device}}/{}", axis.name()),
            server: "mqtt",
            description: "One axis of one device. PUBACK comes when the message is in the journal.",
            messages: &["coordinate"],
            more: json!({ "parameters": device }),
        });
        all.push(Channel {
            key: default,
            address: axis.name().to_owned(),
            server: "mqtt",
            description: "The same, of the device `default`.",
            messages: &["coordinate"],
            more: json!({}),
        });
        all.push(Channel {
            key: kafka,
            address: axis.name().to_owned(),
            server: "kafka",
            description: "Behind `kafka.topic_prefix`. Both axes have the same number of partitions; the key is the device.",
            messages: &["coordinateRecord"],
            more: json!({}),
        });
    }
    all.push(Channel {
        key: "kafkaDeadLetters",
        address: "coord.dlq".to_owned(),
        server: "kafka",
        description: "What could not be read, behind `kafka.topic_prefix`.",
        messages: &["deadLetter"],
        more: json!({}),
    });
    all.extend(sockets());
    let written = all.into_iter().map(|channel| {
        let mut written = json!({
            "address": channel.address,
            "description": channel.description,
            "servers": [{ "$ref": format!("#/servers/{}", channel.server) }],
            "messages": channel.messages.iter().map(|name| {
                ((*name).to_owned(), json!({ "$ref": format!("#/components/messages/{name}") }))
            }).collect::<Map<_, _>>(),
        });
        extend(&mut written, channel.more);
        (channel.key.to_owned(), written)
    });
    written.collect::<Map<_, _>>().into()
}

fn sockets() -> [Channel; 2] {
    let query = json!({ "type": "object", "properties": {
        "device": messages::device(),
        "offset": { "type": "integer", "minimum": 0 },
        "epoch": { "type": "string" },
    } });
    let get = |more: Value| {
        let mut binding = json!({ "method": "GET", "bindingVersion": "0.1.0" });
        extend(&mut binding, more);
        json!({ "bindings": { "ws": binding } })
    };
    let plain = Channel {
        key: "plain",
        address: "/ws".to_owned(),
        server: "websocket",
        description: "Each text message is one of these. `offset` and `epoch` of the last one resume after it.",
        messages: &["coordinateData", "unrecovered", "accessToken"],
        more: get(json!({ "query": query })),
    };
    let centrifuge = Channel {
        key: "centrifuge",
        address: "/connection/websocket".to_owned(),
        server: "websocket",
        description: "The Centrifuge protocol, JSON: its official clients speak it. Channels are `device:{orin_id}` and `devices`.",
        messages: &["centrifugeCommand", "centrifugeReply"],
        more: get(json!({})),
    };
    [plain, centrifuge]
}

fn operations() -> Value {
    let of = |key, action, channel, summary, messages| Operation {
        key,
        action,
        channel,
        summary,
        messages,
        more: json!({}),
    };
    let from_device = |key, channel, summary| Operation {
        more: json!({ "bindings": { "mqtt": { "qos": 1, "retain": false, "bindingVersion": "0.2.0" } } }),
        ..of(key, "receive", channel, summary, &["coordinate"])
    };
    let own = "A device says where it is";
    let default = "The device `default` says where it is";
    let record = "A coordinate goes to Kafka, once";
    let read = "It is read again, as are those of other producers";
    let all = [
        from_device("receiveDeviceCoordX", "deviceCoordX", own),
        from_device("receiveDeviceCoordY", "deviceCoordY", own),
        from_device("receiveDefaultCoordX", "defaultCoordX", default),
        from_device("receiveDefaultCoordY", "defaultCoordY", default),
        of("sendRecordX", "send", "kafkaCoordX", record, &["coordinateRecord"]),
        of("sendRecordY", "send", "kafkaCoordY", record, &["coordinateRecord"]),
        of("receiveRecordX", "receive", "kafkaCoordX", read, &["coordinateRecord"]),
        of("receiveRecordY", "receive", "kafkaCoordY", read, &["coordinateRecord"]),
        of("sendDeadLetter", "send", "kafkaDeadLetters", "What could not be read is kept", &["deadLetter"]),
        of(
            "sendCoordinates",
            "send",
            "plain",
            "The latest of each device, then what follows",
            &["coordinateData", "unrecovered"],
        ),
        of("receiveAccessToken", "receive", "plain", "Who is watching, within 5 s", &["accessToken"]),
        of("receiveCommand", "receive", "centrifuge", "Commands, one a line", &["centrifugeCommand"]),
        of("sendReply", "send", "centrifuge", "Replies and pushes", &["centrifugeReply"]),
    ];
    let written = all.into_iter().map(|operation| {
        let channel = format!("#/channels/{}", operation.channel);
        let message = |name: &&str| json!({ "$ref": format!("{channel}/messages/{name}") });
        let mut written = json!({
            "action": operation.action,
            "channel": { "$ref": channel },
            "summary": operation.summary,
            "messages": operation.messages.iter().map(message).collect::<Vec<_>>(),
        });
        extend(&mut written, operation.more);
        (operation.key.to_owned(), written)
    });
    written.collect::<Map<_, _>>().into()
}

/// Adds the members of an object to another one.
fn extend(object: &mut Value, more: Value) {
    if let (Some(object), Value::Object(more)) = (object.as_object_mut(), more) {
        object.extend(more);
    }
}
