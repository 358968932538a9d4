//! This machine: the data directory, its disk, who holds it, ports, descriptors.

use std::io;
use std::path::Path;

use orinoco_embedded::data_dir::holder_of;
use rustix::fs::{Access, access, statvfs};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Duration, timeout};

use super::report::Finding;
use crate::commands::descriptors;
use crate::config::{Backend, Config, HostPort};
use crate::control::Client;

const CONNECT_MAX: Duration = Duration::from_secs(2);
/// With less than this the journal of a busy daemon is full within seconds.
const FREE_BYTES_MIN: u64 = 64 * 1024 * 1024;

pub(super) async fn examine(config: &Config) -> Vec<Finding> {
    let is_running = Client::connect(&config.control_socket()).await.is_ok();
    let mut findings = vec![data_dir(config, is_running), disk(config)];
    let mut ports = vec![("http.listen", &config.http.listen), ("ws.listen", &config.ws.listen)];
    ports.extend(config.broker_listeners());
    for (key, place) in ports {
        findings.push(port(key, place, is_running).await);
    }
    findings.push(open_files(config));
    findings
}

fn data_dir(config: &Config, is_running: bool) -> Finding {
    let path = config.data_dir();
    let finding = Finding::new("data_dir", path.display().to_string());
    let existing = existing_ancestor(path);
    if !existing.is_dir() {
        return finding.wrong(format!("{} is no directory; set data_dir to another path", existing.display()));
    }
    if let Err(error) = access(existing, Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK) {
        let place = existing.display();
        return finding
            .wrong(format!("{place} can't be written: {}; change its owner, or set data_dir", io::Error::from(error)));
    }
    if existing != path {
        return finding.fact("is made by `orinoco serve`");
    }
    match (holder_of(path), is_running) {
        (Some(holder), true) => finding.fact(format!("writable, held by the running daemon ({holder})")),
        (Some(holder), false) => finding.wrong(format!(
            "held by {holder}, which does not answer on its control socket; it hangs, is still starting, or is no daemon of this version"
        )),
        (None, _) => finding.fact("writable, no daemon runs"),
    }
}

/// The path itself, or the nearest folder above it that is there.
fn existing_ancestor(path: &Path) -> &Path {
    let above = path.ancestors().find(|ancestor| !ancestor.as_os_str().is_empty() && ancestor.exists());
    above.unwrap_or(Path::new("."))
}

fn disk(config: &Config) -> Finding {
    let finding = Finding::new("disk", config.data_dir().display().to_string());
    let usage = match statvfs(existing_ancestor(config.data_dir())) {
        Ok(usage) => usage,
        Err(error) => return finding.wrong(format!("its free space is unknown: {}", io::Error::from(error))),
    };
    let free = usage.f_bavail.saturating_mul(usage.f_frsize);
    let is_log_here = config.kafka.backend == Backend::Embedded;
    let log = if is_log_here { config.log.retention_bytes * u64::from(config.kafka.partitions) } else { 0 };
    let wanted = config.journal.bytes_max.saturating_add(log);
    let finding = finding.fact(format!("{} free", mebibytes(free)));
    if free < FREE_BYTES_MIN {
        return finding
            .wrong("nearly full: devices get no PUBACK when nothing can be written; make room, or move data_dir");
    }
    if free < wanted {
        let keys = if is_log_here { "journal.bytes_max and log.retention_bytes" } else { "journal.bytes_max" };
        return finding.advise(format!("{keys} allow {} in all; make room, or lower them", mebibytes(wanted)));
    }
    finding
}

fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes / (1024 * 1024))
}

async fn port(key: &'static str, place: &HostPort, is_running: bool) -> Finding {
    let finding = Finding::new(key, place.to_string());
    if is_running {
        // The daemon should be the one who listens; binding would only say that somebody does.
        let dialled = place.dialled();
        let connecting = TcpStream::connect((dialled.host().to_owned(), dialled.port()));
        return match timeout(CONNECT_MAX, connecting).await {
            Ok(Ok(_)) => finding.fact("held by the running daemon"),
            _ => finding.wrong("a daemon runs, but nobody listens here; look at `orinoco tree` and at its logs"),
        };
    }
    match TcpListener::bind((place.host().to_owned(), place.port())).await {
        Ok(_) => finding.fact("free"),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            let find = format!("`ss -ltnp sport = :{}` says by whom", place.port());
            finding.wrong(format!("in use by another program; {find}; stop it, or set {key} to another port"))
        }
        Err(error) => finding.wrong(format!("can't be bound: {error}; set {key} to an address of this machine")),
    }
}

fn open_files(config: &Config) -> Finding {
    let (limit, needed) = (descriptors::limit_max(), descriptors::needed(config));
    let finding = Finding::new("open files", "").fact(format!("up to {limit}"));
    if limit >= needed {
        return finding;
    }
    finding.advise(format!(
        "ws.connections_max, http.connections_max and devices may need {needed}; raise the limit (`ulimit -Hn`, LimitNOFILE= of systemd), \
         or lower them"
    ))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;

    use super::super::report::State;
    use super::*;

    fn config(data_dir: &Path) -> Config {
        let mut config = Config::default();
        data_dir.clone_into(&mut config.general.data_dir);
        config
    }

    #[test]
    fn a_data_directory_that_is_missing_is_not_made() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/data");
        assert_eq!(data_dir(&config(&path), false).version.as_deref(), Some("is made by `orinoco serve`"));
        assert!(!folder.path().join("deep").exists());
    }

    #[test]
    fn a_file_in_place_of_the_data_directory_is_wrong() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data");
        fs::write(&path, "").unwrap();
        assert_eq!(data_dir(&config(&path), false).state(), State::Wrong);
    }

    #[test]
    fn a_lock_that_is_held_is_told_from_one_that_is_left_over() {
        let folder = tempfile::tempdir().unwrap();
        let lock = folder.path().join("lock");
        fs::write(&lock, "4711\n").unwrap();
        assert_eq!(holder_of(folder.path()), None);
        let file = fs::File::open(&lock).unwrap();
        file.lock().unwrap();
        assert_eq!(holder_of(folder.path()).as_deref(), Some("process 4711"));
        assert_eq!(data_dir(&config(folder.path()), false).state(), State::Wrong);
        assert_eq!(data_dir(&config(folder.path()), true).state(), State::Ok);
    }

    #[tokio::test]
    async fn a_port_is_free_or_held_and_by_whom_matters() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let place = HostPort::parse(&listener.local_addr().unwrap().to_string()).unwrap();
        let held = port("http.listen", &place, false).await;
        assert!(held.problem.as_ref().is_some_and(|problem| problem.contains("set http.listen")), "{held:?}");
        assert_eq!(port("http.listen", &place, true).await.state(), State::Ok);
        drop(listener);
        assert_eq!(port("http.listen", &place, false).await.version.as_deref(), Some("free"));
        assert_eq!(port("http.listen", &place, true).await.state(), State::Wrong);
    }

    #[test]
    fn a_nearly_full_disk_and_one_too_small_for_the_limits_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = config(folder.path());
        config.journal.bytes_max = 1024 * 1024;
        config.log.retention_bytes = 0;
        assert_ne!(disk(&config).state(), State::Wrong);
        config.journal.bytes_max = u64::MAX;
        assert_eq!(disk(&config).state(), State::Advice);
    }
}
