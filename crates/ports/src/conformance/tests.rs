//! The suites, run on models of the ports in memory; and a check that no case is forgotten.

mod store {
    use crate::conformance::store::memory::MemoryStores;

    crate::conformance_tests!(store, MemoryStores::default());
}
