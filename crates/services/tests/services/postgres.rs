//! PostgreSQL: the schema, and what the suite of all leases can't know.

use std::time::Duration;

use orinoco_ports::{LeaseError, Leases};
use orinoco_services::{
    PostgresLeases, PostgresLeasesOptions, SchemaError, check_schema, migrate, schema_version, schema_version_needed,
};
use orinoco_testkit::{Database, Postgres, poll_until};

const LONG: Duration = Duration::from_secs(3_600);
const DEADLINE: Duration = Duration::from_secs(30);

async fn empty_database() -> Database {
    Postgres::shared().await.unwrap().fresh_database().await.unwrap()
}

fn leases(url: &str) -> PostgresLeases {
    PostgresLeases::new(&PostgresLeasesOptions::new(url, "one")).unwrap()
}

#[tokio::test]
async fn an_empty_database_is_refused_until_it_is_migrated() {
    let database = empty_database().await;
    assert_eq!(schema_version(database.url()).await.unwrap(), None);
    let refused = check_schema(database.url()).await.unwrap_err().to_string();
    assert!(refused.contains("schema none") && refused.contains("orinoco migrate"), "{refused}");
    let leases = leases(database.url());
    for refused in [leases.hold(&["ingest".to_owned()], u32::MAX, LONG).await.err(), leases.probe().await.err()] {
        assert!(matches!(refused, Some(LeaseError::Schema { .. })), "{refused:?}");
    }
    assert_eq!(migrate(database.url()).await.unwrap(), schema_version_needed());
    check_schema(database.url()).await.unwrap();
    assert_eq!(leases.hold(&["ingest".to_owned()], u32::MAX, LONG).await.unwrap()[0].epoch, 1);
    assert_eq!(migrate(database.url()).await.unwrap(), schema_version_needed(), "again changes nothing");
}

#[tokio::test]
async fn daemons_that_migrate_at_once_don_t_disturb_each_other() {
    let database = empty_database().await;
    let url = database.url();
    let outcomes = tokio::join!(migrate(url), migrate(url), migrate(url), migrate(url));
    for outcome in [outcomes.0, outcomes.1, outcomes.2, outcomes.3] {
        assert_eq!(outcome.unwrap(), schema_version_needed());
    }
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let database = empty_database().await;
    migrate(database.url()).await.unwrap();
    let newer = schema_version_needed() + 1;
    let row = format!(
        "insert into refinery_schema_history select {newer}, 'newer', applied_on, checksum from refinery_schema_history limit 1"
    );
    database.execute(&row).await.unwrap();
    let refused = check_schema(database.url()).await.unwrap_err();
    assert!(matches!(&refused, SchemaError::Mismatch { found, .. } if *found == newer.to_string()), "{refused:?}");
    assert!(refused.to_string().contains("upgrade orinoco"), "{refused}");
    assert!(matches!(migrate(database.url()).await, Err(SchemaError::Failed { .. })));
    assert!(matches!(leases(database.url()).probe().await, Err(LeaseError::Schema { .. })));
}

#[tokio::test]
async fn an_outage_is_named_without_the_password_and_ends_by_itself() {
    let server = Postgres::start().await.unwrap();
    migrate(server.url()).await.unwrap();
    let leases = leases(server.url());
    let before = leases.hold(&["ingest".to_owned()], u32::MAX, LONG).await.unwrap();
    let back = async || leases.hold(&["ingest".to_owned()], u32::MAX, LONG).await.ok();
    server.kill().await.unwrap();
    let text = leases.hold(&["ingest".to_owned()], u32::MAX, LONG).await.unwrap_err().to_string();
    assert!(text.contains("127.0.0.1") && !text.contains("orinoco:orinoco"), "{text}");
    server.restart().await.unwrap();
    assert_eq!(poll_until(DEADLINE, "the lease after the kill", back).await.unwrap(), before);
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_given_up() {
    let server = Postgres::start().await.unwrap();
    migrate(server.url()).await.unwrap();
    // Who connects is not served: its backends are made by the process that is paused.
    server.pause().unwrap();
    let outcome = leases(server.url()).hold(&["ingest".to_owned()], u32::MAX, LONG).await;
    assert!(matches!(outcome, Err(LeaseError::Unavailable { .. })), "{outcome:?}");
    server.resume().unwrap();
    let back = async || leases(server.url()).hold(&["ingest".to_owned()], u32::MAX, LONG).await.ok();
    poll_until(DEADLINE, "a lease after the pause", back).await.unwrap();
}

#[tokio::test]
async fn a_url_that_can_t_be_understood_is_refused_with_the_way_to_write_it() {
    for url in ["", "nonsense", "http://x:s3cret@y", "postgres://:s3cret@"] {
        let text = migrate(url).await.unwrap_err().to_string();
        assert!(
            text.contains("postgres.url") && text.contains("postgres://user") && !text.contains("s3cret"),
            "{text}"
        );
    }
}

#[tokio::test]
async fn a_healthy_server_needs_no_advice() {
    let database = empty_database().await;
    migrate(database.url()).await.unwrap();
    let info = leases(database.url()).probe().await.unwrap();
    assert!(info.version.starts_with("PostgreSQL ") && info.advice.is_empty(), "{info:?}");
}
