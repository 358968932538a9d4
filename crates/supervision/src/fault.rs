//! Named points at which a test may make the program fail. Without the cargo feature `faults` a point is nothing.
//!
//! Points of this crate: `actor.pre_start`, `actor.handle` (before each message), `actor.post_stop`. Programs add their
//! own between the steps whose order matters, for instance between writing and acknowledging.

#[cfg(feature = "faults")]
pub use enabled::{Fault, clear, hits, point, set};

#[cfg(feature = "faults")]
pub(crate) use enabled::scope;

#[cfg(not(feature = "faults"))]
pub use disabled::point;

#[cfg(not(feature = "faults"))]
pub(crate) use disabled::scope;

#[cfg(not(feature = "faults"))]
mod disabled {
    use std::future::{Future, Ready, ready};
    use std::sync::Arc;

    use crate::actor::{Failure, Message};
    use crate::mailbox::Mailbox;

    /// A point at which a test may make the program fail; nothing in this build.
    ///
    /// # Errors
    /// None in this build.
    #[inline(always)]
    pub fn point(_name: &'static str) -> Ready<Result<(), Failure>> {
        ready(Ok(()))
    }

    #[inline(always)]
    pub(crate) fn scope<M: Message, F: Future>(_mailbox: Arc<Mailbox<M>>, future: F) -> F {
        future
    }
}

#[cfg(feature = "faults")]
mod enabled {
    use std::collections::HashMap;
    use std::future::Future;
    use std::sync::{Arc, Mutex, OnceLock};
    use std::time::Duration;

    use crate::actor::{Failure, Message};
    use crate::cell::{Cell, StopReason};
    use crate::mailbox::Mailbox;
    use crate::sync::lock;

    /// What happens at a point.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum Fault {
        /// Nothing.
        Continue,
        /// The actor that reached the point is killed; outside of an actor the task waits for ever.
        Kill,
        /// A panic.
        Panic,
        /// The point returns an error.
        Fail,
        /// The task waits for ever.
        Hang,
        /// The task waits this long.
        Slow(Duration),
    }

    type Hook = Arc<dyn Fn(&str) -> Fault + Send + Sync>;

    #[derive(Default)]
    struct Point {
        hook: Option<Hook>,
        hits: u64,
    }

    static POINTS: OnceLock<Mutex<HashMap<&'static str, Point>>> = OnceLock::new();

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

    /// Takes all hooks away and forgets all counts.
    pub fn clear() {
        lock(points()).clear();
    }

    /// How often a point was reached since the last [`clear`], whether it had a hook or not.
    pub fn hits(name: &str) -> u64 {
        lock(points()).get(name).map_or(0, |point| point.hits)
    }

    /// A point at which a test may make the program fail.
    ///
    /// # Errors
    /// When the hook says [`Fault::Fail`].
    ///
    /// # Panics
    /// When the hook says [`Fault::Panic`].
    pub async fn point(name: &'static str) -> Result<(), Failure> {
        let hook = {
            let mut points = lock(points());
            let point = points.entry(name).or_default();
            point.hits += 1;
            point.hook.clone()
        };
        let Some(hook) = hook else { return Ok(()) };
        let current = CURRENT.try_with(Arc::clone).ok();
        match hook(current.as_ref().map_or("", |cell| cell.path())) {
            Fault::Continue => {}
            Fault::Kill => {
                if let Some(cell) = current {
                    cell.kill(StopReason::Asked);
                }
                std::future::pending::<()>().await;
            }
            Fault::Panic => panic!("fault injected at {name}"),
            Fault::Fail => return Err(format!("fault injected at {name}").into()),
            Fault::Hang => std::future::pending::<()>().await,
            Fault::Slow(delay) => tokio::time::sleep(delay).await,
        }
        Ok(())
    }

    /// Lets the points inside know which actor reaches them.
    pub(crate) async fn scope<M: Message, F: Future>(mailbox: Arc<Mailbox<M>>, future: F) -> F::Output {
        let cell: Arc<dyn Cell> = mailbox;
        CURRENT.scope(cell, future).await
    }
}
