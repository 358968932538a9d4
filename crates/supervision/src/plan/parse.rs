//! From text to plan. All mistakes are gathered before it gives up.

use std::collections::BTreeMap;
use std::time::Duration;

use toml::de::{DeTable, DeValue};

use super::error::{PlanError, Problem};
use super::reader::{Problems, Section};
use super::resolve::{Draft, DraftChild, DraftRole, resolve};
use super::{
    AutoShutdown, BackoffPlan, Chaos, Children, Instances, IntensityScope, KillAtRandom, MailboxPlan, Overflow, Plan,
    PoolChildPlan, PoolPlan, Restart, Role, Shutdown, StopMode, Strategy, SupervisorPlan, Timeout, TtlFrom,
    WatchdogAction, WatchdogPlan, WorkerPlan,
};

/// The only version of the file's form so far.
const SCHEMA: u64 = 1;
/// The most that a mailbox, a pool and a list of instances can be told to hold.
const CAPACITY_MAX: u64 = 1 << 24;
const CHILDREN_MAX: u64 = 1 << 24;
const INSTANCES_MAX: u64 = 1 << 16;
const PARTITIONS_MAX: u64 = 1 << 10;
const INTENSITY_MAX: u64 = 1_000_000;

/// Keys of a child that only workers have.
const WORKER_KEYS: [&str; 5] = ["start", "instances", "stop_mode", "mailbox", "watchdog"];
/// Keys that only the child of a pool has.
const POOL_CHILD_KEYS: [&str; 3] = ["ttl", "ttl_from", "idle_ttl"];

impl Default for BackoffPlan {
    fn default() -> Self {
        Self {
            min: Duration::from_millis(50),
            max: Duration::from_secs(10),
            factor: 2.0,
            jitter: 0.2,
            reset_after: Duration::from_secs(30),
        }
    }
}

/// What `[defaults]` says, and what holds without it.
#[derive(Debug, Clone, Copy)]
struct Defaults {
    restart: Restart,
    shutdown: Shutdown,
    stop_mode: StopMode,
    start_timeout: Timeout,
    mailbox: MailboxPlan,
    watchdog: WatchdogPlan,
    backoff: BackoffPlan,
}

impl Default for Defaults {
    fn default() -> Self {
        let five_seconds = Timeout::After(Duration::from_secs(5));
        Self {
            restart: Restart::Permanent,
            shutdown: Shutdown::Within(five_seconds),
            stop_mode: StopMode::Drain,
            start_timeout: five_seconds,
            mailbox: MailboxPlan { capacity: 1024, overflow: Overflow::Backpressure },
            watchdog: WatchdogPlan { handler_max: Duration::from_secs(10), action: WatchdogAction::Kill },
            backoff: BackoffPlan::default(),
        }
    }
}

/// See [`Plan::parse`].
pub(super) fn parse(text: &str, file: &str) -> Result<Plan, PlanError> {
    let mut problems = Problems::new(text);
    let table = match DeTable::parse(text) {
        Ok(table) => table,
        Err(error) => {
            let line = error.span().map_or(0, |span| problems.line_of(span.start));
            let message = error.message().to_owned();
            return Err(PlanError::new(file, vec![Problem { line, message }]));
        }
    };
    let top = Section::new(table.get_ref(), 0..0, "the file");
    let plan = document(&mut problems, top, file);
    match plan {
        Some(plan) if problems.is_empty() => Ok(plan),
        _ => Err(PlanError::new(file, problems.into_found())),
    }
}

fn document(problems: &mut Problems<'_>, mut top: Section<'_, '_>, file: &str) -> Option<Plan> {
    if top.take("schema").is_none() {
        problems.add_line(1, format!("the file lacks `schema`; write schema = {SCHEMA}"));
    }
    top.integer(problems, "schema", SCHEMA..SCHEMA + 1);
    let root = top.text(problems, "root").unwrap_or_else(|| "root".to_owned());
    let root_line = problems.line_of(top.span_of("root").start);
    let defaults = match top.section(problems, "defaults") {
        Some(section) => read_defaults(problems, section),
        None => Defaults::default(),
    };
    let (chaos, only) = match top.section(problems, "chaos") {
        Some(section) => read_chaos(problems, section),
        None => Default::default(),
    };
    let mut drafts: BTreeMap<String, Draft> = BTreeMap::new();
    let mut are_all_read = true;
    for section in top.sections(problems, "supervisor", "supervisor") {
        let line = problems.line_of(section.span.start);
        let Some(draft) = supervisor(problems, section, &defaults) else {
            are_all_read = false;
            continue;
        };
        if let Some(first) = drafts.get(&draft.id) {
            let message = format!("duplicate supervisor `{}`; the first is in line {}", draft.id, first.line);
            problems.add_line(line, message);
            continue;
        }
        drafts.insert(draft.id.clone(), draft);
    }
    top.finish(problems, &[]);
    // A supervisor that could not be read would be missed by those that refer to it, which is no mistake of theirs.
    if !are_all_read {
        return None;
    }
    let root = resolve(problems, drafts, &root, root_line)?;
    for (line, path) in only.iter().filter(|(_, path)| !is_in_tree(&root, path)) {
        let message = format!(
            "`only` in [chaos] kill_at_random: nothing is at `{path}`; write a path such as `{}`, instances by their common id",
            root.id
        );
        problems.add_line(*line, message);
    }
    Some(Plan { file: file.to_owned(), chaos, root })
}

/// Chaos, and the paths that it names with their lines: whether they are in the tree is seen later.
fn read_chaos(problems: &mut Problems<'_>, mut section: Section<'_, '_>) -> (Chaos, Vec<(usize, String)>) {
    section.what = "[chaos]".to_owned();
    let mut chaos = Chaos { allow_kill: section.boolean(problems, "allow_kill").unwrap_or(false), ..Chaos::default() };
    let mut only = Vec::new();
    if let Some(mut kills) = section.section(problems, "kill_at_random") {
        only = kills.texts(problems, "only");
        let paths = only.iter().map(|(_, path)| path.clone()).collect();
        match kills.positive_duration(problems, "every") {
            Some(every) => chaos.kill_at_random = Some(KillAtRandom { every, only: paths }),
            None if kills.has("every") => {}
            None => problems.add(&kills.span, format!("{} lacks `every`", kills.what)),
        }
        kills.finish(problems, &[]);
    }
    section.finish(problems, &[]);
    (chaos, only)
}

/// Whether a path names a supervisor or a child.
fn is_in_tree(root: &SupervisorPlan, path: &str) -> bool {
    let Some(rest) = path.strip_prefix(root.id.as_str()) else { return false };
    let Some(rest) = rest.strip_prefix('/') else { return rest.is_empty() };
    let Children::List(children) = &root.children else { return false };
    children.iter().any(|child| match &child.role {
        Role::Supervisor(supervisor) => is_in_tree(supervisor, rest),
        Role::Worker(_) => child.id == rest,
    })
}

fn read_defaults(problems: &mut Problems<'_>, mut section: Section<'_, '_>) -> Defaults {
    section.what = "[defaults]".to_owned();
    let mut defaults = Defaults::default();
    common(problems, &mut section, &mut defaults);
    worker_common(problems, &mut section, &mut defaults);
    section.finish(problems, &[]);
    defaults
}

/// Reads what every child has; what is absent stays as it is.
fn common(problems: &mut Problems<'_>, section: &mut Section<'_, '_>, values: &mut Defaults) {
    if let Some(restart) = section.choice(problems, "restart", Restart::ALL) {
        values.restart = restart;
    }
    if section.take("shutdown").and_then(|value| value.get_ref().as_str()) == Some("brutal_kill") {
        values.shutdown = Shutdown::BrutalKill;
    } else if let Some(timeout) = section.timeout(problems, "shutdown") {
        values.shutdown = Shutdown::Within(timeout);
    }
    if let Some(timeout) = section.timeout(problems, "start_timeout") {
        values.start_timeout = timeout;
    }
    if let Some(backoff) = section.section(problems, "backoff") {
        values.backoff = read_backoff(problems, backoff, values.backoff);
    }
}

/// Reads what workers have besides.
fn worker_common(problems: &mut Problems<'_>, section: &mut Section<'_, '_>, values: &mut Defaults) {
    if let Some(mode) = section.choice(problems, "stop_mode", StopMode::ALL) {
        values.stop_mode = mode;
    }
    if let Some(mut mailbox) = section.section(problems, "mailbox") {
        if let Some(capacity) = mailbox.integer(problems, "capacity", 1..CAPACITY_MAX + 1) {
            values.mailbox.capacity = capacity as usize;
        }
        if let Some(overflow) = mailbox.choice(problems, "overflow", Overflow::ALL) {
            values.mailbox.overflow = overflow;
        }
        mailbox.finish(problems, &[]);
    }
    if let Some(mut watchdog) = section.section(problems, "watchdog") {
        if let Some(limit) = watchdog.positive_duration(problems, "handler_max") {
            values.watchdog.handler_max = limit;
        }
        if let Some(action) = watchdog.choice(problems, "action", WatchdogAction::ALL) {
            values.watchdog.action = action;
        }
        watchdog.finish(problems, &[]);
    }
}

fn read_backoff(problems: &mut Problems<'_>, mut section: Section<'_, '_>, mut values: BackoffPlan) -> BackoffPlan {
    if let Some(min) = section.duration(problems, "min") {
        values.min = min;
    }
    if let Some(max) = section.duration(problems, "max") {
        values.max = max;
    }
    if let Some(factor) = section.number(problems, "factor", 1.0, 1000.0) {
        values.factor = factor;
    }
    if let Some(jitter) = section.number(problems, "jitter", 0.0, 1.0) {
        values.jitter = jitter;
    }
    if let Some(reset_after) = section.duration(problems, "reset_after") {
        values.reset_after = reset_after;
    }
    if values.min > values.max {
        problems.add(&section.span, format!("`min` is more than `max` in {}", section.what));
    }
    section.finish(problems, &[]);
    values
}

fn supervisor(problems: &mut Problems<'_>, mut section: Section<'_, '_>, defaults: &Defaults) -> Option<Draft> {
    let line = problems.line_of(section.span.start);
    let id = id(problems, &mut section);
    if section.take("strategy").is_none() {
        let names: Vec<&str> = Strategy::ALL.iter().map(|(name, _)| *name).collect();
        problems.add(&section.span, format!("{} lacks `strategy`; use {}", section.what, names.join(", ")));
    }
    let strategy = section.choice(problems, "strategy", Strategy::ALL);
    let intensity = section.integer(problems, "intensity", 0..INTENSITY_MAX + 1).unwrap_or(3);
    let period = section.positive_duration(problems, "period").unwrap_or(Duration::from_secs(60));
    let scope = section.choice(problems, "intensity_scope", IntensityScope::ALL);
    let auto_shutdown = section.choice(problems, "auto_shutdown", AutoShutdown::ALL).unwrap_or(AutoShutdown::Never);
    let pool_keys = ["child", "partitions", "max_children"];
    let (children, pool) = if strategy == Some(Strategy::SimpleOneForOne) {
        section.refuse(problems, &["children"], "a simple_one_for_one supervisor has one `child`");
        let why = "the children of a simple_one_for_one supervisor are not significant";
        section.refuse(problems, &["auto_shutdown"], why);
        let pool = pool(problems, &mut section, defaults);
        section.finish(problems, &["children"]);
        (Some(Vec::new()), pool)
    } else {
        if strategy.is_some() {
            let why = "it needs strategy = \"simple_one_for_one\"";
            section.refuse(problems, &pool_keys, why);
        }
        let entries = section.sections(problems, "children", "child");
        let children = entries.into_iter().map(|entry| child(problems, entry, defaults, auto_shutdown));
        // All are read, for the mistakes in each.
        let children: Vec<Option<DraftChild>> = children.collect();
        section.finish(problems, &pool_keys);
        (children.into_iter().collect::<Option<Vec<_>>>(), None)
    };
    Some(Draft {
        id: id?,
        line,
        strategy: strategy?,
        intensity: u32::try_from(intensity).unwrap_or(u32::MAX),
        period,
        intensity_scope: scope.unwrap_or(IntensityScope::Supervisor),
        auto_shutdown,
        children: children?,
        pool,
    })
}

/// An id becomes part of a path.
fn id(problems: &mut Problems<'_>, section: &mut Section<'_, '_>) -> Option<String> {
    let id = section.required_text(problems, "id")?;
    let plain = id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
    if !plain {
        let span = section.span_of("id");
        problems.add(&span, format!("`id` in {}: use letters, digits, `_` and `-` only", section.what));
        return None;
    }
    Some(id)
}

fn child(
    problems: &mut Problems<'_>,
    mut section: Section<'_, '_>,
    defaults: &Defaults,
    auto_shutdown: AutoShutdown,
) -> Option<DraftChild> {
    let line = problems.line_of(section.span.start);
    let id = id(problems, &mut section);
    let kinds = [("worker", false), ("supervisor", true)];
    let is_supervisor = section.choice(problems, "type", &kinds).unwrap_or(false);
    let mut values = *defaults;
    if is_supervisor {
        // OTP gives a supervisor all the time that its own children need.
        values.shutdown = Shutdown::Within(Timeout::Infinity);
        values.start_timeout = Timeout::Infinity;
    }
    common(problems, &mut section, &mut values);
    let significant = section.boolean(problems, "significant").unwrap_or(false);
    if significant && auto_shutdown == AutoShutdown::Never {
        let span = section.span_of("significant");
        problems
            .add(&span, format!("{} is significant, but its supervisor has auto_shutdown = \"never\"", section.what));
    }
    if significant && values.restart == Restart::Permanent {
        let span = section.span_of("significant");
        let message =
            format!("{} is significant and permanent; a significant child is transient or temporary", section.what);
        problems.add(&span, message);
    }
    section.refuse(problems, &POOL_CHILD_KEYS, "it belongs to the child of a simple_one_for_one supervisor");
    let role = if is_supervisor {
        section.refuse(problems, &WORKER_KEYS, "it belongs to workers");
        section.finish(problems, &[WORKER_KEYS.as_slice(), POOL_CHILD_KEYS.as_slice()].concat());
        Some(DraftRole::Supervisor)
    } else {
        let worker = worker(problems, &mut section, &mut values);
        section.finish(problems, &POOL_CHILD_KEYS);
        worker.map(DraftRole::Worker)
    };
    Some(DraftChild {
        id: id?,
        line,
        restart: values.restart,
        shutdown: values.shutdown,
        start_timeout: values.start_timeout,
        significant,
        backoff: values.backoff,
        role: role?,
    })
}

fn worker(problems: &mut Problems<'_>, section: &mut Section<'_, '_>, values: &mut Defaults) -> Option<WorkerPlan> {
    let start = section.required_text(problems, "start");
    let instances = match section.take("instances").map(|value| value.get_ref()) {
        None => Some(Instances::One),
        Some(DeValue::String(_)) => section.text(problems, "instances").map(Instances::Named),
        Some(_) => {
            let count = section.integer(problems, "instances", 1..INSTANCES_MAX + 1);
            count.map(|count| Instances::Count(u32::try_from(count).unwrap_or(u32::MAX)))
        }
    };
    worker_common(problems, section, values);
    Some(WorkerPlan {
        start: start?,
        instances: instances?,
        stop_mode: values.stop_mode,
        mailbox: values.mailbox,
        watchdog: values.watchdog,
    })
}

fn pool(problems: &mut Problems<'_>, section: &mut Section<'_, '_>, defaults: &Defaults) -> Option<PoolPlan> {
    let partitions = section.integer(problems, "partitions", 1..PARTITIONS_MAX + 1).unwrap_or(1);
    if section.take("max_children").is_none() {
        problems.add(&section.span, format!("{} lacks `max_children`: a pool has a bound", section.what));
    }
    let max_children = section.integer(problems, "max_children", 1..CHILDREN_MAX + 1);
    let what = format!("the child of {}", section.what);
    let Some(mut child) = section.section(problems, "child") else {
        if section.take("child").is_none() {
            problems.add(&section.span, format!("{} lacks `child`", section.what));
        }
        return None;
    };
    child.what = what;
    let line = problems.line_of(child.span.start);
    let mut values = *defaults;
    let start = child.required_text(problems, "start");
    common(problems, &mut child, &mut values);
    worker_common(problems, &mut child, &mut values);
    let ttl = child.positive_duration(problems, "ttl");
    let ttl_from = child.choice(problems, "ttl_from", TtlFrom::ALL);
    if ttl_from.is_some() && child.take("ttl").is_none() {
        problems.add(&child.span_of("ttl_from"), format!("`ttl_from` in {} needs `ttl`", child.what));
    }
    let idle_ttl = child.positive_duration(problems, "idle_ttl");
    let why = "the children of a pool are told apart by the keys that the program gives them";
    child.refuse(problems, &["id", "instances", "significant", "type"], why);
    child.finish(problems, &["id", "instances", "significant", "type"]);
    Some(PoolPlan {
        partitions: u32::try_from(partitions).unwrap_or(u32::MAX),
        max_children: max_children? as usize,
        child: PoolChildPlan {
            start: start?,
            line,
            restart: values.restart,
            shutdown: values.shutdown,
            stop_mode: values.stop_mode,
            start_timeout: values.start_timeout,
            mailbox: values.mailbox,
            watchdog: values.watchdog,
            backoff: values.backoff,
            ttl,
            ttl_from: ttl_from.unwrap_or(TtlFrom::Start),
            idle_ttl,
        },
    })
}
