//! The snapshot as a table for a terminal.

use std::fmt::Write as _;

use serde::Deserialize;

/// What is read of `orinoco_supervision::Snapshot`.
#[derive(Debug, Deserialize)]
pub(super) struct TreeView {
    actors: usize,
    root: Node,
}

#[derive(Debug, Deserialize)]
struct Node {
    id: String,
    kind: String,
    strategy: Option<String>,
    intensity: Option<u32>,
    period_ms: Option<u64>,
    status: String,
    restarts: u64,
    restart_in_ms: Option<u64>,
    last_failure: Option<Failure>,
    mailbox: Option<Mailbox>,
    timing: Option<Timing>,
    pool: Option<Pool>,
    #[serde(default)]
    children: Vec<Node>,
}

#[derive(Debug, Deserialize)]
struct Failure {
    reason: String,
    ago_ms: u64,
}

#[derive(Debug, Deserialize)]
struct Mailbox {
    depth: usize,
    capacity: usize,
    rejected: u64,
    dropped: u64,
    handled: u64,
    current: Option<Current>,
}

#[derive(Debug, Deserialize)]
struct Current {
    kind: String,
    for_ms: u64,
}

#[derive(Debug, Deserialize)]
struct Timing {
    waiting: Quantiles,
    handling: Quantiles,
}

#[derive(Debug, Deserialize)]
struct Quantiles {
    count: u64,
    p99_us: u64,
}

#[derive(Debug, Deserialize)]
struct Pool {
    live: usize,
    max_children: usize,
    started: u64,
    restarted: u64,
    given_up: u64,
}

const COLUMNS: [&str; 7] = ["actor", "status", "restarts", "mailbox", "handled", "p99 wait", "p99 work"];
/// Longer reasons are cut: a line for each actor.
const REASON_CHARS_MAX: usize = 100;

struct Row {
    cells: [String; COLUMNS.len()],
    note: String,
}

impl TreeView {
    pub(super) fn render(&self) -> String {
        let mut rows = vec![Row { cells: COLUMNS.map(str::to_owned), note: String::new() }];
        collect(&self.root, 0, &mut rows);
        let widths: [usize; COLUMNS.len()] = std::array::from_fn(|column| {
            rows.iter().map(|row| row.cells[column].chars().count()).max().unwrap_or_default()
        });
        let mut text = String::new();
        for row in &rows {
            let mut line = String::new();
            for (column, (cell, width)) in row.cells.iter().zip(widths).enumerate() {
                // Names and states to the left, numbers to the right.
                let _ = if column < 2 { write!(line, "{cell:<width$}  ") } else { write!(line, "{cell:>width$}  ") };
            }
            line.push_str(&row.note);
            text.push_str(line.trim_end());
            text.push('\n');
        }
        let _ = writeln!(text, "{} actors", self.actors);
        text
    }
}

fn collect(node: &Node, depth: usize, rows: &mut Vec<Row>) {
    rows.push(row(node, depth));
    for child in &node.children {
        collect(child, depth + 1, rows);
    }
}

fn row(node: &Node, depth: usize) -> Row {
    let status = match node.restart_in_ms {
        Some(ms) => format!("{} in {}", node.status, age(ms)),
        None => node.status.clone(),
    };
    let mailbox =
        node.mailbox.as_ref().map(|mailbox| format!("{}/{}", mailbox.depth, mailbox.capacity)).unwrap_or_default();
    let handled = match (&node.mailbox, &node.timing) {
        (Some(mailbox), _) => mailbox.handled.to_string(),
        (None, Some(timing)) => timing.handling.count.to_string(),
        (None, None) => String::new(),
    };
    let p99 = |part: fn(&Timing) -> &Quantiles| {
        let quantiles = node.timing.as_ref().map(part).filter(|quantiles| quantiles.count > 0);
        quantiles.map(|quantiles| microseconds(quantiles.p99_us)).unwrap_or_default()
    };
    Row {
        cells: [
            format!("{:indent$}{}", "", node.id, indent = depth * 2),
            status,
            node.restarts.to_string(),
            mailbox,
            handled,
            p99(|timing| &timing.waiting),
            p99(|timing| &timing.handling),
        ],
        note: note(node),
    }
}

/// What does not fit into a column.
fn note(node: &Node) -> String {
    let mut notes = Vec::new();
    if let Some(strategy) = &node.strategy {
        notes.push(strategy.clone());
    }
    if let (Some(intensity), Some(period_ms)) = (node.intensity, node.period_ms) {
        notes.push(format!("{intensity} restarts in {}", age(period_ms)));
    }
    if let Some(pool) = &node.pool {
        notes.push(format!(
            "{} of {} live, {} started, {} restarted, {} given up",
            pool.live, pool.max_children, pool.started, pool.restarted, pool.given_up
        ));
    }
    if let Some(mailbox) = &node.mailbox {
        if mailbox.rejected + mailbox.dropped > 0 {
            notes.push(format!("{} rejected, {} dropped", mailbox.rejected, mailbox.dropped));
        }
        // A message that is in work for long is what one looks for; all others come and go.
        if let Some(current) = mailbox.current.as_ref().filter(|current| current.for_ms >= 1000) {
            notes.push(format!("in {} for {}", current.kind, age(current.for_ms)));
        }
    }
    if let Some(failure) = &node.last_failure {
        let reason: String = failure.reason.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let shown: String = reason.chars().take(REASON_CHARS_MAX).collect();
        let ellipsis = if shown.len() < reason.len() { "..." } else { "" };
        notes.push(format!("failed {} ago: {shown}{ellipsis}", age(failure.ago_ms)));
    }
    if node.kind == "partition" && notes.is_empty() {
        notes.push("partition".to_owned());
    }
    notes.join("; ")
}

fn microseconds(us: u64) -> String {
    match us {
        0..1_000 => format!("{us} us"),
        1_000..10_000 => format!("{}.{} ms", us / 1_000, us % 1_000 / 100),
        10_000..1_000_000 => format!("{} ms", us / 1_000),
        _ => format!("{}.{} s", us / 1_000_000, us % 1_000_000 / 100_000),
    }
}

fn age(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..120_000 => format!("{} s", ms / 1_000),
        120_000..7_200_000 => format!("{} min", ms / 60_000),
        _ => format!("{} h", ms / 3_600_000),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    #[test]
    fn a_tree_is_a_table_indented_by_depth() {
        let snapshot = json!({
            "actors": 4,
            "root": {
                "id": "root", "path": "root", "kind": "supervisor", "strategy": "one_for_one", "intensity": 5, "period_ms": 60000, "status": "running",
                "incarnation": 0, "restarts": 0, "restarts_in_period": 1,
                "children": [
                    {
                        "id": "writer.0", "path": "root/writer.0", "kind": "worker", "status": "restarting",
                        "incarnation": 2, "restarts": 3, "restarts_in_period": 0, "restart_in_ms": 1500,
                        "last_failure": { "reason": "Redis\nis away", "ago_ms": 130_000 },
                        "mailbox": { "depth": 7, "capacity": 64, "rejected": 0, "dropped": 2, "handled": 12345,
                                     "current": { "kind": "batch", "for_ms": 4000 } },
                        "timing": { "waiting": { "count": 5, "p50_us": 1, "p99_us": 900, "max_us": 1000 },
                                    "handling": { "count": 5, "p50_us": 1, "p99_us": 2345, "max_us": 9000 }, "hung": 0 }
                    },
                    {
                        "id": "sockets", "path": "root/sockets", "kind": "pool", "strategy": "simple_one_for_one",
                        "status": "running", "incarnation": 0, "restarts": 0, "restarts_in_period": 0,
                        "pool": { "live": 2, "max_children": 10, "started": 5, "ended": 3, "restarted": 0, "given_up": 1,
                                  "deadlines": 0, "children": [] }
                    }
                ]
            }
        });
        let view: TreeView = serde_json::from_value(snapshot).unwrap();
        let expected = [
            "actor       status             restarts  mailbox  handled  p99 wait  p99 work",
            "root        running                   0                                        one_for_one; 5 restarts in 60 s",
            "  writer.0  restarting in 1 s         3     7/64    12345    900 us    2.3 ms  0 rejected, 2 dropped; in batch for 4 s; failed 2 min ago: Redis is away",
            "  sockets   running                   0                                        simple_one_for_one; 2 of 10 live, 5 started, 0 restarted, 1 given up",
            "4 actors\n",
        ];
        assert_eq!(view.render(), expected.join("\n"));
    }

    #[test]
    fn times_are_written_with_a_unit_that_fits() {
        assert_eq!(
            [0, 999, 1_000, 12_345, 1_500_000].map(microseconds),
            ["0 us", "999 us", "1.0 ms", "12 ms", "1.5 s"]
        );
        assert_eq!([5, 1_500, 120_000, 7_200_000].map(age), ["5 ms", "1 s", "2 min", "2 h"]);
    }
}
