//! The way from devices to browsers as it stands, for administrators: the journal, who holds which lease, and who is how far behind.

use std::{collections::BTreeMap, time::Duration};

use http::StatusCode;
use orinoco_actors::{INGEST_LEASE, partition_lease};
use orinoco_ports::Holding;
use serde_json::{Value, json};
use tokio::time::timeout;
use warp::reply::Response;

use super::{json as answer, request::Request};
use crate::http::{StreamDeps, problem::Problem};

const LEASES_TIMEOUT: Duration = Duration::from_secs(4);

/// Who holds what is asked of the lease store, so that all daemons show the same. Where that is away, the rest is shown all the same.
pub(super) async fn stream(request: &Request) -> Result<Response, Problem> {
    request.no_query()?;
    request.administrator().await?;
    let StreamDeps { journal, leases, lags } = &request.deps.stream;
    let (held, error) = match timeout(LEASES_TIMEOUT, leases.holdings()).await {
        Ok(Ok(holdings)) => (by_name(holdings), None),
        Ok(Err(error)) => (BTreeMap::new(), Some(error.to_string())),
        Err(_) => (BTreeMap::new(), Some("the lease store does not answer in time".to_owned())),
    };
    let owner = |lease: &str| {
        let holding = held.get(lease);
        json!({ "owner": holding.map(|holding| &holding.owner), "epoch": holding.map(|holding| holding.epoch) })
    };
    let partitions = (0..request.deps.partitions).map(|partition| {
        let mut shown = owner(&partition_lease(partition));
        shown["partition"] = partition.into();
        shown["lagRecords"] = lags.of(partition).into();
        shown
    });
    let depth = journal.depth();
    let mut body = json!({
        "daemon": journal.id(),
        "journal": { "records": depth.records, "bytes": depth.bytes, "bytesMax": depth.bytes_max, "full": depth.full },
        "ingest": owner(INGEST_LEASE),
        "partitions": partitions.collect::<Vec<Value>>(),
    });
    if let Some(error) = error {
        body["leaseError"] = error.into();
    }
    Ok(answer(StatusCode::OK, &body))
}

fn by_name(holdings: Vec<Holding>) -> BTreeMap<String, Holding> {
    holdings.into_iter().map(|holding| (holding.name.clone(), holding)).collect()
}
