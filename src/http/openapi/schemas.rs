//! What answers hold, and the forms of single values.
//!
//! Objects of answers are open, so that members can be added; tests hold them to what is listed here. Objects of requests are closed: an unknown
//! member is refused.

use orinoco_domain::account::Email;
use schemars::{Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

/// What [`Email::parse`] takes, but for blanks around it.
pub(in crate::http) const EMAIL: &str = r"^[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*$";
/// A device's name.
pub(in crate::http) const DEVICE: &str = "^[A-Za-z0-9._-]{1,64}$";
/// BASE64URL of 256 bits.
pub(in crate::http) const SECRET: &str = "^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$";
/// As it is shown, and as people type it.
pub(in crate::http) const USER_CODE: &str =
    "^[BCDFGHJKLMNPQRSTVWXZbcdfghjklmnpqrstvwxz]{4}[ -]?[BCDFGHJKLMNPQRSTVWXZbcdfghjklmnpqrstvwxz]{4}$";

/// Roles that are given; twice the same is once.
pub(in crate::http) fn roles(_: &mut SchemaGenerator) -> Schema {
    closed(json!({ "type": ["array", "null"], "items": role() }))
}

/// The same, where none would be none at all.
pub(in crate::http) fn roles_of_a_user(_: &mut SchemaGenerator) -> Schema {
    closed(json!({ "type": ["array", "null"], "items": role(), "minItems": 1 }))
}

pub(in crate::http) fn device_or_null(_: &mut SchemaGenerator) -> Schema {
    closed(json!({ "type": ["string", "null"], "pattern": DEVICE }))
}

fn closed(schema: Value) -> Schema {
    Schema::try_from(schema).unwrap_or_default()
}

pub(super) fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

pub(super) fn text() -> Value {
    json!({ "type": "string" })
}

pub(super) fn device() -> Value {
    json!({ "type": "string", "pattern": DEVICE })
}

fn secret() -> Value {
    json!({ "type": "string", "pattern": SECRET })
}

/// A number of 64 bits as text.
pub(super) fn number_text() -> Value {
    json!({ "type": "string", "pattern": "^[0-9]{1,19}$" })
}

fn role() -> Value {
    json!({ "type": "string", "enum": ["USER", "ADMIN"] })
}

fn time() -> Value {
    json!({ "type": "string", "format": "date-time" })
}

fn count() -> Value {
    json!({ "type": "integer", "format": "uint64", "minimum": 0 })
}

fn flag() -> Value {
    json!({ "type": "boolean" })
}

fn text_or_null() -> Value {
    json!({ "type": ["string", "null"] })
}

fn one_of(values: &[&str]) -> Value {
    json!({ "type": "string", "enum": values })
}

pub(super) fn list_of(items: &Value) -> Value {
    json!({ "type": "array", "items": items })
}

/// An object; a name with `?` may be missing.
pub(super) fn object(members: &[(&str, Value)]) -> Value {
    let required: Vec<&str> = members.iter().map(|(name, _)| *name).filter(|name| !name.ends_with('?')).collect();
    let properties = members.iter().map(|(name, schema)| (name.trim_end_matches('?').to_owned(), schema.clone()));
    json!({ "type": "object", "required": required, "properties": properties.collect::<Map<_, _>>() })
}

/// A list, and where it goes on.
pub(super) fn page(name: &str, items: &Value, next: Value) -> Value {
    object(&[(name, list_of(items)), ("next?", next)])
}

pub(super) fn all() -> Value {
    let parts = [errors(), accounts(), challenges(), administration(), reading(), oauth()];
    parts.into_iter().flatten().map(|(name, schema)| (name.to_owned(), schema)).collect::<Map<_, _>>().into()
}

type Named = Vec<(&'static str, Value)>;

fn errors() -> Named {
    let problem = [
        ("type", json!({ "type": "string", "const": "about:blank" })),
        ("title", text()),
        ("status", json!({ "type": "integer", "minimum": 400, "maximum": 599 })),
        ("detail", text()),
        ("parameter?", described(text(), "The parameter that is wrong.")),
        ("field?", described(text(), "The member of the body that is wrong.")),
        ("challengeStatus?", described(status(), "409: what won.")),
        ("triesLeft?", described(count(), "403: before a wrong otc ends the challenge.")),
    ];
    let oauth = object(&[("error", one_of(&OAUTH_ERRORS)), ("error_description", text())]);
    let mut unready = problem.to_vec();
    unready.extend([("ready", json!({ "const": false })), ("components", components()), ("alarms", alarms())]);
    vec![("Problem", object(&problem)), ("OAuthError", oauth), ("Unready", object(&unready))]
}

const OAUTH_ERRORS: [&str; 12] = [
    "invalid_request",
    "invalid_client",
    "invalid_grant",
    "invalid_token",
    "unsupported_grant_type",
    "authorization_pending",
    "slow_down",
    "access_denied",
    "expired_token",
    "temporarily_unavailable",
    "server_error",
    "unauthorized_client",
];

fn described(mut schema: Value, description: &str) -> Value {
    schema["description"] = description.into();
    schema
}

fn account() -> Vec<(&'static str, Value)> {
    vec![
        ("id", described(number_text(), "`sub` of its access tokens.")),
        ("email", json!({ "type": "string", "maxLength": Email::LENGTH_MAX })),
        ("orinId", json!({ "type": ["string", "null"], "pattern": DEVICE })),
        ("roles", json!({ "type": "array", "items": role(), "uniqueItems": true })),
        ("enabled", flag()),
        ("createdAt", time()),
        ("updatedAt", time()),
    ]
}

fn accounts() -> Named {
    let notices = ("notices", list_of(&reference("Notice")));
    let mut me = account();
    me.push(notices.clone());
    let tokens = [
        ("accessToken", described(text(), "A JWT (RFC 9068).")),
        ("refreshToken", text()),
        ("tokenType", json!({ "const": "Bearer" })),
        ("expiresIn", described(count(), "Seconds.")),
    ];
    let session = [
        ("id", text()),
        ("device", described(text(), "The user agent.")),
        ("address", text()),
        ("clientId", described(text_or_null(), "Of an OAuth client.")),
        ("createdAt", time()),
        ("lastUsedAt", time()),
        ("expiresAt", time()),
        ("current", flag()),
    ];
    let notice = object(&[("type", one_of(&["refreshTokenReuse"])), ("session", text()), ("at", time())]);
    let sessions = [("sessions", list_of(&reference("Session"))), ("next?", text()), notices];
    let key = [("kty", text()), ("crv?", text()), ("x?", text()), ("kid", text()), ("use?", text()), ("alg?", text())];
    vec![
        ("Account", object(&account())),
        ("Me", object(&me)),
        ("Tokens", object(&tokens)),
        ("Session", object(&session)),
        ("Sessions", object(&sessions)),
        ("Notice", notice),
        ("KeySet", object(&[("keys", list_of(&object(&key)))])),
    ]
}

fn status() -> Value {
    one_of(&["PENDING", "SCANNED", "APPROVED", "DENIED", "EXPIRED", "CANCELLED", "EXCHANGED"])
}

fn challenges() -> Named {
    let shown = vec![
        ("challengeId", secret()),
        ("status", status()),
        ("createdAt", time()),
        ("expiresAt", time()),
        ("expiresIn", described(count(), "Whole seconds that are left.")),
        ("approvedAt?", time()),
        ("exchangedAt?", time()),
    ];
    let with = |more: &[(&'static str, Value)]| object(&[shown.as_slice(), more].concat());
    let asked = [
        ("address", described(text(), "Of who asks.")),
        ("userAgent", text()),
        ("clientId?", described(text(), "The OAuth client that asks.")),
    ];
    vec![
        ("Challenge", with(&[("otc?", described(secret(), "While it is APPROVED."))])),
        ("NewChallenge", with(&[("nonce", secret()), ("qrPayload", text())])),
        ("AskedChallenge", with(&asked)),
        ("DecidedChallenge", object(&[("challengeId", secret()), ("status", status())])),
    ]
}

fn administration() -> Named {
    let device_credential = [("orinId", device()), ("revoked", flag()), ("createdAt", time()), ("updatedAt", time())];
    let connection = [
        ("kind", one_of(&["websocket", "sse"])),
        ("sessionId", json!({ "type": "string", "pattern": CONNECTION })),
        ("clientId", described(text_or_null(), "The account, or the SHA-256 of the challenge's id.")),
        ("clientIP", text()),
        ("connectedAt", time()),
    ];
    let entry = [
        ("id", number_text()),
        ("at", time()),
        ("event", described(text(), "OWASP's logging vocabulary.")),
        ("userId", text_or_null()),
        ("address", text_or_null()),
        ("detail", text()),
    ];
    vec![
        ("Users", page("users", &reference("Account"), number_text())),
        ("DeviceCredentials", page("devices", &object(&device_credential), device())),
        ("DeviceSecret", object(&[("orinId", device()), ("secret", described(text(), "Shown this once."))])),
        ("Connections", page("connections", &object(&connection), json!({ "type": "string", "pattern": CONNECTION }))),
        ("Audit", page("entries", &object(&entry), number_text())),
        ("DeadLetters", dead_letters()),
        ("ReplayedDeadLetters", object(&[("letters", list_of(&replayed()))])),
        ("StreamState", stream_state()),
        ("PoolChildren", page("children", &pool_child(), text())),
        ("Actor", actor()),
        ("Actors", object(&[("actors", actor_tree()), ("killAllowed", flag())])),
    ]
}

fn dead_letters() -> Value {
    let letter = [
        ("cursor", text()),
        ("id", text_or_null()),
        ("at", text()),
        ("topic", text()),
        ("reason", text()),
        ("payload", described(text(), "Its first 2,048 bytes, in BASE64.")),
        ("payloadBytes", described(count(), "Of the whole payload.")),
    ];
    page("letters", &object(&letter), text())
}

fn replayed() -> Value {
    object(&[
        ("cursor", text()),
        ("topic", text()),
        (
            "outcome",
            described(one_of(&["published", "produced", "skipped"]), "To its MQTT topic, or into its Kafka topic."),
        ),
        ("reason?", described(text(), "Why it was skipped.")),
    ])
}

fn stream_state() -> Value {
    let journal = [
        ("records", described(count(), "Acknowledged to devices, and not yet by the log.")),
        ("bytes", count()),
        ("bytesMax", count()),
        ("full", described(flag(), "While it is, devices get no acknowledgement.")),
    ];
    let owner = described(text_or_null(), "The daemon that holds the lease; null: nobody, or not known.");
    let epoch = described(json!({ "type": ["integer", "null"], "minimum": 0 }), "Grows with each change of owner.");
    let lag = json!({ "type": ["integer", "null"], "minimum": 0 });
    let partition = [
        ("partition", count()),
        ("owner", owner.clone()),
        ("epoch", epoch.clone()),
        ("lagRecords", described(lag, "Behind the end of the log; null where another daemon reads it.")),
    ];
    object(&[
        ("daemon", described(text(), "This one, as it stands in `owner`.")),
        ("journal", object(&journal)),
        ("ingest", described(object(&[("owner", owner), ("epoch", epoch)]), "Who takes devices' messages.")),
        ("partitions", list_of(&object(&partition))),
        ("leaseError?", described(text(), "Why owners are not known.")),
    ])
}

/// A cursor of connections.
pub(super) const CONNECTION: &str = "^(ws|sse)-[0-9]{1,19}$";

fn pool_child() -> Value {
    let mut child = object(&[
        ("key", text()),
        ("path", text()),
        ("status", actor_status()),
        ("incarnation", count()),
        ("mailbox", json!({ "type": "object" })),
    ]);
    child["additionalProperties"] = true.into();
    child
}

fn actor_status() -> Value {
    one_of(&["starting", "running", "restarting", "stopping", "stopped"])
}

fn actor_tree() -> Value {
    object(&[("actors", described(count(), "How many run.")), ("root", reference("Actor"))])
}

/// A node as `orinoco tree --json` has it; what else it tells depends on its kind.
fn actor() -> Value {
    let mut actor = object(&[
        ("id", text()),
        ("path", text()),
        ("kind", one_of(&["supervisor", "pool", "partition", "worker"])),
        ("status", actor_status()),
        ("incarnation", count()),
        ("restarts", count()),
        ("restarts_in_period", count()),
        ("children?", list_of(&reference("Actor"))),
    ]);
    actor["additionalProperties"] = true.into();
    actor
}

fn components() -> Value {
    let state = one_of(&["up", "catchingUp", "down"]);
    list_of(&object(&[("name", text()), ("state", state), ("reason?", text())]))
}

fn alarms() -> Value {
    json!({ "type": "object", "description": "Data that was lost outside of the daemon, by name.", "additionalProperties": text() })
}

pub(super) fn coordinate_data() -> Value {
    object(&[
        ("coordX", json!({ "type": "number" })),
        ("coordY", json!({ "type": "number" })),
        ("timestamp", described(time(), "Of the message that moved the device.")),
        ("source", one_of(&["coordX", "coordY"])),
        ("device", device()),
        ("offset", described(count(), "Counts per device, from 1.")),
        ("epoch", text()),
        ("unpaired?", flag()),
        ("late?", flag()),
    ])
}

fn reading() -> Named {
    let history = [("coordinates", list_of(&reference("CoordinateData"))), ("next?", count()), ("epoch", text())];
    let ready = [("ready", json!({ "const": true })), ("components", components()), ("alarms", alarms())];
    let console = [
        ("publicUrl", text()),
        ("socketUrl", text()),
        ("streamPublic", flag()),
        ("signup", one_of(&["open", "closed"])),
        ("version", text()),
    ];
    vec![
        ("CoordinateData", coordinate_data()),
        ("Devices", page("devices", &object(&[("device", device())]), device())),
        ("History", object(&history)),
        ("Alive", object(&[("alive", json!({ "const": true }))])),
        ("Ready", object(&ready)),
        ("Console", object(&console)),
    ]
}

fn oauth() -> Named {
    let (texts, seconds) = (list_of(&text()), described(count(), "Seconds."));
    let metadata = [
        ("issuer", text()),
        ("device_authorization_endpoint", text()),
        ("token_endpoint", text()),
        ("revocation_endpoint", text()),
        ("introspection_endpoint", text()),
        ("jwks_uri", text()),
        ("grant_types_supported", texts.clone()),
        ("response_types_supported", texts.clone()),
        ("scopes_supported", texts.clone()),
        ("token_endpoint_auth_methods_supported", texts.clone()),
        ("revocation_endpoint_auth_methods_supported", texts.clone()),
        ("introspection_endpoint_auth_methods_supported", texts),
    ];
    let device = [
        ("device_code", text()),
        ("user_code", json!({ "type": "string", "pattern": "^[B-DF-HJ-NP-TV-XZ]{4}-[B-DF-HJ-NP-TV-XZ]{4}$" })),
        ("verification_uri", text()),
        ("verification_uri_complete", text()),
        ("expires_in", seconds.clone()),
        ("interval", seconds.clone()),
    ];
    let tokens = [
        ("access_token", text()),
        ("refresh_token", text()),
        ("token_type", json!({ "const": "Bearer" })),
        ("expires_in", seconds),
        ("scope", text()),
    ];
    let epoch_seconds = described(json!({ "type": "integer" }), "Seconds since 1970.");
    let active = [
        ("active", flag()),
        ("scope?", text()),
        ("client_id?", text()),
        ("username?", text()),
        ("token_type?", described(json!({ "const": "Bearer" }), "Of an access token alone.")),
        ("exp?", epoch_seconds.clone()),
        ("iat?", epoch_seconds),
        ("sub?", number_text()),
        ("aud?", text()),
        ("iss?", text()),
        ("jti?", text()),
        ("sid?", text()),
    ];
    vec![
        ("ServerMetadata", object(&metadata)),
        ("DeviceAuthorization", object(&device)),
        ("OAuthTokens", object(&tokens)),
        ("Introspection", object(&active)),
        ("Revoked", json!({ "type": "object" })),
    ]
}
