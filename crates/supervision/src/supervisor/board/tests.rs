//! The board against any sequence of events: what must hold whatever happens.

use std::time::Duration;

use proptest::prelude::{Just, any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest};
use proptest::strategy::Strategy as _;
use proptest::test_runner::TestCaseError;

use super::*;
use crate::plan::Strategy;

/// What the world does with what the board asked for.
#[derive(Debug, Clone)]
enum Event {
    /// A start that runs succeeds, or fails.
    Start {
        which: usize,
        succeeds: bool,
    },
    /// A child that is up ends.
    End {
        which: usize,
        normal: bool,
    },
    /// A child that is being stopped has ended.
    Stopped,
    /// Time passes.
    Pass(u64),
    Renew {
        which: usize,
    },
    /// Other children: some of those there are, a bit each, and new ones.
    Arrange {
        kept: u8,
        is_reversed: bool,
        added: usize,
    },
    Shutdown,
}

fn events() -> impl proptest::strategy::Strategy<Value = Event> {
    prop_oneof![
        4 => (any::<usize>(), prop::bool::weighted(0.8)).prop_map(|(which, succeeds)| Event::Start { which, succeeds }),
        2 => (any::<usize>(), any::<bool>()).prop_map(|(which, normal)| Event::End { which, normal }),
        4 => Just(Event::Stopped),
        3 => (0u64..500).prop_map(Event::Pass),
        1 => any::<usize>().prop_map(|which| Event::Renew { which }),
        1 => (any::<u8>(), any::<bool>(), 0usize..3).prop_map(|(kept, is_reversed, added)| Event::Arrange { kept, is_reversed, added }),
        1 => prop::bool::weighted(0.05).prop_map(|shutdown| if shutdown { Event::Shutdown } else { Event::Pass(1) }),
    ]
}

/// The world beside the board: which actors exist.
struct World {
    board: Board,
    now: Instant,
    exists: Vec<bool>,
    stopping: Option<usize>,
    ended: Option<Closing>,
}

impl World {
    fn new(rules: Rules, children: &[ChildRules]) -> Self {
        let now = Instant::now();
        Self {
            board: Board::new(rules, children.iter().copied(), now),
            now,
            exists: vec![false; children.len()],
            stopping: None,
            ended: None,
        }
    }

    fn arrange(&mut self, kept: u8, is_reversed: bool, added: usize) {
        let is_kept = |index: &usize| kept >> (index % 8) & 1 == 1 && !self.board.slots[*index].leaving;
        let mut order: Vec<usize> = (0..self.exists.len()).filter(is_kept).collect();
        if is_reversed {
            order.reverse();
        }
        let rules = ChildRules { restart: Restart::Permanent, significant: false, backoff: backoff_plan() };
        let known = order.iter().map(|index| (Some(*index), self.board.slots[*index].rules));
        let wanted: Vec<_> = known.chain((0..added).map(|_| (None, rules))).collect();
        let was_closing = self.board.is_closing();
        self.board.arrange(&wanted, self.now);
        if was_closing {
            return;
        }
        let left: Vec<usize> = (0..self.exists.len()).filter(|index| !order.contains(index)).collect();
        let none = std::iter::repeat_n(None, added);
        let places: Vec<Option<usize>> =
            order.into_iter().map(Some).chain(none).chain(left.into_iter().map(Some)).collect();
        self.exists = places.iter().map(|place| place.is_some_and(|index| self.exists[index])).collect();
        self.stopping = self.stopping.and_then(|index| places.iter().position(|place| *place == Some(index)));
    }

    /// Carries the actions out and checks each of them.
    fn act(&mut self) -> Result<(), TestCaseError> {
        while let Some(index) = self.board.take_left() {
            prop_assert!(!self.exists.remove(index), "let go while it runs");
            prop_assert!(self.stopping != Some(index));
            self.stopping = self.stopping.map(|stopping| stopping - usize::from(stopping > index));
        }
        for action in self.board.actions(self.now) {
            match action {
                Action::Start(index) => {
                    prop_assert!(!self.exists[index], "started twice");
                    prop_assert!(!self.board.slots[index].leaving, "started what is not wanted");
                    prop_assert!(self.board.closing.is_none(), "started while closing");
                    self.exists[index] = true;
                }
                Action::Stop(index) => {
                    prop_assert!(self.exists[index], "stopped what does not run");
                    prop_assert_eq!(self.stopping, None, "two stops at once");
                    self.stopping = Some(index);
                }
                Action::WakeAt(at) => prop_assert!(at > self.now, "woken for what is due"),
                Action::End(closing) => {
                    prop_assert!(self.exists.iter().all(|exists| !exists), "ended with children");
                    self.ended = Some(closing);
                }
            }
        }
        Ok(())
    }

    fn pick(&self, which: usize, wanted: impl Fn(Standing) -> bool) -> Option<usize> {
        let fitting: Vec<usize> = (0..self.exists.len()).filter(|index| wanted(self.board.standing(*index))).collect();
        fitting.get(which.checked_rem(fitting.len())?).copied()
    }

    fn happen(&mut self, event: &Event) {
        match event {
            Event::Start { which, succeeds } => {
                let Some(index) = self.pick(*which, |standing| standing == Standing::Starting) else { return };
                if *succeeds {
                    self.board.started(index, self.now);
                } else {
                    self.end(index, &Exit::Abnormal("no start".to_owned()));
                }
            }
            Event::End { which, normal } => {
                let Some(index) = self.pick(*which, |standing| standing == Standing::Up) else { return };
                let exit = if *normal { Exit::Normal } else { Exit::Abnormal("failed".to_owned()) };
                self.end(index, &exit);
            }
            Event::Stopped => {
                if let Some(index) = self.stopping.take() {
                    self.end(index, &Exit::Normal);
                }
            }
            Event::Renew { which } => {
                if let Some(index) = self.pick(*which, |_| true) {
                    self.board.renew(index, self.now);
                }
            }
            Event::Arrange { kept, is_reversed, added } => self.arrange(*kept, *is_reversed, *added),
            Event::Pass(ms) => self.now += Duration::from_millis(*ms),
            Event::Shutdown => self.board.close(Closing::Shutdown),
        }
    }

    fn end(&mut self, index: usize, exit: &Exit) {
        self.exists[index] = false;
        self.board.ended(index, exit, self.now, 0.5);
    }

    /// Lets everything succeed until nothing changes any more.
    fn settle(&mut self) -> Result<(), TestCaseError> {
        for _ in 0..1000 {
            self.happen(&Event::Stopped);
            self.happen(&Event::Start { which: 0, succeeds: true });
            self.happen(&Event::Pass(20_000));
            self.act()?;
            if self.ended.is_some() || (self.board.is_settled() && self.board.is_arranged()) {
                return Ok(());
            }
        }
        Err(TestCaseError::fail(format!("it does not settle: {:?}", self.board)))
    }
}

fn backoff_plan() -> BackoffPlan {
    BackoffPlan {
        min: Duration::from_millis(50),
        max: Duration::from_secs(10),
        factor: 2.0,
        jitter: 0.0,
        reset_after: Duration::from_secs(30),
    }
}

fn child_rules() -> impl proptest::strategy::Strategy<Value = Vec<ChildRules>> {
    let child = (0..Restart::ALL.len(), any::<bool>()).prop_map(|(restart, significant)| ChildRules {
        restart: Restart::ALL[restart].1,
        significant: significant && Restart::ALL[restart].1 != Restart::Permanent,
        backoff: backoff_plan(),
    });
    prop::collection::vec(child, 0..7)
}

fn rules() -> impl proptest::strategy::Strategy<Value = Rules> {
    (0..3usize, 0u32..20, 0..2usize, 0..3usize).prop_map(|(strategy, intensity, scope, auto_shutdown)| Rules {
        strategy: Strategy::ALL[strategy].1,
        intensity,
        period: Duration::from_secs(1),
        scope: IntensityScope::ALL[scope].1,
        auto_shutdown: AutoShutdown::ALL[auto_shutdown].1,
    })
}

proptest! {
    /// `act` checks each action; in the end everything that is to run runs, or the supervisor has ended.
    #[test]
    fn whatever_happens_the_board_asks_for_nothing_impossible_and_settles(
        rules in rules(),
        children in child_rules(),
        events in prop::collection::vec(events(), 0..80),
    ) {
        let mut world = World::new(rules, &children);
        world.act()?;
        for event in &events {
            world.happen(event);
            world.act()?;
            if world.ended.is_some() {
                return Ok(());
            }
        }
        world.settle()?;
        if world.ended.is_none() {
            prop_assert_eq!(world.exists.len(), world.board.slots.len());
            for (exists, slot) in world.exists.iter().zip(&world.board.slots) {
                if slot.rules.restart == Restart::Permanent {
                    prop_assert!(*exists, "a permanent child does not run");
                }
            }
        }
    }

    #[test]
    fn a_shutdown_at_any_moment_ends_with_nothing_running(
        rules in rules(),
        children in child_rules(),
        events in prop::collection::vec(events(), 0..40),
    ) {
        let mut world = World::new(rules, &children);
        world.act()?;
        for event in &events {
            world.happen(event);
            world.act()?;
        }
        world.happen(&Event::Shutdown);
        for _ in 0..20 {
            world.act()?;
            world.happen(&Event::Stopped);
        }
        world.act()?;
        prop_assert!(world.ended.is_some());
    }

    #[test]
    fn a_first_start_is_in_order_one_after_the_other(rules in rules(), children in child_rules()) {
        let mut world = World::new(rules, &children);
        for index in 0..children.len() {
            prop_assert_eq!(world.board.actions(world.now), vec![Action::Start(index)]);
            prop_assert_eq!(world.board.actions(world.now), vec![]);
            world.board.started(index, world.now);
        }
        prop_assert!(world.board.is_settled());
    }
}

fn up(strategy: Strategy, count: usize) -> World {
    let rules = Rules {
        strategy,
        intensity: 10,
        period: Duration::from_secs(60),
        scope: IntensityScope::Supervisor,
        auto_shutdown: AutoShutdown::Never,
    };
    let child = ChildRules { restart: Restart::Permanent, significant: false, backoff: backoff_plan() };
    let mut world = World::new(rules, &vec![child; count]);
    for index in 0..count {
        assert_eq!(world.board.actions(world.now), [Action::Start(index)]);
        world.exists[index] = true;
        world.board.started(index, world.now);
    }
    world
}

#[test]
fn one_for_one_restarts_two_children_side_by_side() {
    let mut world = up(Strategy::OneForOne, 3);
    world.end(2, &Exit::Normal);
    world.end(0, &Exit::Normal);
    let due = world.now + Duration::from_millis(50);
    assert_eq!(world.board.actions(world.now), [Action::WakeAt(due)]);
    assert_eq!(world.board.actions(due), [Action::Start(0), Action::Start(2)]);
}

#[test]
fn one_for_all_stops_in_reverse_waits_and_starts_in_order() {
    let mut world = up(Strategy::OneForAll, 3);
    world.end(1, &Exit::Abnormal("x".to_owned()));
    let due = world.now + Duration::from_millis(50);
    assert_eq!(world.board.actions(world.now), [Action::Stop(2)]);
    assert_eq!(world.board.actions(world.now), []);
    world.end(2, &Exit::Normal);
    assert_eq!(world.board.actions(world.now), [Action::Stop(0)]);
    world.end(0, &Exit::Normal);
    assert_eq!(world.board.actions(world.now), [Action::WakeAt(due)]);
    for index in 0..3 {
        assert_eq!(world.board.actions(due), [Action::Start(index)]);
        world.board.started(index, due);
    }
    assert!(world.board.is_settled());
}

#[test]
fn a_failure_before_the_failed_child_widens_rest_for_one() {
    let mut world = up(Strategy::RestForOne, 4);
    world.end(2, &Exit::Abnormal("x".to_owned()));
    assert_eq!(world.board.actions(world.now), [Action::Stop(3)]);
    world.end(1, &Exit::Abnormal("y".to_owned()));
    world.end(3, &Exit::Normal);
    let later = world.now + Duration::from_secs(1);
    for index in 1..4 {
        assert_eq!(world.board.actions(later), [Action::Start(index)]);
        world.board.started(index, later);
    }
    assert_eq!(world.board.standing(0), Standing::Up);
    assert!(world.board.is_settled());
}

#[test]
fn a_child_that_leaves_takes_nobody_along_and_is_taken_along_by_nobody() {
    let mut world = up(Strategy::OneForAll, 3);
    let rules = world.board.slots[0].rules;
    world.board.arrange(&[(Some(0), rules), (Some(2), rules)], world.now);
    assert_eq!(world.board.actions(world.now), [Action::Stop(2)]);
    // It fails in place of stopping.
    world.board.ended(2, &Exit::Abnormal("x".to_owned()), world.now, 0.5);
    assert_eq!((world.board.take_left(), world.board.take_left()), (Some(2), None));
    assert_eq!(world.board.actions(world.now), []);
    assert!(world.board.is_settled() && world.board.is_arranged());
    assert_eq!(world.board.restarts_in_period(world.now), 0);
}

#[test]
fn a_renewed_child_stops_in_its_turn_and_starts_without_a_wait() {
    let mut world = up(Strategy::OneForAll, 2);
    world.board.renew(0, world.now);
    world.board.renew(0, world.now);
    assert!(!world.board.is_arranged());
    assert_eq!(world.board.actions(world.now), [Action::Stop(0)]);
    world.board.ended(0, &Exit::Normal, world.now, 0.5);
    assert_eq!(world.board.actions(world.now), [Action::Start(0)]);
    world.board.started(0, world.now);
    assert!(world.board.is_arranged() && world.board.restarts_in_period(world.now) == 0);
}
