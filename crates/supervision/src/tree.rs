//! A running tree.

use std::sync::{Arc, Mutex};

use ractor::{Actor as _, ActorRef};
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::builder::{Builder, Seats};
use crate::catalog::Catalog;
use crate::chaos;
use crate::inspect::{self, PoolChildSnapshot, Snapshot, Status};
use crate::node::Node;
use crate::plan::{Change, Chaos, Diff, Plan, PlanError, Problem};
use crate::reload;
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

/// A plan that a running tree does not take over.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// The plan does not fit the program: that would not start with it either.
    #[error(transparent)]
    Plan(PlanError),
    /// The program has to be started anew for it: an actor that others have the address of would move, a pool would have another number of
    /// partitions, the root would be another one.
    #[error(transparent)]
    Restart(PlanError),
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

/// What the tree is to be.
struct Present {
    plan: Plan,
    seats: Seats,
    /// Kills at random, where the plan says so.
    kills: Option<AbortHandle>,
}

struct Inner {
    root: Arc<Node>,
    supervisor: ActorRef<Command>,
    ended: watch::Receiver<Option<Exit>>,
    catalog: Catalog,
    present: Mutex<Present>,
    tasks: Vec<AbortHandle>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Without a handle nobody could stop it any more.
        self.root.kill_self();
        self.supervisor.kill();
        for task in self.tasks.iter().chain(&lock(&self.present).kills) {
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
        let mut seats = Seats::default();
        seats.assign(&plan.root, &catalog).map_err(|problems| PlanError::new(&plan.file, problems))?;
        let mut builder = Builder { catalog: &catalog, seats: &seats, delays: Vec::new() };
        let root = builder.root(&plan.root);
        let delays = std::mem::take(&mut builder.delays);
        for (start, count) in seats.counts() {
            let fits = catalog.worker(start).is_none_or(|starter| starter.fix_len(count));
            if !fits {
                return Err(TreeError::Instance { start: start.to_owned(), count });
            }
        }
        let mut tasks: Vec<AbortHandle> =
            delays.into_iter().map(|delays| tokio::spawn(async move { delays.drive().await }).abort_handle()).collect();
        tasks.push(tokio::spawn(watchdog::watch(Arc::clone(&root))).abort_handle());
        let tree = Self::start_root(root, catalog, Present { plan, seats, kills: None }, tasks).await?;
        // Only once it is up.
        tree.arm_kills(&mut lock(&tree.0.present));
        Ok(tree)
    }

    /// Kills at random as the plan says, as long as the tree runs.
    fn arm_kills(&self, present: &mut Present) {
        if let Some(before) = present.kills.take() {
            before.abort();
        }
        let Some(kills) = present.plan.chaos.kill_at_random.clone() else { return };
        let (ended, targets) = (self.0.ended.clone(), Arc::clone(&self.0.root));
        let task = tokio::spawn(async move {
            tokio::select! {
                biased;
                () = has_ended(ended) => {}
                () = chaos::kill_at_random(targets, kills) => {}
            }
        });
        present.kills = Some(task.abort_handle());
    }

    async fn start_root(
        root: Arc<Node>,
        catalog: Catalog,
        present: Present,
        tasks: Vec<AbortHandle>,
    ) -> Result<Self, TreeError> {
        let (up, mut is_up) = watch::channel(false);
        let exit = Arc::new(Mutex::new(None));
        let place = root.place.take().await;
        let arguments =
            Arguments { node: Arc::clone(&root), place, parent: Parent::Tree { up }, exit: Some(Arc::clone(&exit)) };
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
        let tree = Self(Arc::new(Inner {
            root,
            supervisor,
            ended: ended.clone(),
            catalog,
            present: Mutex::new(present),
            tasks,
        }));
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
                pool = node.pool().cloned();
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

    /// What the plan allows to be broken on purpose, at present.
    pub fn chaos(&self) -> Chaos {
        lock(&self.0.present).plan.chaos.clone()
    }

    /// What would change with another plan. Changes nothing.
    ///
    /// # Errors
    /// [`ReloadError`], with all that is wrong.
    pub fn compare(&self, plan: &Plan) -> Result<Diff, ReloadError> {
        self.prepare(&lock(&self.0.present), plan).map(|(diff, _)| diff)
    }

    fn prepare(&self, present: &Present, plan: &Plan) -> Result<(Diff, Seats), ReloadError> {
        plan.check(&self.0.catalog).map_err(ReloadError::Plan)?;
        let diff = Diff::between(&present.plan, plan);
        if diff.changes().iter().any(|change| matches!(change, Change::Root(_))) {
            let message = "another root takes a restart of the program".to_owned();
            return Err(ReloadError::Restart(PlanError::new(
                &plan.file,
                vec![Problem { line: plan.root.line, message }],
            )));
        }
        let mut seats = present.seats.clone();
        let assigned = seats.assign(&plan.root, &self.0.catalog);
        assigned.map_err(|problems| ReloadError::Restart(PlanError::new(&plan.file, problems)))?;
        Ok((diff, seats))
    }

    /// Makes the running tree that of another plan, and returns what changed, with what resolves once the supervisors have carried it
    /// out. They do so whether that is awaited or not. Where a reload follows before that, the last plan holds.
    ///
    /// Policies change in place: who runs goes on running, with its queue, its backoff and its place in the window of restarts. Children
    /// that the plan has no more are stopped in order; then new ones are started in order, those that became another actor among them. No
    /// end of a child that this takes counts as a failure; a start that fails does, and is tried again as at any other time.
    ///
    /// # Errors
    /// As [`Tree::compare`]; nothing has changed then.
    pub fn reload(&self, plan: Plan) -> Result<(Diff, impl Future<Output = ()> + Send + use<>), ReloadError> {
        let mut present = lock(&self.0.present);
        let (diff, seats) = self.prepare(&present, &plan)?;
        for (start, count) in seats.counts() {
            if let Some(starter) = self.0.catalog.worker(start) {
                starter.extend_to(count);
            }
        }
        // A pool is never built anew here: it would have moved.
        let mut builder = Builder { catalog: &self.0.catalog, seats: &seats, delays: Vec::new() };
        reload::apply(&self.0.root, &diff, &mut builder);
        present.seats = seats;
        let is_other_chaos = present.plan.chaos != plan.chaos;
        present.plan = plan;
        if is_other_chaos {
            self.arm_kills(&mut present);
        }
        // Under the lock, so that supervisors are told in the order of the plans.
        let carried_out = reload::tell(&self.0.root, |done| Command::Reload { done: Some(done) });
        Ok((diff, carried_out))
    }

    /// Stops all running instances of some `start` names in order and starts them again, with new arguments. That counts as no failure;
    /// siblings go on, whatever the strategy. Returns what resolves once it is done; it is done whether that is awaited or not.
    pub fn renew(&self, starts: &[&str]) -> impl Future<Output = ()> + Send + use<> {
        let starts: Arc<[String]> = starts.iter().map(|start| (*start).to_owned()).collect();
        reload::tell(&self.0.root, move |done| Command::Renew { starts: Arc::clone(&starts), done })
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
