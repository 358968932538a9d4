//! Signup, login, refresh, logout; the own account and its logins; the keys of access tokens.

use serde_json::json;

use crate::http::{
    api::accounts::{LoginBody, RefreshBody, SignupBody},
    openapi::{
        operation::{Access, Operation},
        schemas::{reference, text},
    },
};

const TAG: &str = "Accounts and logins";

pub(super) fn key_set() -> Operation {
    let operation = Operation::api("keySet", TAG, "The keys of access tokens (RFC 7517)", Access::Anyone);
    operation.answer(200, "The keys", reference("KeySet"))
}

pub(super) fn sign_up() -> Operation {
    Operation::api("signUp", TAG, "Makes an account", Access::Anyone)
        .describe("403 where `auth.signup` is `closed`, or `deviceSecret` is not that of a device with credentials.")
        .json::<SignupBody>()
        .answer(201, "The account", reference("Account"))
        .errors(&[403, 409, 429])
}

pub(super) fn log_in() -> Operation {
    with_token(
        Operation::api("logIn", TAG, "Logs in by password", Access::Anyone)
            .describe("Unknown account, wrong password and disabled account are one 401.")
            .json::<LoginBody>()
            .answer(200, "Tokens of a new login", reference("Tokens"))
            .errors(&[401, 429]),
    )
}

pub(super) fn refresh() -> Operation {
    with_token(
        Operation::api("refresh", TAG, "Replaces a refresh token", Access::Anyone)
            .json::<RefreshBody>()
            .answer(200, "Tokens of the same login", reference("Tokens"))
            .errors(&[401, 403, 429]),
    )
}

/// What tokens are for.
pub(super) fn with_token(operation: Operation) -> Operation {
    let bearer = json!({ "header.Authorization": "Bearer {$response.body#/accessToken}" });
    operation
        .link(200, "me", json!({ "operationId": "me", "parameters": bearer }))
        .link(200, "sessions", json!({ "operationId": "sessions", "parameters": bearer }))
        .link(200, "logOut", json!({ "operationId": "logOut", "parameters": bearer }))
        .link(
            200,
            "refresh",
            json!({ "operationId": "refresh", "requestBody": { "refreshToken": "$response.body#/refreshToken" } }),
        )
}

pub(super) fn log_out() -> Operation {
    Operation::api("logOut", TAG, "Ends this login", Access::Account).empty(204, "It has ended")
}

pub(super) fn log_out_all() -> Operation {
    Operation::api("logOutAll", TAG, "Ends all logins of the account", Access::Account).empty(204, "They have ended")
}

pub(super) fn me() -> Operation {
    Operation::api("me", TAG, "The own account", Access::Account).answer(200, "The account", reference("Me"))
}

pub(super) fn sessions() -> Operation {
    Operation::api("sessions", TAG, "The own logins", Access::Account).page(text()).answer(
        200,
        "A page of them",
        reference("Sessions"),
    )
}

pub(super) fn end_session() -> Operation {
    Operation::api("endSession", TAG, "Ends one of the own logins", Access::Account)
        .path("id", text())
        .empty(204, "It has ended")
        .errors(&[404])
}
