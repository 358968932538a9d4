//! From a seed to a plan, and from a plan that fails to a smaller one: proptest's strategies, each part with a seed of its own.

use orinoco_testkit::simulation::{
    Backend, DiskTrouble, Mode, Mutation, Plan, PlannedFault, Schedule, What, When, Workload,
};
use proptest::{
    prelude::*,
    sample::select,
    strategy::ValueTree,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
    tuple::TupleValueTree,
};

/// Time in which faults begin, ms.
const FAULTS_WITHIN_MS: u32 = 6_000;

const ACTORS: &[&str] = &[
    "stream/leases",
    "stream/hub.0",
    "stream/hub.1",
    "stream/writer.0",
    "stream/writer.1",
    "stream/consumer.0",
    "stream/consumer.1",
    "stream/producer",
    "stream/ingest",
    "login/registry",
];

const SUPERVISORS: &[&str] = &["stream", "login", "login/challenges", "login/sse_sessions", "ws_sessions", ""];

/// Each with whom it is reached by; an empty name is everybody.
const POINTS: &[(&str, &str)] = &[
    ("actor.pre_start", "stream"),
    ("actor.pre_start", "login"),
    ("actor.pre_start", "ws_sessions"),
    ("actor.handle", "stream/"),
    ("actor.handle", "ingest"),
    ("actor.handle", "producer"),
    ("actor.handle", "consumer"),
    ("actor.handle", "writer"),
    ("actor.handle", "hub"),
    ("actor.handle", "leases"),
    ("actor.handle", "challenges"),
    ("actor.handle", "registry"),
    ("actor.handle", "sessions"),
    ("actor.reply", ""),
    ("actor.reply", "writer"),
    ("actor.reply", "challenges"),
    ("actor.post_stop", ""),
    ("supervisor.start", "stream/"),
    ("supervisor.start", "login/"),
    ("supervisor.backoff", ""),
    ("mqtt_ingest.before_effect", ""),
    ("mqtt_ingest.after_effect", ""),
    ("mqtt_ingest.before_commit", ""),
    ("mqtt_ingest.after_commit", ""),
    ("kafka_producer.before_effect", ""),
    ("kafka_producer.after_effect", ""),
    ("kafka_producer.after_acknowledgement", ""),
    ("kafka_producer.after_aside", ""),
    ("kafka_consumer.before_effect", ""),
    ("kafka_consumer.after_effect", ""),
    ("redis_writer.before_effect", ""),
    ("redis_writer.after_effect", ""),
    ("redis_writer.after_acknowledgement", ""),
    ("stream_hub.before_effect", ""),
    ("stream_hub.after_effect", ""),
    ("lease_keeper.before_effect", ""),
    ("lease_keeper.after_effect", ""),
    ("ws_session.before_effect", ""),
    ("ws_session.after_effect", ""),
    ("challenge.before_effect", ""),
    ("challenge.after_effect", ""),
    ("challenge.after_acknowledgement", ""),
    ("challenge_registry.before_effect", ""),
    ("challenge_registry.after_effect", ""),
    ("sse_session.after_effect", ""),
];

/// Points that are no part of an actor's handler.
const OF_CALLBACKS: &[&str] = &["mqtt_ingest.before_effect", "mqtt_ingest.after_effect"];

fn workload() -> impl Strategy<Value = Workload> {
    let counts = (1..=3_u8, 1..=3_u8, 4..=60_u16, 0..=12_u16, 0..=4_u8, 0..=2_u8);
    (any::<u64>(), counts, prop::bool::weighted(0.25), 0..=120_u16).prop_map(
        |(seed, (daemons, devices, messages, foreign, watchers, logins), by_timestamp, pause_ms_max)| Workload {
            seed,
            daemons,
            devices,
            messages,
            foreign,
            by_timestamp,
            watchers,
            logins,
            pause_ms_max,
        },
    )
}

fn schedule() -> impl Strategy<Value = Schedule> {
    (any::<u64>(), 0..=4_u8, 0..=20_u8).prop_map(|(seed, yields_max, way_ms_max)| Schedule {
        seed,
        yields_max,
        way_ms_max,
    })
}

fn mode() -> impl Strategy<Value = Mode> {
    prop_oneof![
        5 => Just(Mode::Kill),
        2 => Just(Mode::Abort),
        2 => Just(Mode::Panic),
        2 => Just(Mode::Fail),
        1 => Just(Mode::Hang),
        2 => (1..=6_000_u32).prop_map(|ms| Mode::Slow { ms }),
    ]
}

fn of_backend() -> impl Strategy<Value = What> {
    let backend = || select(&Backend::ALL[..]);
    prop_oneof![
        (backend(), 1..=5_000_u32).prop_map(|(backend, ms)| What::Cut { backend, ms }),
        (backend(), 1..=9_000_u32).prop_map(|(backend, ms)| What::Stall { backend, ms }),
        (backend(), 1..=2_000_u32).prop_map(|(backend, ms)| What::LoseAnswers { backend, ms }),
    ]
}

fn of_daemon() -> impl Strategy<Value = What> {
    prop_oneof![
        3 => (1..=6_000_u32).prop_map(|down_ms| What::KillDaemon { down_ms }),
        1 => (1..=3_000_u32).prop_map(|down_ms| What::StopDaemon { down_ms }),
        2 => (500..=9_000_u32).prop_map(|ms| What::Freeze { ms }),
    ]
}

fn elsewhere() -> impl Strategy<Value = What> {
    prop_oneof![
        4 => select(ACTORS).prop_map(|path| What::KillActor { path: path.to_owned() }),
        1 => select(SUPERVISORS).prop_map(|path| What::KillActor { path: path.to_owned() }),
        2 => of_daemon(),
        3 => of_backend(),
    ]
}

fn fault() -> impl Strategy<Value = PlannedFault> {
    let at = (0..FAULTS_WITHIN_MS, elsewhere()).prop_map(|(ms, what)| (When::At { ms }, what));
    let here = prop_oneof![
        6 => mode().prop_map(What::Here),
        1 => Just(What::KillSupervisor),
        3 => elsewhere(),
    ];
    let nth = prop_oneof![3 => 0..=4_u16, 2 => 5..=60_u16];
    let hit = (select(POINTS), nth, here).prop_map(|((point, by), nth, what)| {
        let what = match what {
            What::Here(_) if point == "actor.reply" => What::Here(Mode::DropReply),
            // In the MQTT library's callback: no handler, and so no watchdog.
            What::Here(Mode::Hang) if OF_CALLBACKS.contains(&point) => What::Here(Mode::Slow { ms: 6_000 }),
            what => what,
        };
        (When::Hit { point: point.to_owned(), by: by.to_owned(), nth }, what)
    });
    let daemon = 0..3_u8;
    (daemon, prop_oneof![1 => at, 2 => hit]).prop_map(|(daemon, (when, what))| PlannedFault { daemon, when, what })
}

/// Where the journal is written, read and told what it may forget.
const POINTS_OF_JOURNAL: &[(&str, &str)] = &[
    ("mqtt_ingest.before_effect", ""),
    ("mqtt_ingest.after_effect", ""),
    ("mqtt_ingest.before_commit", ""),
    ("mqtt_ingest.after_commit", ""),
    ("kafka_producer.after_effect", ""),
    ("actor.handle", "ingest"),
    ("actor.pre_start", "ingest"),
];

fn disk_fault() -> impl Strategy<Value = PlannedFault> {
    let at = (0..FAULTS_WITHIN_MS).prop_map(|ms| When::At { ms });
    let hit = (select(POINTS_OF_JOURNAL), 0..=20_u16).prop_map(|((point, by), nth)| When::Hit {
        point: point.to_owned(),
        by: by.to_owned(),
        nth,
    });
    let when = prop_oneof![1 => at, 2 => hit];
    (0..3_u8, when, select(&DiskTrouble::ALL[..]), 1..=4_000_u32).prop_map(|(daemon, when, trouble, ms)| PlannedFault {
        daemon,
        when,
        what: What::Disk { trouble, ms },
    })
}

/// Every other plan has none.
fn disk_faults() -> impl Strategy<Value = Vec<PlannedFault>> {
    prop_oneof![Just(Vec::new()), prop::collection::vec(disk_fault(), 1..=3)]
}

fn faults() -> impl Strategy<Value = Vec<PlannedFault>> {
    prop::collection::vec(fault(), 0..=10)
}

/// Faults, those of disks, what is asked for, who runs first.
type Parts = (Vec<PlannedFault>, Vec<PlannedFault>, Workload, Schedule);

/// A plan that can be made smaller.
pub(crate) struct PlanTree {
    /// The first part is made smaller first.
    parts: Box<dyn ValueTree<Value = Parts>>,
    mutation: Option<Mutation>,
}

impl PlanTree {
    /// A seed is split: what is asked for, who runs first, what fails, and what of that are disks.
    pub(crate) fn of(seed: u64, mutation: Option<Mutation>) -> Self {
        let workload = workload().new_tree(&mut runner(seed, 1)).unwrap();
        let schedule = schedule().new_tree(&mut runner(seed, 2)).unwrap();
        let faults = faults().new_tree(&mut runner(seed, 3)).unwrap();
        let disks = disk_faults().new_tree(&mut runner(seed, 4)).unwrap();
        Self { parts: Box::new(TupleValueTree::new((faults, disks, workload, schedule))), mutation }
    }

    pub(crate) fn plan(&self) -> Plan {
        let (mut faults, disks, workload, schedule) = self.parts.current();
        faults.extend(disks);
        Plan { workload, schedule, faults, mutation: self.mutation }
    }

    pub(crate) fn simplify(&mut self) -> bool {
        self.parts.simplify()
    }

    pub(crate) fn complicate(&mut self) -> bool {
        self.parts.complicate()
    }
}

fn runner(seed: u64, part: u8) -> TestRunner {
    let mut bytes = [part; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    TestRunner::new_with_rng(Config::default(), TestRng::from_seed(RngAlgorithm::ChaCha, &bytes))
}
