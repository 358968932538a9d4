//! TLS with real servers, and what is said where it fails.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use orinoco_domain::Axis;
use orinoco_ports::{CoordinateStore, Leases, RecordLog};
use orinoco_services::{
    KafkaLog, KafkaLogOptions, KafkaSasl, PahoSource, PahoSourceOptions, PostgresAccess, PostgresLeases,
    PostgresLeasesOptions, RedisStore, RedisStoreOptions, SaslMechanism, TlsIdentity, TlsKeys, TlsOptions, migrate,
};
use orinoco_testkit::{Kafka, Mosquitto, Postgres, Redis, RedisKind, ServerTls, free_port};
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

use crate::authority::{Authority, CertificateFiles};

const LIMIT: Duration = Duration::from_secs(30);
const PASSWORD: &str = "s3cret";

fn trusting(authority: &Authority) -> TlsOptions {
    TlsOptions { ca: Some(authority.ca_file().to_owned()), identity: None }
}

fn identified(authority: &Authority, files: &CertificateFiles) -> TlsOptions {
    let identity = TlsIdentity { certificate: files.certificate.clone(), key: files.key.clone() };
    TlsOptions { identity: Some(identity), ..trusting(authority) }
}

fn server_tls(authority: &Authority, files: &CertificateFiles) -> ServerTls {
    let CertificateFiles { certificate, key } = files.clone();
    ServerTls { certificate, key, client_ca: authority.ca_file().to_owned() }
}

/// mosquitto's lines for a listener with a certificate for this name, and its URL.
pub(crate) fn listener(authority: &Authority, name: &str, demands_certificate: bool) -> (Vec<String>, String) {
    let port = free_port().unwrap();
    let tls = server_tls(authority, &authority.issue(name, &[name, "127.0.0.1"]));
    (tls.mosquitto_lines(port, demands_certificate), format!("mqtts://localhost:{port}"))
}

/// A TLS server that says nothing; `host:port`.
async fn silent_server(files: &CertificateFiles, client_ca: Option<&Path>) -> String {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
    let builder = match client_ca {
        Some(ca) => {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from_pem_file(ca).unwrap()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
            builder.unwrap().with_client_cert_verifier(verifier)
        }
        None => builder.unwrap().with_no_client_auth(),
    };
    let chain = vec![CertificateDer::from_pem_file(&files.certificate).unwrap()];
    let config = builder.with_single_cert(chain, PrivateKeyDer::from_pem_file(&files.key).unwrap()).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let place = format!("localhost:{}", listener.local_addr().unwrap().port());
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                if let Ok(mut stream) = acceptor.accept(stream).await {
                    // Until the client has gone.
                    let _ = stream.read_u8().await;
                }
            });
        }
    });
    place
}

/// A server that sends this to whoever connects, and closes.
async fn plain_server(words: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let place = format!("localhost:{}", listener.local_addr().unwrap().port());
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            // The client's hello is read, so that closing is no reset.
            let _ = stream.read(&mut [0; 4_096]).await;
            let _ = stream.write_all(words).await;
        }
    });
    place
}

#[tokio::test]
async fn each_failure_of_tls_is_told_with_the_key_that_mends_it() {
    let folder = tempfile::tempdir().unwrap();
    let (ours, theirs) = (Authority::new(folder.path().join("ours")), Authority::new(folder.path().join("theirs")));
    let localhost = ours.issue("localhost", &["localhost", "127.0.0.1"]);
    let keys = &TlsKeys::KAFKA;
    let place = silent_server(&localhost, None).await;
    assert_eq!(trusting(&ours).diagnose(&place, keys, LIMIT).await, None);
    let by_address = place.replace("localhost", "127.0.0.1");
    assert_eq!(trusting(&ours).diagnose(&by_address, keys, LIMIT).await, None);

    let elsewhere = silent_server(&ours.issue("elsewhere", &["elsewhere.example"]), None).await;
    let demanding = silent_server(&localhost, Some(ours.ca_file())).await;
    let stranger = identified(&ours, &theirs.issue("stranger", &["stranger"]));
    let nobody = format!("localhost:{}", free_port().unwrap());
    for (tls, place, expected) in [
        (trusting(&theirs), &place, "set kafka.tls_ca"),
        // Those of the system don't know it either.
        (TlsOptions::default(), &place, "set kafka.tls_ca"),
        (trusting(&ours), &elsewhere, "name the server in kafka.brokers"),
        (trusting(&ours), &demanding, "kafka.tls_certificate"),
        (stranger, &demanding, "kafka.tls_certificate"),
        (trusting(&ours), &plain_server(b"-ERR what is this\r\n").await, "does not speak TLS"),
        (trusting(&ours), &plain_server(b"").await, "may not speak TLS"),
        (trusting(&ours), &nobody, "refused"),
    ] {
        let why = tls.diagnose(place, keys, LIMIT).await.unwrap();
        assert!(why.contains(expected), "{expected}: {why}");
    }
    let known = identified(&ours, &ours.issue("known", &["known"]));
    assert_eq!(known.diagnose(&demanding, keys, LIMIT).await, None);
}

#[test]
fn a_file_of_no_use_is_named_and_not_shown() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(folder.path());
    let (one, other) = (authority.issue("one", &["one"]), authority.issue("other", &["other"]));
    assert_eq!(identified(&authority, &one).check(), Ok(()));
    let (missing, junk) = (folder.path().join("missing"), folder.path().join("junk"));
    std::fs::write(&junk, "-----BEGIN NOTHING-----\nAAAA\n-----END NOTHING-----\n").unwrap();
    let ca = |path: &Path| TlsOptions { ca: Some(path.to_owned()), identity: None };
    let identity = |certificate: &Path, key: &Path| {
        let files = CertificateFiles { certificate: certificate.to_owned(), key: key.to_owned() };
        identified(&authority, &files)
    };
    let cases: [(TlsOptions, &PathBuf, &str); 6] = [
        (ca(&missing), &missing, "can't be read"),
        (ca(&junk), &junk, "holds no certificate"),
        (ca(&one.key), &one.key, "holds no certificate"),
        (identity(&junk, &one.key), &junk, "holds no certificate"),
        (identity(&one.certificate, &junk), &junk, "holds no private key"),
        (identity(&one.certificate, &other.key), &other.key, "does not go with the certificate"),
    ];
    for (tls, path, expected) in cases {
        let error = tls.check().unwrap_err();
        assert!(error.path == *path && error.to_string().contains(expected), "{expected}: {error}");
        assert!(!error.to_string().contains("AAAA"), "{error}");
    }
}

fn paho(url: &str, tls: TlsOptions) -> PahoSource {
    let mut options = PahoSourceOptions::new(url, "orinoco", vec!["coordX".to_owned()]);
    options.tls = tls;
    PahoSource::new(options).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mosquitto_is_verified_and_may_ask_for_our_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let (ours, theirs) = (Authority::new(folder.path().join("ours")), Authority::new(folder.path().join("theirs")));
    let (lines, url) = listener(&ours, "localhost", false);
    let (elsewhere, elsewhere_url) = listener(&ours, "elsewhere.example", false);
    let (demanding, demanding_url) = listener(&ours, "localhost", true);
    let lines = [lines, elsewhere, demanding].concat();
    let broker = Mosquitto::start_with(&lines).await.unwrap();

    let info = paho(&url, trusting(&ours)).probe().await.unwrap();
    assert!(info.version.contains("mosquitto"), "{info:?}");
    paho(&url.replace("localhost", "127.0.0.1"), trusting(&ours)).probe().await.unwrap();
    let known = identified(&ours, &ours.issue("known", &["known"]));
    paho(&demanding_url, known).probe().await.unwrap();

    let plain = broker.url().replace("mqtt://", "mqtts://");
    let missing = TlsOptions { ca: Some(folder.path().join("missing")), identity: None };
    for (url, tls, expected) in [
        (&url, trusting(&theirs), "set mqtt.tls_ca"),
        (&url, TlsOptions::default(), "set mqtt.tls_ca"),
        (&url, missing, "missing can't be read"),
        (&elsewhere_url, trusting(&ours), "name the server in mqtt.url"),
        (&demanding_url, trusting(&ours), "mqtt.tls_client_certificate"),
        (&plain, trusting(&ours), "may not speak TLS"),
    ] {
        let why = paho(url, tls).probe().await.unwrap_err().to_string();
        assert!(why.contains(expected), "{expected}: {why}");
    }
}

fn redis(url: &str, tls: TlsOptions) -> RedisStore {
    let mut options = RedisStoreOptions { tls, ..RedisStoreOptions::new(url) };
    // More than what the library gives an attempt to connect.
    options.call_timeout = Duration::from_millis(2_500);
    RedisStore::new(&options).unwrap()
}

#[tokio::test]
async fn redis_is_verified_and_may_ask_for_our_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let (ours, theirs) = (Authority::new(folder.path().join("ours")), Authority::new(folder.path().join("theirs")));
    let server = async |name: &str, demands_certificate: bool| {
        let (tls, port) = (server_tls(&ours, &ours.issue(name, &[name])), free_port().unwrap());
        let arguments = tls.redis_arguments(port, demands_certificate);
        let server = Redis::start_with(RedisKind::Ws, &arguments).await.unwrap();
        (server, format!("rediss://localhost:{port}"))
    };
    let (plain, url) = server("localhost", true).await;
    let (_elsewhere, elsewhere_url) = server("elsewhere.example", false).await;
    let known = identified(&ours, &ours.issue("known", &["known"]));
    let store = redis(&url, known);
    assert!(store.probe().await.unwrap().version.starts_with("Redis"));
    // On a connection of its own.
    store.subscribe(0).await.unwrap();

    let plain = plain.url().replace("redis://127.0.0.1", "rediss://localhost");
    for (url, tls, expected) in [
        (&url, trusting(&theirs), "set redis_ws.tls_ca"),
        (&url, trusting(&ours), "redis_ws.tls_certificate"),
        (&elsewhere_url, trusting(&ours), "name the server in redis_ws.url"),
    ] {
        let store = redis(url, tls);
        let why = store.probe().await.unwrap_err().to_string();
        assert!(why.contains(expected), "{expected}: {why}");
        let why = store.subscribe(0).await.err().unwrap().to_string();
        assert!(why.contains(expected), "{expected}: {why}");
    }
    let why = redis(&plain, trusting(&ours)).probe().await.unwrap_err().to_string();
    assert!(why.contains("may not speak TLS"), "{why}");
}

#[tokio::test]
async fn postgresql_is_verified_as_sslmode_says() {
    let folder = tempfile::tempdir().unwrap();
    let (ours, theirs) = (Authority::new(folder.path().join("ours")), Authority::new(folder.path().join("theirs")));
    let files = ours.issue("localhost", &["localhost"]);
    let server = Postgres::start_with_tls(&files.certificate, &files.key).await.unwrap();
    let in_the_clear = Postgres::shared().await.unwrap();
    migrate(server.url()).await.unwrap();
    let at = |host: &str, mode: &str| format!("{}?sslmode={mode}", server.url().replace("127.0.0.1", host));
    let leases = |url: String, tls: TlsOptions| {
        PostgresLeases::new(&PostgresLeasesOptions::new(PostgresAccess { url, tls }, "one")).unwrap()
    };
    let is_tls =
        "select bool_and(ssl) from pg_stat_ssl join pg_stat_activity using (pid) where application_name = 'orinoco'";
    for (url, tls, expected) in [
        (at("localhost", "disable"), TlsOptions::default(), "f"),
        // Whoever it is.
        (at("127.0.0.1", "prefer"), trusting(&theirs), "t"),
        (server.url().to_owned(), TlsOptions::default(), "t"),
        (at("localhost", "require"), trusting(&ours), "t"),
        (at("localhost", "verify-ca"), trusting(&ours), "t"),
        (at("localhost", "verify-full"), trusting(&ours), "t"),
    ] {
        let leases = leases(url.clone(), tls);
        leases.probe().await.unwrap();
        // Those of the cases before may not have gone yet.
        let seen = async || (server.address().execute(is_tls).await.ok()? == expected).then_some(());
        orinoco_testkit::poll_until(LIMIT, &url, seen).await.unwrap();
    }
    for mode in ["require", "verify-ca", "verify-full"] {
        for (url, tls, expected) in [
            (at("localhost", mode), trusting(&theirs), "set postgres.tls_ca"),
            (at("localhost", mode), TlsOptions::default(), "set postgres.tls_ca"),
            (at("127.0.0.1", mode), trusting(&ours), "name the server in postgres.url"),
            (format!("{}?sslmode={mode}", in_the_clear.url()), trusting(&ours), "does not speak TLS"),
        ] {
            let why = leases(url, tls).probe().await.unwrap_err().to_string();
            assert!(why.contains(expected), "{mode}, {expected}: {why}");
        }
    }
    leases(in_the_clear.fresh_database().await.unwrap().url().to_owned(), TlsOptions::default())
        .probe()
        .await
        .unwrap_err();
}

/// A Kafka with a listener for TLS and passwords; `host:port` of that.
async fn kafka_with_passwords(authority: &Authority, folder: &Path) -> (Kafka, String) {
    let brokers = format!("localhost:{}", free_port().unwrap());
    let tls = server_tls(authority, &authority.issue("kafka", &["localhost"]));
    let more = tls.kafka_listener(&brokers, folder, "orinoco", PASSWORD).unwrap();
    (Kafka::start_with(&more).await.unwrap(), brokers)
}

#[tokio::test]
async fn kafka_is_verified_and_takes_our_password_by_each_mechanism() {
    let folder = tempfile::tempdir().unwrap();
    let (ours, theirs) = (Authority::new(folder.path().join("ours")), Authority::new(folder.path().join("theirs")));
    let (kafka, brokers) = kafka_with_passwords(&ours, folder.path()).await;
    for mechanism in [SaslMechanism::Plain, SaslMechanism::ScramSha256, SaslMechanism::ScramSha512] {
        let log = log(&brokers, trusting(&ours), mechanism, PASSWORD);
        assert_eq!(log.partitions().await.unwrap(), 1);
        let info = log.probe().await.unwrap();
        assert!(info.version.contains("metadata.version "), "asked on a connection of our own: {info:?}");
        let (_, end) = log.bounds(0).await.unwrap();
        // One that rskafka can't read, so that it is fetched on a connection of our own.
        kcat_null_header(kafka.address().brokers()).await;
        let fetched = log.fetch(0, end, 1 << 20, LIMIT).await.unwrap();
        assert_eq!(fetched.records.len(), 1, "{mechanism:?}");
        assert_eq!(fetched.next.of(Axis::X), end.of(Axis::X) + 1);
        let why = why_not(&self::log(&brokers, trusting(&ours), mechanism, "mistaken")).await;
        assert!(why.contains("kafka.sasl_password") && !why.contains("mistaken"), "{why}");
    }
    let why = why_not(&log(&brokers, trusting(&theirs), SaslMechanism::Plain, PASSWORD)).await;
    assert!(why.contains("set kafka.tls_ca"), "{why}");
    let plain = KafkaLogOptions::new(vec![kafka.address().brokers().replace("127.0.0.1", "localhost")]);
    let why = why_not(&KafkaLog::new(KafkaLogOptions { tls: Some(trusting(&ours)), ..plain })).await;
    assert!(why.contains("may not speak TLS"), "{why}");
}

fn log(brokers: &str, tls: TlsOptions, mechanism: SaslMechanism, password: &str) -> KafkaLog {
    let sasl = KafkaSasl { mechanism, username: "orinoco".to_owned(), password: password.to_owned() };
    assert!(!format!("{sasl:?}").contains(password));
    let options = KafkaLogOptions::new(vec![brokers.to_owned()]);
    KafkaLog::new(KafkaLogOptions { tls: Some(tls), sasl: Some(sasl), partitions: 1, ..options })
}

async fn why_not(log: &KafkaLog) -> String {
    log.partitions().await.unwrap_err().to_string()
}

/// Writes a record that rskafka can't read: with a header that has no value.
async fn kcat_null_header(brokers: &str) {
    let text = format!("echo 1 | kcat -P -q -b {brokers} -t coordX -p 0 -H null");
    let produced = tokio::process::Command::new("sh").args(["-c", &text]).status().await.unwrap();
    assert!(produced.success());
}
