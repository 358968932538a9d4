//! mosquitto's `password_file` and `acl_file`, for devices that come in through it: who has a secret here has it there.
//!
//! Lines of the password file that are not of a device in hand stay as they are; the ACL file is written whole. mosquitto reads
//! both again on SIGHUP.

use std::{
    fs::{self, File, Permissions},
    io::Write,
    os::unix::fs::{MetadataExt, PermissionsExt, fchown},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use orinoco_domain::DeviceId;
use rustix::fs::{FlockOperation, flock};
use sha2::Sha512;

use crate::{auth::random, config::Config};

const PASSWORD_FILE: &str = "passwords";
const ACL_FILE: &str = "acl";
/// What `mosquitto_passwd` takes. Secrets have 256 random bits: there is nothing to guess, and so nothing to slow down.
const ITERATIONS: u32 = 101;
const SALT_BYTES: usize = 12;
const HASH_BYTES: usize = 64;
/// The owner, and the group, which is mosquitto's where the folder is.
const MODE: u32 = 0o640;

/// The files in one folder, for one device.
#[derive(Debug)]
pub(super) struct MosquittoFiles {
    folder: PathBuf,
    /// Locked, so that two commands at a time lose nothing of each other's.
    lock: File,
    /// The daemon's own name there, and its password.
    ingest: (String, String),
    device: DeviceId,
}

impl MosquittoFiles {
    /// # Errors
    /// The folder is not there, or not ours to write to; the configuration has no name for the daemon itself, or the device has it.
    pub(super) fn open(folder: &Path, config: &Config, device: &DeviceId) -> anyhow::Result<Self> {
        let (Some(name), Some(password)) = (&config.mqtt.username, &config.mqtt.password) else {
            bail!(
                "set mqtt.username and mqtt.password: with a password file mosquitto takes nobody, and so no daemon, without them"
            );
        };
        ensure!(!name.contains(':'), "mqtt.username: mosquitto's password file can't hold a name with a colon");
        let lock = File::open(folder).with_context(|| format!("{}: make the folder first", folder.display()))?;
        flock(&lock, FlockOperation::LockExclusive).with_context(|| folder.display().to_string())?;
        let ingest = (name.clone(), password.expose().to_owned());
        let files = Self { folder: folder.to_owned(), lock, ingest, device: device.clone() };
        // Told before a secret is made that would be shown to nobody.
        files.write(ACL_FILE, &files.acl())?;
        let is_ingest = device.as_str() == files.ingest.0;
        ensure!(!is_ingest, "device {device} has the name of mqtt.username: give the daemon another one");
        Ok(files)
    }

    /// Where mosquitto finds them: `password_file` and `acl_file`.
    pub(super) fn paths(&self) -> (PathBuf, PathBuf) {
        (self.folder.join(PASSWORD_FILE), self.folder.join(ACL_FILE))
    }

    /// Writes the device's line, or takes it away where it has no secret any more.
    ///
    /// # Errors
    /// The file can't be written.
    pub(super) fn put(&self, secret: Option<&str>) -> anyhow::Result<()> {
        let path = self.folder.join(PASSWORD_FILE);
        let former = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error).with_context(|| path.display().to_string()),
        };
        let (name, (ingest, password)) = (self.device.as_str(), &self.ingest);
        let is_kept = |line: &&str| line.split_once(':').is_none_or(|(user, _)| user != name && user != *ingest);
        let mut lines: Vec<String> = former.lines().filter(is_kept).map(str::to_owned).collect();
        lines.push(password_line(ingest, password)?);
        if let Some(secret) = secret {
            lines.push(password_line(name, secret)?);
        }
        self.write(PASSWORD_FILE, &(lines.join("\n") + "\n"))
    }

    /// mosquitto.conf(5), `acl_file`: `%u` is the user name, and so the device.
    fn acl(&self) -> String {
        let ingest = &self.ingest.0;
        format!(
            "# Written by `orinoco device`; changes are lost.\n\
             # The daemon reads what devices publish, and the broker's version.\n\
             user {ingest}\ntopic read #\ntopic read $SYS/broker/version\n\n\
             # The device `default`.\n\
             user default\ntopic write coordX\ntopic write coordY\n\n\
             # A device publishes, and reads, below its own name.\n\
             pattern readwrite devices/%u/#\n"
        )
    }

    /// In place of the former one at once: mosquitto never reads half of it.
    fn write(&self, name: &str, text: &str) -> anyhow::Result<()> {
        let (path, new) = (self.folder.join(name), self.folder.join(format!("{name}.new")));
        let write = || -> std::io::Result<()> {
            let mut file = File::create(&new)?;
            // Of the former file, else of the folder: mosquitto reads it as itself.
            let (mode, owner) = match fs::metadata(&path) {
                Ok(former) => (former.mode() & 0o777, former),
                Err(_) => (MODE, self.lock.metadata()?),
            };
            file.set_permissions(Permissions::from_mode(mode))?;
            let own = file.metadata()?;
            if (own.uid(), own.gid()) != (owner.uid(), owner.gid()) {
                fchown(&file, Some(owner.uid()), Some(owner.gid()))?;
            }
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&new, &path)
        };
        write().with_context(|| format!("{}: can't be written; run this as its owner", path.display()))
    }
}

/// `name:$7$iterations$salt$hash`, PBKDF2 with HMAC-SHA-512 (RFC 8018, section 5.2), as `mosquitto_passwd` writes it.
fn password_line(name: &str, password: &str) -> anyhow::Result<String> {
    let salt: [u8; SALT_BYTES] = random()?;
    let mut hash = [0; HASH_BYTES];
    pbkdf2::pbkdf2_hmac::<Sha512>(password.as_bytes(), &salt, ITERATIONS, &mut hash);
    Ok(format!("{name}:$7${ITERATIONS}${}${}", STANDARD.encode(salt), STANDARD.encode(hash)))
}
