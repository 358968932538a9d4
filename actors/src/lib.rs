//! The cast: one file an actor, who supervises it stands in `supervision.toml`.
//!
//! | actor | instances | does |
//! |---|---|---|
//! | [`LeaseKeeper`] | one | holds leases; tells owners who they are |
//! | [`MqttIngest`] | one | devices' messages into the journal, the journal to the producer |
//! | [`KafkaProducer`] | one | records into the log, acknowledged by all replicas |
//! | [`KafkaConsumer`] | a partition | fetches, decodes, hands over in order |
//! | [`RedisWriter`] | a partition | pairs, and applies each batch in one step |
//! | [`StreamHub`] | a partition | one publication to all sockets that watch |
//! | [`WsSession`] | a socket | one client at its own pace |
//! | [`CentrifugeSession`] | a socket | the same, in the Centrifuge protocol |
//! | [`ChallengeRegistry`] | one | finds the actor of a challenge; hears of changes elsewhere |
//! | [`Challenge`] | a challenge | decides by compare-and-set; expires at its deadline |
//! | [`SseSession`] | a stream | a challenge's status to its creator |
//! | [`Listener`] | a port | binds and serves |
//! | [`TraceExporter`] | one, where traces are exported | spans to the collector |
//!
//! Invariant: data crosses these mailboxes, and nothing here is lost that was not acknowledged end to end: each actor can be killed
//! between any two awaits and its successor goes on from the journal, the log and the stores.

mod audience;
mod census;
mod centrifuge_session;
mod challenge;
mod challenge_registry;
mod challenges;
mod health;
mod kafka_consumer;
mod kafka_producer;
mod lags;
mod lease_keeper;
mod listener;
mod mqtt_ingest;
mod redis_writer;
mod socket_writer;
mod sse_session;
mod stream_hub;
mod tenure;
mod trace_exporter;
mod tracer;
mod wire;
mod ws_session;

pub use audience::Audience;
pub use census::DeviceCensus;
pub use centrifuge_session::{
    CentrifugeSession, CentrifugeSessionArguments, CentrifugeSessionMessage, Command, CommandError, Connected,
    HistoryRequest, Presence, Request, StreamPosition, SubscribeRequest, error_reply, parse_commands,
};
pub use challenge::{
    Acted, Action, BegunLogin, Challenge, ChallengeArguments, ChallengeDeps, ChallengeError, ChallengeMessage,
    ChallengeView, KeySource, PollAnswer,
};
pub use challenge_registry::{ChallengeRegistry, ChallengeRegistryArguments, ChallengeRegistryMessage, LoginNotice};
pub use challenges::Challenges;
pub use health::{Component, ComponentState, Health};
pub use kafka_consumer::{Aside, DataLossPolicy, KafkaConsumer, KafkaConsumerArguments, KafkaConsumerMessage};
pub use kafka_producer::{JournalBatch, KafkaProducer, KafkaProducerArguments, KafkaProducerMessage};
pub use lags::Lags;
pub use lease_keeper::{INGEST_LEASE, LeaseKeeper, LeaseKeeperArguments, LeaseKeeperMessage, partition_lease};
pub use listener::{Listener, ListenerArguments, ListenerMessage};
pub use mqtt_ingest::{MqttIngest, MqttIngestArguments, MqttIngestMessage};
pub use redis_writer::{ApplyOutcome, RedisWriter, RedisWriterArguments, RedisWriterMessage, SortedBatch};
pub use sse_session::{
    SseLimits, SseRender, SseSession, SseSessionArguments, SseSessionMessage, SseStream, SseStreams, Watcher,
};
pub use stream_hub::{
    DevicePage, HubBatch, HubEvent, HubFrame, HubWatcher, HubWatcherId, StreamHub, StreamHubArguments,
    StreamHubMessage, StreamPage, View,
};
pub use tenure::Tenure;
pub use trace_exporter::{TraceExporter, TraceExporterArguments, TraceExporterMessage};
pub use tracer::{Tracer, TracerSettings};
pub use wire::{Close, close_message, ping_message, text_message};
pub use ws_session::{Resume, WsLimits, WsSession, WsSessionArguments, WsSessionMessage};
