//! An authority of certificates, of a test's own.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};

/// Signs what it is asked for. Its own certificate and what it issues are PEM files of one folder.
pub(crate) struct Authority {
    folder: PathBuf,
    ca_file: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

/// PEM files that belong together.
#[derive(Debug, Clone)]
pub(crate) struct CertificateFiles {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl Authority {
    /// Makes the folder where it is missing.
    pub(crate) fn new(folder: impl AsRef<Path>) -> Self {
        let folder = folder.as_ref().to_owned();
        fs::create_dir_all(&folder).unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, format!("authority of {}", folder.display()));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let ca_file = folder.join("ca.pem");
        fs::write(&ca_file, certificate.pem()).unwrap();
        Self { folder, ca_file, issuer: Issuer::new(params, key) }
    }

    /// What clients trust.
    pub(crate) fn ca_file(&self) -> &Path {
        &self.ca_file
    }

    /// A certificate for these names and addresses, in files `{name}.pem` and `{name}.key`, which it writes anew.
    pub(crate) fn issue(&self, name: &str, hosts: &[&str]) -> CertificateFiles {
        self.issue_until(name, hosts, 4096)
    }

    /// The same, until the beginning of that year.
    pub(crate) fn issue_until(&self, name: &str, hosts: &[&str], year: i32) -> CertificateFiles {
        let hosts: Vec<String> = hosts.iter().map(|&host| host.to_owned()).collect();
        let mut params = CertificateParams::new(hosts).unwrap();
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(year, 1, 1);
        params.distinguished_name.push(DnType::CommonName, name);
        params.use_authority_key_identifier_extension = true;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let in_folder = |ending: &str| self.folder.join(format!("{name}.{ending}"));
        let files = CertificateFiles { certificate: in_folder("pem"), key: in_folder("key") };
        fs::write(&files.certificate, certificate.pem()).unwrap();
        fs::write(&files.key, key.serialize_pem()).unwrap();
        fs::set_permissions(&files.key, fs::Permissions::from_mode(0o600)).unwrap();
        files
    }
}

impl CertificateFiles {
    /// Puts these in the place of those.
    pub(crate) fn replace(&self, those: &Self) {
        fs::copy(&self.key, &those.key).unwrap();
        fs::copy(&self.certificate, &those.certificate).unwrap();
    }
}
