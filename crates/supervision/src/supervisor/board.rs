//! The decisions of a supervisor with a list of children, pure: events and a clock in, actions out.
//!
//! Order: children start in the order of the list, each after the ones before it are up; they stop in reverse, one
//! after the other. A `one_for_one` restart of a child that was up waits for nobody. Nothing here waits: what is due
//! later is answered with [`Action::WakeAt`].
//!
//! What it decides by may change at any moment ([`Board::set_rules`], [`Board::arrange`]), and a child may be renewed: stopped in an orderly
//! way and started again, which is no failure. Who is on the way out is not restarted, whatever happens to it or to its siblings.

use std::time::Duration;

use tokio::time::Instant;

use super::auto_shutdown::shuts_down;
use super::backoff;
use super::intensity::Window;
use super::strategy::{Exit, affected, restarts};
use crate::plan::{AutoShutdown, BackoffPlan, IntensityScope, Restart, Strategy};

/// What the board must know of a supervisor.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    pub(crate) strategy: Strategy,
    pub(crate) intensity: u32,
    pub(crate) period: Duration,
    pub(crate) scope: IntensityScope,
    pub(crate) auto_shutdown: AutoShutdown,
}

/// What the board must know of a child.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ChildRules {
    pub(crate) restart: Restart,
    pub(crate) significant: bool,
    pub(crate) backoff: BackoffPlan,
}

/// Why a supervisor ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Closing {
    /// It was asked to.
    Shutdown,
    /// Significant children ended.
    AutoShutdown,
    /// Its intensity is exceeded.
    Escalated { child: usize, reason: String },
}

/// What the supervisor is to do now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    Start(usize),
    Stop(usize),
    /// Ask again at this time.
    WakeAt(Instant),
    /// Nothing runs any more: end.
    End(Closing),
}

/// What becomes of a child that is being stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum After {
    Restart(Instant),
    End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Ended, or not to be started any more.
    Ended,
    /// To be started at this time, or when its turn comes.
    Waiting(Instant),
    Starting,
    Up(Instant),
    Stopping(After),
}

/// A child's phase, for inspection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    Ended,
    Waiting { restarting: bool, due: Instant },
    Starting,
    Up,
    Stopping,
}

#[derive(Debug)]
struct Slot {
    rules: ChildRules,
    phase: Phase,
    /// Starts only after those before it in the list are up.
    in_order: bool,
    must_stop: Option<After>,
    failures: u32,
    window: Window,
    restarted: bool,
    /// Not wanted any more: gone once it has ended.
    leaving: bool,
    /// Put there or renewed by a change that is not carried out yet.
    fresh: bool,
}

impl Slot {
    fn new(rules: ChildRules, fresh: bool, now: Instant) -> Self {
        Self {
            rules,
            phase: Phase::Waiting(now),
            in_order: true,
            must_stop: None,
            failures: 0,
            window: Window::default(),
            restarted: false,
            leaving: false,
            fresh,
        }
    }

    /// Other rules. A wait is shortened to what they allow; who had ended for good runs again where it has to.
    fn set_rules(&mut self, rules: ChildRules, now: Instant) {
        let was = self.rules.restart;
        self.rules = rules;
        match self.phase {
            Phase::Waiting(due) => self.phase = Phase::Waiting(due.min(now + rules.backoff.max)),
            Phase::Ended if rules.restart == Restart::Permanent && was != Restart::Permanent => {
                (self.phase, self.in_order, self.fresh) = (Phase::Waiting(now), true, true);
            }
            _ => {}
        }
    }

    /// Stops it in its turn, unless it has ended.
    fn leave(&mut self) {
        (self.leaving, self.in_order, self.fresh) = (true, false, false);
        match self.phase {
            Phase::Starting | Phase::Up(_) => self.must_stop = Some(After::End),
            Phase::Stopping(_) => self.phase = Phase::Stopping(After::End),
            Phase::Waiting(_) | Phase::Ended => self.phase = Phase::Ended,
        }
    }

    fn runs(&self) -> bool {
        matches!(self.phase, Phase::Starting | Phase::Up(_))
    }

    /// Whether later children of an ordered start must wait for it.
    fn holds_up(&self) -> bool {
        self.in_order && matches!(self.phase, Phase::Waiting(_) | Phase::Starting)
    }
}

/// The state of all children.
#[derive(Debug)]
pub(crate) struct Board {
    rules: Rules,
    slots: Vec<Slot>,
    window: Window,
    closing: Option<Closing>,
}

impl Board {
    /// All children wait for their first start.
    pub(crate) fn new(rules: Rules, children: impl IntoIterator<Item = ChildRules>, now: Instant) -> Self {
        let slots = children.into_iter().map(|rules| Slot::new(rules, false, now)).collect();
        Self { rules, slots, window: Window::default(), closing: None }
    }

    /// Decides by other rules from now on; the restarts of before still count.
    pub(crate) fn set_rules(&mut self, rules: Rules) {
        self.rules = rules;
    }

    /// Other children: each one of before, by its index, or a new one, which starts in its turn, once those have stopped that are not
    /// wanted any more. These go behind all others, in their order. Changes nothing where it is closing.
    pub(crate) fn arrange(&mut self, wanted: &[(Option<usize>, ChildRules)], now: Instant) {
        if self.is_closing() {
            return;
        }
        let mut before: Vec<Option<Slot>> = std::mem::take(&mut self.slots).into_iter().map(Some).collect();
        for (index, rules) in wanted {
            let kept = index.and_then(|index| before.get_mut(index)?.take());
            self.slots.push(match kept {
                Some(mut slot) => {
                    slot.set_rules(*rules, now);
                    slot
                }
                None => Slot::new(*rules, true, now),
            });
        }
        for mut slot in before.into_iter().flatten() {
            slot.leave();
            self.slots.push(slot);
        }
    }

    /// Stops a child in an orderly way and starts it again. One that does not run is left as it is: when it starts, it starts anew.
    pub(crate) fn renew(&mut self, index: usize, now: Instant) {
        let slot = &mut self.slots[index];
        if self.closing.is_none() && !slot.leaving && slot.runs() && slot.must_stop.is_none() {
            slot.must_stop = Some(After::Restart(now));
            slot.fresh = true;
        }
    }

    /// Takes out who has left, and says which index that was; call until there is none.
    pub(crate) fn take_left(&mut self) -> Option<usize> {
        if self.is_closing() {
            // What it closes for names a child by its index.
            return None;
        }
        let index = self.slots.iter().position(|slot| slot.leaving && slot.phase == Phase::Ended)?;
        self.slots.remove(index);
        Some(index)
    }

    /// Whether the changes of [`Board::arrange`] and [`Board::renew`] are carried out. A start that failed counts: it is tried again as any
    /// other.
    pub(crate) fn is_arranged(&self) -> bool {
        self.slots.iter().all(|slot| !slot.leaving && !slot.fresh)
    }

    /// Whether it takes no changes any more.
    pub(crate) fn is_closing(&self) -> bool {
        self.closing.is_some()
    }

    /// Whether every child is up or ended, so that the supervisor itself counts as started.
    pub(crate) fn is_settled(&self) -> bool {
        self.closing.is_none()
            && self
                .slots
                .iter()
                .all(|slot| matches!(slot.phase, Phase::Up(_) | Phase::Ended) && slot.must_stop.is_none())
    }

    pub(crate) fn standing(&self, index: usize) -> Standing {
        let slot = &self.slots[index];
        match slot.phase {
            Phase::Ended => Standing::Ended,
            Phase::Waiting(due) => Standing::Waiting { restarting: slot.restarted, due },
            Phase::Starting => Standing::Starting,
            Phase::Up(_) => Standing::Up,
            Phase::Stopping(_) => Standing::Stopping,
        }
    }

    /// Restarts within the period, of all children or of the one that had most, as the intensity counts them.
    pub(crate) fn restarts_in_period(&self, now: Instant) -> usize {
        let period = self.rules.period;
        match self.rules.scope {
            IntensityScope::Supervisor => self.window.count(now, period),
            IntensityScope::Child => {
                let counts = self.slots.iter().map(|slot| slot.window.count(now, period));
                counts.max().unwrap_or(0)
            }
        }
    }

    /// A start succeeded.
    pub(crate) fn started(&mut self, index: usize, now: Instant) {
        let slot = &mut self.slots[index];
        if slot.phase == Phase::Starting {
            slot.phase = Phase::Up(now);
            slot.in_order = false;
            slot.fresh &= slot.must_stop.is_some();
        }
    }

    /// The supervisor is to end.
    pub(crate) fn close(&mut self, closing: Closing) {
        if self.closing.is_none() {
            self.closing = Some(closing);
        }
        for slot in &mut self.slots {
            match slot.phase {
                Phase::Starting | Phase::Up(_) => slot.must_stop = Some(After::End),
                Phase::Stopping(_) => slot.phase = Phase::Stopping(After::End),
                Phase::Waiting(_) | Phase::Ended => slot.phase = Phase::Ended,
            }
        }
    }

    /// A child ended because the intensity that it shares with this supervisor is exceeded.
    pub(crate) fn escalated(&mut self, index: usize, reason: String) {
        self.slots[index].phase = Phase::Ended;
        self.slots[index].must_stop = None;
        self.close(Closing::Escalated { child: index, reason });
    }

    /// A child ended, or could not start. `random` in 0.0 to 1.0 spreads its restart. True when it will be restarted
    /// because of this end.
    pub(crate) fn ended(&mut self, index: usize, exit: &Exit, now: Instant, random: f64) -> bool {
        let slot = &mut self.slots[index];
        let was = slot.phase;
        let asked = slot.must_stop.take();
        if let Phase::Stopping(after) = was {
            slot.phase = settle(after);
            slot.fresh &= slot.phase != Phase::Ended;
            return false;
        }
        slot.fresh = false;
        if self.closing.is_some() || slot.leaving {
            slot.phase = Phase::Ended;
            return false;
        }
        let up = match was {
            Phase::Up(since) => Some(now.saturating_duration_since(since)),
            _ => None,
        };
        if !restarts(slot.rules.restart, exit) {
            self.leave(index, asked);
            return false;
        }
        self.restart(index, exit, up, now, random)
    }

    /// A child ended and is not restarted for that.
    fn leave(&mut self, index: usize, asked: Option<After>) {
        let slot = &mut self.slots[index];
        slot.in_order = false;
        slot.phase = Phase::Ended;
        if let Some(after) = asked {
            // It ended just before it would have been stopped with its siblings: as if it had been.
            slot.phase = settle(after);
            slot.in_order = true;
            return;
        }
        let significant = slot.rules.significant;
        let alive = self
            .slots
            .iter()
            .filter(|slot| slot.rules.significant && !slot.leaving && slot.phase != Phase::Ended)
            .count();
        if shuts_down(self.rules.auto_shutdown, significant, alive) {
            self.close(Closing::AutoShutdown);
        }
    }

    fn restart(&mut self, index: usize, exit: &Exit, up: Option<Duration>, now: Instant, random: f64) -> bool {
        let Rules { intensity, period, .. } = self.rules;
        let slot = &mut self.slots[index];
        let window = match self.rules.scope {
            IntensityScope::Supervisor => &mut self.window,
            IntensityScope::Child => &mut slot.window,
        };
        if !window.admit(now, intensity, period) {
            slot.phase = Phase::Ended;
            let reason = exit.reason().to_owned();
            self.close(Closing::Escalated { child: index, reason });
            return false;
        }
        let failures = backoff::failures_after(&slot.rules.backoff, slot.failures, up);
        let due = now + backoff::delay(&slot.rules.backoff, failures, random);
        slot.failures = failures.saturating_add(1);
        slot.restarted = true;
        let alone = self.rules.strategy == Strategy::OneForOne;
        slot.phase = Phase::Waiting(due);
        slot.in_order |= !alone;
        for other in affected(self.rules.strategy, index, self.slots.len()) {
            if other != index {
                self.take_along(other, due);
            }
        }
        true
    }

    /// A sibling's restart restarts this child too; a temporary one is only stopped.
    fn take_along(&mut self, index: usize, due: Instant) {
        let slot = &mut self.slots[index];
        if slot.leaving {
            return;
        }
        let temporary = slot.rules.restart == Restart::Temporary;
        let after = if temporary { After::End } else { After::Restart(due) };
        match slot.phase {
            Phase::Starting | Phase::Up(_) => slot.must_stop = Some(after),
            Phase::Stopping(_) => slot.phase = Phase::Stopping(after),
            // A first start that has not come yet stays one, temporary or not.
            Phase::Waiting(planned) => slot.phase = Phase::Waiting(planned.max(due)),
            Phase::Ended => slot.phase = settle(after),
        }
        slot.in_order = true;
    }

    /// What to do now. Each action is given once; call again after every event.
    pub(crate) fn actions(&mut self, now: Instant) -> Vec<Action> {
        let mut actions = Vec::new();
        if self.slots.iter().any(|slot| matches!(slot.phase, Phase::Stopping(_))) {
            // One after the other: the next stop waits for this one.
        } else if let Some(index) = self.slots.iter().rposition(|slot| slot.must_stop.is_some() && slot.runs()) {
            let slot = &mut self.slots[index];
            let after = slot.must_stop.take().unwrap_or(After::End);
            slot.phase = Phase::Stopping(after);
            slot.in_order = true;
            actions.push(Action::Stop(index));
        } else if let Some(closing) = &self.closing {
            actions.push(Action::End(closing.clone()));
            return actions;
        }
        if self.closing.is_none() {
            self.starts(now, &mut actions);
        }
        actions
    }

    fn starts(&mut self, now: Instant, actions: &mut Vec<Action>) {
        let stopping =
            self.slots.iter().any(|slot| matches!(slot.phase, Phase::Stopping(_)) || slot.must_stop.is_some());
        let mut held_up = stopping;
        let mut wake_at: Option<Instant> = None;
        for (index, slot) in self.slots.iter_mut().enumerate() {
            if let Phase::Waiting(due) = slot.phase {
                let turn = !(slot.in_order && held_up);
                if turn && due <= now {
                    slot.phase = Phase::Starting;
                    actions.push(Action::Start(index));
                } else if turn {
                    wake_at = Some(wake_at.map_or(due, |at| at.min(due)));
                }
            }
            held_up |= slot.holds_up();
        }
        actions.extend(wake_at.map(Action::WakeAt));
    }
}

fn settle(after: After) -> Phase {
    match after {
        After::Restart(due) => Phase::Waiting(due),
        After::End => Phase::Ended,
    }
}

#[cfg(test)]
mod tests;
