//! The suites that every adapter of a port must pass.

use std::sync::Arc;

use async_trait::async_trait;
use orinoco_ports::{
    CoordinateStore, Leases,
    conformance::{leases::LeasesFactory, store::StoreFactory},
};
use orinoco_services::{PostgresLeases, PostgresLeasesOptions, RedisStore, RedisStoreOptions, migrate};
use orinoco_testkit::{Database, Postgres, Redis, RedisDatabase, RedisKind, unique_name};

/// A database of a shared Redis.
struct RedisStores {
    database: RedisDatabase,
    prefix: String,
}

impl RedisStores {
    async fn new() -> Self {
        let database = Redis::shared(RedisKind::Ws).await.unwrap().fresh_database().await.unwrap();
        Self { database, prefix: unique_name("orinoco") }
    }

    fn store(&self) -> Arc<dyn CoordinateStore> {
        let options = RedisStoreOptions { prefix: self.prefix.clone(), ..RedisStoreOptions::new(self.database.url()) };
        Arc::new(RedisStore::new(&options).unwrap())
    }
}

#[async_trait]
impl StoreFactory for RedisStores {
    async fn open(&self) -> Arc<dyn CoordinateStore> {
        self.store()
    }

    async fn open_as_after_kill(&self) -> Arc<dyn CoordinateStore> {
        self.store()
    }
}

mod redis {
    orinoco_ports::conformance_tests!(store, super::RedisStores::new().await);
}

/// A database of a shared PostgreSQL.
struct LeasesInPostgres(Database);

impl LeasesInPostgres {
    async fn new() -> Self {
        let database = Postgres::shared().await.unwrap().fresh_database().await.unwrap();
        migrate(database.url()).await.unwrap();
        Self(database)
    }
}

#[async_trait]
impl LeasesFactory for LeasesInPostgres {
    async fn open(&self, owner: &str) -> Arc<dyn Leases> {
        Arc::new(PostgresLeases::new(&PostgresLeasesOptions::new(self.0.url(), owner)).unwrap())
    }
}

mod postgres {
    orinoco_ports::conformance_tests!(leases, super::LeasesInPostgres::new().await);
    orinoco_ports::conformance_tests!(shared_leases, super::LeasesInPostgres::new().await);
}
