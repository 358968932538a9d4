//! What goes through the channels.

use orinoco_domain::{HEADER_ID, HEADER_TRACEPARENT};
use serde_json::{Map, Value, json};

use crate::http::openapi::schemas;

pub(super) use schemas::device;

/// By the names that channels use.
pub(super) fn all() -> Value {
    let kafka = json!({ "bindings": { "kafka": { "key": device(), "bindingVersion": "0.5.0" } } });
    let headers = json!({ "headers": { "$ref": "#/components/schemas/RecordHeaders" } });
    let messages = [
        ("coordinate", "Coordinate", "One axis of a device", vec![]),
        (
            "coordinateRecord",
            "CoordinateRecord",
            "One axis of a device, with the time of its message",
            vec![kafka, headers],
        ),
        ("deadLetter", "DeadLetter", "What could not be read, and why", vec![]),
        ("coordinateData", "CoordinateData", "Where a device is, and which axis has moved", vec![]),
        ("unrecovered", "Unrecovered", "What followed the position is gone; the latest value comes next", vec![]),
        ("accessToken", "AccessToken", "In place of the header, for browsers", vec![]),
        ("centrifugeCommand", "CentrifugeCommand", "`Command` of the protocol's definition", vec![]),
        ("centrifugeReply", "CentrifugeReply", "`Reply` of the protocol's definition", vec![]),
    ];
    let written = messages.into_iter().map(|(name, schema, summary, more)| {
        let mut message = json!({
            "name": name,
            "summary": summary,
            "payload": { "$ref": format!("#/components/schemas/{schema}") },
        });
        more.into_iter().for_each(|more| super::extend(&mut message, more));
        (name.to_owned(), message)
    });
    written.collect::<Map<_, _>>().into()
}

pub(super) fn schemas() -> Value {
    let time = || json!({ "type": "string", "format": "date-time" });
    let text = schemas::text;
    let timed = schemas::object(&[
        ("message", json!({ "type": ["string", "number"], "description": "A decimal number." })),
        (
            "timestamp?",
            json!({ "type": ["string", "integer"], "description": "RFC 3339, or milliseconds since 1970. Without it: the time of arrival." }),
        ),
    ]);
    let record = [("message", text()), ("timestamp", time())];
    let letter = [("topic", text()), ("payloadBase64", text()), ("reason", text()), ("time", time())];
    let traceparent = format!("{HEADER_TRACEPARENT}?");
    let headers = [
        (
            HEADER_ID,
            json!({ "type": "string", "description": "One for each message of a device: who finds it twice has found it once." }),
        ),
        (traceparent.as_str(), json!({ "type": "string", "description": "W3C Trace Context, as the device sent it." })),
    ];
    let id = || json!({ "type": "integer", "minimum": 1, "maximum": u32::MAX });
    json!({
        "Coordinate": { "oneOf": [{ "type": "number" }, timed] },
        "CoordinateRecord": schemas::object(&record),
        "RecordHeaders": schemas::object(&headers),
        "DeadLetter": schemas::object(&letter),
        "CoordinateData": schemas::coordinate_data(),
        "Unrecovered": schemas::object(&[("recovered", json!({ "const": false }))]),
        "AccessToken": schemas::object(&[("accessToken", text())]),
        "CentrifugeCommand": schemas::object(&[("id?", id())]),
        "CentrifugeReply": schemas::object(&[("id?", id()), ("push?", json!({ "type": "object" }))]),
    })
}
