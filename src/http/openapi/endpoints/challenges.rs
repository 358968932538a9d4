//! QR challenges: by their creator, and by a logged-in phone.

use serde_json::{Value, json};

use super::logins::with_token;
use crate::http::{
    api::{
        challenges::{CreateBody, ExchangeBody, ScanBody},
        user_code::UserCodeBody,
    },
    openapi::{
        answers::header,
        operation::{Access, Operation},
        schemas::{reference, text},
    },
};

const TAG: &str = "QR challenges";

fn of_one(id: &'static str, summary: &'static str, access: Access) -> Operation {
    Operation::api(id, TAG, summary, access).path("id", text())
}

/// What can be done with a challenge.
fn link(operation: &str, body: Option<Value>) -> Value {
    let mut link = json!({ "operationId": operation, "parameters": { "id": "$response.body#/challengeId" } });
    if let Some(body) = body {
        link["requestBody"] = body;
    }
    link
}

pub(super) fn create() -> Operation {
    let mut operation = Operation::api("createChallenge", TAG, "Makes a challenge", Access::Anyone)
        .describe(
            "Its creator proves itself by the header `Orinoco-Verifier`, whose BASE64URL(SHA-256) is `codeChallenge`, or by the cookie that \
             it gets for sending none; by cookie nothing is done for pages of other origins (403).",
        )
        .optional_json::<CreateBody>()
        .answer(201, "The challenge", reference("NewChallenge"))
        .header(201, "Location", header("Its path.", true))
        .header(201, "Set-Cookie", header("Where no `codeChallenge` was sent: HttpOnly, SameSite=Strict.", false))
        .link(201, "scan", link("scanChallenge", Some(json!({ "nonce": "$response.body#/nonce" }))))
        .errors(&[403, 429]);
    for target in ["challenge", "cancelChallenge", "challengeSvg", "challengePng", "approveChallenge", "denyChallenge"]
    {
        operation = operation.link(201, target, link(target, None));
    }
    operation
}

pub(super) fn poll() -> Operation {
    of_one("challenge", "How the challenge stands", Access::Creator)
        .answer(200, "The challenge", reference("Challenge"))
        .link(200, "cancel", link("cancelChallenge", None))
        .link(200, "exchange", link("exchangeChallenge", Some(json!({ "otc": "$response.body#/otc" }))))
}

pub(super) fn cancel() -> Operation {
    of_one("cancelChallenge", "Cancels the challenge", Access::Creator)
        .empty(204, "It is CANCELLED")
        .errors(&[403, 409, 429])
}

pub(super) fn picture(id: &'static str, content_type: &'static str) -> Operation {
    of_one(id, "The picture of `qrPayload`", Access::Anyone)
        .typed(200, "The picture", content_type, json!({}))
        .errors(&[404])
}

pub(super) fn events() -> Operation {
    let last = json!({ "name": "Last-Event-ID", "in": "header", "description": "`id` of the last event that was seen.", "schema": text() });
    of_one("challengeEvents", "How the challenge stands, as it changes", Access::Creator)
        .describe(
            "`event: status` with what the challenge's GET answers, at once and with each change; ends with a terminal status. For its \
             creator: for anyone else there is none (404).",
        )
        .parameter(last)
        .typed(200, "The stream (WHATWG HTML, section 9.2)", "text/event-stream", json!({}))
        .header(200, "X-Accel-Buffering", header("`no`.", true))
        .empty(204, "Its end was seen already")
        .errors(&[429])
}

pub(super) fn exchange() -> Operation {
    with_token(
        of_one("exchangeChallenge", "Exchanges an approved challenge for a login, once", Access::Creator)
            .json::<ExchangeBody>()
            .answer(200, "Tokens of a new login", reference("Tokens"))
            .errors(&[403, 409, 429]),
    )
}

pub(super) fn scan() -> Operation {
    asked(
        of_one("scanChallenge", "A logged-in phone has scanned", Access::Account)
            .json::<ScanBody>()
            .answer(200, "Who asks", reference("AskedChallenge"))
            .errors(&[404, 409, 429]),
    )
}

pub(super) fn user_code() -> Operation {
    asked(
        Operation::api("enterUserCode", TAG, "A code was typed in on a logged-in phone (RFC 8628)", Access::Account)
            .json::<UserCodeBody>()
            .answer(200, "Who asks", reference("AskedChallenge"))
            .errors(&[404, 409, 429]),
    )
}

fn asked(operation: Operation) -> Operation {
    operation.link(200, "approve", link("approveChallenge", None)).link(200, "deny", link("denyChallenge", None)).link(
        200,
        "challenge",
        link("challenge", None),
    )
}

pub(super) fn decide(id: &'static str, summary: &'static str) -> Operation {
    of_one(id, summary, Access::Account)
        .describe("By the login that scanned.")
        .answer(200, "What was decided", reference("DecidedChallenge"))
        .link(200, "challenge", link("challenge", None))
        .errors(&[404, 409, 429])
}
