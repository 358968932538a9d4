//! Each server: starts, answers a real client, is killed, keeps its data, is gone when its handle is.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::time::Duration;

use orinoco_testkit::{Address, Kafka, Mosquitto, Postgres, Redis, RedisKind, poll_until, unique_name};

use crate::{DEADLINE, assert_gone, run};

#[tokio::test]
async fn postgres_keeps_its_data_over_kill_and_leaves_no_process() {
    let postgres = Postgres::start().await.unwrap();
    let database = postgres.address().fresh_database().await.unwrap();
    database.execute("create table reading (x float8); insert into reading values (12.5)").await.unwrap();
    let killed = postgres.pid().unwrap();
    postgres.kill().await.unwrap();
    assert_gone(killed).await;
    assert!(database.execute("select 1").await.is_err());
    postgres.restart().await.unwrap();
    assert_eq!(run("psql", &["-At", "-d", database.url(), "-c", "select x from reading"]), "12.5");
    let pid = postgres.pid().unwrap();
    drop(database);
    drop(postgres);
    assert_gone(pid).await;
}

#[tokio::test]
async fn each_test_gets_an_empty_postgres_database_that_is_dropped_afterwards() {
    let server = Postgres::shared().await.unwrap();
    let (first, second) = (server.fresh_database().await.unwrap(), server.fresh_database().await.unwrap());
    assert_ne!(first.url(), second.url());
    first.execute("create table mine ()").await.unwrap();
    assert_eq!(second.execute("select count(*) from pg_tables where tablename = 'mine'").await.unwrap(), "0");
    let name = first.url().rsplit('/').next().unwrap().to_owned();
    drop(first);
    let left = server.execute(&format!("select count(*) from pg_database where datname = '{name}'")).await.unwrap();
    assert_eq!(left, "0");
}

#[tokio::test]
async fn redis_that_syncs_each_write_keeps_it_over_kill() {
    let redis = Redis::start(RedisKind::Qr).await.unwrap();
    assert_eq!(run("redis-cli", &["-u", redis.url(), "ping"]), "PONG");
    run("redis-cli", &["-u", redis.url(), "set", "challenge", "pending"]);
    redis.kill().await.unwrap();
    assert!(redis.address().answers().await.is_err());
    redis.restart().await.unwrap();
    assert_eq!(run("redis-cli", &["-u", redis.url(), "get", "challenge"]), "pending");
    let pid = redis.pid().unwrap();
    assert!(redis.stop().await.unwrap().success());
    assert_gone(pid).await;
}

#[tokio::test]
async fn paused_redis_does_not_answer_until_it_is_resumed() {
    let redis = Redis::start(RedisKind::Ws).await.unwrap();
    redis.pause().unwrap();
    assert!(redis.address().answers().await.is_err());
    redis.resume().unwrap();
    redis.address().answers().await.unwrap();
    assert!(redis.usage().unwrap().rss_bytes > 1_000_000);
}

#[tokio::test]
async fn each_test_gets_an_empty_redis_database_of_its_own() {
    for kind in [RedisKind::Ws, RedisKind::Qr] {
        let server = Redis::shared(kind).await.unwrap();
        let (first, second) = (server.fresh_database().await.unwrap(), server.fresh_database().await.unwrap());
        assert_ne!(first.url(), second.url());
        run("redis-cli", &["-u", first.url(), "set", "mine", "1"]);
        assert_eq!(run("redis-cli", &["-u", second.url(), "dbsize"]), "0");
    }
}

#[tokio::test]
async fn kafka_keeps_records_over_kill_and_leaves_no_process() {
    let kafka = Kafka::start().await.unwrap();
    let brokers = kafka.url();
    kafka.address().create_topic("coordX", 3).await.unwrap();
    let twice = kafka.address().create_topic("coordX", 3).await.unwrap_err();
    assert!(twice.to_string().contains("exists already"), "{twice}");
    assert!(run("kcat", &["-L", "-b", brokers]).contains("topic \"coordX\" with 3 partitions"));
    let produce = format!("echo 12.5 | kcat -P -b {brokers} -t coordX -p 1 -X acks=all");
    run("sh", &["-c", &produce]);
    let killed = kafka.pid().unwrap();
    kafka.kill().await.unwrap();
    assert_gone(killed).await;
    kafka.restart().await.unwrap();
    assert_eq!(run("kcat", &["-C", "-b", brokers, "-t", "coordX", "-p", "1", "-e", "-q"]), "12.5");
    let pid = kafka.pid().unwrap();
    drop(kafka);
    assert_gone(pid).await;
}

#[tokio::test]
async fn tests_share_a_kafka_by_topics_of_their_own() {
    let kafka = Kafka::shared().await.unwrap();
    let topic = unique_name("shared");
    kafka.create_topic(&topic, 1).await.unwrap();
    assert!(run("kcat", &["-L", "-b", kafka.brokers(), "-t", &topic]).contains("with 1 partitions"));
    kafka.delete_topic(&topic).await.unwrap();
    assert!(kafka.delete_topic(&topic).await.unwrap_err().to_string().contains("does not exist"));
}

#[tokio::test]
async fn mosquitto_delivers_to_its_own_clients_and_keeps_what_it_saved() {
    let mosquitto = Mosquitto::start().await.unwrap();
    let (_, port) = mosquitto.address().host_and_port().split_once(':').unwrap();
    run("mosquitto_pub", &["-p", port, "-q", "1", "-r", "-t", "coordX", "-m", "12.5"]);
    let subscribe = ["-p", port, "-q", "1", "-t", "coordX", "-C", "1", "-W", "10"];
    assert_eq!(run("mosquitto_sub", &subscribe), "12.5");
    mosquitto.restart().await.unwrap();
    assert_eq!(run("mosquitto_sub", &subscribe), "12.5");
    let pid = mosquitto.pid().unwrap();
    mosquitto.kill().await.unwrap();
    assert_gone(pid).await;
    assert!(Mosquitto::shared().await.unwrap().answers().await.is_ok());
}

#[tokio::test]
async fn servers_die_with_a_test_process_that_was_killed() {
    let mut process = crate::stand_in::spawn("holder_of_a_server");
    let lines = BufReader::new(process.stdout.take().unwrap()).lines();
    // The test harness has lines of its own before.
    let announced = lines.map(Result::unwrap).find_map(|line| Some(line.strip_prefix("server ")?.to_owned())).unwrap();
    let (pid, folder) = announced.split_once(' ').unwrap();
    process.kill().unwrap();
    process.wait().unwrap();
    assert_gone(pid.parse().unwrap()).await;
    poll_until(DEADLINE, "the server's folder to be removed", async || (!Path::new(folder).exists()).then_some(()))
        .await
        .unwrap();
}

#[tokio::test]
async fn waiting_in_vain_says_for_what() {
    let error = poll_until(Duration::ZERO, "the moon to fall", async || None::<()>).await.unwrap_err();
    assert!(error.to_string().contains("the moon to fall"), "{error}");
}
