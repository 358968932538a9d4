//! The points as a build for tests has them.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::Future;
use std::rc::Rc;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use super::strike;
use crate::actor::{Failure, Message};
use crate::cell::{Cell, StopReason};
use crate::context::Context;
use crate::mailbox::Mailbox;
use crate::sync::lock;

/// What happens at a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    Continue,
    /// The actor that reached the point is killed; outside of an actor the task waits for ever.
    Kill,
    /// The actor's task is aborted, as a runtime that goes down does it; without a task of its own yet it is an error.
    Abort,
    /// A panic.
    Panic,
    /// The point returns an error.
    Fail,
    /// The task waits for ever.
    Hang,
    /// The task waits this long.
    Slow(Duration),
    /// Other tasks get so many turns first.
    Yield(u32),
    /// Only at `actor.reply`: who asked gets no answer.
    DropReply,
}

/// Which point was reached, and by whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reached<'a> {
    /// The name of the point.
    pub point: &'static str,
    /// The path of the actor that reached it, or that it is about; `""` outside of one.
    pub path: &'a str,
}

type Hook = Arc<dyn Fn(&str) -> Fault + Send + Sync>;
type LocalHook = Rc<dyn Fn(Reached<'_>) -> Fault>;

#[derive(Default)]
struct Point {
    hook: Option<Hook>,
    hits: u64,
}

static POINTS: OnceLock<Mutex<HashMap<&'static str, Point>>> = OnceLock::new();

thread_local! {
    static LOCAL: RefCell<Option<LocalHook>> = const { RefCell::new(None) };
}

tokio::task_local! {
    static CURRENT: Arc<dyn Cell>;
}

fn points() -> &'static Mutex<HashMap<&'static str, Point>> {
    POINTS.get_or_init(Mutex::default)
}

/// Decides what happens at a point from now on, in the whole process. The hook is given the path of the actor that
/// reached it, or `""` outside of one. It replaces an earlier hook.
pub fn set(name: &'static str, hook: impl Fn(&str) -> Fault + Send + Sync + 'static) {
    lock(points()).entry(name).or_default().hook = Some(Arc::new(hook));
}

/// Takes all hooks of the process away and forgets all counts.
pub fn clear() {
    lock(points()).clear();
}

/// How often a point was reached since the last [`clear`], whether it had a hook or not; not where a [`scoped`] hook decided.
pub fn hits(name: &str) -> u64 {
    lock(points()).get(name).map_or(0, |point| point.hits)
}

/// As long as this lives, its hook decides on its thread.
#[must_use = "dropping it takes the hook away"]
pub struct Scoped(Option<LocalHook>);

impl Drop for Scoped {
    fn drop(&mut self) {
        let before = self.0.take();
        LOCAL.with_borrow_mut(|local| *local = before);
    }
}

/// Decides what happens at all points that are reached on this thread, in place of the process's hooks: for programs on runtimes of
/// one thread each, several in a process.
pub fn scoped(hook: impl Fn(Reached<'_>) -> Fault + 'static) -> Scoped {
    let hook: LocalHook = Rc::new(hook);
    Scoped(LOCAL.with_borrow_mut(|local| local.replace(hook)))
}

/// `own`: the actor's own task reached it.
fn decide(name: &'static str, path: &str, own: bool) -> Fault {
    if let Some(fault) = strike::reached(name, path, own) {
        return fault;
    }
    if let Some(hook) = LOCAL.with_borrow(Option::clone) {
        return hook(Reached { point: name, path });
    }
    let hook = {
        let mut points = lock(points());
        let point = points.entry(name).or_default();
        point.hits += 1;
        point.hook.clone()
    };
    hook.map_or(Fault::Continue, |hook| hook(path))
}

/// A point at which a test may make the program fail.
///
/// # Errors
/// When the hook says [`Fault::Fail`].
///
/// # Panics
/// When the hook says [`Fault::Panic`].
pub async fn point(name: &'static str) -> Result<(), Failure> {
    let current = CURRENT.try_with(Arc::clone).ok();
    let fault = decide(name, current.as_ref().map_or("", |cell| cell.path()), true);
    carry_out(fault, name, current).await
}

/// The actor that code outside of its handlers belongs to: a callback, a helper. By default it belongs to none.
#[derive(Clone, Default)]
pub struct Place(Option<Arc<dyn Cell>>);

impl Place {
    /// The actor of this context.
    pub fn of<M: Message>(context: &Context<M>) -> Self {
        Self(Some(context.cell()))
    }

    /// As [`point`], on behalf of the actor.
    ///
    /// # Errors
    /// As [`point`].
    ///
    /// # Panics
    /// As [`point`].
    pub async fn point(&self, name: &'static str) -> Result<(), Failure> {
        let fault = decide(name, self.0.as_ref().map_or("", |cell| cell.path()), false);
        carry_out(fault, name, self.0.clone()).await
    }
}

/// As [`point`], about the actor at a path.
pub(crate) async fn point_at(name: &'static str, path: &str) -> Result<(), Failure> {
    match decide(name, path, false) {
        // There is no actor yet.
        Fault::Kill | Fault::Abort | Fault::Panic => Err(injected(name)),
        fault => carry_out(fault, name, None).await,
    }
}

/// A point where nothing can be waited for: the hook may act on others.
pub(crate) fn notice(name: &'static str, path: &str) {
    decide(name, path, false);
}

/// Whether who asked gets no answer.
pub(crate) fn drops_reply() -> bool {
    CURRENT.try_with(|cell| decide("actor.reply", cell.path(), false) == Fault::DropReply).unwrap_or(false)
}

fn injected(name: &str) -> Failure {
    format!("fault injected at {name}").into()
}

async fn carry_out(fault: Fault, name: &'static str, current: Option<Arc<dyn Cell>>) -> Result<(), Failure> {
    match fault {
        Fault::Continue | Fault::DropReply => {}
        Fault::Kill => {
            if let Some(cell) = current {
                cell.kill(StopReason::Asked);
            }
            std::future::pending::<()>().await;
        }
        Fault::Abort => match current {
            Some(cell) if cell.abort() => std::future::pending::<()>().await,
            _ => return Err(injected(name)),
        },
        Fault::Panic => panic!("fault injected at {name}"),
        Fault::Fail => return Err(injected(name)),
        Fault::Hang => std::future::pending::<()>().await,
        Fault::Slow(delay) => tokio::time::sleep(delay).await,
        Fault::Yield(turns) => {
            for _ in 0..turns {
                tokio::task::yield_now().await;
            }
        }
    }
    Ok(())
}

/// Lets the points inside know which actor reaches them.
pub(crate) async fn scope<M: Message, F: Future>(mailbox: Arc<Mailbox<M>>, future: F) -> F::Output {
    let cell: Arc<dyn Cell> = mailbox;
    CURRENT.scope(cell, future).await
}
