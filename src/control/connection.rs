//! One connection of the control socket, at the daemon's end.

use orinoco_supervision::Tree;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::time::timeout;

use super::server::TreeSlot;
use super::{CONNECTIONS_MAX, IDLE_MAX, LINE_BYTES_MAX};

#[derive(Debug, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case", deny_unknown_fields)]
enum Request {
    Tree,
    Kill { path: String },
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
            Ok(Line::Whole(line)) => (answer(&line, slot.tree()), false),
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

fn answer(line: &[u8], tree: Option<&Tree>) -> Value {
    let request = match serde_json::from_slice(line) {
        Ok(request) => request,
        Err(error) => return failure(format!("not understood: {error}")),
    };
    let Some(tree) = tree else {
        return failure("the tree is still starting; try again");
    };
    match request {
        Request::Tree => json!({ "snapshot": tree.inspect() }),
        Request::Kill { .. } if !tree.chaos().allow_kill => failure(
            "killing is not allowed; supervision.toml must say [chaos] allow_kill = true, and orinoco be started anew",
        ),
        Request::Kill { path } => match tree.kill(&path) {
            Ok(()) => {
                tracing::warn!(path, "killed by an operator");
                json!({ "killed": path })
            }
            Err(error) => failure(error.to_string()),
        },
    }
}
