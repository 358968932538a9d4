//! The Centrifuge client protocol, JSON, as far as it is spoken here: <https://github.com/centrifugal/protocol>, `client.proto`. Pure.
//!
//! A text message holds commands, one a line; each reply is a text message of its own. Codes and reasons are those of the official server
//! (centrifugal/centrifuge, `errors.go`, `disconnect.go`, `unsubscribe.go`).

use bytes::Bytes;
use serde::{Deserialize, de::IgnoredAny};

use crate::{Close, wire};

/// Commands of one text message; more of them close the socket with 3501. A client sends all its subscriptions at once when it connects.
const COMMANDS_MAX: usize = 256;

/// Why a socket of this protocol is closed. A client reconnects after 3000 to 3499.
impl Close {
    /// The daemon stops.
    pub const SHUTDOWN: Self = Self { code: 3001, reason: "shutdown" };
    /// The session failed.
    pub const SERVER_ERROR: Self = Self { code: 3004, reason: "internal server error" };
    pub const EXPIRED: Self = Self { code: 3005, reason: "connection expired" };
    /// The server's pings were not answered.
    pub const NO_PONG: Self = Self { code: 3012, reason: "no pong" };
    pub const INVALID_TOKEN: Self = Self { code: 3500, reason: "invalid token" };
    pub const BAD_REQUEST: Self = Self { code: 3501, reason: "bad request" };
    /// It did not connect in time.
    pub const STALE: Self = Self { code: 3502, reason: "stale" };
    pub const PERMISSION_DENIED: Self = Self { code: 3507, reason: "permission denied" };
}

/// What is wrong with a command, told in its reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommandError {
    pub code: u32,
    pub message: &'static str,
    /// The client tries again by itself.
    pub is_temporary: bool,
}

impl CommandError {
    pub const INTERNAL: Self = Self { is_temporary: true, ..Self::new(100, "internal server error") };
    pub const UNAUTHORIZED: Self = Self::new(101, "unauthorized");
    pub const UNKNOWN_CHANNEL: Self = Self::new(102, "unknown channel");
    pub const PERMISSION_DENIED: Self = Self::new(103, "permission denied");
    pub const ALREADY_SUBSCRIBED: Self = Self::new(105, "already subscribed");
    pub const LIMIT_EXCEEDED: Self = Self::new(106, "limit exceeded");
    pub const BAD_REQUEST: Self = Self::new(107, "bad request");
    pub const NOT_AVAILABLE: Self = Self::new(108, "not available");
    pub const TOKEN_EXPIRED: Self = Self::new(109, "token expired");
    pub const UNRECOVERABLE_POSITION: Self = Self::new(112, "unrecoverable position");

    const fn new(code: u32, message: &'static str) -> Self {
        Self { code, message, is_temporary: false }
    }
}

/// A command of a client.
#[derive(Debug, Clone, PartialEq)]
pub struct Command {
    /// The reply has it; 0 where none is wanted.
    pub id: u32,
    pub request: Request,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Request {
    Connect {
        token: Option<String>,
    },
    Refresh {
        token: String,
    },
    Subscribe(SubscribeRequest),
    Unsubscribe {
        channel: String,
    },
    Publish,
    Presence {
        channel: String,
    },
    PresenceStats {
        channel: String,
    },
    History(HistoryRequest),
    /// Something of the protocol that is not done here.
    Unavailable,
    /// A message without reply.
    Send,
    /// The answer to a ping.
    Pong,
}

#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub struct SubscribeRequest {
    pub channel: String,
    pub recover: bool,
    pub epoch: String,
    pub offset: u64,
    /// The client is to be told who else comes and goes.
    pub join_leave: bool,
    /// Ours: what of the channel is wanted.
    pub data: Option<serde_json::Value>,
    /// Bits.
    pub flag: i64,
    /// 0: a stream; other kinds are not offered.
    #[serde(rename = "type")]
    pub kind: i32,
    /// A filter by tags, which publications here have not.
    pub tf: Option<IgnoredAny>,
}

impl SubscribeRequest {
    /// A position that can't be recovered is to be an error.
    pub(super) fn rejects_unrecovered(&self) -> bool {
        self.flag & 2 != 0
    }
}

#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub struct HistoryRequest {
    pub channel: String,
    /// 0: only the position; below 0: all.
    pub limit: i32,
    pub since: Option<StreamPosition>,
    /// Newest first.
    pub reverse: bool,
}

#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub struct StreamPosition {
    pub offset: u64,
    pub epoch: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct WireCommand {
    id: u32,
    connect: Option<WireToken>,
    subscribe: Option<SubscribeRequest>,
    unsubscribe: Option<WireChannel>,
    publish: Option<WireChannel>,
    presence: Option<WireChannel>,
    presence_stats: Option<WireChannel>,
    history: Option<HistoryRequest>,
    ping: Option<IgnoredAny>,
    send: Option<IgnoredAny>,
    rpc: Option<IgnoredAny>,
    refresh: Option<WireToken>,
    sub_refresh: Option<WireChannel>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct WireToken {
    token: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct WireChannel {
    channel: String,
}

/// The commands of a text message.
///
/// # Errors
/// How to close the socket: the client broke the protocol.
pub fn parse_commands(text: &str) -> Result<Vec<Command>, Close> {
    let mut commands = Vec::new();
    for line in text.split('\n').filter(|line| !line.trim().is_empty()) {
        if commands.len() == COMMANDS_MAX {
            return Err(Close::BAD_REQUEST);
        }
        // A list would be taken for an object by the order of its fields.
        if !line.trim_start().starts_with('{') {
            return Err(Close::BAD_REQUEST);
        }
        let wire: WireCommand = serde_json::from_str(line).map_err(|_| Close::BAD_REQUEST)?;
        let id = wire.id;
        let request = wire.request().ok_or(Close::BAD_REQUEST)?;
        if id == 0 && !matches!(request, Request::Send | Request::Pong) {
            return Err(Close::BAD_REQUEST);
        }
        commands.push(Command { id, request });
    }
    if commands.is_empty() { Err(Close::BAD_REQUEST) } else { Ok(commands) }
}

impl WireCommand {
    /// The first one, where there are several; `None` where there is none, or it lacks its channel or token.
    fn request(self) -> Option<Request> {
        let named = |channel: String| (!channel.is_empty()).then_some(channel);
        if let Some(connect) = self.connect {
            Some(Request::Connect { token: named(connect.token) })
        } else if let Some(subscribe) = self.subscribe {
            (!subscribe.channel.is_empty()).then_some(Request::Subscribe(subscribe))
        } else if let Some(unsubscribe) = self.unsubscribe {
            Some(Request::Unsubscribe { channel: named(unsubscribe.channel)? })
        } else if let Some(publish) = self.publish {
            named(publish.channel).map(|_| Request::Publish)
        } else if let Some(presence) = self.presence {
            Some(Request::Presence { channel: named(presence.channel)? })
        } else if let Some(stats) = self.presence_stats {
            Some(Request::PresenceStats { channel: named(stats.channel)? })
        } else if let Some(history) = self.history {
            (!history.channel.is_empty()).then_some(Request::History(history))
        } else if let Some(refresh) = self.refresh {
            Some(Request::Refresh { token: named(refresh.token)? })
        } else if let Some(sub_refresh) = self.sub_refresh {
            named(sub_refresh.channel).map(|_| Request::Unavailable)
        } else if self.ping.is_some() || self.rpc.is_some() {
            Some(Request::Unavailable)
        } else if self.send.is_some() {
            Some(Request::Send)
        } else {
            (self.id == 0).then_some(Request::Pong)
        }
    }
}

/// The reply to a command: `name` is its kind, `result` an object of JSON.
pub(super) fn reply(id: u32, name: &str, result: &str) -> Bytes {
    wire::text_message(&format!(r#"{{"id":{id},"{name}":{result}}}"#))
}

/// A reply that says what is wrong.
#[must_use]
pub fn error_reply(id: u32, error: CommandError) -> Bytes {
    let CommandError { code, message, is_temporary } = error;
    let temporary = if is_temporary { r#","temporary":true"# } else { "" };
    wire::text_message(&format!(r#"{{"id":{id},"error":{{"code":{code},"message":"{message}"{temporary}}}}}"#))
}

/// Ends a subscription from this side; at 2500 the client subscribes again, and recovers.
pub(super) fn insufficient_state(channel: &str) -> Bytes {
    let unsubscribe = r#"{"code":2500,"reason":"insufficient state"}"#;
    wire::text_message(&format!(r#"{{"push":{{"channel":"{channel}","unsubscribe":{unsubscribe}}}}}"#))
}

/// One client among those of a channel.
pub(super) fn client_info(client: &str, user: &str) -> String {
    format!(r#"{{"client":{},"user":{}}}"#, quoted(client), quoted(user))
}

/// `kind`: `join` or `leave`.
pub(super) fn presence_push(channel: &str, kind: &str, client: &str, user: &str) -> Bytes {
    let (channel, info) = (quoted(channel), client_info(client, user));
    wire::text_message(&format!(r#"{{"push":{{"channel":{channel},"{kind}":{{"info":{info}}}}}}}"#))
}

/// The server's ping.
pub(super) fn ping() -> Bytes {
    wire::text_message("{}")
}

/// A string of JSON.
pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn one(text: &str) -> Request {
        let commands = parse_commands(text).unwrap();
        assert_eq!(commands.len(), 1);
        commands.into_iter().next().unwrap().request
    }

    #[test]
    fn a_message_holds_a_command_a_line() {
        let text = "{\"id\":1,\"connect\":{\"token\":\"t\",\"name\":\"js\"}}\n{\"id\":2,\"subscribe\":{\"channel\":\"devices\"}}\n";
        let commands = parse_commands(text).unwrap();
        assert_eq!(commands[0], Command { id: 1, request: Request::Connect { token: Some("t".to_owned()) } });
        let subscribe = SubscribeRequest { channel: "devices".to_owned(), ..SubscribeRequest::default() };
        assert_eq!(commands[1], Command { id: 2, request: Request::Subscribe(subscribe) });
    }

    #[test]
    fn a_recovery_names_its_position() {
        let Request::Subscribe(subscribe) = one(
            r#"{"id":3,"subscribe":{"channel":"device:a","recover":true,"epoch":"e","offset":7,"flag":3,"recoverable":true}}"#,
        ) else {
            panic!("a subscription")
        };
        assert!(
            subscribe.recover && subscribe.offset == 7 && subscribe.epoch == "e" && subscribe.rejects_unrecovered()
        );
    }

    #[test]
    fn an_empty_object_is_a_pong_and_a_message_needs_no_id() {
        assert_eq!(one("{}"), Request::Pong);
        assert_eq!(one(r#"{"send":{"data":{"x":1}}}"#), Request::Send);
        assert_eq!(one(r#"{"id":4,"rpc":{"method":"m","data":{}}}"#), Request::Unavailable);
        assert_eq!(one(r#"{"id":4,"sub_refresh":{"channel":"devices","token":"t"}}"#), Request::Unavailable);
    }

    #[test]
    fn what_is_no_command_breaks_the_protocol() {
        let many = "{}\n".repeat(COMMANDS_MAX + 1);
        let cases = [
            "",
            "\n",
            "x",
            "[]",
            r#"{"id":1}"#,
            r#"{"subscribe":{"channel":"devices"}}"#,
            r#"{"id":1,"subscribe":{}}"#,
            r#"{"id":1,"refresh":{}}"#,
            r#"{"id":-1,"connect":{}}"#,
            r#"{"id":1,"history":{"channel":"device:a","limit":"x"}}"#,
            many.as_str(),
        ];
        for text in cases {
            assert_eq!(parse_commands(text), Err(Close::BAD_REQUEST), "{text}");
        }
    }

    #[test]
    fn errors_say_whether_to_try_again() {
        let text = |error| String::from_utf8_lossy(wire::text_of(&error_reply(5, error))).into_owned();
        let denied = r#"{"id":5,"error":{"code":103,"message":"permission denied"}}"#;
        assert_eq!(text(CommandError::PERMISSION_DENIED), denied);
        let internal = r#"{"id":5,"error":{"code":100,"message":"internal server error","temporary":true}}"#;
        assert_eq!(text(CommandError::INTERNAL), internal);
    }
}
