//! TLS at the daemon's own listeners, with other people's clients: curl, openssl, Mosquitto's, Chromium, and a WebSocket over rustls.

mod secured;

use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Stdio};

use futures_util::future::join_all;
use orinoco_testkit::{free_port, unique_name};
use tokio::{io::AsyncWriteExt, net::TcpStream, process::Command};
use tokio_rustls::rustls::pki_types::{CertificateDer, pem::PemObject};

use crate::support::{Authority, CertificateFiles, DEADLINE, command, folder, until, within};
use secured::{HOSTS, Secured, ended};

/// MQTT 3.1.1, and 5.0.
const VERSIONS: [&str; 2] = ["311", "5"];
/// Connections that say nothing.
const SILENT: usize = 200;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_listener_speaks_tls_with_other_people_s_clients() {
    let secured = Secured::start(&[]).await;
    for address in secured.addresses() {
        for (flag, version) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
            let said = s_client(&secured, address, flag).await;
            assert!(said.contains(&format!("Protocol version: {version}")), "{address}: {said}");
            assert!(said.contains("Verification: OK"), "{address}: {said}");
        }
        let old = s_client(&secured, address, "-tls1_1").await;
        assert!(!old.contains("Protocol version"), "{address}: {old}");
    }
    let name = unique_name("d");
    let mut socket = secured.watch(&format!("?device={name}")).await;
    for (version, x) in VERSIONS.into_iter().zip([1.0, 2.0]) {
        secured.assert_passes(&mut socket, version, &name, x).await;
    }
    let latest = secured.get(&format!("/api/v1/devices/{name}/coordinates/latest")).await;
    assert_eq!(serde_json::from_str::<serde_json::Value>(&latest).unwrap()["coordX"], 2.0);
    assert_eq!(secured.metric("orinoco_http_connections").await, Some(1.0), "curl's own");
    let (stopped, code) = tokio::join!(secured.daemon.terminate(), socket.closed());
    assert_eq!((stopped.unwrap().code(), code), (Some(0), 1012));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_console_watches_in_chromium_over_https_and_wss() {
    let secured = Secured::start(&[]).await;
    let name = unique_name("d");
    let mut socket = secured.watch(&format!("?device={name}")).await;
    secured.assert_passes(&mut socket, "5", &name, 1.0).await;
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut browser = Command::new("node");
    browser.arg(root.join("tests/clients/console_tls.mjs")).arg(root.join(".stack/clients"));
    browser.arg(format!("https://{}", secured.daemon.http_address())).arg(&name).kill_on_drop(true);
    let output = tokio::time::timeout(2 * DEADLINE, browser.output()).await.expect("in time").expect("node");
    let found: serde_json::Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    let socket = format!("wss://{}/connection/websocket", secured.daemon.ws_address());
    assert_eq!(found["sockets"].as_array().unwrap().first(), Some(&socket.into()), "{found}");
    assert_eq!(found["cookies"], serde_json::json!([{ "name": "__Host-orinoco-challenge", "secure": true }]));
    assert_eq!((&found["complaints"], &found["isSecure"]), (&serde_json::json!([]), &true.into()));
}

/// Its connection ends at once, as nothing is sent after the handshake.
async fn s_client(secured: &Secured, address: &str, version: &str) -> String {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-brief", version, "-connect", address, "-CAfile"]).arg(secured.authority.ca_file());
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = within("openssl", command.output()).await.expect("openssl (scripts/install test)");
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_speaks_no_tls_is_closed_without_noise_and_urls_say_tls() {
    let secured = Secured::start(&[]).await;
    for address in secured.addresses() {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
        ended(stream).await;
    }
    let (http, ws) = (secured.daemon.http_address(), secured.daemon.ws_address());
    let about: serde_json::Value = serde_json::from_str(&secured.get("/api/v1/console").await).unwrap();
    assert_eq!(about["publicUrl"], format!("https://{http}"));
    assert_eq!(about["socketUrl"], format!("wss://{ws}/connection/websocket"));
    let metadata: serde_json::Value =
        serde_json::from_str(&secured.get("/.well-known/oauth-authorization-server").await).unwrap();
    assert_eq!(metadata["issuer"], format!("https://{http}"));
    let answer = secured.curl(&["-i", "-X", "POST", "-d", ""], "/api/v1/qr/challenges").await.unwrap().to_lowercase();
    let cookie = answer.lines().find(|line| line.starts_with("set-cookie: ")).expect("a cookie");
    assert!(cookie.contains("__host-orinoco-challenge=") && cookie.contains("secure"), "{cookie}");
    assert!(!answer.contains("strict-transport-security"), "{answer}");
    assert_eq!(secured.complaints(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_is_replaced_under_connections_that_go_on_and_a_broken_one_is_not_taken() {
    let secured = Secured::start(&[]).await;
    let name = unique_name("d");
    let mut socket = secured.watch(&format!("?device={name}")).await;
    secured.assert_passes(&mut socket, "5", &name, 1.0).await;
    let first = der(&secured.files);

    let second = secured.authority.issue_until("second", HOSTS, 2100);
    second.replace(&secured.files);
    until("the new certificate everywhere", async || all_serve(&secured, &der(&second)).await.then_some(())).await;
    assert_ne!(first, der(&second));
    for listener in ["http", "ws", "mqtt"] {
        let expires = format!("orinoco_tls_certificate_expires_seconds{{listener=\"{listener}\"}}");
        assert_eq!(secured.metric(&expires).await, Some(4_102_444_800.0), "{listener}");
    }
    secured.assert_passes(&mut socket, "311", &name, 2.0).await;

    // Another pair's key; no certificate; nothing.
    let third = secured.authority.issue("third", HOSTS);
    let broken: [&dyn Fn(); 3] = [
        &|| fs::write(&secured.files.key, fs::read(&third.key).unwrap()).unwrap(),
        &|| fs::write(&secured.files.certificate, "-----BEGIN CERTIFICATE-----\nAAAA\n").unwrap(),
        &|| fs::remove_file(&secured.files.key).unwrap(),
    ];
    for (count, break_it) in broken.into_iter().enumerate() {
        break_it();
        for listener in ["http", "ws", "mqtt"] {
            let failed = format!("orinoco_tls_reloads_total{{listener=\"{listener}\",outcome=\"failed\"}}");
            let expected = count as f64 + 1.0;
            until("a failure is counted", async || (secured.metric(&failed).await? == expected).then_some(())).await;
        }
        assert!(all_serve(&secured, &der(&second)).await, "the one in use stays");
    }
    secured.logged("the one in use stays").await;
    secured.assert_passes(&mut socket, "5", &name, 3.0).await;

    third.replace(&secured.files);
    until("a good one again", async || all_serve(&secured, &der(&third)).await.then_some(())).await;
    secured.assert_passes(&mut socket, "5", &name, 4.0).await;
    let log = secured.daemon.stderr().unwrap();
    assert!(!log.contains("PRIVATE KEY"), "{log}");
}

fn der(files: &CertificateFiles) -> Vec<u8> {
    CertificateDer::from_pem_file(&files.certificate).unwrap().to_vec()
}

async fn all_serve(secured: &Secured, certificate: &[u8]) -> bool {
    let served = join_all(secured.addresses().map(|address| secured.served_certificate(address))).await;
    served.iter().all(|served| served == certificate)
}

#[test]
fn a_certificate_that_can_not_be_used_is_refused_at_the_start_with_place_file_and_remedy() {
    let folder = folder();
    let authority = Authority::new(folder.path());
    let (one, other) = (authority.issue("one", HOSTS), authority.issue("other", HOSTS));
    let missing = folder.path().join("missing.pem");
    let cases = [
        (&one.certificate, &other.key, "http.tls_key", "other.key is not that of"),
        (&missing, &one.key, "http.tls_certificate", "missing.pem can't be read"),
        (&one.certificate, &missing, "http.tls_key", "missing.pem can't be read"),
        (&one.key, &one.key, "http.tls_certificate", "one.key holds no certificate"),
        (&one.certificate, &one.certificate, "http.tls_key", "one.pem holds no private key"),
    ];
    for (certificate, key, blamed, reason) in cases {
        let file = folder.path().join("tls.toml");
        let text = format!("[http]\n\ntls_certificate = {certificate:?}\ntls_key = {key:?}\n");
        fs::write(&file, text).unwrap();
        let line = if blamed == "http.tls_key" { 4 } else { 3 };
        for which in ["serve", "check"] {
            let arguments = ["--config", file.to_str().unwrap(), which];
            let output = command(&[], &folder.path().join("data"), &arguments);
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(64), "{said}");
            assert!(said.contains(&format!("tls.toml:{line}: {blamed}: ")) && said.contains(reason), "{said}");
            assert!(!said.contains("PRIVATE KEY"), "{said}");
        }
    }
}

#[test]
fn an_expired_certificate_and_a_key_open_to_all_are_warned_of() {
    let folder = folder();
    let authority = Authority::new(folder.path());
    let files = authority.issue_until("old", HOSTS, 2020);
    fs::set_permissions(&files.key, fs::Permissions::from_mode(0o644)).unwrap();
    let settings = [
        ("ORINOCO__HTTP__TLS_CERTIFICATE", files.certificate.display().to_string()),
        ("ORINOCO__HTTP__TLS_KEY", files.key.display().to_string()),
    ];
    let mut environment: Vec<_> = settings.map(|(name, value)| (name.to_owned(), value)).into();
    for section in ["HTTP", "WS", "MQTT"] {
        environment.push((format!("ORINOCO__{section}__LISTEN"), format!("127.0.0.1:{}", free_port().unwrap())));
    }
    for which in ["check", "doctor"] {
        let output = command(&environment, &folder.path().join("data"), &[which]);
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{said}");
        assert!(said.contains("old.pem expired on 2020-01-01"), "{said}");
        assert!(said.contains("chmod 600"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_say_nothing_hold_up_nobody_and_are_closed() {
    let silent_max = (SILENT + 50).to_string();
    let settings = [("http.connections_max", silent_max.as_str()), ("mqtt.sessions_max", silent_max.as_str())];
    let secured = Secured::start(&settings).await;
    let mut silent = Vec::new();
    for address in secured.addresses() {
        for _ in 0..SILENT {
            silent.push(TcpStream::connect(address).await.unwrap());
        }
    }
    let name = unique_name("d");
    let mut socket = secured.watch(&format!("?device={name}")).await;
    for (version, x) in VERSIONS.into_iter().zip([1.0, 2.0]) {
        secured.assert_passes(&mut socket, version, &name, x).await;
    }
    // As many more as there are slots: the next one waits until the silent ones have gone.
    for address in [secured.daemon.http_address(), &secured.mqtts] {
        for _ in 0..SILENT {
            silent.push(TcpStream::connect(address).await.unwrap());
        }
    }
    secured.get("/readyz").await;
    secured.assert_passes(&mut socket, "5", &name, 3.0).await;
    join_all(silent.into_iter().map(ended)).await;
    secured.get("/readyz").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn devices_are_told_apart_over_tls_and_nobody_comes_in_by_the_port_within() {
    let settings = [("mqtt.listen", ""), ("mqtt.anonymous", "false")];
    let secured = Secured::start(&settings).await;
    let name = unique_name("d");
    let topic = format!("devices/{name}/coordX");
    let output = command(&secured.environment, &secured.data_dir, &["device", "add", &name, "--json"]);
    let added: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let secret = added["secret"].as_str().unwrap();
    for version in VERSIONS {
        assert!(!secured.publish(version, &[], &topic, "1").await, "nobody without credentials");
        assert!(!secured.publish(version, &["-u", &name, "-P", "wrong"], &topic, "1").await);
        assert!(secured.publish(version, &["-u", &name, "-P", secret], &topic, "1").await);
    }
    // rmqtt's own port on loopback, which no key names.
    let inner = inner_ports(&secured).await;
    assert_eq!(inner.len(), 1, "{inner:?}");
    for version in VERSIONS {
        let mut client = Command::new("mosquitto_pub");
        client.args(["-h", "127.0.0.1", "-p", &inner[0], "-V", version, "-u", &name, "-P", secret]);
        client.args(["-q", "1", "-t", &topic, "-m", "2"]).kill_on_drop(true);
        assert!(!within("mosquitto_pub", client.output()).await.unwrap().status.success(), "{version}");
    }
}

/// Where the daemon listens besides what it was told to.
async fn inner_ports(secured: &Secured) -> Vec<String> {
    let output = Command::new("ss").args(["-Hltnp"]).output().await.unwrap();
    let own = format!("pid={},", secured.daemon.pid().unwrap());
    let listed = String::from_utf8(output.stdout).unwrap();
    let places = listed.lines().filter(|line| line.contains(&own)).filter_map(|line| line.split_whitespace().nth(3));
    let unnamed = places.filter(|place| !secured.addresses().contains(place));
    unnamed.filter_map(|place| place.rsplit_once(':')).map(|(_, port)| port.to_owned()).collect()
}
