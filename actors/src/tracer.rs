//! Spans on their way from the actors to [`TraceExporter`](crate::TraceExporter).
//!
//! Invariants: a tracer that is off costs a look at an `Option`: no clock is read and nothing is allocated. One that is on never waits: at
//! `spans_max` a further span is dropped and counted.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use orinoco_domain::{Axis, TraceContext, mix};
use orinoco_ports::{Span, SpanValue};
use tokio::sync::Notify;

const MILLION: u64 = 1_000_000;

/// What is traced, and how it is called.
#[derive(Debug, Clone)]
pub struct TracerSettings {
    /// Of a million messages that came without a trace, so many begin one.
    pub ratio_per_million: u32,
    /// Spans that wait to be exported.
    pub spans_max: usize,
    /// `messaging.system` of the log.
    pub log_system: &'static str,
    /// Before the names of the log's topics.
    pub topic_prefix: String,
}

/// Takes spans. Cheap to clone; the default is off.
#[derive(Clone, Default)]
pub struct Tracer(Option<Arc<Queue>>);

struct Queue {
    settings: TracerSettings,
    spans: Mutex<VecDeque<Span>>,
    /// Told when a whole batch waits.
    filled: Notify,
    dropped: metrics::Counter,
}

impl Tracer {
    #[must_use]
    pub fn new(settings: TracerSettings) -> Self {
        let dropped = metrics::counter!("orinoco_trace_spans_dropped_total", "reason" => "full");
        Self(Some(Arc::new(Queue { settings, spans: Mutex::default(), filled: Notify::new(), dropped })))
    }

    #[must_use]
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// The context that was handed to us, where it is to be recorded: it is valid, and sampled.
    #[must_use]
    pub fn sampled(&self, traceparent: &str) -> Option<TraceContext> {
        self.0.as_ref().and_then(|_| TraceContext::parse(traceparent)).filter(TraceContext::is_sampled)
    }

    /// Whether a trace that begins here is recorded: always the same of the same trace.
    #[must_use]
    pub fn begins(&self, trace_id: u128) -> bool {
        let Some(queue) = &self.0 else { return false };
        mix(trace_id as u64) % MILLION < u64::from(queue.settings.ratio_per_million)
    }

    /// Nanoseconds since 1970; 0 where it is off.
    #[must_use]
    pub fn now_ns(&self) -> u64 {
        let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        self.0.as_ref().map_or(0, |_| u64::try_from(now()).unwrap_or(u64::MAX))
    }

    /// Takes a span that is finished. Does not wait.
    pub fn finish(&self, span: Span) {
        let Some(queue) = &self.0 else { return };
        let waiting = {
            let mut spans = queue.spans();
            if spans.len() < queue.settings.spans_max {
                spans.push_back(span);
            } else {
                queue.dropped.increment(1);
            }
            spans.len()
        };
        if waiting >= BATCH_SPANS_MAX {
            queue.filled.notify_one();
        }
    }

    /// The same for many that end now.
    pub(crate) fn finish_all(&self, spans: Vec<Span>) {
        if spans.is_empty() {
            return;
        }
        let ended_ns = self.now_ns();
        spans.into_iter().for_each(|span| self.finish(Span { ended_ns, ..span }));
    }

    /// `messaging.system` of the log, and what its topic of that axis is called.
    pub(crate) fn log_topic(&self, axis: Axis) -> (&'static str, String) {
        match &self.0 {
            Some(queue) => (queue.settings.log_system, format!("{}{}", queue.settings.topic_prefix, axis.name())),
            None => ("", String::new()),
        }
    }

    /// The oldest spans, a batch of them; `None` where none waits.
    pub(crate) fn take(&self) -> Option<Taken> {
        let queue = self.0.as_ref()?;
        let mut waiting = queue.spans();
        let count = waiting.len().min(BATCH_SPANS_MAX);
        let spans: Vec<Span> = waiting.drain(..count).collect();
        drop(waiting);
        (count > 0).then(|| Taken { spans, queue: Arc::clone(queue) })
    }

    /// Waits until a whole batch waits. Cancel safe.
    pub(crate) async fn filled(&self) {
        match &self.0 {
            Some(queue) => queue.filled.notified().await,
            None => std::future::pending().await,
        }
    }

    pub(crate) fn has_batch(&self) -> bool {
        self.0.as_ref().is_some_and(|queue| queue.spans().len() >= BATCH_SPANS_MAX)
    }
}

/// Of a text that others chose.
const TEXT_BYTES_MAX: usize = 256;
/// Spans of one export.
pub(crate) const BATCH_SPANS_MAX: usize = 512;

impl Queue {
    fn spans(&self) -> MutexGuard<'_, VecDeque<Span>> {
        self.spans.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Spans that are being exported. Unless it is [`Taken::done`] they go back to their place, also when the exporter is killed.
pub(crate) struct Taken {
    spans: Vec<Span>,
    queue: Arc<Queue>,
}

impl Taken {
    pub(crate) fn spans(&self) -> &[Span] {
        &self.spans
    }

    pub(crate) fn done(mut self) {
        self.spans.clear();
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let mut waiting = self.queue.spans();
        for span in self.spans.drain(..).rev() {
            if waiting.len() < self.queue.settings.spans_max {
                waiting.push_front(span);
            } else {
                self.queue.dropped.increment(1);
            }
        }
    }
}

/// What all spans of messages say (OpenTelemetry semantic conventions 1.37, messaging).
pub(crate) fn message_attributes(
    system: &'static str,
    operation: &'static str,
    kind: &'static str,
    destination: &str,
) -> Vec<(&'static str, SpanValue)> {
    let mut attributes = Vec::with_capacity(8);
    attributes.push(("messaging.system", SpanValue::Word(system)));
    attributes.push(("messaging.operation.name", SpanValue::Word(operation)));
    attributes.push(("messaging.operation.type", SpanValue::Word(kind)));
    attributes.push(("messaging.destination.name", SpanValue::Text(shortened(destination))));
    attributes
}

/// A device may publish to a topic of 64 KiB, and thousands of spans wait.
fn shortened(text: &str) -> String {
    text[..text.floor_char_boundary(TEXT_BYTES_MAX)].to_owned()
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]
    use orinoco_ports::SpanKind;

    use super::*;

    pub(crate) fn tracer(ratio_per_million: u32, spans_max: usize) -> Tracer {
        let topic_prefix = "test.".to_owned();
        Tracer::new(TracerSettings { ratio_per_million, spans_max, log_system: "kafka", topic_prefix })
    }

    pub(crate) fn span(span_id: u64) -> Span {
        Span {
            context: TraceContext::new(1, span_id, true).unwrap(),
            parent: None,
            name: "test".to_owned(),
            kind: SpanKind::Consumer,
            begun_ns: 1,
            ended_ns: 2,
            attributes: Vec::new(),
            error: None,
        }
    }

    fn ids(taken: &Taken) -> Vec<u64> {
        taken.spans().iter().map(|span| span.context.span_id()).collect()
    }

    #[test]
    fn what_was_taken_and_not_exported_goes_back_to_its_place() {
        let tracer = tracer(0, 3);
        (1..=2).for_each(|id| tracer.finish(span(id)));
        let taken = tracer.take().unwrap();
        tracer.finish(span(3));
        drop(taken);
        let taken = tracer.take().unwrap();
        assert_eq!(ids(&taken), [1, 2, 3]);
        taken.done();
        assert!(tracer.take().is_none());
    }

    #[test]
    fn beyond_the_bound_spans_are_dropped() {
        let tracer = tracer(0, 3);
        (1..=9).for_each(|id| tracer.finish(span(id)));
        let taken = tracer.take().unwrap();
        assert_eq!(ids(&taken), [1, 2, 3]);
        (10..=12).for_each(|id| tracer.finish(span(id)));
        drop(taken);
        assert_eq!(ids(&tracer.take().unwrap()), [10, 11, 12], "what is given back finds no place");
    }

    #[test]
    fn a_long_topic_is_cut() {
        let attributes = message_attributes("mqtt", "receive", "process", &"é".repeat(60_000));
        assert_eq!(attributes.last().unwrap().1, SpanValue::Text("é".repeat(TEXT_BYTES_MAX / 2)));
    }

    #[test]
    fn a_ratio_of_the_traces_begins_and_only_sampled_ones_go_on() {
        let count = |ratio| {
            let tracer = tracer(ratio, 1);
            (1..=10_000_u128).filter(|trace_id| tracer.begins(*trace_id)).count()
        };
        assert_eq!((count(0), count(1_000_000)), (0, 10_000));
        assert!((900..1_100).contains(&count(100_000)), "{}", count(100_000));
        let (sampled, ignored) = (
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00",
        );
        let tracer = tracer(1_000_000, 1);
        assert!(tracer.sampled(sampled).is_some() && tracer.sampled(ignored).is_none());
        assert!(Tracer::default().sampled(sampled).is_none() && !Tracer::default().begins(1));
    }
}
