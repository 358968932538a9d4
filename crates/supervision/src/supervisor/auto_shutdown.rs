//! Whether the end of significant children ends their supervisor: a pure decision.

use crate::plan::AutoShutdown;

/// `ended` is whether a significant child has just ended by itself and stays ended; `alive` how many significant
/// children are not ended.
pub(crate) fn shuts_down(rule: AutoShutdown, ended: bool, alive: usize) -> bool {
    match rule {
        AutoShutdown::Never => false,
        AutoShutdown::AnySignificant => ended,
        AutoShutdown::AllSignificant => ended && alive == 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn nothing_shuts_down_unless_a_significant_child_ended(alive in 0usize..10) {
            for (_, rule) in AutoShutdown::ALL {
                prop_assert!(!shuts_down(*rule, false, alive));
            }
        }

        #[test]
        fn all_is_stricter_than_any_and_any_than_never(alive in 0usize..10) {
            prop_assert!(!shuts_down(AutoShutdown::Never, true, alive));
            prop_assert!(shuts_down(AutoShutdown::AnySignificant, true, alive));
            prop_assert_eq!(shuts_down(AutoShutdown::AllSignificant, true, alive), alive == 0);
        }
    }
}
