//! One connection of the control socket, at the daemon's end.

use orinoco_domain::account::UserId;
use orinoco_ports::EndReason;
use orinoco_supervision::Tree;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::time::timeout;

use super::kill::kill;
use super::server::TreeSlot;
use super::{CONNECTIONS_MAX, END_LOGINS_MAX, IDLE_MAX, LINE_BYTES_MAX};

#[derive(Debug, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case", deny_unknown_fields)]
enum Request {
    Tree,
    Reload,
    Kill {
        path: String,
    },
    #[serde(rename_all = "camelCase")]
    EndLogins {
        user_id: i64,
        reason: String,
    },
    #[cfg(feature = "faults")]
    Strike(super::strike::StrikeRequest),
}

/// Answers until the client goes, says nothing for too long, or the server drains.
pub(super) async fn serve(mut stream: UnixStream, slot: &TreeSlot, mut draining: watch::Receiver<bool>) {
    let mut buffer = Vec::with_capacity(256);
    loop {
        let line = tokio::select! {
            biased;
            line = timeout(IDLE_MAX, read_line(&mut stream, &mut buffer)) => line,
            _ = draining.wait_for(|draining| *draining) => return,
        };
        let (answer, is_last) = match line {
            Ok(Line::Whole(line)) => (answer(&line, slot).await, false),
            Ok(Line::TooLong) => (failure(format!("a request has at most {LINE_BYTES_MAX} bytes")), true),
            Ok(Line::Ended) | Err(_) => return,
        };
        let mut text = answer.to_string();
        text.push('\n');
        let written = timeout(IDLE_MAX, stream.write_all(text.as_bytes())).await;
        if is_last || !matches!(written, Ok(Ok(()))) {
            return;
        }
    }
}

/// Tells a client that there are too many. What does not fit into the socket's buffer at once is not waited for.
pub(super) fn refuse(stream: &UnixStream) {
    let text = format!("{}\n", failure(format!("{CONNECTIONS_MAX} connections are in use; try again later")));
    // It sees the end of the connection in any case.
    let _ = stream.try_write(text.as_bytes());
}

enum Line {
    Whole(Vec<u8>),
    TooLong,
    Ended,
}

/// `buffer` keeps what came after the line.
async fn read_line(stream: &mut UnixStream, buffer: &mut Vec<u8>) -> Line {
    loop {
        if let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
            let rest = buffer.split_off(end + 1);
            return Line::Whole(std::mem::replace(buffer, rest));
        }
        if buffer.len() >= LINE_BYTES_MAX {
            return Line::TooLong;
        }
        let room = LINE_BYTES_MAX - buffer.len();
        match (&mut *stream).take(room as u64).read_buf(buffer).await {
            Ok(0) | Err(_) => return Line::Ended,
            Ok(_) => {}
        }
    }
}

fn failure(message: impl Into<String>) -> Value {
    json!({ "error": message.into() })
}

async fn answer(line: &[u8], slot: &TreeSlot) -> Value {
    let request = match serde_json::from_slice(line) {
        Ok(request) => request,
        Err(error) => return failure(format!("not understood: {error}")),
    };
    let of_tree = |answer: &dyn Fn(&Tree) -> Value| {
        slot.tree().map_or_else(|| failure("the tree is still starting; try again"), answer)
    };
    match request {
        Request::Tree => of_tree(&|tree| json!({ "snapshot": tree.inspect() })),
        Request::Reload => json!({ "reload": crate::reload::reload(slot).await }),
        Request::Kill { path } => of_tree(&|tree| kill_or_say_why(tree, &path)),
        #[cfg(feature = "faults")]
        Request::Strike(request) => match slot.tree() {
            Some(tree) => super::strike::strike(tree, request).await,
            None => failure("the tree is still starting; try again"),
        },
        Request::EndLogins { user_id, reason } => end_logins(UserId(user_id), &reason, slot).await,
    }
}

fn kill_or_say_why(tree: &Tree, path: &str) -> Value {
    match kill(tree, path) {
        Ok(()) => json!({ "killed": path }),
        Err(error) => failure(error.to_string()),
    }
}

/// All daemons hear of it by the store's publication, this one too.
async fn end_logins(user_id: UserId, reason: &str, slot: &TreeSlot) -> Value {
    let Some(logins) = slot.logins() else { return failure("the daemon is still starting; try again") };
    let Some(reason) = EndReason::parse(reason) else { return failure(format!("{reason:?} is no reason")) };
    match timeout(END_LOGINS_MAX, logins.end_families_of(user_id, reason)).await {
        Ok(Ok(count)) => {
            tracing::info!(user = user_id.0, count, reason = reason.as_str(), "logins were ended by a command");
            json!({ "ended": count })
        }
        Ok(Err(error)) => failure(error.to_string()),
        Err(_) => failure("the login store does not answer; try again"),
    }
}
