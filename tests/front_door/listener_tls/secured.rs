//! A daemon all of whose listeners speak TLS, and clients that trust its authority.

use std::{path::PathBuf, sync::Arc};

use futures_util::StreamExt;
use orinoco_testkit::{Daemon, DaemonConfig, free_port};
use tempfile::TempDir;
use tokio::{io::AsyncReadExt, net::TcpStream, process::Command};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::ring,
        pki_types::{CertificateDer, ServerName, pem::PemObject},
    },
};
use tokio_tungstenite::{WebSocketStream, client_async, tungstenite::Message};

use crate::support::{Authority, CertificateFiles, Frame, binary, folder, until, within};

pub(super) const HOSTS: &[&str] = &["localhost", "127.0.0.1"];

pub(super) struct Secured {
    pub(super) daemon: Daemon,
    pub(super) data_dir: PathBuf,
    pub(super) authority: Authority,
    /// What all listeners read.
    pub(super) files: CertificateFiles,
    pub(super) mqtts: String,
    pub(super) environment: Vec<(String, String)>,
    _folder: TempDir,
}

impl Secured {
    /// With these settings more.
    pub(super) async fn start(settings: &[(&str, &str)]) -> Self {
        let folder = folder();
        let data_dir = folder.path().join("data");
        let authority = Authority::new(folder.path());
        let files = authority.issue("server", HOSTS);
        let mqtts = format!("127.0.0.1:{}", free_port().unwrap());
        let mut config = DaemonConfig::default()
            .set("stream.public", "true")
            .set("limits.mode", "off")
            .set("mqtt.tls_listen", &mqtts)
            .set("tls.reload_interval_s", "1");
        for section in ["http", "ws", "mqtt"] {
            config = config
                .set(&format!("{section}.tls_certificate"), files.certificate.display().to_string())
                .set(&format!("{section}.tls_key"), files.key.display().to_string());
        }
        for (key, value) in settings {
            config = config.set(key, *value);
        }
        let mut environment = config.environment.clone();
        let daemon = Daemon::spawn_without_waiting(binary(), config, &data_dir).unwrap();
        let addresses = [("HTTP", daemon.http_address()), ("WS", daemon.ws_address()), ("MQTT", daemon.mqtt_address())];
        let listen = addresses.map(|(name, value)| (format!("ORINOCO__{name}__LISTEN"), value.to_owned()));
        environment.splice(0..0, listen);
        let secured = Self { daemon, data_dir, authority, files, mqtts, environment, _folder: folder };
        until("readiness over https", async || {
            let (status, _) = secured.try_get("/readyz").await?;
            (status == 200).then_some(())
        })
        .await;
        secured
    }

    /// `host:port` of each listener that speaks TLS.
    pub(super) fn addresses(&self) -> [&str; 3] {
        [self.daemon.http_address(), self.daemon.ws_address(), &self.mqtts]
    }

    /// Status and body, by curl, which looks at the certificate. `None` without an answer.
    pub(super) async fn try_get(&self, path: &str) -> Option<(u16, String)> {
        self.curl(&["-w", "\n%{http_code}"], path).await.and_then(|text| {
            let (body, status) = text.rsplit_once('\n')?;
            Some((status.parse().ok()?, body.to_owned()))
        })
    }

    pub(super) async fn get(&self, path: &str) -> String {
        let (status, body) = self.try_get(path).await.unwrap();
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    /// What curl prints; `None` where it fails.
    pub(super) async fn curl(&self, arguments: &[&str], path: &str) -> Option<String> {
        let url = format!("https://{}{path}", self.daemon.http_address());
        let mut command = Command::new("curl");
        command.args(["-sS", "--max-time", "20", "--cacert"]).arg(self.authority.ca_file()).args(arguments).arg(url);
        let output = within("curl", command.kill_on_drop(true).output()).await.expect("curl (scripts/install test)");
        output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
    }

    /// One number of the metrics.
    pub(super) async fn metric(&self, name: &str) -> Option<f64> {
        let metrics = self.get("/metrics").await;
        metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
    }

    /// Shakes hands, and closes.
    pub(super) async fn served_certificate(&self, address: &str) -> Vec<u8> {
        self.connect(address).await.get_ref().1.peer_certificates().unwrap()[0].to_vec()
    }

    pub(super) async fn connect(&self, address: &str) -> TlsStream<TcpStream> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.authority.ca_file()).unwrap()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let stream = TcpStream::connect(address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        within("a TLS handshake", TlsConnector::from(Arc::new(config)).connect(name, stream)).await.unwrap()
    }

    /// A plain-mode WebSocket over TLS.
    pub(super) async fn watch(&self, query: &str) -> Watch {
        let address = self.daemon.ws_address();
        let stream = self.connect(address).await;
        let url = format!("wss://{address}/ws{query}");
        let (socket, _) = within("a WebSocket's handshake", client_async(url, stream)).await.unwrap();
        Watch(socket)
    }

    /// `mosquitto_pub` at QoS 1, over TLS, with these arguments more. Whether it did what it should.
    pub(super) async fn publish(&self, version: &str, arguments: &[&str], topic: &str, payload: &str) -> bool {
        let (host, port) = self.mqtts.split_once(':').unwrap();
        let mut command = Command::new("mosquitto_pub");
        command.args(["-h", host, "-p", port, "-V", version, "-q", "1", "-t", topic, "-m", payload]);
        command.arg("--cafile").arg(self.authority.ca_file()).args(arguments).kill_on_drop(true);
        let output = within("mosquitto_pub", command.output()).await.expect("mosquitto_pub (scripts/install services)");
        output.status.success()
    }

    /// Moves a device, and waits until a socket sees it.
    pub(super) async fn assert_passes(&self, socket: &mut Watch, version: &str, device: &str, x: f64) {
        let topic = |axis: &str| format!("devices/{device}/{axis}");
        assert!(self.publish(version, &[], &topic("coordY"), "0").await, "{version}");
        assert!(self.publish(version, &[], &topic("coordX"), &x.to_string()).await, "{version}");
        while socket.frame().await.x != x {}
    }

    /// The lines of the daemon's log at a level that somebody is woken by.
    pub(super) fn complaints(&self) -> Vec<String> {
        let log = self.daemon.stderr().unwrap();
        let loud = |line: &&str| line.contains("WARN") || line.contains("ERROR");
        // The limit of open files is this machine's.
        let loud = |line: &&str| loud(line) && !line.contains("file descriptors");
        log.lines().filter(loud).map(ToOwned::to_owned).collect()
    }

    /// Waits for a line of the daemon's log.
    pub(super) async fn logged(&self, part: &str) {
        until(part, async || self.daemon.stderr().unwrap().contains(part).then_some(())).await;
    }
}

/// A WebSocket over TLS.
pub(super) struct Watch(WebSocketStream<TlsStream<TcpStream>>);

impl Watch {
    /// Reads to the end, which must be one in order; the close code.
    pub(super) async fn closed(&mut self) -> u16 {
        loop {
            if let Message::Close(close) = within("the end", self.0.next()).await.unwrap().unwrap() {
                return close.unwrap().code.into();
            }
        }
    }

    pub(super) async fn frame(&mut self) -> Frame {
        loop {
            match within("a frame", self.0.next()).await.unwrap().unwrap() {
                Message::Text(text) => return Frame::parse(&text),
                Message::Close(close) => panic!("closed: {close:?}"),
                _ => {}
            }
        }
    }
}

/// Waits until the other side ends the connection; what it says before is ignored.
pub(super) async fn ended(mut stream: TcpStream) {
    // A reset is an end too.
    let _ = within("the end of a connection", stream.read_to_end(&mut Vec::new())).await;
}
