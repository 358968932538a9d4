//! Kafka: other clients' records, restarts, topics; what the suite of all logs can't know.

use std::{
    process::{Command, Stdio},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use orinoco_domain::{Axis, HEADER_ID, Position, RawRecord};
use orinoco_ports::{Fetched, LogError, RecordLog};
use orinoco_services::{KafkaLog, KafkaLogOptions};
use orinoco_testkit::{Kafka, KafkaAddress, poll_until, unique_name};

const DEADLINE: Duration = Duration::from_secs(60);
const WAIT: Duration = Duration::from_millis(500);

struct Topics {
    kafka: KafkaAddress,
    prefix: String,
}

impl Topics {
    async fn new() -> Self {
        Self { kafka: Kafka::shared().await.unwrap(), prefix: format!("{}-", unique_name("log")) }
    }

    fn options(&self) -> KafkaLogOptions {
        let options = KafkaLogOptions::new(vec![self.kafka.brokers().to_owned()]);
        KafkaLogOptions { topic_prefix: self.prefix.clone(), partitions: 2, ..options }
    }

    async fn log(&self) -> KafkaLog {
        let log = KafkaLog::new(self.options());
        log.partitions().await.unwrap();
        log
    }

    fn name(&self, topic: &str) -> String {
        format!("{}{topic}", self.prefix)
    }

    /// Runs kcat to its end; its output.
    async fn kcat(&self, arguments: &[&str], input: &str) -> String {
        let mut words = vec!["-b".to_owned(), self.kafka.brokers().to_owned(), "-q".to_owned()];
        words.extend(arguments.iter().map(|&argument| argument.to_owned()));
        run("kcat", words, input).await
    }

    async fn kcat_produce(&self, axis: Axis, arguments: &[&str], input: &str) {
        let topic = self.name(axis.name());
        let arguments = [&["-P", "-t", &topic, "-p", "0"], arguments].concat();
        self.kcat(&arguments, input).await;
    }
}

async fn run(program: &'static str, arguments: Vec<String>, input: &str) -> String {
    let input = input.to_owned();
    let run = move || {
        let mut command = Command::new(program);
        command.args(&arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let (out, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{program} {arguments:?}: {error}");
        out.into_owned()
    };
    tokio::task::spawn_blocking(run).await.unwrap()
}

fn record(number: u64) -> RawRecord {
    RawRecord {
        key: Some(b"samu31".to_vec()),
        value: format!("{{\"message\":\"{number}\",\"timestamp\":\"2026-01-02T03:04:05.678Z\"}}").into_bytes(),
        headers: vec![(HEADER_ID.to_owned(), format!("mqtt/1/j/{number}").into_bytes())],
        timestamp_ms: 1_767_323_045_678,
    }
}

/// All of partition 0 from the beginning, as many records as there must be.
async fn read(log: &KafkaLog, count: usize) -> Fetched {
    let mut all = Fetched::default();
    while all.records.len() < count {
        let fetched = tokio::time::timeout(DEADLINE, log.fetch(0, all.next, 1 << 20, DEADLINE)).await.unwrap().unwrap();
        all.next = fetched.next;
        all.records.extend(fetched.records);
    }
    all
}

fn values(fetched: &Fetched) -> Vec<String> {
    fetched.records.iter().map(|fetched| String::from_utf8_lossy(&fetched.record.value).into_owned()).collect()
}

#[tokio::test]
async fn kcat_reads_what_is_written() {
    let topics = Topics::new().await;
    let log = topics.log().await;
    log.produce(0, &[(Axis::X, record(1)), (Axis::Y, record(2)), (Axis::X, RawRecord::default())]).await.unwrap();
    let topic = topics.name("coordX");
    let text = topics.kcat(&["-C", "-t", &topic, "-p", "0", "-o", "beginning", "-e", "-f", "%k|%s|%h|%T\n"], "").await;
    let first = r#"samu31|{"message":"1","timestamp":"2026-01-02T03:04:05.678Z"}|orinoco-id=mqtt/1/j/1|1767323045678"#;
    assert_eq!(text, format!("{first}\n|||0\n"));
}

#[tokio::test]
async fn one_who_begins_far_behind_fetches_both_axes_together() {
    let topics = Topics::new().await;
    let log = topics.log().await;
    let records: Vec<_> = (0..200).map(|number| (Axis::X, record(number))).chain([(Axis::Y, record(1))]).collect();
    log.produce(0, &records).await.unwrap();
    for _ in 0..20 {
        let fetched = topics.log().await.fetch(0, Position::default(), 1 << 20, DEADLINE).await.unwrap();
        assert_eq!((fetched.next.x, fetched.next.y), (200, 1), "a replay would find no partner for X");
    }
}

#[tokio::test]
async fn records_of_other_producers_are_read_whatever_they_compress_with() {
    let topics = Topics::new().await;
    let log = topics.log().await;
    let lines: Vec<String> = (0..200).map(|number| format!("{number}.25")).collect();
    let input = lines.join("\n") + "\n";
    let mut expected = Vec::new();
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        topics.kcat_produce(Axis::X, &["-z", codec], &input).await;
        expected.extend(lines.clone());
    }
    topics.kcat_produce(Axis::X, &["-k", "a", "-H", "orinoco-id=nonsense", "-H", "empty="], "7").await;
    expected.push("7".to_owned());
    let fetched = read(&log, expected.len()).await;
    assert_eq!(values(&fetched), expected);
    assert_eq!(fetched.records[0].record.key, None);
    assert!(fetched.records[0].record.headers.is_empty());
    let last = &fetched.records[1_000].record;
    assert_eq!((last.key.as_deref(), last.header("empty")), (Some(&b"a"[..]), Some(&b""[..])));
}

#[tokio::test]
async fn records_that_rskafka_can_t_read_stall_nothing() {
    let topics = Topics::new().await;
    let log = topics.log().await;
    topics.kcat_produce(Axis::X, &[], "1\n").await;
    topics.kcat_produce(Axis::X, &["-H", "null"], "2\n").await;
    topics.kcat_produce(Axis::X, &["-z", "gzip", "-H", "null"], "3\n").await;
    topics.kcat_produce(Axis::X, &[], "4\n").await;
    assert_eq!(values(&read(&log, 4).await), ["1", "2", "3", "4"]);
    topics.kcat(&["-P", "-t", &topics.name("coord.dlq"), "-p", "0", "-H", "null"], "5\n").await;
    let page = log.dead_letters(None, 10).await.unwrap();
    assert_eq!((page.letters[0].letter.payload().unwrap(), &page.next), (b"5".to_vec(), &None));
    assert!(page.letters[0].letter.reason.contains("no dead letter"), "{page:?}");
}

#[tokio::test]
async fn the_console_producer_of_kafka_is_read() {
    let topics = Topics::new().await;
    let log = topics.log().await;
    let libraries = concat!(env!("CARGO_MANIFEST_DIR"), "/../../.stack/kafka/libs/*");
    let topic = topics.name("coordY");
    // Java's snappy is framed in its own way.
    let words =
        ["-cp", libraries, "-Xmx128m", "kafka.tools.ConsoleProducer", "--compression-codec", "snappy", "--sync"];
    let place = ["--bootstrap-server", topics.kafka.brokers(), "--topic", &topic];
    run("java", words.into_iter().chain(place).map(str::to_owned).collect(), "1.5\n2.5\n").await;
    let mut found = Vec::new();
    for partition in 0..2 {
        let (_, end) = log.bounds(partition).await.unwrap();
        if end.y > 0 {
            found.extend(values(&log.fetch(partition, Position::default(), 1 << 20, WAIT).await.unwrap()));
        }
    }
    found.sort();
    assert_eq!(found, ["1.5", "2.5"]);
}

#[tokio::test]
async fn a_missing_topic_is_refused_with_the_remedy_where_none_may_be_made() {
    let topics = Topics::new().await;
    let log = KafkaLog::new(KafkaLogOptions { create_topics: false, ..topics.options() });
    let refused = log.partitions().await.unwrap_err();
    let text = refused.to_string();
    assert!(matches!(refused, LogError::Misconfigured(_)) && text.contains("kafka.create_topics"), "{text}");
    assert!(text.contains(&topics.name("coordX")), "{text}");
    let info = log.probe().await.unwrap();
    assert_eq!(info.advice.len(), 3);
    // The release that the tests' scripts install.
    assert_eq!(info.version, "Kafka 3.9 (metadata.version 21)");
    assert!(matches!(log.fetch(0, Position::default(), 1 << 20, WAIT).await, Err(LogError::Misconfigured(_))));
    assert!(matches!(log.produce(0, &[(Axis::X, record(1))]).await, Err(LogError::Misconfigured(_))));
}

#[tokio::test]
async fn a_topic_that_is_there_decides_the_partition_count_and_unequal_ones_are_refused() {
    let topics = Topics::new().await;
    topics.kafka.create_topic(&topics.name("coordY"), 3).await.unwrap();
    assert_eq!(KafkaLog::new(topics.options()).partitions().await.unwrap(), 3);
    let unequal = Topics::new().await;
    unequal.kafka.create_topic(&unequal.name("coordX"), 2).await.unwrap();
    unequal.kafka.create_topic(&unequal.name("coordY"), 3).await.unwrap();
    let refused = KafkaLog::new(unequal.options()).partitions().await.unwrap_err();
    assert!(matches!(&refused, LogError::Misconfigured(text) if text.contains("make them equal")), "{refused}");
}

#[tokio::test]
async fn daemons_that_make_the_topics_at_once_agree() {
    let topics = Topics::new().await;
    let logs = [0; 4].map(|_| KafkaLog::new(topics.options()));
    let [a, b, c, d] = &logs;
    let counts = tokio::try_join!(a.partitions(), b.partitions(), c.partitions(), d.partitions()).unwrap();
    assert_eq!(counts, (2, 2, 2, 2));
}

#[tokio::test]
async fn a_record_above_the_topic_s_bound_is_named_and_the_others_of_its_batch_can_be_written() {
    let topics = Topics::new().await;
    let log = topics.log().await;
    // Each below Kafka's bound, together above it; and one above it.
    let sized = |number: u64, size: usize| (Axis::X, RawRecord { value: vec![b'1'; size], ..record(number) });
    let mut call: Vec<_> = (0..10).map(|number| sized(number, 300_000)).collect();
    log.produce(0, &call).await.unwrap();
    call.insert(4, sized(99, 2_000_000));
    match log.produce(0, &call).await {
        Err(LogError::TooLarge { index: 4, reason }) => assert!(reason.contains("max.message.bytes"), "{reason}"),
        other => panic!("{other:?}"),
    }
    call.remove(4);
    log.produce(0, &call).await.unwrap();
}

#[tokio::test]
async fn no_broker_is_unavailable_at_once_and_named() {
    let log = KafkaLog::new(KafkaLogOptions::new(vec!["127.0.0.1:1".to_owned()]));
    let text = log.partitions().await.unwrap_err().to_string();
    assert!(text.contains("127.0.0.1:1") && text.contains("refused"), "{text}");
}

/// Writes and reads on, as the producer and the consumer do, through every way in which a broker goes and comes back.
#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_was_stopped_killed_or_paused_is_found_again_and_nothing_is_lost() {
    let kafka = Kafka::start().await.unwrap();
    let options = KafkaLogOptions {
        partitions: 1,
        call_timeout: Duration::from_secs(2),
        ..KafkaLogOptions::new(vec![kafka.address().brokers().to_owned()])
    };
    let log = &KafkaLog::new(options);
    log.partitions().await.unwrap();
    let (written, stop) = (&AtomicU64::new(0), &AtomicU64::new(u64::MAX));
    let writer = async {
        let mut number = 0;
        while number < stop.load(Ordering::SeqCst) {
            let axis = Axis::BOTH[(number % 2) as usize];
            while log.produce(0, &[(axis, record(number))]).await.is_err() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            number += 1;
            written.store(number, Ordering::SeqCst);
        }
    };
    let reader = async {
        let (mut next, mut seen) = (Position::default(), std::collections::BTreeSet::new());
        while (seen.len() as u64) < stop.load(Ordering::SeqCst) {
            match log.fetch(0, next, 1 << 20, WAIT).await {
                Ok(fetched) => {
                    next = fetched.next;
                    let ids = fetched.records.iter().filter_map(|fetched| fetched.record.id());
                    seen.extend(ids.map(|id| id.sequence));
                }
                Err(LogError::Unavailable { .. }) => tokio::time::sleep(Duration::from_millis(100)).await,
                Err(other) => panic!("{other}"),
            }
        }
        seen
    };
    let progress = async |what: &str| {
        let goal = written.load(Ordering::SeqCst) + 100;
        poll_until(DEADLINE, what, async || (written.load(Ordering::SeqCst) >= goal).then_some(())).await.unwrap();
    };
    let broker = async {
        progress("writes at first").await;
        kafka.stop().await.unwrap();
        kafka.restart().await.unwrap();
        progress("writes after a stop").await;
        kafka.kill().await.unwrap();
        kafka.restart().await.unwrap();
        progress("writes after a kill").await;
        kafka.pause().unwrap();
        // Calls on the hanging connections are given up meanwhile.
        tokio::time::sleep(Duration::from_secs(5)).await;
        kafka.resume().unwrap();
        progress("writes after a pause").await;
        stop.store(written.load(Ordering::SeqCst) + 50, Ordering::SeqCst);
    };
    let ((), seen, ()) = tokio::join!(writer, reader, broker);
    let count = stop.load(Ordering::SeqCst);
    assert!(seen.iter().copied().eq(0..count), "{} of {count}", seen.len());
}
