//! The suites that every adapter of a port must pass.

use std::sync::Arc;

use async_trait::async_trait;
use orinoco_ports::{CoordinateStore, conformance::store::StoreFactory};
use orinoco_services::{RedisStore, RedisStoreOptions};
use orinoco_testkit::{Redis, RedisDatabase, RedisKind, unique_name};

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
