//! Who is restarted after which end: pure decisions.

use std::ops::Range;

use crate::plan::{Restart, Strategy};

/// How an actor ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Exit {
    /// It stopped by itself or was asked to.
    Normal,
    /// It failed: an error, a panic, a kill, a failed start. The text says what happened.
    Abnormal(String),
    /// It was a supervisor whose intensity was exceeded; an abnormal end too.
    Escalated(String),
}

impl Exit {
    pub(crate) fn is_normal(&self) -> bool {
        *self == Self::Normal
    }

    pub(crate) fn reason(&self) -> &str {
        match self {
            Self::Normal => "ended normally",
            Self::Abnormal(reason) | Self::Escalated(reason) => reason,
        }
    }
}

/// Whether a child that ended by itself is started again.
pub(crate) fn restarts(restart: Restart, exit: &Exit) -> bool {
    match restart {
        Restart::Permanent => true,
        Restart::Transient => !exit.is_normal(),
        Restart::Temporary => false,
    }
}

/// Which of `count` children a restart of child `index` takes along, itself included.
pub(crate) fn affected(strategy: Strategy, index: usize, count: usize) -> Range<usize> {
    match strategy {
        Strategy::OneForOne | Strategy::SimpleOneForOne => index..index + 1,
        Strategy::OneForAll => 0..count,
        Strategy::RestForOne => index..count,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Strategy;
    use proptest::prelude::{Just, prop_assert, prop_assert_eq, proptest};
    use proptest::strategy::Strategy as _;

    #[test]
    fn restart_types_follow_otp() {
        let failed = Exit::Abnormal("x".to_owned());
        assert!(restarts(Restart::Permanent, &Exit::Normal));
        assert!(restarts(Restart::Permanent, &failed));
        assert!(!restarts(Restart::Transient, &Exit::Normal));
        assert!(restarts(Restart::Transient, &failed));
        assert!(!restarts(Restart::Temporary, &Exit::Normal));
        assert!(!restarts(Restart::Temporary, &failed));
    }

    proptest! {
        #[test]
        fn the_child_itself_is_always_affected_and_nobody_outside((count, index) in (1usize..50).prop_flat_map(|n| (Just(n), 0..n))) {
            for (_, strategy) in Strategy::ALL {
                let range = affected(*strategy, index, count);
                prop_assert!(range.contains(&index) && range.end <= count);
            }
            prop_assert_eq!(affected(Strategy::OneForOne, index, count).len(), 1);
            prop_assert_eq!(affected(Strategy::OneForAll, index, count).len(), count);
            prop_assert_eq!(affected(Strategy::RestForOne, index, count).len(), count - index);
        }
    }
}
