//! The handle of the daemon, on a stand-in that answers /readyz.

use std::path::Path;

use orinoco_testkit::{Daemon, DaemonConfig};

use crate::stand_in::program;
use crate::{DEADLINE, assert_gone};

#[tokio::test]
async fn daemon_is_awaited_until_ready_measured_and_restarted_on_the_same_port() {
    let folder = tempfile::tempdir().unwrap();
    let binary = program(folder.path(), "daemon");
    let daemon = Daemon::spawn(&binary, DaemonConfig::default(), &folder.path().join("data")).await.unwrap();
    assert!(daemon.get("/").await.unwrap().json().unwrap()["count"].is_number());
    assert!(daemon.rss_bytes().unwrap() > 100_000);
    assert!(daemon.thread_count().unwrap() >= 1 && daemon.fd_count().unwrap() >= 3);
    assert!(daemon.cpu_seconds().unwrap() < 60.0);
    let (address, killed) = (daemon.http_address().to_owned(), daemon.pid().unwrap());
    daemon.kill().unwrap();
    assert_gone(killed).await;
    assert!(daemon.get("/").await.is_err());
    daemon.restart().await.unwrap();
    assert_eq!(daemon.http_address(), address);
    // The stand-in does not catch SIGTERM: it ends by it.
    assert!(!daemon.terminate().await.unwrap().success());
    let pid = {
        daemon.restart().await.unwrap();
        daemon.pid().unwrap()
    };
    drop(daemon);
    assert_gone(pid).await;
}

#[tokio::test]
async fn daemon_that_ends_at_its_start_is_an_error_with_its_last_words() {
    let folder = tempfile::tempdir().unwrap();
    let binary = program(folder.path(), "daemon");
    let config = DaemonConfig::default().set("mode", "sideways");
    let error = Daemon::spawn(&binary, config.clone(), &folder.path().join("data")).await.unwrap_err();
    assert!(error.to_string().contains("no such mode"), "{error}");
    let daemon = Daemon::spawn_without_waiting(&binary, config, &folder.path().join("data")).unwrap();
    assert_eq!(daemon.wait_for_exit(DEADLINE).await.unwrap().code(), Some(64));
}

#[tokio::test]
async fn missing_program_is_an_error_that_names_the_installer() {
    let folder = tempfile::tempdir().unwrap();
    let error = Daemon::spawn_without_waiting(
        Path::new("/no/such/program"),
        DaemonConfig::default(),
        &folder.path().join("data"),
    )
    .unwrap_err();
    assert!(format!("{error:#}").contains("scripts/install services"), "{error:#}");
}
