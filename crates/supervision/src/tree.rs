//! A running tree.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use ractor::{Actor as _, ActorRef};
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::catalog::Catalog;
use crate::chaos;
use crate::inspect::{self, PoolChildSnapshot, Snapshot, Status};
use crate::node::{Builder, Node};
use crate::plan::{Chaos, Plan, PlanError};
use crate::supervisor::{Arguments, Command, Parent, Supervisor};
use crate::sync::lock;
use crate::watchdog;

/// How many children of each pool [`Tree::inspect`] shows.
const INSPECT_CHILDREN_MAX: usize = 20;

/// How many children [`Tree::children`] returns at most.
const PAGE_MAX: usize = 1000;

/// How a tree ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exit {
    /// [`Tree::shutdown`], or the last handle was dropped.
    Shutdown,
    /// The root's significant children ended.
    AutoShutdown,
    /// The root's intensity was exceeded, or the root was killed.
    Escalated {
        /// The path of the supervisor that gave up last.
        supervisor: String,
        /// Which children failed, and why.
        reason: String,
    },
}

/// A tree that could not start.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// The plan does not fit the program.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The program uses an address of an instance that the plan does not have.
    #[error("the program uses the address of an instance of `{start}` beyond the {count} in the tree")]
    Instance {
        /// The `start` name.
        start: String,
        /// How many instances the plan has.
        count: u32,
    },
    /// A child did not start, as often as its supervisors bear.
    #[error("the tree did not start: {reason}")]
    Start {
        /// The path of the supervisor that gave up last.
        supervisor: String,
        /// Which children failed, and why.
        reason: String,
    },
    /// The tree ended by itself while it started.
    #[error("the tree ended while it started")]
    Ended,
}

/// Nothing runs at a path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no actor runs at `{path}`")]
pub struct NotFound {
    /// The path that was asked for.
    pub path: String,
}

/// Waits for the end of a tree, without a handle to it.
async fn has_ended(mut ended: watch::Receiver<Option<Exit>>) {
    // An error means that nobody is left to say it.
    let _ = ended.wait_for(Option::is_some).await;
}

struct Inner {
    root: Arc<Node>,
    supervisor: ActorRef<Command>,
    ended: watch::Receiver<Option<Exit>>,
    chaos: Chaos,
    tasks: Vec<AbortHandle>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Without a handle nobody could stop it any more.
        self.root.kill_self();
        self.supervisor.kill();
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// A handle to a running tree; cheap to clone. When the last one is dropped, everything in the tree is killed: use
/// [`Tree::shutdown`] for an orderly end.
#[derive(Clone)]
pub struct Tree(Arc<Inner>);

impl Tree {
    /// Starts a tree, in order, and returns once every listed child is up. A child that does not start is tried again
    /// as its supervisor's intensity allows.
    ///
    /// # Errors
    /// When the plan does not fit the catalog, or a start failed too often. Nothing runs then.
    pub async fn start(plan: Plan, catalog: Catalog) -> Result<Self, TreeError> {
        plan.check(&catalog)?;
        let mut builder = Builder { catalog: &catalog, numbers: BTreeMap::new(), delays: Vec::new() };
        let root = builder.root(&plan.root);
        for (start, count) in &builder.numbers {
            let fits = catalog.worker(start).is_none_or(|starter| starter.fix_len(*count));
            if !fits {
                return Err(TreeError::Instance { start: start.clone(), count: *count });
            }
        }
        let delays = std::mem::take(&mut builder.delays);
        let mut tasks: Vec<AbortHandle> =
            delays.into_iter().map(|delays| tokio::spawn(async move { delays.drive().await }).abort_handle()).collect();
        tasks.push(tokio::spawn(watchdog::watch(Arc::clone(&root))).abort_handle());
        let targets = Arc::clone(&root);
        let tree = Self::start_root(root, plan.chaos.clone(), tasks).await?;
        if let Some(kills) = plan.chaos.kill_at_random {
            // Only once it is up, and as long as it runs.
            let ended = tree.0.ended.clone();
            tokio::spawn(async move {
                tokio::select! {
                    biased;
                    () = has_ended(ended) => {}
                    () = chaos::kill_at_random(targets, kills) => {}
                }
            });
        }
        Ok(tree)
    }

    async fn start_root(root: Arc<Node>, chaos: Chaos, tasks: Vec<AbortHandle>) -> Result<Self, TreeError> {
        let (up, mut is_up) = watch::channel(false);
        let exit = Arc::new(Mutex::new(None));
        let arguments =
            Arguments { node: Arc::clone(&root), parent: Parent::Tree { up }, exit: Some(Arc::clone(&exit)) };
        let (supervisor, task) = Supervisor::spawn(None, Supervisor, arguments)
            .await
            .map_err(|error| TreeError::Start { supervisor: root.path.to_string(), reason: error.to_string() })?;
        {
            let mut record = lock(&root.record);
            record.status = Status::Running;
            record.actor = Some(supervisor.get_cell());
            record.starts = 1;
        }
        let (end, mut ended) = watch::channel(None);
        let node = Arc::clone(&root);
        tokio::spawn(async move {
            // The task itself never fails: ractor catches panics in it.
            let _ = task.await;
            let mut record = lock(&node.record);
            record.status = Status::Stopped;
            record.actor = None;
            drop(record);
            let killed = || Exit::Escalated { supervisor: node.path.to_string(), reason: "killed".to_owned() };
            let exit = lock(&exit).take().unwrap_or_else(killed);
            end.send_replace(Some(exit));
        });
        let tree = Self(Arc::new(Inner { root, supervisor, ended: ended.clone(), chaos, tasks }));
        tokio::select! {
            biased;
            // An error means that the root ended before it was up; the other branch says how.
            Ok(_) = is_up.wait_for(|up| *up) => Ok(tree),
            exit = async { ended.wait_for(Option::is_some).await.ok().and_then(|exit| exit.clone()) } => match exit {
                Some(Exit::Escalated { supervisor, reason }) => Err(TreeError::Start { supervisor, reason }),
                _ => Err(TreeError::Ended),
            },
        }
    }

    /// The whole tree as it stands; of each pool the first 20 children. Waits for nobody.
    pub fn inspect(&self) -> Snapshot {
        inspect::snapshot(&self.0.root, INSPECT_CHILDREN_MAX)
    }

    /// A page of a pool's children in the order of their keys: those after the key `after`, at most `limit` and 1000.
    ///
    /// # Errors
    /// [`NotFound`] when there is no pool at `path`.
    pub fn children(&self, path: &str, after: Option<&str>, limit: usize) -> Result<Vec<PoolChildSnapshot>, NotFound> {
        let mut pool = None;
        self.0.root.walk(&mut |node| {
            if *node.path == *path {
                pool = node.pool();
            }
        });
        match pool {
            Some(pool) => Ok(pool.children(after, limit.min(PAGE_MAX))),
            None => Err(NotFound { path: path.to_owned() }),
        }
    }

    /// Kills the actor at a path, also a supervisor or a pool's child (`path of the pool/key`): an abnormal end. For
    /// fault tests, and for operators where [`Chaos::allow_kill`] says so.
    ///
    /// # Errors
    /// [`NotFound`] when nothing runs there.
    pub fn kill(&self, path: &str) -> Result<(), NotFound> {
        if self.0.root.kill(path) {
            return Ok(());
        }
        Err(NotFound { path: path.to_owned() })
    }

    /// Kills in the midst of work, as the order says, and measures the restart.
    ///
    /// # Errors
    /// [`Missed`](crate::fault::Missed): nobody was killed.
    #[cfg(feature = "faults")]
    pub async fn strike(&self, order: crate::fault::Order) -> Result<crate::fault::Struck, crate::fault::Missed> {
        crate::fault::strike(&self.0.root, order).await
    }

    /// How many actors run: workers, pool children and supervisors.
    pub fn actor_count(&self) -> usize {
        inspect::actor_count(&self.0.root)
    }

    /// What the plan allows to be broken on purpose.
    pub fn chaos(&self) -> &Chaos {
        &self.0.chaos
    }

    /// Stops everything, children in reverse order, each as its spec says, and waits for the end. Calling it again
    /// waits too.
    pub async fn shutdown(&self) -> Exit {
        // Refused only when it has ended already.
        let _ = self.0.supervisor.cast(Command::Shutdown);
        self.wait().await
    }

    /// Waits for the end of the tree, however it comes.
    pub async fn wait(&self) -> Exit {
        let mut ended = self.0.ended.clone();
        let exit = ended.wait_for(Option::is_some).await;
        // The sender says how the tree ended before it goes.
        exit.ok().and_then(|exit| exit.clone()).unwrap_or(Exit::Shutdown)
    }
}
