//! What all daemons share: the models of the backends, and what watches them.

use std::sync::Arc;

use orinoco_ports::{
    Clock, CoordinateStore, RecordLog,
    conformance::{
        leases::memory::MemoryLeases,
        log::{LogFactory, memory::MemoryLogs},
        store::{StoreFactory, memory::MemoryStores},
    },
};
use orinoco_testkit::simulation::{LoginServer, MutatedStore, Plan, SimulatedBroker, Trace, WatchedLog, WatchedStore};

/// 2026-01-02T03:04:05.678Z.
pub(crate) const BEGIN_MS: i64 = 1_767_323_045_678;

pub(crate) struct Services {
    pub(crate) store: Arc<dyn CoordinateStore>,
    pub(crate) watched_store: Arc<WatchedStore>,
    pub(crate) log: Arc<WatchedLog>,
    pub(crate) leases: MemoryLeases,
    pub(crate) broker: SimulatedBroker,
    pub(crate) logins: Arc<LoginServer>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) trace: Trace,
}

impl Services {
    pub(crate) async fn new(plan: &Plan, trace: &Trace) -> Self {
        let store = Arc::new(MutatedStore::new(MemoryStores::default().open().await, plan.mutation));
        let watched_store = Arc::new(WatchedStore::new(store, trace.clone()));
        let log: Arc<dyn RecordLog> = MemoryLogs::default().open().await;
        Self {
            store: watched_store.clone(),
            watched_store,
            log: WatchedLog::new(log),
            leases: MemoryLeases::default(),
            broker: SimulatedBroker::new(plan.schedule.seed),
            logins: LoginServer::new(trace.clone()),
            clock: Arc::new(SimulatedClock(tokio::time::Instant::now())),
            trace: trace.clone(),
        }
    }
}

/// Passes with the runtime's paused time.
struct SimulatedClock(tokio::time::Instant);

impl Clock for SimulatedClock {
    fn now_ms(&self) -> i64 {
        BEGIN_MS + i64::try_from(self.0.elapsed().as_millis()).unwrap()
    }
}
