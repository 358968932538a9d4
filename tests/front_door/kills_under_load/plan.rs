//! Whom a campaign kills, and when: drawn from a seed, before it begins.

use fastrand::Rng;
use serde_json::{Value, json};

use crate::support::Mode;

/// A type of actor.
#[derive(Debug)]
pub(super) struct Kind {
    /// As in the tree; `/*`: each of what is below.
    pub(super) target: &'static str,
    /// Partitions that it has, of which one is killed at a time.
    partitions: usize,
    /// Points at which it, or one of those that it serves or supervises, has work: who reaches it, and its name.
    points: &'static [(&'static str, &'static str)],
    /// Whose work counts at any other moment.
    at_work: &'static [&'static str],
    /// Who makes up for the loss.
    pub(super) back: Back,
    pub(super) is_for: fn(Mode) -> bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Back {
    /// Its supervisor starts it again: the restart is measured from the kill until it, and all below it, take messages.
    Supervisor,
    /// The next request about the same challenge starts it: measured likewise, as the requests under way come again by themselves.
    Request,
    /// Its client connects again: measured by the clients.
    Client,
}

const HANDLE: &str = "actor.handle";
const START: &str = "supervisor.start";
const BACKOFF: &str = "supervisor.backoff";

const LEASES: &str = "root/stream/leases";
const HUB: &str = "root/stream/hub";
const WRITER: &str = "root/stream/writer";
const CONSUMER: &str = "root/stream/consumer";
const PRODUCER: &str = "root/stream/producer";
const INGEST: &str = "root/stream/ingest";
const REGISTRY: &str = "root/login/registry";
const CHALLENGES: &str = "root/login/challenges/*";
const STREAMS: &str = "root/login/sse_sessions/*";
const SOCKETS: &str = "root/ws_sessions/*";
const CENTRIFUGE: &str = "root/centrifuge_sessions/*";

const fn kind(
    target: &'static str,
    points: &'static [(&'static str, &'static str)],
    at_work: &'static [&'static str],
    back: Back,
) -> Kind {
    Kind { target, partitions: 0, points, at_work, back, is_for: |_| true }
}

pub(super) const KINDS: &[Kind] = &[
    kind(
        LEASES,
        &[(LEASES, "lease_keeper.before_effect"), (LEASES, "lease_keeper.after_effect"), (LEASES, HANDLE)],
        &[LEASES],
        Back::Supervisor,
    ),
    kind(
        HUB,
        &[(HUB, "stream_hub.before_effect"), (HUB, "stream_hub.after_effect"), (HUB, HANDLE)],
        &[HUB],
        Back::Supervisor,
    ),
    kind(
        WRITER,
        &[
            (WRITER, "redis_writer.before_effect"),
            (WRITER, "redis_writer.after_effect"),
            (WRITER, "redis_writer.after_acknowledgement"),
            (WRITER, HANDLE),
        ],
        &[WRITER],
        Back::Supervisor,
    ),
    kind(
        CONSUMER,
        &[(CONSUMER, "kafka_consumer.before_effect"), (CONSUMER, "kafka_consumer.after_effect"), (CONSUMER, HANDLE)],
        &[CONSUMER],
        Back::Supervisor,
    ),
    kind(
        PRODUCER,
        &[
            (PRODUCER, "kafka_producer.before_effect"),
            (PRODUCER, "kafka_producer.after_effect"),
            (PRODUCER, "kafka_producer.after_acknowledgement"),
            (PRODUCER, HANDLE),
        ],
        &[PRODUCER],
        Back::Supervisor,
    ),
    kind(
        INGEST,
        &[(INGEST, "mqtt_ingest.before_commit"), (INGEST, "mqtt_ingest.after_commit"), (INGEST, HANDLE)],
        &[INGEST],
        Back::Supervisor,
    ),
    kind(
        REGISTRY,
        &[
            (REGISTRY, "challenge_registry.before_effect"),
            (REGISTRY, "challenge_registry.after_effect"),
            (REGISTRY, HANDLE),
        ],
        &[REGISTRY],
        Back::Supervisor,
    ),
    kind(
        CHALLENGES,
        &[
            (CHALLENGES, "challenge.before_effect"),
            (CHALLENGES, "challenge.after_effect"),
            (CHALLENGES, "challenge.after_acknowledgement"),
            (CHALLENGES, HANDLE),
        ],
        &[CHALLENGES],
        Back::Request,
    ),
    kind(STREAMS, &[(STREAMS, "sse_session.after_effect"), (STREAMS, HANDLE)], &[STREAMS], Back::Client),
    kind(
        SOCKETS,
        &[(SOCKETS, "ws_session.before_effect"), (SOCKETS, "ws_session.after_effect"), (SOCKETS, HANDLE)],
        &[SOCKETS],
        Back::Client,
    ),
    kind(
        CENTRIFUGE,
        &[
            (CENTRIFUGE, "centrifuge_session.before_effect"),
            (CENTRIFUGE, "centrifuge_session.after_effect"),
            (CENTRIFUGE, HANDLE),
        ],
        &[CENTRIFUGE],
        Back::Client,
    ),
    // A listener's work is what came in through it.
    kind(
        "root/listeners/http",
        &[
            (REGISTRY, "challenge_registry.before_effect"),
            (REGISTRY, "challenge_registry.after_effect"),
            (CHALLENGES, "challenge.before_effect"),
            (CHALLENGES, "challenge.after_effect"),
        ],
        &[REGISTRY, CHALLENGES],
        Back::Supervisor,
    ),
    kind(
        "root/listeners/ws",
        &[(SOCKETS, "actor.pre_start"), (SOCKETS, "ws_session.before_effect")],
        &[SOCKETS, CENTRIFUGE],
        Back::Supervisor,
    ),
    Kind {
        is_for: |mode| mode == Mode::Embedded,
        ..kind(
            "root/listeners/broker",
            &[(INGEST, "mqtt_ingest.before_effect"), (INGEST, "mqtt_ingest.after_effect")],
            &[INGEST],
            Back::Supervisor,
        )
    },
    // Supervisors, with all below them.
    kind(
        "root/stream",
        &[
            (WRITER, "redis_writer.after_effect"),
            (CONSUMER, "kafka_consumer.after_effect"),
            (PRODUCER, "kafka_producer.after_effect"),
            (INGEST, "mqtt_ingest.before_commit"),
            (HUB, "stream_hub.before_effect"),
            (PRODUCER, START),
            (PRODUCER, BACKOFF),
        ],
        &["root/stream/*"],
        Back::Supervisor,
    ),
    kind(
        "root/login",
        &[
            (CHALLENGES, "challenge.after_effect"),
            (REGISTRY, "challenge_registry.before_effect"),
            (STREAMS, "sse_session.after_effect"),
            (REGISTRY, START),
        ],
        &["root/login/*"],
        Back::Supervisor,
    ),
    kind(
        "root/listeners",
        &[
            (REGISTRY, "challenge_registry.after_effect"),
            ("root/listeners/http", START),
            ("root/listeners/ws", BACKOFF),
        ],
        &[REGISTRY, CHALLENGES],
        Back::Supervisor,
    ),
    kind(
        "root/login/challenges",
        &[(CHALLENGES, "challenge.before_effect"), (CHALLENGES, "challenge.after_effect")],
        &[CHALLENGES],
        Back::Supervisor,
    ),
    Kind {
        partitions: 4,
        ..kind(
            "root/login/challenges/partition",
            &[(CHALLENGES, "challenge.before_effect"), (CHALLENGES, "challenge.after_effect")],
            &[CHALLENGES],
            Back::Supervisor,
        )
    },
    kind("root/login/sse_sessions", &[(STREAMS, "sse_session.after_effect")], &[STREAMS], Back::Supervisor),
    kind(
        "root/ws_sessions",
        &[(SOCKETS, "ws_session.before_effect"), (SOCKETS, "ws_session.after_effect")],
        &[SOCKETS],
        Back::Supervisor,
    ),
    Kind {
        partitions: 2,
        ..kind(
            "root/ws_sessions/partition",
            &[(SOCKETS, "ws_session.before_effect"), (SOCKETS, "ws_session.after_effect")],
            &[SOCKETS],
            Back::Supervisor,
        )
    },
    kind(
        "root/centrifuge_sessions",
        &[(CENTRIFUGE, "centrifuge_session.before_effect"), (CENTRIFUGE, "centrifuge_session.after_effect")],
        &[CENTRIFUGE],
        Back::Supervisor,
    ),
];

/// One kill to come.
#[derive(Debug, Clone)]
pub(super) struct Order {
    pub(super) kind: usize,
    pub(super) is_at_point: bool,
    /// Who is killed at the same time, for its supervisor to be killed while it starts it again.
    pub(super) beside: Option<&'static str>,
    /// For the control socket.
    pub(super) request: Value,
}

/// For the moment to come; then it is waited for again.
const WITHIN_MS: u64 = 10_000;
const RESTART_MAX_MS: u64 = 60_000;
/// A challenge that nobody asks about again stays away.
const ASKED_AGAIN_MAX_MS: u64 = 2_000;
/// Times that a point is passed before; leases are seldom renewed.
const PASSED_MAX: u32 = 3;
const AFTER_MAX_US: u64 = 5_000;

/// So many kills of each kind whose path has `only` in it, every other one at a point, in an order of the seed's.
pub(super) fn orders(seed: u64, mode: Mode, kills: usize, only: &str) -> Vec<Order> {
    let mut random = Rng::with_seed(seed);
    let mut orders = Vec::new();
    let kinds = KINDS.iter().enumerate().filter(|(_, kind)| (kind.is_for)(mode) && kind.target.contains(only));
    for (index, kind) in kinds {
        for number in 0..kills {
            orders.push(order(&mut random, index, kind, number % 2 == 0));
        }
    }
    random.shuffle(&mut orders);
    orders
}

fn order(random: &mut Rng, index: usize, kind: &Kind, is_at_point: bool) -> Order {
    let target = match kind.partitions {
        0 => kind.target.to_owned(),
        partitions => format!("{}.{}", kind.target, random.usize(..partitions)),
    };
    let restart_max_ms = match kind.back {
        Back::Supervisor => RESTART_MAX_MS,
        Back::Request => ASKED_AGAIN_MAX_MS,
        Back::Client => 0,
    };
    let mut request =
        json!({"command": "strike", "target": target, "withinMs": WITHIN_MS, "restartMaxMs": restart_max_ms});
    let mut beside = None;
    if is_at_point {
        let (by, point) = kind.points[random.usize(..kind.points.len())];
        request["by"] = json!(by);
        request["point"] = json!(point);
        if point == START || point == BACKOFF {
            beside = Some(by);
        } else if by != LEASES {
            request["nth"] = json!(random.u32(..=PASSED_MAX));
        }
    } else {
        request["by"] = json!(kind.at_work[random.usize(..kind.at_work.len())]);
        request["afterUs"] = json!(random.u64(..=AFTER_MAX_US));
    }
    Order { kind: index, is_at_point, beside, request }
}
