//! What could not be understood, for administrators to look at and to send again.

use std::{collections::HashSet, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use http::StatusCode;
use orinoco_domain::{DeviceId, audit::AuditEvent};
use orinoco_ports::{LogError, StoredDeadLetter};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};
use warp::reply::Response;

use super::{json as answer, listed, request::Request};
use crate::{
    auth::SignedIn,
    dead_letters::{Outcome, Replayed, Targets},
    http::{body, openapi, problem::Problem, query::wrong},
};

/// Letters of an answer, whatever `limit` says: the log reads them whole.
const LETTERS_MAX: usize = 100;
/// Bytes of a payload that are shown: enough to see what is wrong with it.
const PAYLOAD_BYTES_MAX: usize = 2048;
const LOG_TIMEOUT: Duration = Duration::from_secs(4);
/// Letters that are replayed by one request.
const REPLAYED_MAX: usize = 100;
/// For finding and sending them, all together: less than a request gets, so that the answer can say how many were sent.
const REPLAY_TIMEOUT: Duration = Duration::from_secs(8);

/// Oldest first, as the log has them: a write that was repeated stands there twice.
pub(super) async fn list(request: &Request) -> Result<Response, Problem> {
    let (limit, query) = request.page()?;
    request.administrator().await?;
    let after = query.text("after");
    let asked = request.deps.log.dead_letters(after, limit.min(LETTERS_MAX));
    let page = tokio::time::timeout(LOG_TIMEOUT, asked).await.map_err(|_| away())?;
    let is_none = || wrong("after", "is none; give the `next` of the page before");
    let page = page.map_err(|error| unread(&error, after.map(|_| is_none())))?;
    let letters: Vec<Value> = page.letters.iter().map(shown).collect();
    Ok(listed("letters", letters, page.next))
}

/// `cursor`: what to say if the log does not know the cursor that the client gave.
fn unread(error: &LogError, cursor: Option<Problem>) -> Problem {
    if let (LogError::Misconfigured(_), Some(unknown)) = (error, cursor) {
        return unknown;
    }
    tracing::debug!(%error, "dead letters can't be read");
    away()
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

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::http) struct ReplayBody {
    /// As the list has them.
    #[schemars(length(min = 1, max = REPLAYED_MAX))]
    cursors: Vec<String>,
    /// A cursor of the list before them, from which on they are looked for; left out: from the first letter on.
    after: Option<String>,
    /// Of letters that came from Kafka: a letter holds a record's value, not its key.
    #[schemars(regex(pattern = openapi::DEVICE))]
    device: Option<String>,
}

/// In the order of the list. All are found before the first is sent.
pub(super) async fn replay(request: &Request) -> Result<Response, Problem> {
    request.no_query()?;
    let administrator = request.administrator().await?;
    let body: ReplayBody = request.json()?;
    let device = body.device.as_deref().map(DeviceId::parse).transpose();
    let device = device.map_err(|error| body::wrong("device", &error))?;
    if body.cursors.is_empty() || body.cursors.len() > REPLAYED_MAX {
        return Err(body::wrong("cursors", &format!("name 1 to {REPLAYED_MAX}")));
    }
    let deadline = Instant::now() + REPLAY_TIMEOUT;
    let letters = timeout_at(deadline, find(request, body)).await.map_err(|_| away())??;
    let targets = Targets {
        publisher: &*request.deps.replay.publisher,
        log: &*request.deps.log,
        is_log_writable: request.deps.replay.is_log_writable,
        device: device.as_ref(),
    };
    let mut outcomes: Vec<Outcome> = Vec::with_capacity(letters.len());
    let mut ended = None;
    for letter in &letters {
        let sent = timeout_at(deadline, targets.replay(letter)).await;
        match sent.unwrap_or_else(|_| Err(anyhow::anyhow!("it takes too long"))) {
            Ok(outcome) => outcomes.push(outcome),
            Err(error) => {
                ended = Some(format!("the first one that may not have been is {}: {error:#}", letter.cursor));
                break;
            }
        }
    }
    write_down(request, &administrator, &letters, &outcomes, ended.is_some()).await;
    if let Some(ended) = ended {
        return Err(Problem::unavailable(format!("{} were replayed; {ended}", replayed(&outcomes))));
    }
    let shown = letters.iter().zip(&outcomes).map(|(letter, outcome)| Replayed {
        cursor: &letter.cursor,
        topic: &letter.letter.topic,
        outcome,
    });
    Ok(answer(StatusCode::OK, &json!({ "letters": shown.collect::<Vec<_>>() })))
}

/// Each once, though a write that was repeated stands in the list twice.
async fn find(request: &Request, body: ReplayBody) -> Result<Vec<StoredDeadLetter>, Problem> {
    let ReplayBody { cursors, mut after, .. } = body;
    let mut wanted: HashSet<String> = cursors.into_iter().collect();
    let mut found: Vec<StoredDeadLetter> = Vec::with_capacity(wanted.len());
    let mut is_first = true;
    loop {
        let page = request.deps.log.dead_letters(after.as_deref(), LETTERS_MAX).await;
        let is_none = || body::wrong("after", &"is no cursor of the list");
        let page = page.map_err(|error| unread(&error, after.as_ref().filter(|_| is_first).map(|_| is_none())))?;
        is_first = false;
        for letter in page.letters {
            let is_repeated = letter.id.is_some() && found.iter().any(|other| other.id == letter.id);
            if wanted.remove(&letter.cursor) && !is_repeated {
                found.push(letter);
            }
        }
        after = page.next;
        match wanted.iter().min() {
            None => return Ok(found),
            Some(cursor) if after.is_none() => {
                return Err(Problem::not_found(format!("there is no dead letter {cursor:?}")));
            }
            Some(_) => {}
        }
    }
}

fn replayed(outcomes: &[Outcome]) -> usize {
    outcomes.iter().filter(|outcome| !matches!(outcome, Outcome::Skipped { .. })).count()
}

async fn write_down(
    request: &Request,
    administrator: &SignedIn,
    letters: &[StoredDeadLetter],
    outcomes: &[Outcome],
    is_broken_off: bool,
) {
    let (sent, cursors) = (replayed(outcomes), letters.iter().map(|letter| letter.cursor.as_str()));
    let detail = format!(
        "replayed {sent} dead letters, skipped {}{}: {}",
        outcomes.len() - sent,
        if is_broken_off { ", broken off" } else { "" },
        cursors.collect::<Vec<_>>().join(" ")
    );
    let (actor, address) = (Some(administrator.account.id), Some(request.caller.address));
    request.auth().audit().write(AuditEvent::AuthorizationAdmin, actor, address, &detail).await;
}
