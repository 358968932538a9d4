//! What a simulation is told to do, as data: it prints as one line, and that line runs it again.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// All that decides about a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    pub workload: Workload,
    pub schedule: Schedule,
    pub faults: Vec<PlannedFault>,
    /// The product, made worse on purpose: an invariant must notice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mutation: Option<Mutation>,
}

/// What is asked of the daemons.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Workload {
    /// Of what is random in it: which device moves, when, who watches what.
    pub seed: u64,
    pub daemons: u8,
    pub devices: u8,
    /// MQTT messages in all.
    pub messages: u16,
    /// Records that another producer writes into the log, without identity.
    pub foreign: u16,
    /// Pairing by timestamp, not by latest value.
    pub by_timestamp: bool,
    pub watchers: u8,
    pub logins: u8,
    /// The longest pause between two messages, ms.
    pub pause_ms_max: u16,
}

/// Who runs first where several could.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    pub seed: u64,
    /// How many turns others get at a hook, at most.
    pub yields_max: u8,
    /// The longest way to a backend, ms; and as long back.
    pub way_ms_max: u8,
}

/// One fault.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedFault {
    /// From 0; taken modulo the number of daemons.
    pub daemon: u8,
    pub when: When,
    pub what: What,
}

/// When a fault happens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum When {
    /// So long after the begin, ms.
    At { ms: u32 },
    /// When the point is reached for the nth time, from 0, in the daemon, by an actor whose path contains `by`.
    Hit { point: String, by: String, nth: u16 },
}

/// What happens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum What {
    /// To the actor that reached the point; with `At` nothing.
    Here(Mode),
    /// The actor, or the supervisor, at this path below the root is killed; an empty path is the root.
    KillActor { path: String },
    /// The supervisor of the actor that reached the point is killed; with `At` nothing.
    KillSupervisor,
    /// As with SIGKILL; it is started again after so long.
    KillDaemon { down_ms: u32 },
    /// As with SIGTERM; it is started again after so long.
    StopDaemon { down_ms: u32 },
    /// Connections break, and none can be made.
    Cut { backend: Backend, ms: u32 },
    /// Nothing comes back and nothing goes there; then it does.
    Stall { backend: Backend, ms: u32 },
    /// Requests arrive and are done, and their answers are lost.
    LoseAnswers { backend: Backend, ms: u32 },
    /// As with SIGSTOP and SIGCONT: nothing of the daemon reaches any backend meanwhile, and goes on where it stood.
    Freeze { ms: u32 },
    /// The disk of the daemon's journal.
    Disk { trouble: DiskTrouble, ms: u32 },
}

/// What happens to an actor at a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Mode {
    Kill,
    Abort,
    Panic,
    /// An error; at `actor.pre_start` and `supervisor.start` a failed start.
    Fail,
    /// Until the watchdog ends it.
    Hang,
    Slow {
        ms: u32,
    },
    /// Only at `actor.reply`.
    DropReply,
}

/// What is wrong with the disk below a journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DiskTrouble {
    /// Nothing can be appended.
    Full,
    /// Nothing can be done.
    Broken,
    /// What is appended stays, and can't be made safe against a power cut.
    Unsynced,
    /// That takes its time.
    Slow,
}

impl DiskTrouble {
    pub const ALL: [Self; 4] = [Self::Full, Self::Broken, Self::Unsynced, Self::Slow];
}

/// A daemon's way to one backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Backend {
    Broker,
    Log,
    Store,
    Leases,
    Logins,
}

impl Backend {
    pub const ALL: [Self; 5] = [Self::Broker, Self::Log, Self::Store, Self::Leases, Self::Logins];
}

/// The product, made worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mutation {
    /// A device's message is acknowledged, and then written to the journal.
    AcknowledgeBeforeJournal,
    /// The position in the log is written after the effects, in a step of its own.
    PositionOutsideOfScript,
    /// The store takes batches of former owners.
    NoFencing,
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Numbers and names always serialise.
        f.write_str(&serde_json::to_string(self).unwrap_or_default())
    }
}

impl FromStr for Plan {
    type Err = serde_json::Error;

    fn from_str(line: &str) -> Result<Self, Self::Err> {
        serde_json::from_str(line)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_plan_is_one_line_that_reads_back_the_same() {
        let when = When::Hit { point: "redis_writer.after_effect".to_owned(), by: "writer".to_owned(), nth: 3 };
        let faults = vec![
            PlannedFault { daemon: 1, when, what: What::Here(Mode::Slow { ms: 5 }) },
            PlannedFault { daemon: 0, when: When::At { ms: 7 }, what: What::Cut { backend: Backend::Log, ms: 9 } },
        ];
        let workload = Workload {
            seed: 1,
            daemons: 2,
            devices: 3,
            messages: 40,
            foreign: 4,
            by_timestamp: false,
            watchers: 2,
            logins: 1,
            pause_ms_max: 20,
        };
        let schedule = Schedule { seed: 2, yields_max: 3, way_ms_max: 4 };
        let plan = Plan { workload, schedule, faults, mutation: Some(Mutation::NoFencing) };
        let line = plan.to_string();
        assert!(!line.contains('\n'));
        assert_eq!(line.parse::<Plan>().unwrap(), plan);
        assert!(line.replace("workload", "worklode").parse::<Plan>().is_err());
    }
}
