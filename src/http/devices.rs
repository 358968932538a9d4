//! Devices and their coordinates, for reading.
//!
//! | route | answer |
//! |---|---|
//! | `GET /api/v1/devices?limit=&after=` | `{"devices":[{"device":"D"}],"next":"D"}`: names in order, those after the name `after` |
//! | `GET /api/v1/devices/{orinId}/coordinates/latest` | one CoordinateData, or 404 |
//! | `GET /api/v1/devices/{orinId}/coordinates?limit=&after=` | `{"coordinates":[...],"next":41,"epoch":"..."}`, newest last |
//!
//! A list has `next` where there is more: give it as `after`. Coordinates go out as they are stored, without another encoding.

use std::{sync::Arc, time::Duration};

use futures_util::future::try_join_all;
use http::{HeaderMap, HeaderValue, StatusCode, header::CONTENT_TYPE};
use orinoco_actors::{StreamHubMessage, View};
use orinoco_domain::{DeviceId, Frame, partition_of};
use orinoco_ports::{HistoryPage, StoreError};
use warp::{Filter, filters::BoxedFilter, reply::Response};

use super::{
    HttpDeps,
    access::{Viewer, bearer_token},
    problem::Problem,
    query::{Query, device_segment},
    routes::{GET, answer, methods, raw_query, with},
};

/// Entries of a list, where `limit` says nothing.
const LIMIT_DEFAULT: u64 = 100;
const LIMIT_MAX: u64 = 1000;
const STORE_TIMEOUT: Duration = Duration::from_secs(4);
const HUB_TIMEOUT: Duration = Duration::from_secs(4);

pub(super) fn routes(deps: &Arc<HttpDeps>) -> BoxedFilter<(Response,)> {
    let devices = warp::path!("api" / "v1" / "devices")
        .and(methods(GET))
        .and(with(deps))
        .and(warp::header::headers_cloned())
        .and(raw_query())
        .then(|deps, headers, query: String| async move { answer(devices(deps, headers, &query).await) });
    let latest = warp::path!("api" / "v1" / "devices" / String / "coordinates" / "latest")
        .and(methods(GET))
        .and(with(deps))
        .and(warp::header::headers_cloned())
        .and(raw_query())
        .then(|device: String, deps, headers, query: String| async move {
            answer(latest(deps, headers, &device, &query).await)
        });
    let history = warp::path!("api" / "v1" / "devices" / String / "coordinates")
        .and(methods(GET))
        .and(with(deps))
        .and(warp::header::headers_cloned())
        .and(raw_query())
        .then(|device: String, deps, headers, query: String| async move {
            answer(history(deps, headers, &device, &query).await)
        });
    devices.or(latest).unify().or(history).unify().boxed()
}

async fn viewer(deps: &HttpDeps, headers: &HeaderMap) -> Result<Viewer, Problem> {
    Ok(deps.access.viewer(bearer_token(headers)).await?)
}

async fn devices(deps: Arc<HttpDeps>, headers: HeaderMap, query: &str) -> Result<Response, Problem> {
    let viewer = viewer(&deps, &headers).await?;
    let query = Query::parse(query, &["limit", "after"])?;
    let limit = query.limit(LIMIT_DEFAULT, LIMIT_MAX)?;
    let after = query.device("after")?;
    let page = match viewer.view {
        View::All => all_devices(&deps, after.as_ref(), limit).await?,
        View::Device(own) => own_device(&deps, own, after.as_ref()).await?,
    };
    let devices: Vec<_> = page.devices.iter().map(|device| serde_json::json!({ "device": device })).collect();
    let mut body = serde_json::json!({ "devices": devices });
    if let Some(last) = page.devices.last().filter(|_| page.has_more) {
        body["next"] = last.as_str().into();
    }
    Ok(json(body.to_string()))
}

struct Devices {
    devices: Vec<DeviceId>,
    has_more: bool,
}

/// The first of all partitions' devices, in order of name.
async fn all_devices(deps: &HttpDeps, after: Option<&DeviceId>, devices_max: usize) -> Result<Devices, Problem> {
    let hubs: Vec<_> = (0..deps.partitions).map(|partition| deps.hubs.get(partition)).collect();
    let pages = hubs.iter().map(|hub| {
        let after = after.cloned();
        hub.call(|reply| StreamHubMessage::Devices { after, devices_max, reply }, HUB_TIMEOUT)
    });
    let pages = try_join_all(pages).await?;
    let mut has_more = pages.iter().any(|page| page.has_more);
    let mut devices: Vec<DeviceId> = pages.into_iter().flat_map(|page| page.devices).collect();
    devices.sort_unstable();
    has_more |= devices.len() > devices_max;
    devices.truncate(devices_max);
    Ok(Devices { devices, has_more })
}

/// The viewer's own device, if it has a value.
async fn own_device(deps: &HttpDeps, own: DeviceId, after: Option<&DeviceId>) -> Result<Devices, Problem> {
    let is_after = after.is_none_or(|after| own > *after);
    let exists = is_after && read(deps.store.latest(partition(deps, &own), &own)).await?.is_some();
    Ok(Devices { devices: exists.then_some(own).into_iter().collect(), has_more: false })
}

async fn latest(deps: Arc<HttpDeps>, headers: HeaderMap, device: &str, query: &str) -> Result<Response, Problem> {
    let viewer = viewer(&deps, &headers).await?;
    let device = visible(&viewer, device)?;
    Query::parse(query, &[])?;
    let entry = read(deps.store.latest(partition(&deps, &device), &device)).await?;
    let entry = entry.ok_or_else(|| without_coordinates(&device))?;
    Ok(json(entry.latest.json.to_string()))
}

async fn history(deps: Arc<HttpDeps>, headers: HeaderMap, device: &str, query: &str) -> Result<Response, Problem> {
    let viewer = viewer(&deps, &headers).await?;
    let device = visible(&viewer, device)?;
    let query = Query::parse(query, &["limit", "after"])?;
    let limit = query.limit(LIMIT_DEFAULT, LIMIT_MAX)?;
    let partition = partition(&deps, &device);
    let after = match query.number("after", 0..=u64::MAX)? {
        Some(after) => after,
        None => {
            let entry = read(deps.store.latest(partition, &device)).await?;
            entry.ok_or_else(|| without_coordinates(&device))?.head.saturating_sub(limit as u64)
        }
    };
    let page = read(deps.store.history(partition, &device, after, limit)).await?;
    if page.head == 0 {
        return Err(without_coordinates(&device));
    }
    Ok(json(history_body(&page)))
}

fn history_body(page: &HistoryPage) -> String {
    let frames: Vec<&str> = page.frames.iter().map(|frame: &Frame| &*frame.json).collect();
    // More is there where the page ends before the head.
    let next = page.frames.last().filter(|last| last.offset < page.head);
    let next = next.map_or_else(String::new, |last| format!(r#""next":{},"#, last.offset));
    let epoch = serde_json::Value::from(&*page.epoch);
    format!(r#"{{"coordinates":[{}],{next}"epoch":{epoch}}}"#, frames.join(","))
}

/// The device of a path, if the viewer may see it.
fn visible(viewer: &Viewer, segment: &str) -> Result<DeviceId, Problem> {
    let device = device_segment(segment)?;
    if viewer.may_see(&device) {
        return Ok(device);
    }
    Err(Problem::new(StatusCode::FORBIDDEN, "this account may see its own device only"))
}

fn partition(deps: &HttpDeps, device: &DeviceId) -> u32 {
    partition_of(device.as_str().as_bytes(), deps.partitions)
}

fn without_coordinates(device: &DeviceId) -> Problem {
    Problem::not_found(format!("device `{device}` has no coordinates yet"))
}

async fn read<T>(call: impl Future<Output = Result<T, StoreError>>) -> Result<T, Problem> {
    match tokio::time::timeout(STORE_TIMEOUT, call).await {
        Ok(result) => Ok(result?),
        Err(_) => Err(Problem::unavailable("the coordinates could not be read in time; try again")),
    }
}

fn json(body: String) -> Response {
    let mut response = Response::new(body.into());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn page(offsets: &[u64], head: u64) -> HistoryPage {
        let frame = |offset: &u64| Frame {
            device: DeviceId::parse("d").unwrap(),
            offset: *offset,
            json: format!(r#"{{"offset":{offset}}}"#).into(),
        };
        HistoryPage { epoch: "e1".into(), frames: offsets.iter().map(frame).collect(), first: 1, head }
    }

    #[test]
    fn a_page_before_the_head_says_where_to_go_on() {
        let body = history_body(&page(&[3, 4], 9));
        assert_eq!(body, r#"{"coordinates":[{"offset":3},{"offset":4}],"next":4,"epoch":"e1"}"#);
    }

    #[test]
    fn a_page_at_the_head_is_the_last() {
        assert_eq!(history_body(&page(&[9], 9)), r#"{"coordinates":[{"offset":9}],"epoch":"e1"}"#);
        assert_eq!(history_body(&page(&[], 9)), r#"{"coordinates":[],"epoch":"e1"}"#);
    }
}
