//! The suites, run on models of the ports in memory; and a check that no case is forgotten.

mod store {
    use crate::conformance::store::memory::MemoryStores;

    crate::conformance_tests!(store, MemoryStores::default());
}

mod log {
    use crate::conformance::log::memory::MemoryLogs;

    crate::conformance_tests!(log, MemoryLogs::default());
    crate::conformance_tests!(exact_order_log, MemoryLogs::default());
}
