//! Where traces go, where they go anywhere.

use std::sync::Arc;

use anyhow::Context as _;
use orinoco_actors::{TraceExporter, TraceExporterArguments, Tracer, TracerSettings};
use orinoco_ports::SpanExporter;
use orinoco_services::{OtlpExporter, OtlpOptions};
use orinoco_supervision::Catalog;

use super::tls::collector;
use crate::config::{Backend, Config, otlp_headers};

/// The name in supervision.toml.
pub(super) const EXPORTER: &str = "TraceExporter";
/// Instances: one where `telemetry.otlp_endpoint` is set, else none.
pub(super) const COLLECTOR: &str = "trace_collector";

/// Takes spans, and says where they are sent.
#[derive(Clone, Default)]
pub struct Traces {
    pub tracer: Tracer,
    exporter: Option<Arc<dyn SpanExporter>>,
}

impl Traces {
    /// Off where `telemetry.otlp_endpoint` is empty. Metrics must have been installed.
    ///
    /// # Errors
    /// What the configuration could not know to be wrong.
    pub fn open(config: &Config) -> anyhow::Result<Self> {
        let telemetry = &config.telemetry;
        let Some(endpoint) = &telemetry.otlp_endpoint else { return Ok(Self::default()) };
        let headers = telemetry.otlp_headers.as_ref().map(otlp_headers).transpose();
        let options = OtlpOptions {
            endpoint: endpoint.expose().to_owned(),
            headers: headers.map_err(anyhow::Error::msg).context("telemetry.otlp_headers")?.unwrap_or_default(),
            resource: resource(config),
            tls: collector(config).unwrap_or_default(),
        };
        let exporter = OtlpExporter::new(options).map_err(anyhow::Error::msg).context("telemetry.otlp_endpoint")?;
        let (log_system, topic_prefix) = match config.kafka.backend {
            Backend::Embedded => ("orinoco", String::new()),
            Backend::Service => ("kafka", config.kafka.topic_prefix.clone().unwrap_or_default()),
        };
        let tracer = Tracer::new(TracerSettings {
            ratio_per_million: telemetry.trace_ratio,
            spans_max: telemetry.spans_max,
            log_system,
            topic_prefix,
        });
        Ok(Self { tracer, exporter: Some(Arc::new(exporter)) })
    }

    pub(super) fn enter(&self, catalog: &mut Catalog) {
        let Self { tracer, exporter } = self.clone();
        catalog.actor(
            EXPORTER,
            || TraceExporter,
            move |_| TraceExporterArguments {
                tracer: tracer.clone(),
                exporter: exporter.clone().unwrap_or_else(|| unreachable!("without a collector it has no instance")),
            },
        );
    }
}

/// OpenTelemetry's semantic conventions, resource.
fn resource(config: &Config) -> Vec<(&'static str, String)> {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    vec![
        ("service.name", config.telemetry.service_name.clone()),
        ("service.version", env!("CARGO_PKG_VERSION").to_owned()),
        ("service.instance.id", format!("{host}:{}", config.http.listen)),
        ("host.name", host),
    ]
}

pub(super) fn count_instances(catalog: &mut Catalog, config: &Config) {
    catalog.instances(COLLECTOR, u32::from(config.telemetry.otlp_endpoint.is_some()));
}
