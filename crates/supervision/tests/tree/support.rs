//! A probe actor that does what a test tells it and writes down what it lives through.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use orinoco_supervision::{Actor, Address, Catalog, Context, Failure, Group, Message, Plan, Reply, Tree};
use tokio::sync::Semaphore;

/// What a probe can be told.
pub(crate) enum Tell {
    Fail,
    Panic,
    Stop,
    /// Waits until the gate opens.
    Wait(Arc<Semaphore>),
    /// Waits for ever.
    Hang,
    /// Is written down as handled.
    Note(u32),
    /// Answers with the incarnation.
    Ask(Reply<u64>),
    /// Lets the reply go without an answer.
    Ignore(#[allow(dead_code)] Reply<u64>),
}

impl Message for Tell {
    fn kind(&self) -> &'static str {
        match self {
            Self::Fail => "fail",
            Self::Panic => "panic",
            Self::Stop => "stop",
            Self::Wait(_) => "wait",
            Self::Hang => "hang",
            Self::Note(_) => "note",
            Self::Ask(_) => "ask",
            Self::Ignore(_) => "ignore",
        }
    }
}

/// What happened to all probes of a test, in order, and how their starts and stops behave.
#[derive(Clone, Default)]
pub(crate) struct World(Arc<Inner>);

#[derive(Default)]
struct Inner {
    log: Mutex<Vec<String>>,
    /// How many of the next starts fail, by path.
    failing_starts: Mutex<HashMap<String, u32>>,
    /// Paths whose starts hang.
    hanging_starts: Mutex<Vec<String>>,
    /// Paths whose `post_stop` hangs.
    hanging_stops: Mutex<Vec<String>>,
    alive: AtomicU32,
}

impl World {
    pub(crate) fn note(&self, event: impl Into<String>) {
        self.0.log.lock().unwrap().push(event.into());
    }

    /// What was written down since the last call.
    pub(crate) fn take_log(&self) -> Vec<String> {
        std::mem::take(&mut self.0.log.lock().unwrap())
    }

    pub(crate) fn log_contains(&self, event: &str) -> bool {
        self.0.log.lock().unwrap().iter().any(|entry| entry == event)
    }

    pub(crate) fn fail_starts(&self, path: &str, count: u32) {
        self.0.failing_starts.lock().unwrap().insert(path.to_owned(), count);
    }

    pub(crate) fn hang_start(&self, path: &str) {
        self.0.hanging_starts.lock().unwrap().push(path.to_owned());
    }

    pub(crate) fn hang_no_start(&self) {
        self.0.hanging_starts.lock().unwrap().clear();
    }

    pub(crate) fn hang_stop(&self, path: &str) {
        self.0.hanging_stops.lock().unwrap().push(path.to_owned());
    }

    /// Probes whose state is not dropped.
    pub(crate) fn alive(&self) -> u32 {
        self.0.alive.load(Ordering::SeqCst)
    }

    fn start_fails(&self, path: &str) -> bool {
        let mut failing = self.0.failing_starts.lock().unwrap();
        match failing.get_mut(path) {
            Some(count) if *count > 0 => {
                *count -= 1;
                true
            }
            _ => false,
        }
    }

    fn hangs(list: &Mutex<Vec<String>>, path: &str) -> bool {
        list.lock().unwrap().iter().any(|entry| entry == path)
    }
}

pub(crate) struct Probe;

/// Notes when it is dropped.
pub(crate) struct ProbeState {
    world: World,
    path: String,
}

impl Drop for ProbeState {
    fn drop(&mut self) {
        self.world.0.alive.fetch_sub(1, Ordering::SeqCst);
        self.world.note(format!("drop {}", self.path));
    }
}

impl Actor for Probe {
    type Message = Tell;
    type Arguments = World;
    type State = ProbeState;

    async fn pre_start(&self, context: &Context<Tell>, world: World) -> Result<ProbeState, Failure> {
        let path = context.path().to_owned();
        if World::hangs(&world.0.hanging_starts, &path) {
            std::future::pending::<()>().await;
        }
        if world.start_fails(&path) {
            world.note(format!("start failed {path}"));
            return Err("told to fail".into());
        }
        world.note(format!("start {path}"));
        world.0.alive.fetch_add(1, Ordering::SeqCst);
        Ok(ProbeState { world, path })
    }

    async fn handle(&self, context: &Context<Tell>, message: Tell, state: &mut ProbeState) -> Result<(), Failure> {
        match message {
            Tell::Fail => return Err("told to fail".into()),
            Tell::Panic => panic!("told to panic"),
            Tell::Stop => context.stop(),
            Tell::Wait(gate) => drop(gate.acquire().await?),
            Tell::Hang => std::future::pending::<()>().await,
            Tell::Note(number) => state.world.note(format!("note {number}")),
            Tell::Ask(reply) => reply.send(context.incarnation()),
            Tell::Ignore(reply) => drop(reply),
        }
        Ok(())
    }

    async fn post_stop(&self, _: &Context<Tell>, state: &mut ProbeState) -> Result<(), Failure> {
        state.world.note(format!("stop {}", state.path));
        if World::hangs(&state.world.0.hanging_stops, &state.path) {
            std::future::pending::<()>().await;
        }
        Ok(())
    }
}

/// A catalog whose `Probe` is the probe, as often as the plan wants it.
pub(crate) fn catalog(world: &World) -> (Catalog, Group<Tell>) {
    let mut catalog = Catalog::new();
    let probes = catalog.group::<Tell>("Probe");
    let world = world.clone();
    catalog.actor("Probe", || Probe, move |_| world.clone());
    (catalog, probes)
}

/// A plan with fast, exact backoff; `rest` are its supervisors.
pub(crate) fn plan(rest: &str) -> Plan {
    let text = format!(
        "schema = 1\n[defaults]\nbackoff = {{ min = \"100ms\", max = \"10s\", jitter = 0.0, reset_after = \"1h\" }}\n{rest}"
    );
    Plan::parse(&text, "test.toml").unwrap()
}

/// Starts a tree of probes.
pub(crate) async fn start(world: &World, rest: &str) -> (Tree, Group<Tell>) {
    let (catalog, probes) = catalog(world);
    (Tree::start(plan(rest), catalog).await.unwrap(), probes)
}

/// The incarnation that answers at an address.
pub(crate) async fn incarnation(address: &Address<Tell>) -> u64 {
    address.call(Tell::Ask, Duration::from_secs(3600)).await.unwrap()
}

/// Waits until a condition holds. With paused time this lets timers run; a minute of them is the limit.
pub(crate) async fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(tokio::time::Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Waits until an address is down, then until it is up again.
pub(crate) async fn restarted(address: &Address<Tell>) {
    until("down", || !address.is_up()).await;
    until("up again", || address.is_up()).await;
}
