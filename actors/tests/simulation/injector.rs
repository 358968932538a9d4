//! Carries the plan's faults out: at hooks and at times.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use orinoco_supervision::fault::{Fault, Reached};
use orinoco_testkit::simulation::{Backend, Link, Mode, Plan, What, When};

use crate::{check, keeper::Order, world::World};

/// Mailboxes are looked at before every such message.
const LOOK_EVERY: u32 = 16;

pub(crate) struct Injector {
    plan: Arc<Plan>,
    state: Mutex<State>,
}

struct State {
    /// How often each fault's point was reached.
    hits: Vec<u16>,
    random: fastrand::Rng,
    /// No faults any more.
    is_over: bool,
    injected: u32,
    /// Messages that actors got.
    handled: u32,
}

impl Injector {
    pub(crate) fn new(plan: &Arc<Plan>) -> Self {
        let random = fastrand::Rng::with_seed(plan.schedule.seed);
        let state = State { hits: vec![0; plan.faults.len()], random, is_over: false, injected: 0, handled: 0 };
        Self { plan: Arc::clone(plan), state: Mutex::new(state) }
    }

    pub(crate) fn end(&self) {
        self.state.lock().unwrap().is_over = true;
    }

    /// Faults that happened.
    pub(crate) fn injected(&self) -> u32 {
        self.state.lock().unwrap().injected
    }

    /// What happens at a point.
    pub(crate) fn decide(&self, reached: Reached<'_>, world: &World) -> Fault {
        match reached.point {
            "supervisor.backoff" => world.restarts.waits(reached.path, &world.services.trace),
            // An actor holds nothing there that looking would wait for.
            "actor.handle" if self.is_time_to_look() => check::look(world),
            _ => {}
        }
        let due = self.due(reached);
        let mut here = None;
        for what in due {
            world.services.trace.add(format_args!("at {} of {}: {what:?}", reached.point, reached.path));
            match what {
                What::Here(mode) => here = Some(fault_of(mode)),
                What::KillSupervisor => {
                    let parent = reached.path.rsplit_once('/').map_or("", |(parent, _)| parent);
                    world.kill_path(number_of(reached.path), parent);
                }
                what => act(world, number_of(reached.path), &what),
            }
        }
        here.unwrap_or_else(|| self.turns())
    }

    fn is_time_to_look(&self) -> bool {
        let mut state = self.state.lock().unwrap();
        state.handled = state.handled.wrapping_add(1);
        state.handled.is_multiple_of(LOOK_EVERY)
    }

    fn due(&self, reached: Reached<'_>) -> Vec<What> {
        let mut state = self.state.lock().unwrap();
        let mut due = Vec::new();
        if state.is_over {
            return due;
        }
        let number = number_of(reached.path);
        for (index, fault) in self.plan.faults.iter().enumerate() {
            let When::Hit { point, by, nth } = &fault.when else { continue };
            let is_here = point == reached.point
                && usize::from(fault.daemon % self.plan.workload.daemons) == number
                && reached.path.contains(by.as_str());
            if !is_here {
                continue;
            }
            if state.hits[index] == *nth {
                state.injected += 1;
                due.push(fault.what.clone());
            }
            state.hits[index] = state.hits[index].saturating_add(1);
        }
        due
    }

    fn turns(&self) -> Fault {
        let yields_max = u32::from(self.plan.schedule.yields_max);
        match self.state.lock().unwrap().random.u32(0..=yields_max) {
            0 => Fault::Continue,
            turns => Fault::Yield(turns),
        }
    }

    /// The faults that come at a time.
    pub(crate) async fn run_timed(&self, world: &World) {
        let timed = |fault: &orinoco_testkit::simulation::PlannedFault| match fault.when {
            When::At { ms } => Some((ms, fault.daemon, fault.what.clone())),
            When::Hit { .. } => None,
        };
        let mut timed: Vec<_> = self.plan.faults.iter().filter_map(timed).collect();
        timed.sort_by_key(|(ms, ..)| *ms);
        for (ms, daemon, what) in timed {
            let wait_ms = u64::from(ms).saturating_sub(world.services.trace.elapsed_ms());
            tokio::time::sleep(Duration::from_millis(wait_ms)).await;
            world.services.trace.add(format_args!("d{}: {what:?}", daemon % self.plan.workload.daemons));
            self.state.lock().unwrap().injected += 1;
            act(world, usize::from(daemon % self.plan.workload.daemons), &what);
        }
    }
}

/// The daemon that a path begins with.
fn number_of(path: &str) -> usize {
    let root = path.split('/').next().unwrap_or_default();
    root.strip_prefix('d').and_then(|number| number.parse().ok()).unwrap_or(usize::MAX)
}

fn fault_of(mode: Mode) -> Fault {
    match mode {
        Mode::Kill => Fault::Kill,
        Mode::Abort => Fault::Abort,
        Mode::Panic => Fault::Panic,
        Mode::Fail => Fault::Fail,
        Mode::Hang => Fault::Hang,
        Mode::Slow { ms } => Fault::Slow(Duration::from_millis(ms.into())),
        Mode::DropReply => Fault::DropReply,
    }
}

fn act(world: &World, number: usize, what: &What) {
    let time = |ms: u32| Duration::from_millis(ms.into());
    let with = |backend: Backend, act: &dyn Fn(&Link)| {
        if let Some(daemon) = world.daemon(number) {
            act(&daemon.links[&backend]);
        }
    };
    match what {
        What::Here(_) | What::KillSupervisor => {}
        What::KillActor { path } => {
            let root = format!("d{number}");
            world.kill_path(number, &if path.is_empty() { root } else { format!("{root}/{path}") });
        }
        What::KillDaemon { down_ms } => world.order(number, Order::Kill { down: time(*down_ms) }),
        What::StopDaemon { down_ms } => world.order(number, Order::Stop { down: time(*down_ms) }),
        What::Cut { backend, ms } => with(*backend, &|link| link.cut(time(*ms))),
        What::Stall { backend, ms } => with(*backend, &|link| link.stall(time(*ms))),
        What::LoseAnswers { backend, ms } => with(*backend, &|link| link.lose_answers(time(*ms))),
        What::Disk { trouble, ms } => world.disks[number].trouble(*trouble, time(*ms)),
        What::Freeze { ms } => {
            for backend in Backend::ALL {
                with(backend, &|link| link.stall(time(*ms)));
            }
        }
    }
}
