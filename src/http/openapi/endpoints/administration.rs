//! For administrators.

use serde_json::{Value, json};

use crate::http::{
    api::{
        admin::{ChangeBody, CreateBody, KillBody},
        dead_letters::ReplayBody,
    },
    openapi::{
        operation::{Access, Operation},
        schemas::{CONNECTION, device, reference, text},
    },
};

const TAG: &str = "Administration";

fn of(id: &'static str, summary: &'static str) -> Operation {
    Operation::api(id, TAG, summary, Access::Administrator)
}

/// A cursor that is a number of 63 bits.
fn number() -> Value {
    json!({ "type": "integer", "format": "int64", "minimum": 0, "maximum": i64::MAX })
}

pub(super) fn users() -> Operation {
    of("users", "The accounts").page(number()).answer(200, "A page of them", reference("Users"))
}

pub(super) fn create_user() -> Operation {
    let of_it = |target: &str| json!({ "operationId": target, "parameters": { "id": "$response.body#/id" } });
    of("createUser", "Makes an account")
        .json::<CreateBody>()
        .answer(201, "The account", reference("Account"))
        .link(201, "user", of_it("user"))
        .link(201, "changeUser", of_it("changeUser"))
        .errors(&[409])
}

pub(super) fn user() -> Operation {
    of("user", "An account").path("id", text()).answer(200, "The account", reference("Account")).errors(&[404])
}

pub(super) fn change_user() -> Operation {
    of("changeUser", "Changes an account; what is left out stays")
        .path("id", text())
        .json::<ChangeBody>()
        .answer(200, "The account", reference("Account"))
        .errors(&[404, 409])
}

pub(super) fn devices() -> Operation {
    of("deviceCredentials", "Devices with credentials").page(device()).answer(
        200,
        "A page of them",
        reference("DeviceCredentials"),
    )
}

pub(super) fn give_device_secret() -> Operation {
    let revoke = json!({ "operationId": "revokeDeviceSecret", "parameters": { "orinId": "$response.body#/orinId" } });
    of("giveDeviceSecret", "Gives a device credentials, or new ones")
        .path("orinId", device())
        .answer(201, "Its secret", reference("DeviceSecret"))
        .link(201, "revoke", revoke)
}

pub(super) fn revoke_device_secret() -> Operation {
    of("revokeDeviceSecret", "Revokes a device's credentials")
        .path("orinId", device())
        .empty(204, "They are revoked")
        .errors(&[404])
}

pub(super) fn connections() -> Operation {
    of("connections", "Sockets, then streams").page(json!({ "type": "string", "pattern": CONNECTION })).answer(
        200,
        "A page of them",
        reference("Connections"),
    )
}

pub(super) fn actors() -> Operation {
    of("actors", "The actor tree, as `orinoco tree --json` has it").answer(
        200,
        "The tree, and whether actors may be killed",
        reference("Actors"),
    )
}

pub(super) fn pool_children() -> Operation {
    let path = json!({
        "name": "path", "in": "query", "required": true, "description": "Of the pool, as the tree has it.", "schema": text(),
    });
    of("poolChildren", "Children of a pool, in order of their keys; the tree has the first 20")
        .parameter(path)
        .page(text())
        .answer(200, "A page of them", reference("PoolChildren"))
}

pub(super) fn kill_actor() -> Operation {
    of("killActor", "Kills an actor; its supervisor starts it again")
        .describe("For administrators, where supervision.toml says `[chaos] allow_kill = true`.")
        .json::<KillBody>()
        .empty(204, "It has ended")
        .errors(&[404])
}

pub(super) fn dead_letters() -> Operation {
    of("deadLetters", "What could not be understood, oldest first; 100 of them at most").page(text()).answer(
        200,
        "A page of them",
        reference("DeadLetters"),
    )
}

pub(super) fn replay_dead_letters() -> Operation {
    of("replayDeadLetters", "Sends dead letters the way of a device's message again, as `orinoco dlq replay` does")
        .describe(
            "For administrators. In the order of the list. Letters stay where they are; one that is still not understood becomes a further \
             one. 503: the broker or the log went away; the detail says how many were replayed, and at which it ended.",
        )
        .json::<ReplayBody>()
        .answer(200, "What became of each", reference("ReplayedDeadLetters"))
        .errors(&[404])
}

pub(super) fn stream() -> Operation {
    of("stream", "The journal, and who holds which partition and is how far behind").answer(
        200,
        "As this daemon sees it",
        reference("StreamState"),
    )
}

pub(super) fn audit() -> Operation {
    of("audit", "The audit log, newest first").page(number()).answer(200, "A page of it", reference("Audit"))
}
