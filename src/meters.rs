//! What `/metrics` says: names, what they mean, and the buckets of histograms. Names follow Prometheus' conventions: `orinoco_`, the thing,
//! its unit in base units; `_total` for what only grows.

use anyhow::Context;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

/// How a number moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
}

use Kind::{Counter, Gauge, Histogram};

/// Every metric: its name, its kind, its labels where it has some, what it says.
pub const METERS: [(&str, Kind, &str, &str); 51] = [
    (
        "orinoco_messages_accepted_total",
        Counter,
        "",
        "MQTT messages that are in the journal, and so may be acknowledged.",
    ),
    (
        "orinoco_messages_refused_total",
        Counter,
        "",
        "MQTT messages that were not accepted, and not acknowledged: the broker sends them again.",
    ),
    ("orinoco_journal_records", Gauge, "", "Messages in the journal that the log does not hold yet."),
    ("orinoco_journal_bytes", Gauge, "", "Bytes of the journal on disk."),
    ("orinoco_journal_bytes_max", Gauge, "", "Its limit, `journal.bytes_max`."),
    ("orinoco_journal_full", Gauge, "", "1 while nothing is acknowledged because the journal is full."),
    ("orinoco_records_produced_total", Counter, "", "Records of the journal that the log has acknowledged."),
    (
        "orinoco_produce_duration_seconds",
        Histogram,
        "",
        "From handing a batch of the journal to the log to its acknowledgement, tries that failed left out.",
    ),
    ("orinoco_dead_letters_total", Counter, "", "Messages that could not be understood and went to `coord.dlq`."),
    ("orinoco_consumer_lag_records", Gauge, "partition", "Records of the log that were not fetched yet."),
    ("orinoco_records_applied_total", Counter, "partition", "Records of which the store has taken the effect."),
    (
        "orinoco_records_repeated_total",
        Counter,
        "partition",
        "Records that had been applied before, and changed nothing.",
    ),
    (
        "orinoco_apply_duration_seconds",
        Histogram,
        "",
        "One step of the store: position, values, history and publication of a batch.",
    ),
    (
        "orinoco_record_age_seconds",
        Histogram,
        "",
        "From a message's arrival to its effect in the store, of the first message of each batch.",
    ),
    ("orinoco_frames_total", Counter, "partition", "Coordinates that were published."),
    (
        "orinoco_frames_delivered_total",
        Counter,
        "partition",
        "Coordinates that were handed to sessions, once for each.",
    ),
    (
        "orinoco_frames_conflated_total",
        Counter,
        "",
        "Coordinates that a slow client was spared, a newer one of the device being there.",
    ),
    ("orinoco_publication_gaps_total", Counter, "partition", "Publications that were missed and read from history."),
    ("orinoco_devices", Gauge, "", "Devices that are known."),
    ("orinoco_websocket_connections", Gauge, "", "WebSockets that are open."),
    ("orinoco_websocket_closed_total", Counter, "code", "WebSockets that this daemon closed, by close code."),
    ("orinoco_http_connections", Gauge, "", "HTTP connections that are open."),
    ("orinoco_http_requests_total", Counter, "method, status", "HTTP requests answered."),
    ("orinoco_http_request_duration_seconds", Histogram, "method", "From a request's head to the head of its answer."),
    ("orinoco_challenges", Gauge, "", "QR challenges that have an actor."),
    ("orinoco_challenges_ended_total", Counter, "status", "QR challenges that came to their end here."),
    ("orinoco_sse_streams", Gauge, "", "Streams of challenges that are open."),
    ("orinoco_sse_events_total", Counter, "status", "Events that streams of challenges were given."),
    ("orinoco_sse_stalled_total", Counter, "", "Streams that ended because their client took nothing."),
    (
        "orinoco_audit_events_total",
        Counter,
        "event",
        "Lines of the audit log: logins that succeeded or failed, tokens that were used again, and so on.",
    ),
    ("orinoco_component_up", Gauge, "component", "1 for a component that works; 0 is what makes `/readyz` red."),
    ("orinoco_alarms_total", Counter, "alarm", "Alarms raised: data was lost behind our back, for instance."),
    (
        "orinoco_lease_epoch",
        Gauge,
        "lease",
        "Fencing epoch of a lease that this daemon holds; 0 where another one does.",
    ),
    (
        "orinoco_reloads_total",
        Counter,
        "outcome",
        "Orders to read the files again: `applied`, `unchanged`, `refused` whole, or `ignored` at the start and the end.",
    ),
    (
        "orinoco_reload_timestamp_seconds",
        Gauge,
        "",
        "When files that were read again were last taken over, seconds since 1970.",
    ),
    ("orinoco_trace_spans_exported_total", Counter, "", "Spans that the collector of traces has taken."),
    (
        "orinoco_trace_spans_dropped_total",
        Counter,
        "reason",
        "Spans that were lost: `telemetry.spans_max` was reached (`full`), or the collector refused them (`refused`).",
    ),
    (
        "orinoco_trace_exports_failed_total",
        Counter,
        "",
        "Exports that the collector of traces did not take; tried again or dropped.",
    ),
    ("orinoco_actors", Gauge, "", "Actors that run, supervisors included."),
    (
        "orinoco_actor_up",
        Gauge,
        "actor",
        "1 for an actor of the tree that runs; children of pools are counted by their pool.",
    ),
    (
        "orinoco_actor_restarts_total",
        Counter,
        "actor",
        "How often an actor failed and was started again; of a pool, its children.",
    ),
    ("orinoco_actor_hung_total", Counter, "actor", "How often the watchdog found a handler over its limit."),
    ("orinoco_actor_messages_handled_total", Counter, "actor", "Messages that were handled."),
    (
        "orinoco_actor_messages_refused_total",
        Counter,
        "actor",
        "Messages that a full mailbox rejected or dropped, as its policy says.",
    ),
    ("orinoco_actor_mailbox_messages", Gauge, "actor", "Messages in the mailbox."),
    ("orinoco_actor_mailbox_messages_max", Gauge, "actor", "Messages that the mailbox takes."),
    (
        "orinoco_actor_waiting_p99_seconds",
        Gauge,
        "actor",
        "Within this 99 of 100 messages were taken from the mailbox, since the start.",
    ),
    (
        "orinoco_actor_handling_p99_seconds",
        Gauge,
        "actor",
        "Within this 99 of 100 messages were handled, since the start.",
    ),
    ("orinoco_pool_children", Gauge, "actor", "Children of a pool."),
    (
        "orinoco_tls_certificate_expires_seconds",
        Gauge,
        "listener",
        "When the certificate that new handshakes get ends (notAfter), in seconds of Unix time.",
    ),
    (
        "orinoco_tls_reloads_total",
        Counter,
        "listener, outcome",
        "How often a certificate and its key were read again: `changed`, or `failed`, which leaves the one in use.",
    ),
];

/// Upper bounds of the buckets, in seconds: what a step takes in memory, on a network, and when something is wrong.
const BUCKETS: [f64; 13] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// Installs what all metrics of this process go to.
///
/// # Errors
/// It was installed before.
pub fn install() -> anyhow::Result<PrometheusHandle> {
    let builder = PrometheusBuilder::new().set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &BUCKETS);
    let handle = builder.context("buckets of histograms")?.install_recorder().context("metrics")?;
    for (name, kind, _, says) in METERS {
        match kind {
            Counter => metrics::describe_counter!(name, says),
            Gauge => metrics::describe_gauge!(name, says),
            Histogram => metrics::describe_histogram!(name, says),
        }
    }
    Ok(handle)
}

const INTRODUCTION: &str = "# Metrics

`GET /metrics` on the HTTP port, in Prometheus' text format. It needs no token: keep the port from strangers, or let a proxy do so.

```yaml
scrape_configs:
  - job_name: orinoco
    static_configs: [{ targets: [\"127.0.0.1:8090\"] }]
rule_files: [alerts.yml]
```

[`deploy/prometheus/alerts.yml`](../deploy/prometheus/alerts.yml) has alerts, each with what to do about it;
[`deploy/grafana/orinoco.json`](../deploy/grafana/orinoco.json) is a dashboard to import. A number appears with the first thing that it counts.

This page is written from the program; a test fails when they differ.

| metric | kind | labels | what it says |
|---|---|---|---|
";

/// docs/metrics.md.
#[must_use]
pub fn reference() -> String {
    let mut page = INTRODUCTION.to_owned();
    for (name, kind, labels, says) in METERS {
        let labels: Vec<String> =
            labels.split(", ").filter(|label| !label.is_empty()).map(|label| format!("`{label}`")).collect();
        page.push_str(&format!(
            "| `{name}` | {} | {} | {says} |\n",
            format!("{kind:?}").to_lowercase(),
            labels.join(", ")
        ));
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_in_the_repository_is_up_to_date() {
        crate::config::assert_up_to_date("docs/metrics.md", &reference());
    }

    #[test]
    fn the_dashboard_and_the_alerts_ask_for_metrics_that_exist() {
        let mut shown = std::collections::BTreeSet::new();
        for file in [include_str!("../deploy/grafana/orinoco.json"), include_str!("../deploy/prometheus/alerts.yml")] {
            for word in file.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_') {
                if word.starts_with("orinoco_") {
                    let name = word.strip_suffix("_bucket").unwrap_or(word);
                    let meter = METERS.iter().find(|(other, ..)| *other == name).unwrap_or_else(|| panic!("{word}"));
                    assert!(meter.1 == Histogram || name == word, "{word}");
                    shown.insert(name);
                }
            }
        }
        let unseen: Vec<_> = METERS.iter().filter(|(name, ..)| !shown.contains(name)).collect();
        assert!(unseen.is_empty(), "on neither: {unseen:?}");
    }

    #[test]
    fn names_follow_the_conventions() {
        for (name, kind, ..) in METERS {
            assert_eq!(name.ends_with("_total"), kind == Counter, "{name}");
            assert!(kind != Histogram || name.ends_with("_seconds"), "{name}");
            assert!(name.starts_with("orinoco_") && !name.contains("_ms"), "{name}");
            assert_eq!(METERS.iter().filter(|(other, ..)| *other == name).count(), 1, "{name}");
        }
    }
}
