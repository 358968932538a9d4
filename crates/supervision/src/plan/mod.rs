//! The tree as the file says it: every default filled in, every reference resolved, with the line of each entry.
//!
//! Words are OTP's where OTP has one. A plan is data: [`Plan::parse`] makes it or says what is wrong with the file,
//! [`crate::Tree::start`] runs it.

mod diff;
mod duration;
mod error;
mod parse;
mod policy;
mod reader;
mod render;
mod resolve;

use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::catalog::Catalog;

pub use diff::{Change, Diff, Entry};
pub use duration::{Timeout, parse_duration};
pub use error::{PlanError, Problem};
pub use policy::{ChildPolicy, SupervisorPolicy, WorkerPolicy};

/// An enum whose variants have a name in the file.
macro_rules! choice {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name { $($(#[$variant_doc])* $variant,)+ }

        impl $name {
            /// All values, by their name in the file.
            pub const ALL: &'static [(&'static str, Self)] = &[$(($text, Self::$variant),)+];

            /// The name in the file.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }
    };
}

choice! {
    /// Who is restarted with a child that failed.
    Strategy {
        /// Only the child itself.
        OneForOne = "one_for_one",
        /// All children.
        OneForAll = "one_for_all",
        /// The child and those after it in the list.
        RestForOne = "rest_for_one",
        /// Only the child itself, of many of one kind, started while the tree runs.
        SimpleOneForOne = "simple_one_for_one",
    }
}

choice! {
    /// After which ends a child is started again.
    Restart {
        /// After every one.
        Permanent = "permanent",
        /// After an abnormal one: an error, a panic, a kill.
        Transient = "transient",
        /// Never.
        Temporary = "temporary",
    }
}

choice! {
    /// What a full mailbox does.
    Overflow {
        /// `send` waits for room, `try_send` is refused.
        Backpressure = "backpressure",
        /// Both are refused.
        Reject = "reject",
        /// The new message is dropped and counted.
        DropNewest = "drop_newest",
        /// The oldest message is dropped and counted.
        DropOldest = "drop_oldest",
    }
}

choice! {
    /// What happens to queued messages on an orderly stop.
    StopMode {
        /// They are handled, as far as the shutdown time allows.
        Drain = "drain",
        /// They are dropped after the current one.
        Stop = "stop",
    }
}

choice! {
    /// What the watchdog does about a handler over its limit.
    WatchdogAction {
        /// Ends the incarnation; an abnormal end.
        Kill = "kill",
        /// Logs and counts it, once a message.
        Warn = "warn",
        /// Nothing.
        Off = "off",
    }
}

choice! {
    /// Whose restarts are counted against the intensity.
    IntensityScope {
        /// Those of all children together, as in OTP.
        Supervisor = "supervisor",
        /// Those of each child apart. A pool gives up a child that is over it; other supervisors escalate.
        Child = "child",
    }
}

choice! {
    /// When a supervisor ends by itself, normally, because significant children ended.
    AutoShutdown {
        /// It does not.
        Never = "never",
        /// When one ended.
        AnySignificant = "any_significant",
        /// When all ended.
        AllSignificant = "all_significant",
    }
}

choice! {
    /// From when a pool child's `ttl` counts.
    TtlFrom {
        /// From each start of the child, a restart too.
        Start = "start",
        /// From its creation, as the starter says it; restarts never prolong it.
        CreatedAt = "created_at",
    }
}

/// How a child is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shutdown {
    /// In an orderly way, but killed when this time is over.
    Within(Timeout),
    /// Killed at once.
    BrutalKill,
}

impl Serialize for Shutdown {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl std::fmt::Display for Shutdown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Within(timeout) => timeout.fmt(f),
            Self::BrutalKill => f.write_str("brutal_kill"),
        }
    }
}

/// The bound of a mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct MailboxPlan {
    /// Messages, 1 or more.
    pub capacity: usize,
    /// What happens at the capacity.
    pub overflow: Overflow,
}

/// How long a handler may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct WatchdogPlan {
    /// The limit for one message.
    #[serde(serialize_with = "duration::serialize")]
    pub handler_max: Duration,
    /// What happens at the limit.
    pub action: WatchdogAction,
}

/// How long a failed child waits for its restart: `min * factor^n`, at most `max`, give or take `jitter` of it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct BackoffPlan {
    /// Before the first restart.
    #[serde(serialize_with = "duration::serialize")]
    pub min: Duration,
    /// Never longer than this.
    #[serde(serialize_with = "duration::serialize")]
    pub max: Duration,
    /// 1.0 or more.
    pub factor: f64,
    /// A share of the delay, 0.0 to 1.0.
    pub jitter: f64,
    /// A child that was up this long begins at `min` again.
    #[serde(serialize_with = "duration::serialize")]
    pub reset_after: Duration,
}

/// How many instances a worker has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Instances {
    /// One, under the id itself.
    One,
    /// This many, as `id.0` and so on.
    Count(u32),
    /// As many as the program says under this name (`Catalog::instances`).
    Named(String),
}

/// What the operator allows to be broken on purpose.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Chaos {
    /// Whether killing actors may be offered to operators.
    pub allow_kill: bool,
    /// Kills actors for as long as the tree runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kill_at_random: Option<KillAtRandom>,
}

/// One actor after another is killed: for a staging deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KillAtRandom {
    /// The mean time between two kills; each wait is between half of it and one and a half.
    #[serde(serialize_with = "duration::serialize")]
    pub every: Duration,
    /// Paths in the tree, instances by their common id: these, and what is below them. Empty: everybody. Supervisors are not killed.
    pub only: Vec<String>,
}

impl KillAtRandom {
    /// Whether it may kill the actor at a path.
    pub(crate) fn names(&self, path: &str) -> bool {
        let is_in = |only: &String| match path.strip_prefix(only.as_str()) {
            Some(rest) => rest.is_empty() || rest.starts_with('/') || is_instance(rest),
            None => false,
        };
        self.only.is_empty() || self.only.iter().any(is_in)
    }
}

/// `.3`, as instances have it behind their common id.
fn is_instance(rest: &str) -> bool {
    rest.strip_prefix('.').is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// A worker's own part of its child spec.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WorkerPlan {
    /// Which actor, by its name in the catalog.
    pub start: String,
    /// How many of it.
    pub instances: Instances,
    /// What an orderly stop does with queued messages.
    pub stop_mode: StopMode,
    /// Its bound.
    pub mailbox: MailboxPlan,
    /// The limit of its handlers.
    pub watchdog: WatchdogPlan,
}

/// What a child is.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Role {
    /// An actor of the catalog.
    Worker(WorkerPlan),
    /// A further supervisor.
    Supervisor(SupervisorPlan),
}

/// One entry of a supervisor's children.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ChildPlan {
    /// Unique among its siblings.
    pub id: String,
    /// Line of the entry in the file.
    pub line: usize,
    /// After which ends it is started again.
    pub restart: Restart,
    /// How it is stopped.
    pub shutdown: Shutdown,
    /// How long a start may take.
    pub start_timeout: Timeout,
    /// Whether its end counts for the supervisor's `auto_shutdown`.
    pub significant: bool,
    /// How long it waits for a restart.
    pub backoff: BackoffPlan,
    /// What it is.
    pub role: Role,
}

/// The one kind of child of a pool.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PoolChildPlan {
    /// Which actor, by its name in the catalog.
    pub start: String,
    /// Line of the entry in the file.
    pub line: usize,
    /// After which ends it is started again.
    pub restart: Restart,
    /// How it is stopped.
    pub shutdown: Shutdown,
    /// What an orderly stop does with queued messages.
    pub stop_mode: StopMode,
    /// How long a start may take.
    pub start_timeout: Timeout,
    /// Its bound.
    pub mailbox: MailboxPlan,
    /// The limit of its handlers.
    pub watchdog: WatchdogPlan,
    /// How long it waits for a restart.
    pub backoff: BackoffPlan,
    /// How long it lives at most.
    #[serde(serialize_with = "duration::serialize_option")]
    pub ttl: Option<Duration>,
    /// From when `ttl` counts.
    pub ttl_from: TtlFrom,
    /// How long it lives without anything to do.
    #[serde(serialize_with = "duration::serialize_option")]
    pub idle_ttl: Option<Duration>,
}

/// A `simple_one_for_one` supervisor's own part.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PoolPlan {
    /// Among how many supervisors the children are spread.
    pub partitions: u32,
    /// How many children there may be in all.
    pub max_children: usize,
    /// What the children are.
    pub child: PoolChildPlan,
}

/// What a supervisor looks after.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Children {
    /// A list, started in its order and stopped in reverse.
    List(Vec<ChildPlan>),
    /// Any number of one kind.
    Pool(PoolPlan),
}

/// A supervisor and all below it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SupervisorPlan {
    /// Unique in the file.
    pub id: String,
    /// Line of the table in the file.
    pub line: usize,
    /// Who is restarted with a child that failed.
    pub strategy: Strategy,
    /// How many restarts within `period` are borne; one more escalates.
    pub intensity: u32,
    /// See `intensity`.
    #[serde(serialize_with = "duration::serialize")]
    pub period: Duration,
    /// Whose restarts are counted.
    pub intensity_scope: IntensityScope,
    /// When it ends by itself.
    pub auto_shutdown: AutoShutdown,
    /// What it looks after.
    pub children: Children,
}

/// A whole tree, ready to start.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Plan {
    pub(crate) file: String,
    pub(crate) chaos: Chaos,
    pub(crate) root: SupervisorPlan,
}

impl Plan {
    /// Reads a plan; `file` is its name in messages.
    ///
    /// # Errors
    /// All that is wrong with the text, each with its line: TOML syntax, unknown keys, unknown names, bad values,
    /// duplicate ids, cycles, supervisors that nobody or more than one refers to.
    pub fn parse(text: &str, file: &str) -> Result<Self, PlanError> {
        parse::parse(text, file)
    }

    /// Compares the plan with what the program can start.
    ///
    /// # Errors
    /// Names that the catalog lacks, with their lines, and names of the catalog that the plan does not use: the
    /// running tree equals the file.
    pub fn check(&self, catalog: &Catalog) -> Result<(), PlanError> {
        catalog.check(self)
    }

    /// The root supervisor, with all below it.
    pub fn root(&self) -> &SupervisorPlan {
        &self.root
    }

    /// What may be broken on purpose.
    pub fn chaos(&self) -> &Chaos {
        &self.chaos
    }

    /// The file's name in messages.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The resolved tree as text, one line an entry, with every default filled in.
    pub fn render(&self) -> String {
        render::render(self)
    }
}

impl std::fmt::Display for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.render())
    }
}
