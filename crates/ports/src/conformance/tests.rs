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

mod journal {
    use crate::conformance::journal::memory::MemoryJournals;

    crate::conformance_tests!(journal, MemoryJournals::default());
}

mod leases {
    use crate::conformance::leases::memory::MemoryLeases;

    crate::conformance_tests!(leases, MemoryLeases::default());
    crate::conformance_tests!(shared_leases, MemoryLeases::default());
}

mod accounts {
    use crate::conformance::accounts::memory::MemoryAccountsFactory;

    crate::conformance_tests!(accounts, MemoryAccountsFactory::default());
}

mod login {
    use crate::conformance::login::memory::MemoryLogins;

    crate::conformance_tests!(login, MemoryLogins::default());
    crate::conformance_tests!(shared_login, MemoryLogins::default());
}

mod mqtt {
    use crate::conformance::mqtt::memory::{MemoryBroker, MemoryGate};

    mod gate {
        crate::conformance_tests!(mqtt, super::MemoryGate::default());
        crate::conformance_tests!(mqtt_gate, super::MemoryGate::default());
    }

    mod session {
        crate::conformance_tests!(mqtt, super::MemoryBroker::default());
        crate::conformance_tests!(mqtt_session, super::MemoryBroker::default());
    }
}

/// Every public case of a suite's files must be in the macro's list; a case that is not there never runs.
#[test]
fn every_case_is_in_a_suite_s_list() {
    let listed = include_str!("mod.rs");
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/conformance");
    let mut found = 0;
    for suite in ["accounts", "journal", "leases", "log", "login", "mqtt", "store"] {
        for file in std::fs::read_dir(folder.join(suite)).unwrap() {
            let source = std::fs::read_to_string(file.unwrap().path()).unwrap();
            for line in source.lines().filter_map(|line| line.strip_prefix("pub async fn ")) {
                let case = line.split('(').next().unwrap();
                assert!(listed.lines().any(|line| line.trim() == case), "{suite}: {case} is in no list");
                found += 1;
            }
        }
    }
    assert!(found > 100, "only {found} cases were found");
}
