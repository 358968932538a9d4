//! One run of a plan.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use orinoco_ports::{
    Journal, RecordLog,
    conformance::journal::{JournalFactory, memory::MemoryJournals},
};
use orinoco_supervision::fault;
use orinoco_testkit::simulation::{Disk, Plan, Trace, Violation};
use tokio::{sync::mpsc, task::JoinSet, time::sleep};

use crate::{
    check,
    daemon::Daemon,
    injector::Injector,
    keeper::{self, Order},
    logins, memory,
    restarts::Restarts,
    services::Services,
    stream::PARTITIONS,
    watchers::{self, Watcher},
    workload::{self, Published},
};

/// After the last fault all must be well within this time.
const SETTLED_WITHIN: Duration = Duration::from_secs(180);
const ORDERS_MAX: usize = 64;
const STACK_BYTES: usize = 16 << 20;
/// Once a process 4 KiB are left to a library. An actor takes more than the rest.
const LEFT_BYTES_MAX: isize = 8 << 10;

/// What came of a run.
#[derive(Debug, Clone)]
pub(crate) struct Outcome {
    pub(crate) hash: u64,
    pub(crate) events: u64,
    pub(crate) injected: u32,
    /// Memory that nobody gave back.
    pub(crate) left_bytes: isize,
    pub(crate) violations: Vec<Violation>,
    pub(crate) lines: Vec<String>,
}

pub(crate) struct World {
    pub(crate) plan: Arc<Plan>,
    pub(crate) services: Services,
    pub(crate) journals: Vec<MemoryJournals>,
    pub(crate) disks: Vec<Arc<Disk>>,
    pub(crate) injector: Injector,
    pub(crate) restarts: Restarts,
    pub(crate) published: Mutex<Published>,
    pub(crate) watchers: Mutex<Vec<Arc<Watcher>>>,
    daemons: Vec<Mutex<Option<Arc<Daemon>>>>,
    orders: Vec<mpsc::Sender<Order>>,
    numbers: AtomicU64,
}

/// Runs a plan from begin to end, on a thread of its own.
pub(crate) fn run(plan: &Plan) -> Outcome {
    let run = || {
        let mut outcome = run_here(plan);
        outcome.left_bytes = memory::live_bytes() - bytes_of(&outcome);
        if outcome.left_bytes > LEFT_BYTES_MAX {
            let what = format!("{} bytes are left", outcome.left_bytes);
            outcome.violations.push(Violation { invariant: "memory returns to the baseline", what });
        }
        outcome
    };
    std::thread::scope(|scope| {
        std::thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, run).unwrap().join().unwrap()
    })
}

/// Of what it holds.
fn bytes_of(outcome: &Outcome) -> isize {
    let before = memory::live_bytes();
    let same = outcome.clone();
    let bytes = memory::live_bytes() - before;
    drop(same);
    bytes
}

fn run_here(plan: &Plan) -> Outcome {
    fastrand::seed(plan.workload.seed);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        // From here on all times are whole milliseconds of the runtime's clock.
        sleep(Duration::from_millis(1)).await;
        simulate(plan.clone()).await
    })
}

async fn simulate(plan: Plan) -> Outcome {
    let trace = Trace::default();
    let plan = Arc::new(plan);
    let daemons = usize::from(plan.workload.daemons);
    let (orders, inboxes): (Vec<_>, Vec<_>) = (0..daemons).map(|_| mpsc::channel(ORDERS_MAX)).unzip();
    let world = Arc::new(World {
        services: Services::new(&plan, &trace).await,
        journals: keeper::journals(daemons),
        disks: (0..daemons).map(|_| Arc::default()).collect(),
        injector: Injector::new(&plan),
        restarts: Restarts::new(daemons),
        published: Mutex::default(),
        watchers: Mutex::default(),
        daemons: (0..daemons).map(|_| Mutex::default()).collect(),
        orders,
        numbers: AtomicU64::new(1),
        plan,
    });
    let hook_world = Arc::clone(&world);
    let hook = fault::scoped(move |reached| hook_world.injector.decide(reached, &hook_world));
    let mut keepers = JoinSet::new();
    for (number, inbox) in inboxes.into_iter().enumerate() {
        keepers.spawn(keeper::keep(Arc::clone(&world), number, inbox));
    }
    let mut clients = watchers::start(&world);
    clients.spawn(check::look_on(Arc::clone(&world)));
    let (messages, foreign) = (workload::publish(&world), workload::write_foreign(&world));
    tokio::join!(messages, foreign, logins::log_in_all(&world), world.injector.run_timed(&world));
    world.injector.end();
    world.heal();
    trace.add(format_args!("calm"));
    world.settle().await;
    check::at_rest(&world).await;
    // Those who watch go before the daemons do.
    clients.shutdown().await;
    for orders in &world.orders {
        let _ = orders.send(Order::End).await;
    }
    let ended = tokio::time::timeout(Duration::from_secs(60), keepers.join_all()).await;
    if ended.is_err() {
        trace.violated("every call ends by its deadline", "a daemon does not stop within 60 s");
    }
    check::nothing_is_left(&trace).await;
    let injected = world.injector.injected();
    drop(hook);
    let (hash, events, violations) = (trace.hash(), trace.events(), trace.violations());
    Outcome { hash, events, injected, left_bytes: 0, violations, lines: trace.lines() }
}

impl World {
    /// A number that no other has.
    pub(crate) fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn daemon(&self, number: usize) -> Option<Arc<Daemon>> {
        self.daemons.get(number)?.lock().unwrap().clone()
    }

    pub(crate) fn daemons(&self) -> Vec<Arc<Daemon>> {
        (0..self.daemons.len()).filter_map(|number| self.daemon(number)).collect()
    }

    /// One that runs, if any does; which one is the caller's chance.
    pub(crate) fn some_daemon(&self, random: &mut fastrand::Rng) -> Option<Arc<Daemon>> {
        let running = self.daemons();
        let index = random.usize(..self.daemons.len());
        running.get(index % running.len().max(1)).cloned()
    }

    pub(crate) fn set_daemon(&self, number: usize, daemon: Option<Arc<Daemon>>) {
        *self.daemons[number].lock().unwrap() = daemon;
    }

    pub(crate) fn order(&self, number: usize, order: Order) {
        // More than a plan has are not asked for; a keeper that has ended needs none.
        let _ = self.orders[number].try_send(order);
    }

    pub(crate) fn kill_path(&self, number: usize, path: &str) {
        if let Some(daemon) = self.daemon(number) {
            // Nobody is there while it starts anew.
            let _ = daemon.tree.kill(path);
        }
    }

    fn heal(&self) {
        for daemon in self.daemons() {
            daemon.links.values().for_each(|link| link.heal());
        }
        self.disks.iter().for_each(|disk| disk.heal());
    }

    /// Waits until all that was accepted has its effects and was seen.
    async fn settle(&self) {
        if self.plan.workload.by_timestamp {
            // Halves that wait for their partners are applied already; their grace period shows them.
            self.settle_once().await;
            sleep(Duration::from_secs(1)).await;
        }
        self.settle_once().await;
        self.services.trace.add(format_args!("settled"));
    }

    async fn settle_once(&self) {
        let since = tokio::time::Instant::now();
        while let Some(lacks) = self.lacks().await {
            if since.elapsed() > SETTLED_WITHIN {
                let (invariant, lacks) = lacks;
                let what = format!("{lacks}, {} s after the last fault", SETTLED_WITHIN.as_secs());
                return self.services.trace.violated(invariant, what);
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// What is not done yet.
    async fn lacks(&self) -> Option<(&'static str, String)> {
        if self.daemons().len() < self.daemons.len() {
            return Some(("the running tree equals the file", "a daemon is down".to_owned()));
        }
        if let Some(lacks) = check::unwhole(self) {
            return Some(lacks);
        }
        self.undone().await.map(|undone| ("accepted = applied + dead-lettered", undone))
    }

    async fn undone(&self) -> Option<String> {
        let depth = self.services.broker.depth();
        if depth > 0 {
            return Some(format!("the broker holds {depth} messages"));
        }
        for journals in &self.journals {
            let journal: Arc<dyn Journal> = journals.open(1 << 30).await;
            let depth = journal.depth().records;
            if depth > 0 {
                return Some(format!("journal {} holds {depth} records", journal.id()));
            }
        }
        for partition in 0..PARTITIONS {
            let (_, end) = self.services.log.bounds(partition).await.unwrap();
            let position = check::position(self, partition);
            if position != end {
                return Some(format!("partition {partition} stands at {position:?} of {end:?}"));
            }
        }
        check::unseen(self).await
    }
}
