//! For operators and their machines: alive, ready, metrics. Open to all who reach the port.

use std::sync::Arc;

use http::{HeaderValue, header::CONTENT_TYPE};
use serde_json::json;
use warp::{Filter, filters::BoxedFilter, reply::Response};

use super::{
    HttpDeps,
    problem::Problem,
    routes::{GET, answer, methods, with},
};

/// Prometheus' text format (exposition formats, version 0.0.4).
const METRICS_TYPE: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

pub(super) fn routes(deps: &Arc<HttpDeps>) -> BoxedFilter<(Response,)> {
    let alive = warp::path!("healthz").and(methods(GET)).map(alive);
    let ready = warp::path!("readyz").and(methods(GET)).and(with(deps)).map(|deps: Arc<HttpDeps>| answer(ready(&deps)));
    let metrics =
        warp::path!("metrics").and(methods(GET)).and(with(deps)).map(|deps: Arc<HttpDeps>| metrics_text(&deps));
    alive.or(ready).unify().or(metrics).unify().boxed()
}

/// The process answers; more it does not say.
fn alive() -> Response {
    json_response(&json!({ "alive": true }))
}

/// 200 once every needed component works and is caught up; else 503 with the same members, as a problem. Alarms are for people and
/// don't make it unready.
fn ready(deps: &HttpDeps) -> Result<Response, Problem> {
    // Read once: the answer must not contradict itself.
    let (components, alarms) = (deps.health.components(), deps.health.alarms());
    let waited_for: Vec<&str> = components
        .iter()
        .filter(|component| component.state != orinoco_actors::ComponentState::Up)
        .map(|component| component.name.as_str())
        .collect();
    let members = [("components", json!(components)), ("alarms", json!(alarms))];
    if waited_for.is_empty() {
        let [components, alarms] = members.map(|(_, value)| value);
        return Ok(json_response(&json!({ "ready": true, "components": components, "alarms": alarms })));
    }
    let problem = Problem::unavailable(format!("not ready: {}", waited_for.join(", "))).member("ready", false.into());
    Err(members.into_iter().fold(problem, |problem, (name, value)| problem.member(name, value)))
}

fn metrics_text(deps: &HttpDeps) -> Response {
    (deps.before_metrics)();
    let mut response = Response::new(deps.prometheus.render().into());
    response.headers_mut().insert(CONTENT_TYPE, METRICS_TYPE);
    response
}

fn json_response(body: &serde_json::Value) -> Response {
    let mut response = Response::new(body.to_string().into());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
