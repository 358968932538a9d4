//! Which messages are traced, and the spans of their first two stretches: PUBLISH to journal, journal to log.
//!
//! The ids of a message's spans follow from the journal's identity, its sequence and the device's context alone. So the journal keeps what
//! the device sent, and a retry is the same span.

use orinoco_domain::{Axis, RawRecord, TopicFilters, TraceContext, mix};
use orinoco_ports::{Span, SpanKind, SpanValue};

use crate::{Tracer, tracer::message_attributes};

/// Tells a message's two spans apart.
const INGEST: u64 = 1;
const PRODUCE: u64 = 2;

#[derive(Clone)]
pub(super) struct Traces {
    tracer: Tracer,
    filters: TopicFilters,
    /// The journal's identity, as a number.
    journal: u64,
}

/// A message that is traced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Traced {
    /// Of the device, if it sent one.
    parent: Option<u64>,
    ingest: TraceContext,
    produce: TraceContext,
}

impl Traces {
    pub(super) fn new(tracer: Tracer, filters: TopicFilters, journal: &str) -> Self {
        // FNV-1a.
        let journal = journal
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        Self { tracer, filters, journal }
    }

    /// For a message that came without, or with one to be ignored: of the journal and the sequence. Not sampled.
    fn own(&self, sequence: u64) -> Option<TraceContext> {
        TraceContext::new(u128::from(self.journal) << 64 | u128::from(sequence), sequence | 1 << 63, false)
    }

    /// What the log's record carries: the device's own where it is valid.
    pub(super) fn traceparent(&self, traceparent: Option<&str>, sequence: u64) -> Option<String> {
        match traceparent.filter(|text| TraceContext::parse(text).is_some()) {
            Some(text) => Some(text.to_owned()),
            None => self.own(sequence).map(|context| context.to_string()),
        }
    }

    /// Whether a message may be traced, before its sequence is known: when it began to be received.
    pub(super) fn begun_ns(&self) -> Option<u64> {
        self.tracer.is_on().then(|| self.tracer.now_ns())
    }

    pub(super) fn of(&self, traceparent: Option<&str>, sequence: u64) -> Option<Traced> {
        if !self.tracer.is_on() {
            return None;
        }
        let seed = self.journal ^ mix(sequence);
        let traced = |parent, context: TraceContext| {
            let ingest = context.child(seed ^ INGEST);
            Traced { parent, ingest, produce: ingest.child(seed ^ PRODUCE) }
        };
        match traceparent.and_then(TraceContext::parse) {
            Some(context) => context.is_sampled().then(|| traced(Some(context.span_id()), context)),
            None => {
                let own = self.own(sequence)?;
                let sampled = TraceContext::new(own.trace_id(), own.span_id(), self.tracer.begins(own.trace_id()))?;
                sampled.is_sampled().then(|| traced(None, sampled))
            }
        }
    }

    /// The message is in the journal.
    pub(super) fn ingested(&self, traced: Traced, topic: &str, bytes: usize, begun_ns: u64) {
        let mut attributes = message_attributes("mqtt", "receive", "process", topic);
        attributes.push(("messaging.message.body.size", SpanValue::Integer(bytes as i64)));
        let mut name = "receive".to_owned();
        if let Ok((device, _)) = self.filters.resolve(topic) {
            // Of few values: without the device.
            let template: Vec<&str> =
                topic.split('/').map(|level| if level == device.as_str() { "{device}" } else { level }).collect();
            let template = template.join("/");
            name = format!("receive {template}");
            attributes.push(("messaging.destination.template", SpanValue::Text(template)));
        }
        self.tracer.finish(Span {
            context: traced.ingest,
            parent: traced.parent,
            name,
            kind: SpanKind::Consumer,
            begun_ns,
            ended_ns: self.tracer.now_ns(),
            attributes,
            error: None,
        });
    }

    /// The span of the way into the log, which ends when the log has acknowledged.
    pub(super) fn producing(&self, traced: Traced, partition: u32, axis: Axis, record: &RawRecord) -> Span {
        let (system, topic) = self.tracer.log_topic(axis);
        let name = format!("send {topic}");
        let mut attributes = message_attributes(system, "send", "send", &topic);
        attributes.push(("messaging.destination.partition.id", SpanValue::Text(partition.to_string())));
        if let Some(key) = &record.key {
            attributes
                .push(("messaging.kafka.message.key", SpanValue::Text(String::from_utf8_lossy(key).into_owned())));
        }
        attributes.push(("messaging.message.body.size", SpanValue::Integer(record.value.len() as i64)));
        Span {
            context: traced.produce,
            parent: Some(traced.ingest.span_id()),
            name,
            kind: SpanKind::Producer,
            begun_ns: self.tracer.now_ns(),
            ended_ns: 0,
            attributes,
            error: None,
        }
    }
}

impl Traced {
    /// What the log's record carries.
    pub(super) fn traceparent(&self) -> String {
        self.produce.to_string()
    }
}
