//! Sends spans to the collector of traces, a batch at a time.
//!
//! Supervised by `root`; has no instance where `telemetry.otlp_endpoint` is empty. Invariant: nobody waits for it. What it has not exported
//! stays in the queue of [`Tracer`], which has a bound; a batch that the collector refuses is dropped and counted, one that it does not take
//! now is sent again, later and later. An orderly stop exports what is left, for [`FLUSH_MAX`] at most.

use std::{sync::Arc, time::Duration};

use orinoco_ports::{ExportError, SpanExporter};
use orinoco_supervision::{Actor, Context, Failure, Message};

use crate::{Tracer, tracer::Taken};

/// One try.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(4);
/// How long a span waits for others at most.
const GATHER_MAX: Duration = Duration::from_secs(1);
/// After the first try that failed; doubled with each further one.
const RETRY_AFTER_MIN: Duration = Duration::from_millis(500);
const RETRY_AFTER_MAX: Duration = Duration::from_secs(30);
const FLUSH_MAX: Duration = Duration::from_secs(2);

/// All that can happen to a [`TraceExporter`].
#[derive(Debug, Clone, Copy)]
pub enum TraceExporterMessage {
    /// Export a batch, if there is one.
    Export,
}

impl Message for TraceExporterMessage {
    fn kind(&self) -> &'static str {
        match self {
            Self::Export => "export",
        }
    }
}

/// What a [`TraceExporter`] needs.
pub struct TraceExporterArguments {
    pub tracer: Tracer,
    pub exporter: Arc<dyn SpanExporter>,
}

pub struct TraceExporterState {
    arguments: TraceExporterArguments,
    /// In a row.
    failures: u32,
    /// The last answer was a refusal.
    is_refused: bool,
    exported: metrics::Counter,
    failed: metrics::Counter,
}

/// See the module.
#[derive(Debug, Clone, Copy)]
pub struct TraceExporter;

impl Actor for TraceExporter {
    type Message = TraceExporterMessage;
    type Arguments = TraceExporterArguments;
    type State = TraceExporterState;

    async fn pre_start(
        &self,
        context: &Context<TraceExporterMessage>,
        arguments: TraceExporterArguments,
    ) -> Result<TraceExporterState, Failure> {
        let state = TraceExporterState {
            arguments,
            failures: 0,
            is_refused: false,
            exported: metrics::counter!("orinoco_trace_spans_exported_total"),
            failed: metrics::counter!("orinoco_trace_exports_failed_total"),
        };
        state.gather(context);
        Ok(state)
    }

    async fn handle(
        &self,
        context: &Context<TraceExporterMessage>,
        message: TraceExporterMessage,
        state: &mut TraceExporterState,
    ) -> Result<(), Failure> {
        match message {
            TraceExporterMessage::Export => state.export_next(context).await,
        }
        Ok(())
    }

    async fn post_stop(
        &self,
        _context: &Context<TraceExporterMessage>,
        state: &mut TraceExporterState,
    ) -> Result<(), Failure> {
        let flush = async { while let Some(Next::Go) = state.export().await {} };
        if tokio::time::timeout(FLUSH_MAX, flush).await.is_err() || state.failures > 0 {
            tracing::warn!("not all spans were exported");
        }
        Ok(())
    }
}

/// When to export again.
enum Next {
    Go,
    Later(Duration),
}

impl TraceExporterState {
    async fn export_next(&mut self, context: &Context<TraceExporterMessage>) {
        match self.export().await {
            Some(Next::Later(delay)) => {
                context.send_after(delay, TraceExporterMessage::Export);
            }
            Some(Next::Go) if self.arguments.tracer.has_batch() => {
                context.send_after(Duration::ZERO, TraceExporterMessage::Export);
            }
            Some(Next::Go) | None => self.gather(context),
        }
    }

    /// Exports when a batch is whole, or in a while.
    fn gather(&self, context: &Context<TraceExporterMessage>) {
        let (tracer, own) = (self.arguments.tracer.clone(), context.address());
        context.spawn(async move {
            // Elapsed: whatever there is.
            let _ = tokio::time::timeout(GATHER_MAX, tracer.filled()).await;
            // Down: the actor ends, and its successor gathers.
            let _ = own.send(TraceExporterMessage::Export).await;
        });
    }

    /// One batch; `None` where there is none.
    async fn export(&mut self) -> Option<Next> {
        let taken = self.arguments.tracer.take()?;
        let export = self.arguments.exporter.export(taken.spans());
        let outcome = tokio::time::timeout(EXPORT_TIMEOUT, export).await;
        Some(match outcome {
            Ok(Ok(refused)) => {
                self.answered(taken.spans().len() as u64, refused);
                taken.done();
                Next::Go
            }
            Ok(Err(error @ ExportError::Refused { .. })) => {
                self.refused(taken, &error);
                Next::Go
            }
            Ok(Err(ExportError::Unavailable { place, reason, after })) => {
                Next::Later(self.unavailable(&format!("{place}: {reason}"), after))
            }
            Err(_elapsed) => Next::Later(self.unavailable("no answer in time", None)),
        })
    }

    fn answered(&mut self, spans: u64, refused: u64) {
        if self.failures > 0 || std::mem::take(&mut self.is_refused) {
            tracing::info!("trace collector takes spans again");
        }
        self.failures = 0;
        let refused = refused.min(spans);
        self.exported.increment(spans - refused);
        count_refused(refused);
    }

    fn refused(&mut self, taken: Taken, error: &ExportError) {
        if !std::mem::replace(&mut self.is_refused, true) {
            tracing::warn!(%error, "spans are dropped");
        }
        self.failures = 0;
        self.failed.increment(1);
        count_refused(taken.spans().len() as u64);
        taken.done();
    }

    /// How long to wait.
    fn unavailable(&mut self, reason: &str, after: Option<Duration>) -> Duration {
        if self.failures == 0 {
            tracing::warn!(reason, "trace collector takes no spans; they are kept up to telemetry.spans_max");
        }
        self.failed.increment(1);
        let delay = retry_after(self.failures, after);
        self.failures = self.failures.saturating_add(1);
        delay
    }
}

fn count_refused(spans: u64) {
    if spans > 0 {
        metrics::counter!("orinoco_trace_spans_dropped_total", "reason" => "refused").increment(spans);
    }
}

/// Twice as long each time; as long as the collector asks for, within bounds.
fn retry_after(failures: u32, asked: Option<Duration>) -> Duration {
    let own = RETRY_AFTER_MIN.saturating_mul(2_u32.saturating_pow(failures));
    asked.unwrap_or(own).max(own).min(RETRY_AFTER_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tries_come_later_and_later_within_a_bound() {
        let delays: Vec<u64> = (0..8).map(|failures| retry_after(failures, None).as_millis() as u64).collect();
        assert_eq!(delays, [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
        assert_eq!(retry_after(0, Some(Duration::from_secs(7))), Duration::from_secs(7));
        assert_eq!(retry_after(0, Some(Duration::from_secs(3_600))), RETRY_AFTER_MAX);
        assert_eq!(retry_after(u32::MAX, Some(Duration::ZERO)), RETRY_AFTER_MAX);
    }
}
