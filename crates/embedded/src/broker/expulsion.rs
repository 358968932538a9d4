//! Ends the sessions of clients whose rights have ended.

use rmqtt::context::ServerContext;
use rmqtt::types::Id;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;

use super::authentication::rights;

/// Sessions that are ended at a time.
const ENDING_MAX: usize = 64;

/// Looks at every session after each change, until `stop`.
pub(super) async fn expel(context: ServerContext, mut changes: watch::Receiver<()>, mut stop: oneshot::Receiver<()>) {
    loop {
        tokio::select! {
            _ = &mut stop => return,
            changed = changes.changed() => if changed.is_err() {
                return;
            },
        }
        let mut ending = JoinSet::new();
        for id in super::running::session_ids(&context).await {
            if !has_lost_its_rights(&context, &id).await {
                continue;
            }
            if ending.len() >= ENDING_MAX {
                ending.join_next().await;
            }
            ending.spawn(end(context.clone(), id));
        }
        while ending.join_next().await.is_some() {}
    }
}

async fn has_lost_its_rights(context: &ServerContext, id: &Id) -> bool {
    let Some(session) = context.extends.shared().await.entry(id.clone()).session() else { return false };
    session.id == *id && rights(&session).await.is_some_and(|rights| !rights.hold())
}

async fn end(context: ServerContext, id: Id) {
    tracing::info!(client_id = %id.client_id, "an MQTT client's credentials are no longer good; its session is ended");
    let mut entry = context.extends.shared().await.entry(id);
    // Another one may have taken its place since it was looked at.
    if entry.id_same() == Some(true)
        && let Err(error) = entry.kick(true, true, true).await
    {
        tracing::warn!(%error, "an MQTT session did not answer to its end");
    }
}
