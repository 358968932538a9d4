//! The file: what it says with its defaults, and every mistake with its line.

use orinoco_supervision::plan::{Children, Role, Shutdown, Timeout};
use orinoco_supervision::{Catalog, Plan, Tree, TreeError};

use crate::support::{Probe, World, catalog};

const EXAMPLE: &str = r#"schema = 1
root = "root"

[defaults]
restart = "permanent"
shutdown = "5s"
stop_mode = "drain"
start_timeout = "5s"
mailbox = { capacity = 1024, overflow = "backpressure" }
watchdog = { handler_max = "10s", action = "kill" }
backoff = { min = "50ms", max = "10s", factor = 2.0, jitter = 0.2, reset_after = "30s" }

[chaos]
allow_kill = false

[[supervisor]]
id = "root"
strategy = "one_for_one"
intensity = 3
period = "60s"
auto_shutdown = "never"
children = [
  { id = "pool", type = "supervisor" },
  { id = "stream", type = "supervisor", shutdown = "20s" },
]

[[supervisor]]
id = "stream"
strategy = "rest_for_one"
intensity = 10
period = "10s"
children = [
  { id = "leases", start = "Probe" },
  { id = "writer", start = "Probe", instances = "per_partition", shutdown = "15s" },
  { id = "last", start = "Probe", instances = 2, shutdown = "brutal_kill", mailbox = { capacity = 7 } },
]

[[supervisor]]
id = "pool"
strategy = "simple_one_for_one"
partitions = 2
max_children = 120000
intensity = 5
period = "10s"
intensity_scope = "child"
child = { start = "Child", restart = "transient", shutdown = "1s", ttl = "120s", ttl_from = "created_at", mailbox = { capacity = 32, overflow = "reject" } }
"#;

#[test]
fn the_example_is_read_with_every_default_filled_in() {
    let plan = Plan::parse(EXAMPLE, "supervision.toml").unwrap();
    let Children::List(children) = &plan.root().children else { panic!("a list") };
    assert_eq!(children[0].shutdown, Shutdown::Within(Timeout::Infinity));
    let Role::Supervisor(stream) = &children[1].role else { panic!("a supervisor") };
    let Children::List(workers) = &stream.children else { panic!("a list") };
    let Role::Worker(last) = &workers[2].role else { panic!("a worker") };
    assert_eq!((last.mailbox.capacity, last.mailbox.overflow.as_str()), (7, "backpressure"));
    assert_eq!((workers[2].line, workers[2].shutdown), (35, Shutdown::BrutalKill));
    assert_eq!(
        plan.to_string(),
        "\
root supervisor strategy=one_for_one intensity=3 period=1m intensity_scope=supervisor auto_shutdown=never
  pool supervisor strategy=simple_one_for_one intensity=5 period=10s intensity_scope=child auto_shutdown=never restart=permanent shutdown=infinity start_timeout=infinity significant=false backoff=50ms..10s*2~0.2/reset 30s partitions=2 max_children=120000
    * worker start=Child restart=transient shutdown=1s stop_mode=drain start_timeout=5s mailbox=32/reject watchdog=10s/kill backoff=50ms..10s*2~0.2/reset 30s ttl=2m ttl_from=created_at idle_ttl=none
  stream supervisor strategy=rest_for_one intensity=10 period=10s intensity_scope=supervisor auto_shutdown=never restart=permanent shutdown=20s start_timeout=infinity significant=false backoff=50ms..10s*2~0.2/reset 30s
    leases worker start=Probe instances=1 restart=permanent shutdown=5s start_timeout=5s significant=false backoff=50ms..10s*2~0.2/reset 30s stop_mode=drain mailbox=1024/backpressure watchdog=10s/kill
    writer worker start=Probe instances=per_partition restart=permanent shutdown=15s start_timeout=5s significant=false backoff=50ms..10s*2~0.2/reset 30s stop_mode=drain mailbox=1024/backpressure watchdog=10s/kill
    last worker start=Probe instances=2 restart=permanent shutdown=brutal_kill start_timeout=5s significant=false backoff=50ms..10s*2~0.2/reset 30s stop_mode=drain mailbox=7/backpressure watchdog=10s/kill
chaos allow_kill=false
"
    );
    let json = serde_json::to_value(&plan).unwrap();
    assert_eq!(json["root"]["children"][1]["role"]["children"][0]["role"]["mailbox"]["overflow"], "backpressure");
    assert_eq!(json["root"]["children"][0]["role"]["children"]["child"]["ttl"], "2m");
}

/// What is said about the example with one replacement.
fn problems(from: &str, to: &str) -> String {
    let text = EXAMPLE.replacen(from, to, 1);
    assert_ne!(text, EXAMPLE, "`{from}` is not in the example");
    Plan::parse(&text, "supervision.toml").unwrap_err().to_string()
}

/// What is replaced in the example, by what, the line of the mistake, and what is said about it.
const MISTAKES: &[(&str, &str, usize, &str)] = &[
    ("schema = 1", "schema = 2", 1, "`schema` in the file: it must be from 1 to 1"),
    ("schema = 1", "", 1, "lacks `schema`"),
    ("root = \"root\"", "root = \"top\"", 2, "the root supervisor `top` does not exist"),
    ("[chaos]", "[caos]", 13, "unknown key `caos` in the file; known keys: schema, root, defaults, chaos, supervisor"),
    ("restart = \"permanent\"", "restarts = \"permanent\"", 5, "unknown key `restarts` in [defaults]"),
    (
        "restart = \"permanent\"",
        "restart = \"always\"",
        5,
        "unknown restart `always` in [defaults]; use permanent, transient, temporary",
    ),
    ("shutdown = \"5s\"", "shutdown = \"5 seconds\"", 6, "`5 seconds` is no duration"),
    ("start_timeout = \"5s\"", "start_timeout = 5", 8, "expected a duration such as \"5s\", found integer"),
    ("capacity = 1024", "capacity = 0", 9, "it must be from 1 to"),
    (
        "capacity = 1024",
        "size = 1024",
        9,
        "unknown key `size` in `mailbox` of [defaults]; known keys: capacity, overflow",
    ),
    ("\"backpressure\"", "\"drop\"", 9, "unknown overflow `drop`"),
    ("action = \"kill\"", "action = \"shoot\"", 10, "use kill, warn, off"),
    ("jitter = 0.2", "jitter = 1.2", 11, "it must be from 0 to 1"),
    ("min = \"50ms\"", "min = \"11s\"", 11, "`min` is more than `max`"),
    ("allow_kill = false", "allow_kill = 0", 14, "expected true or false, found integer"),
    ("allow_kill = false", "allow_kil = false", 14, "unknown key `allow_kil` in [chaos]"),
    ("allow_kill = false", "kill_at_random = true", 14, "`kill_at_random` of [chaos]: expected a table, found boolean"),
    ("allow_kill = false", "kill_at_random = { only = [] }", 14, "`kill_at_random` of [chaos] lacks `every`"),
    ("allow_kill = false", "kill_at_random = { every = \"0s\" }", 14, "it must be more than 0"),
    ("allow_kill = false", "kill_at_random = { every = \"9s\", only = \"root\" }", 14, "expected a list of strings"),
    (
        "allow_kill = false",
        "kill_at_random = { every = \"9s\", only = [\"root/stream\",\n\"root/stream/wirter\"] }",
        15,
        "nothing is at `root/stream/wirter`",
    ),
    (
        "strategy = \"one_for_one\"",
        "strategy = \"one_for_al\"",
        18,
        "unknown strategy `one_for_al` in supervisor `root`; use one_for_one, one_for_all, rest_for_one, simple_one_for_one",
    ),
    ("strategy = \"one_for_one\"", "", 16, "supervisor `root` lacks `strategy`"),
    ("intensity = 3", "intensity = -1", 19, "it must be from 0 to"),
    ("period = \"60s\"", "period = \"0s\"", 20, "it must be more than 0"),
    ("auto_shutdown = \"never\"", "auto_shutdown = \"ever\"", 21, "use never, any_significant, all_significant"),
    ("{ id = \"pool\", type = \"supervisor\" }", "{ type = \"supervisor\" }", 23, "lacks `id`"),
    ("{ id = \"pool\", type = \"supervisor\" }", "{ id = \"a/b\", type = \"supervisor\" }", 23, "use letters, digits"),
    (
        "type = \"supervisor\" }",
        "type = \"supervisor\", start = \"Probe\" }",
        23,
        "`start` does not belong to child `pool`: it belongs to workers",
    ),
    ("id = \"pool\", type", "id = \"pol\", type", 23, "supervisor `pol` does not exist"),
    (
        "id = \"pool\", type = \"supervisor\"",
        "id = \"pool\", start = \"Probe\"",
        38,
        "supervisor `pool` is never referenced",
    ),
    ("start = \"Probe\" }", "start = \"Probe\", significant = true }", 33, "auto_shutdown = \"never\""),
    (
        "start = \"Probe\" }",
        "start = \"Probe\", ttl = \"5s\" }",
        33,
        "`ttl` does not belong to child `leases`: it belongs to the child of a simple_one_for_one supervisor",
    ),
    ("start = \"Probe\" }", "strat = \"Probe\" }", 33, "child `leases` lacks `start`"),
    ("instances = 2", "instances = 0", 35, "it must be from 1 to"),
    (
        "id = \"last\"",
        "id = \"leases\"",
        35,
        "duplicate child `leases` of supervisor `stream`; the first is in line 33",
    ),
    (
        "{ id = \"leases\", start = \"Probe\" }",
        "{ id = \"pool\", type = \"supervisor\" }",
        33,
        "supervisor `pool` is referenced twice; the first reference is in line 23",
    ),
    (
        "{ id = \"leases\", start = \"Probe\" }",
        "{ id = \"root\", type = \"supervisor\" }",
        33,
        "cycle: the root supervisor `root` is a child of `stream`",
    ),
    (
        "id = \"pool\"\nstrategy",
        "id = \"stream\"\nstrategy",
        38,
        "duplicate supervisor `stream`; the first is in line 27",
    ),
    ("max_children = 120000", "", 38, "lacks `max_children`"),
    ("partitions = 2", "partitions = 0", 41, "it must be from 1 to 1024"),
    ("child = {", "children = {", 46, "a simple_one_for_one supervisor has one `child`"),
    ("ttl_from = \"created_at\"", "ttl_from = \"birth\"", 46, "use start, created_at"),
    ("ttl = \"120s\", ", "", 46, "`ttl_from` in the child of supervisor `pool` needs `ttl`"),
    (
        "strategy = \"simple_one_for_one\"",
        "strategy = \"one_for_one\"",
        41,
        "`partitions` does not belong to supervisor `pool`: it needs strategy = \"simple_one_for_one\"",
    ),
    ("period = \"10s\"", "period = \"10s", 31, ""),
];

#[test]
fn each_mistake_is_reported_with_file_and_line_and_remedy() {
    for (from, to, line, expected) in MISTAKES {
        let problems = problems(from, to);
        let found = problems
            .lines()
            .any(|problem| problem.starts_with(&format!("supervision.toml:{line}: ")) && problem.contains(expected));
        assert!(found, "`{from}` -> `{to}`: expected line {line}, `{expected}`; found:\n{problems}");
    }
}

#[test]
fn a_mistake_brings_no_complaints_of_what_follows_from_it() {
    for (from, to) in [
        ("strategy = \"one_for_one\"", "strategy = \"one_for_al\""),
        ("strategy = \"rest_for_one\"", "strategy = \"rest\""),
        ("id = \"pool\", type = \"supervisor\"", "id = \"po/ol\", type = \"supervisor\""),
        ("instances = 2", "instances = 0"),
        ("max_children = 120000", "max_children = 0"),
    ] {
        let problems = problems(from, to);
        assert_eq!(problems.lines().count(), 1, "`{from}` -> `{to}`:\n{problems}");
    }
    let problems = checked(|_| {}, "start = \"Child\"", "start = \"Kid\"");
    assert_eq!(problems.lines().count(), 1, "{problems}");
}

#[test]
fn a_circle_apart_from_the_root_is_named() {
    let text = format!(
        "{EXAMPLE}[[supervisor]]\nid = \"x\"\nstrategy = \"one_for_one\"\nchildren = [{{ id = \"y\", type = \"supervisor\" }}]\n[[supervisor]]\nid = \"y\"\nstrategy = \"one_for_one\"\nchildren = [{{ id = \"x\", type = \"supervisor\" }}]\n"
    );
    let error = Plan::parse(&text, "supervision.toml").unwrap_err();
    assert_eq!(error.problems().len(), 1, "{error}");
    assert_eq!(error.to_string(), "supervision.toml:47: cycle: x -> y -> x");
}

#[test]
fn a_significant_child_is_not_permanent() {
    let text = EXAMPLE.replace("auto_shutdown = \"never\"", "auto_shutdown = \"all_significant\"");
    let text = text.replace("id = \"pool\", type", "id = \"pool\", significant = true, type");
    let error = Plan::parse(&text, "f").unwrap_err().to_string();
    assert_eq!(error, "f:23: child `pool` is significant and permanent; a significant child is transient or temporary");
}

#[test]
fn all_mistakes_are_reported_at_once_in_the_order_of_their_lines() {
    let text =
        EXAMPLE.replace("1024", "0").replace("max_children = 120000", "max_children = \"many\"").replace("3", "x");
    let error = Plan::parse(&text.replace("= x", "= -3"), "f").unwrap_err();
    let lines: Vec<usize> = error.problems().iter().map(|problem| problem.line).collect();
    assert!(lines.len() >= 3 && lines.is_sorted(), "{error}");
}

fn checked(change: impl FnOnce(&mut Catalog), from: &str, to: &str) -> String {
    let (mut catalog, _) = catalog(&World::default());
    let _children = catalog.pool("Child", || Probe);
    catalog.instances("per_partition", 4);
    change(&mut catalog);
    let plan = Plan::parse(&EXAMPLE.replacen(from, to, 1), "supervision.toml").unwrap();
    plan.check(&catalog).err().map_or(String::new(), |error| error.to_string())
}

#[test]
fn a_plan_and_a_catalog_must_agree_on_every_name() {
    assert_eq!(checked(|_| {}, "", ""), "");
    let cases = [
        (
            "start = \"Probe\" }",
            "start = \"Prob\" }",
            "supervision.toml:33: unknown start `Prob`; this program has `Probe`",
        ),
        ("start = \"Probe\" }", "start = \"Child\" }", "supervision.toml:33: `Child` is the child of a pool"),
        ("start = \"Child\"", "start = \"Probe\"", "supervision.toml:46: `Probe` is a single worker"),
        (
            "start = \"Child\"",
            "start = \"Kid\"",
            "supervision.toml:46: unknown start `Kid`; the pools of this program start `Child`",
        ),
        (
            "\"per_partition\"",
            "\"per_core\"",
            "supervision.toml:34: unknown instances `per_core`; write a number, or one of `per_partition`",
        ),
    ];
    for (from, to, expected) in cases {
        let error = checked(|_| {}, from, to);
        assert!(error.contains(expected), "{error}");
    }
    let error = checked(
        |catalog| {
            catalog.actor("Extra", || Probe, |_| World::default());
        },
        "",
        "",
    );
    assert_eq!(error, "supervision.toml:16: `Extra` is not in the tree; add a child with start = \"Extra\"");
    let error = checked(|catalog| drop(catalog.group::<crate::support::Tell>("Ghost")), "", "");
    assert!(error.contains("uses addresses of `Ghost`, but has no such actor"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_tree_refuses_a_plan_that_does_not_fit_before_anything_starts() {
    let world = World::default();
    let (catalog, _) = catalog(&world);
    let plan = Plan::parse(EXAMPLE, "supervision.toml").unwrap();
    assert!(matches!(Tree::start(plan, catalog).await, Err(TreeError::Plan(_))));
    assert_eq!(world.take_log(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn an_address_beyond_the_instances_is_refused() {
    let (catalog, probes) = catalog(&World::default());
    let _address = probes.get(1);
    let text = "schema = 1\n[[supervisor]]\nid = \"root\"\nstrategy = \"one_for_one\"\nchildren = [{ id = \"a\", start = \"Probe\" }]";
    let error = Tree::start(Plan::parse(text, "f").unwrap(), catalog).await.err().unwrap();
    assert!(matches!(error, TreeError::Instance { count: 1, .. }), "{error}");
}

#[test]
fn a_name_means_one_thing_in_a_program() {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    let (mut catalog, _) = catalog(&World::default());
    let again = catch_unwind(AssertUnwindSafe(|| drop(catalog.pool("Probe", || Probe))));
    assert!(again.is_err());
}
