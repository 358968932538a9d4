#![allow(clippy::unwrap_used)]

use std::{fs, path::Path, sync::Arc};

use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::ring,
        pki_types::{CertificateDer, ServerName, pem::PemObject},
    },
};

use super::{CertificateError, CertificateFiles, ListenerTls, Reload, validity::Validity};

/// 2040-01-01.
const END_S: i64 = 2_208_988_800;

fn write(files: &CertificateFiles, end_year: i32) {
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.not_after = date_time_ymd(end_year, 1, 1);
    let key = KeyPair::generate().unwrap();
    fs::write(&files.certificate, params.self_signed(&key).unwrap().pem()).unwrap();
    fs::write(&files.key, key.serialize_pem()).unwrap();
}

fn files_in(folder: &Path) -> CertificateFiles {
    CertificateFiles { certificate: folder.join("certificate.pem"), key: folder.join("key.pem") }
}

fn opened() -> (TempDir, ListenerTls) {
    let folder = tempfile::tempdir().unwrap();
    let files = files_in(folder.path());
    write(&files, 2040);
    let tls = ListenerTls::open("http", files, &[]).unwrap();
    (folder, tls)
}

/// What a port speaks TLS by, for tests of the ports.
pub(crate) struct SelfSigned {
    pub(crate) tls: Arc<ListenerTls>,
    certificate: CertificateDer<'static>,
}

impl SelfSigned {
    pub(crate) fn new() -> Self {
        let (_folder, tls) = opened();
        let certificate = CertificateDer::from_pem_file(&tls.files().certificate).unwrap();
        Self { tls: Arc::new(tls), certificate }
    }

    /// A client that takes this certificate for its authority.
    pub(crate) async fn connect(&self, stream: TcpStream) -> TlsStream<TcpStream> {
        connect(&self.certificate, stream).await
    }
}

async fn connect(certificate: &CertificateDer<'static>, stream: TcpStream) -> TlsStream<TcpStream> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap()
}

#[test]
fn a_certificate_s_validity_is_read_in_both_forms_of_time() {
    let key = KeyPair::generate().unwrap();
    // Until 2049 the year has two digits (RFC 5280, section 4.1.2.5).
    for (year, expires_at_s) in [(2040, END_S), (2060, 2_840_140_800)] {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        (params.not_before, params.not_after) = (date_time_ymd(2001, 9, 9), date_time_ymd(year, 1, 1));
        let certificate = params.self_signed(&key).unwrap();
        let validity = Validity::of(certificate.der()).unwrap();
        assert_eq!(validity, Validity { begins_at_s: 999_993_600, expires_at_s });
        assert!(Validity::of(&certificate.der()[..100]).is_err(), "cut off");
    }
    assert!(Validity::of(b"").is_err() && Validity::of(&[0x30, 0]).is_err());
}

#[test]
fn what_has_changed_is_taken_and_what_can_not_be_used_is_not() {
    let (folder, tls) = opened();
    assert_eq!(tls.reload(), Ok(Reload::Unchanged));
    write(tls.files(), 2050);
    assert_eq!(tls.reload(), Ok(Reload::Changed));
    assert_eq!(tls.reload(), Ok(Reload::Unchanged));
    assert_eq!(tls.expires_on(), "2050-01-01");

    let other = CertificateFiles { certificate: folder.path().join("other.pem"), ..tls.files().clone() };
    write(&other, 2060);
    assert!(matches!(tls.reload(), Err(CertificateError::Mismatch { .. })));
    fs::remove_file(&tls.files().certificate).unwrap();
    assert!(matches!(tls.reload(), Err(CertificateError::CertificateUnreadable { .. })));
    assert_eq!(tls.expires_on(), "2050-01-01");
    fs::rename(&other.certificate, &tls.files().certificate).unwrap();
    assert_eq!(tls.reload(), Ok(Reload::Changed));
    assert_eq!(tls.expires_on(), "2060-01-01");
}

#[test]
fn files_that_are_replaced_one_after_the_other_are_no_failure() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let failures = || {
        let text = recorder.handle().render();
        text.lines().filter(|line| line.contains("outcome=\"failed\"")).map(ToOwned::to_owned).collect::<Vec<_>>()
    };
    metrics::with_local_recorder(&recorder, || {
        let (folder, tls) = opened();
        let other = CertificateFiles { certificate: folder.path().join("other.pem"), ..tls.files().clone() };
        write(&other, 2050);
        tls.look();
        fs::rename(&other.certificate, &tls.files().certificate).unwrap();
        tls.look();
        assert_eq!((failures(), tls.expires_on()), (Vec::new(), "2050-01-01".to_owned()));

        fs::remove_file(&tls.files().key).unwrap();
        tls.look();
        assert_eq!(failures(), Vec::<String>::new());
        for _ in 0..3 {
            tls.look();
            assert_eq!(failures(), ["orinoco_tls_reloads_total{listener=\"http\",outcome=\"failed\"} 1"], "told once");
        }
    });
}

#[test]
fn what_is_wrong_with_the_files_is_told_from_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let files = files_in(folder.path());
    let open = || ListenerTls::open("http", files.clone(), &[]).err().unwrap();
    assert!(matches!(open(), CertificateError::CertificateUnreadable { .. }));
    write(&files, 2040);
    let key = fs::read_to_string(&files.key).unwrap();
    fs::remove_file(&files.key).unwrap();
    assert!(matches!(open(), CertificateError::KeyUnreadable { .. }));
    for text in ["", &key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY"), &key[..key.len() / 2]] {
        fs::write(&files.key, text).unwrap();
        let error = open();
        assert!(matches!(error, CertificateError::NoKey { .. }), "{error}");
    }
    fs::write(&files.key, &key).unwrap();
    let certificate = fs::read_to_string(&files.certificate).unwrap();
    fs::write(&files.certificate, &certificate[..certificate.len() / 2]).unwrap();
    assert!(matches!(open(), CertificateError::NoCertificate { .. } | CertificateError::BadCertificate { .. }));
    fs::write(&files.certificate, vec![b'-'; 2 * 1024 * 1024]).unwrap();
    assert!(matches!(open(), CertificateError::CertificateUnreadable { .. }), "longer than any");
}
