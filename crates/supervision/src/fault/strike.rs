//! Kills in the midst of work, by order: at a named point, or at a moment of nobody's choosing.
//!
//! Invariants: an order kills once at most, and only while whom it names has work. At a point that is so: it is a step between a message
//! and its end. At other moments a message must be in work or queued, which is looked at under the mailbox's lock, together with the
//! kill. An order whose future is dropped kills nobody.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::Fault;
use crate::cell::{Cell, StopReason};
use crate::inspect::Status;
use crate::mailbox::Phase;
use crate::node::Node;
use crate::pool::PoolRuntime;
use crate::sync::lock;

/// Between looks for work; they take at most a tenth of the time, as each of them holds the lock of a mailbox, or of a pool.
const LOOK_AGAIN_AFTER_MIN: Duration = Duration::from_micros(20);
const LOOKS_SHARE: u32 = 9;
/// The resolution of restart times.
const BACK_EVERY: Duration = Duration::from_millis(1);

/// Whom to kill, and when.
///
/// Paths name one actor or supervisor, all instances of a child (`root/stream/writer`), or, with `/*` at the end, whatever is below:
/// children of a pool, for instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Who is killed. If it does not name the one with the work, it is the path of one actor or supervisor.
    pub target: String,
    /// Who has the work.
    pub by: String,
    /// When.
    pub moment: Moment,
    /// For the moment to come.
    pub within: Duration,
    /// For the next incarnation; zero where none is to come.
    pub restart_max: Duration,
}

/// When an order is carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Moment {
    /// Where a point is reached, after `nth` times.
    Point {
        /// Its name.
        name: String,
        /// 0: the next time.
        nth: u32,
    },
    /// While there is work.
    AtWork {
        /// Looked for from then on, again and again: the longer a step takes, the more often it is interrupted.
        after: Duration,
    },
}

/// Who was killed, and what it did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Struck {
    /// Who was killed.
    pub path: String,
    /// Who had the work.
    pub by: String,
    /// The message in work, of `by`.
    pub handling: Option<&'static str>,
    /// Messages queued there.
    pub depth: usize,
    /// From the kill until the next incarnation takes messages, a supervisor's with all below it. `None`: not by then.
    pub restart: Option<Duration>,
}

/// The moment did not come, or nothing ran that could be killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("missed: no work, or nobody there, in time")]
pub struct Missed;

/// The messages of an actor that is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Work {
    pub(crate) handling: Option<&'static str>,
    pub(crate) depth: usize,
}

struct Hit {
    victim: Victim,
    path: String,
    by: String,
    work: Work,
    at: Instant,
}

struct Armed {
    id: u64,
    root: Arc<Node>,
    target: String,
    by: String,
    point: String,
    left: u32,
    hit: oneshot::Sender<Option<Hit>>,
}

static ARMED: Mutex<Vec<Armed>> = Mutex::new(Vec::new());
/// As many as there are in `ARMED`: points are passed quickly where there is none.
static ARMED_COUNT: AtomicUsize = AtomicUsize::new(0);
static LAST_ID: AtomicU64 = AtomicU64::new(0);

fn names(pattern: &str, path: &str) -> bool {
    if let Some(above) = pattern.strip_suffix("/*") {
        return path.strip_prefix(above).is_some_and(|rest| rest.starts_with('/'));
    }
    let Some(rest) = path.strip_prefix(pattern) else { return false };
    let number = rest.strip_prefix('.').unwrap_or_default();
    rest.is_empty() || (!number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Carries an order out.
pub(crate) async fn strike(root: &Arc<Node>, order: Order) -> Result<Struck, Missed> {
    let Order { target, by, moment, within, restart_max } = order;
    let waited = match moment {
        Moment::Point { name, nth } => {
            let (armed, hit) = Standing::arm(root, target, by, name, nth);
            let waited = tokio::time::timeout(within, hit).await;
            drop(armed);
            waited.ok().and_then(Result::ok).flatten()
        }
        Moment::AtWork { after } => {
            let given_up = GivenUp::default();
            let (root, flag, deadline) = (Arc::clone(root), Arc::clone(&given_up.0), Instant::now() + within);
            let look = move || at_work(&root, &target, &by, after, (deadline, &*flag));
            tokio::task::spawn_blocking(look).await.ok().flatten()
        }
    };
    let hit = waited.ok_or(Missed)?;
    let give_up_at = hit.at + restart_max;
    let restart = loop {
        let now = Instant::now();
        if hit.victim.is_back() {
            break Some(now - hit.at);
        }
        if now >= give_up_at {
            break None;
        }
        tokio::time::sleep(BACK_EVERY).await;
    };
    Ok(Struck { path: hit.path, by: hit.by, handling: hit.work.handling, depth: hit.work.depth, restart })
}

/// Takes the order back when it is dropped.
struct Standing(u64);

impl Standing {
    fn arm(
        root: &Arc<Node>,
        target: String,
        by: String,
        point: String,
        left: u32,
    ) -> (Self, oneshot::Receiver<Option<Hit>>) {
        let id = LAST_ID.fetch_add(1, Ordering::Relaxed);
        let (hit, waited) = oneshot::channel();
        let mut armed = lock(&ARMED);
        armed.push(Armed { id, root: Arc::clone(root), target, by, point, left, hit });
        ARMED_COUNT.store(armed.len(), Ordering::Release);
        (Self(id), waited)
    }
}

impl Drop for Standing {
    fn drop(&mut self) {
        let mut armed = lock(&ARMED);
        armed.retain(|order| order.id != self.0);
        ARMED_COUNT.store(armed.len(), Ordering::Release);
    }
}

/// Tells a thread that nobody waits for it any more.
#[derive(Default)]
struct GivenUp(Arc<AtomicBool>);

impl Drop for GivenUp {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What an order makes of a point. `own`: reached by the actor's own task, which then goes no further than here.
pub(super) fn reached(point: &str, path: &str, own: bool) -> Option<Fault> {
    if ARMED_COUNT.load(Ordering::Acquire) == 0 {
        return None;
    }
    let order = {
        let mut armed = lock(&ARMED);
        let mut due = None;
        for (index, order) in armed.iter_mut().enumerate() {
            if order.point == point && names(&order.by, path) {
                match order.left.checked_sub(1) {
                    Some(left) => order.left = left,
                    None => due = due.or(Some(index)),
                }
            }
        }
        let order = armed.swap_remove(due?);
        ARMED_COUNT.store(armed.len(), Ordering::Release);
        order
    };
    let itself = names(&order.target, path);
    let victim = Victim::find(&order.root, if itself { path } else { &order.target });
    let work = Victim::find(&order.root, path).map_or(Work { handling: None, depth: 0 }, |by| by.work());
    let by_itself = itself && own;
    let killed = victim.filter(|victim| by_itself || victim.kill());
    let fault = if by_itself && killed.is_some() { Fault::Kill } else { Fault::Continue };
    let hit = killed.map(|victim| Hit {
        path: if itself { path.to_owned() } else { order.target.clone() },
        victim,
        by: path.to_owned(),
        work,
        at: Instant::now(),
    });
    // Nobody waits: its time is over.
    let _ = order.hit.send(hit);
    Some(fault)
}

/// Looks for work, and kills. Blocks its thread, which is none of the runtime's workers: so a kill comes at any step of a handler.
#[expect(clippy::disallowed_methods, reason = "a thread of its own")]
fn at_work(
    root: &Arc<Node>,
    target: &str,
    by: &str,
    after: Duration,
    (deadline, given_up): (Instant, &AtomicBool),
) -> Option<Hit> {
    let mut places: Vec<Arc<Node>> = Vec::new();
    let above = by.strip_suffix("/*");
    root.walk(&mut |node| {
        if above.map_or_else(|| names(by, &node.path), |above| *node.path == *above) {
            places.push(Arc::clone(node));
        }
    });
    std::thread::sleep(after);
    while Instant::now() < deadline && !given_up.load(Ordering::Relaxed) {
        let looked_at = Instant::now();
        if let Some(hit) = kill_at_work(root, target, &places) {
            return Some(hit);
        }
        std::thread::sleep(LOOK_AGAIN_AFTER_MIN.max(looked_at.elapsed() * LOOKS_SHARE));
    }
    None
}

/// The first that has work.
fn find_work(places: &[Arc<Node>]) -> Option<(String, Work)> {
    let mut found = None;
    for place in places {
        place.for_each_cell(&mut |cell| {
            if found.is_none() {
                found = cell.work().map(|work| (cell.path().to_owned(), work));
            }
        });
    }
    found
}

fn kill_at_work(root: &Arc<Node>, target: &str, places: &[Arc<Node>]) -> Option<Hit> {
    let (by, work) = find_work(places)?;
    if !names(target, &by) {
        let victim = Victim::find(root, target).filter(Victim::kill)?;
        return Some(Hit { victim, path: target.to_owned(), by, work, at: Instant::now() });
    }
    let victim = Victim::find(root, &by)?;
    let at = Instant::now();
    let work = match &victim {
        Victim::Worker { node, .. } => node.cell()?.kill_at_work()?,
        Victim::Child { cell, .. } => cell.kill_at_work()?,
        Victim::Supervisor { .. } => return None,
    };
    Some(Hit { victim, path: by.clone(), by, work, at })
}

/// Who is killed, as it was.
enum Victim {
    Worker { node: Arc<Node>, incarnation: u64 },
    Child { pool: Arc<dyn PoolRuntime>, key: String, cell: Arc<dyn Cell> },
    Supervisor { node: Arc<Node>, starts: u64 },
}

impl Victim {
    /// Of several instances the first.
    fn find(root: &Arc<Node>, path: &str) -> Option<Self> {
        let mut found = None;
        root.walk(&mut |node| {
            if found.is_none() && names(path, &node.path) {
                found = Some(match node.cell() {
                    Some(cell) => Self::Worker { node: Arc::clone(node), incarnation: cell.view().incarnation },
                    None => Self::Supervisor { node: Arc::clone(node), starts: lock(&node.record).starts },
                });
            } else if let (None, Some(pool), Some(rest)) = (&found, node.pool(), path.strip_prefix(&*node.path))
                && let Some(key) = rest.strip_prefix('/')
                && let Some(cell) = pool.cell(key)
            {
                found = Some(Self::Child { pool: Arc::clone(pool), key: key.to_owned(), cell });
            }
        });
        found
    }

    fn kill(&self) -> bool {
        match self {
            Self::Worker { node, .. } | Self::Supervisor { node, .. } => node.kill_self(),
            Self::Child { cell, .. } => cell.kill(StopReason::Asked),
        }
    }

    fn work(&self) -> Work {
        let cell = match self {
            Self::Worker { node, .. } => node.cell(),
            Self::Child { cell, .. } => Some(cell),
            Self::Supervisor { .. } => None,
        };
        let view = cell.map(|cell| cell.view());
        Work {
            handling: view.as_ref().and_then(|view| view.current).map(|current| current.kind),
            depth: view.map_or(0, |view| view.depth),
        }
    }

    fn is_back(&self) -> bool {
        match self {
            Self::Worker { node, incarnation } => node.cell().is_some_and(|cell| {
                let view = cell.view();
                view.phase == Phase::Open && view.incarnation > *incarnation
            }),
            Self::Child { pool, key, cell } => {
                pool.cell(key).is_some_and(|next| !Arc::ptr_eq(&next, cell) && next.view().phase == Phase::Open)
            }
            Self::Supervisor { node, starts } => {
                if lock(&node.record).starts <= *starts {
                    return false;
                }
                let mut all_up = true;
                node.walk(&mut |node| {
                    all_up &= lock(&node.record).status == Status::Running;
                    all_up &= node.cell().is_none_or(|cell| cell.view().phase == Phase::Open);
                });
                all_up
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::names;

    #[test]
    fn a_path_names_itself_its_instances_or_with_a_star_what_is_below() {
        assert!(names("root/stream/writer", "root/stream/writer"));
        assert!(names("root/stream/writer", "root/stream/writer.12"));
        assert!(!names("root/stream/writer", "root/stream/writers"));
        assert!(!names("root/stream/writer", "root/stream/writer."));
        assert!(!names("root/stream", "root/stream/writer.1"));
        assert!(names("root/ws_sessions/*", "root/ws_sessions/7"));
        assert!(!names("root/ws_sessions/*", "root/ws_sessions"));
        assert!(!names("root/ws/*", "root/ws_sessions/7"));
    }
}
