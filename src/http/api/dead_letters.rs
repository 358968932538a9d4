//! What could not be understood, for administrators to look at. `orinoco dlq replay` sends it again.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use http::StatusCode;
use orinoco_ports::{LogError, StoredDeadLetter};
use serde_json::{Value, json};
use tokio::time::timeout;
use warp::reply::Response;

use super::{json as answer, request::Request};
use crate::http::{problem::Problem, query::wrong};

/// Letters of an answer, whatever `limit` says: the log reads them whole.
const LETTERS_MAX: usize = 100;
/// Bytes of a payload that are shown: enough to see what is wrong with it.
const PAYLOAD_BYTES_MAX: usize = 2048;
const LOG_TIMEOUT: Duration = Duration::from_secs(4);

/// Oldest first, as the log has them: a write that was repeated stands there twice.
pub(super) async fn list(request: &Request) -> Result<Response, Problem> {
    let (limit, query) = request.page()?;
    request.administrator().await?;
    let after = query.text("after");
    let asked = request.deps.log.dead_letters(after, limit.min(LETTERS_MAX));
    let page = timeout(LOG_TIMEOUT, asked).await.map_err(|_| away())?;
    let page = page.map_err(|error| match error {
        LogError::Misconfigured(_) if after.is_some() => wrong("after", "is none; give the `next` of the page before"),
        error => {
            tracing::debug!(%error, "dead letters can't be read");
            away()
        }
    })?;
    let letters: Vec<Value> = page.letters.iter().map(shown).collect();
    let mut body = json!({ "letters": letters });
    if let Some(next) = page.next {
        body["next"] = next.into();
    }
    Ok(answer(StatusCode::OK, &body))
}

fn away() -> Problem {
    Problem::unavailable("the log can't be read at present; try again")
}

fn shown(stored: &StoredDeadLetter) -> Value {
    let StoredDeadLetter { cursor, id, letter } = stored;
    // One that is no base64 was written by somebody else; its text is then all that there is.
    let payload = letter.payload().unwrap_or_else(|_| letter.payload_base64.clone().into_bytes());
    json!({
        "cursor": cursor,
        "id": id,
        "at": letter.time,
        "topic": letter.topic,
        "reason": letter.reason,
        "payload": STANDARD.encode(&payload[..payload.len().min(PAYLOAD_BYTES_MAX)]),
        "payloadBytes": payload.len(),
    })
}
