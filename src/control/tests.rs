#![allow(clippy::unwrap_used)]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use orinoco_domain::account::UserId;
use orinoco_ports::conformance::{clock::ManualClock, login::memory::MemoryLoginStore};
use orinoco_ports::{EndReason, LoginEvent, LoginStore, Running, Server};
use orinoco_supervision::{Actor, Catalog, Context, Failure, Message, Plan, Tree};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

struct Nothing;

impl Message for Nothing {
    fn kind(&self) -> &'static str {
        "nothing"
    }
}

struct Idle;

impl Actor for Idle {
    type Message = Nothing;
    type Arguments = ();
    type State = ();

    async fn pre_start(&self, _: &Context<Nothing>, (): ()) -> Result<(), Failure> {
        Ok(())
    }

    async fn handle(&self, _: &Context<Nothing>, _: Nothing, (): &mut ()) -> Result<(), Failure> {
        Ok(())
    }
}

async fn tree(allow_kill: bool) -> Tree {
    let text = format!(
        "schema = 1\nroot = \"root\"\n[chaos]\nallow_kill = {allow_kill}\n[[supervisor]]\nid = \"root\"\n\
         strategy = \"one_for_one\"\nintensity = 5\nperiod = \"10s\"\nchildren = [{{ id = \"idle\", start = \"Idle\" }}]\n"
    );
    let mut catalog = Catalog::new();
    catalog.actor("Idle", || Idle, |_| ());
    Tree::start(Plan::parse(&text, "test.toml").unwrap(), catalog).await.unwrap()
}

async fn serve(path: &Path, tree: Option<Tree>) -> Box<dyn Running> {
    let slot = TreeSlot::default();
    if let Some(tree) = tree {
        slot.fill(tree);
    }
    ControlServer::new(path.to_owned(), slot).start().await.unwrap()
}

#[tokio::test]
async fn a_client_sees_the_tree_and_may_ask_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("control.sock");
    let running = serve(&path, Some(tree(false).await)).await;
    assert_eq!(running.place(), format!("unix:{}", path.display()));
    let mut client = Client::connect(&path).await.unwrap();
    for _ in 0..2 {
        let snapshot = client.tree().await.unwrap();
        assert_eq!(snapshot["root"]["children"][0]["path"], "root/idle");
        assert_eq!(snapshot["root"]["children"][0]["status"], "running");
    }
}

#[tokio::test]
async fn only_a_file_that_allows_it_lets_actors_be_killed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("control.sock");
    let refusing = serve(&path, Some(tree(false).await)).await;
    let error = Client::connect(&path).await.unwrap().kill("root/idle").await.unwrap_err();
    assert!(matches!(&error, ControlError::Refused(reason) if reason.contains("allow_kill")), "{error}");
    refusing.drain().await;

    let _allowing = serve(&path, Some(tree(true).await)).await;
    let mut client = Client::connect(&path).await.unwrap();
    client.kill("root/idle").await.unwrap();
    let error = client.kill("root/nobody").await.unwrap_err().to_string();
    assert_eq!(error, "no actor runs at `root/nobody`");
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while client.tree().await.unwrap()["root"]["children"][0]["incarnation"] != 1 {
        assert!(tokio::time::Instant::now() < deadline, "it was not started again");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn the_socket_is_for_its_user_only_and_goes_with_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("control.sock");
    let running = serve(&path, None).await;
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    running.drain().await;
    assert!(!path.exists());
}

#[tokio::test]
async fn the_file_of_a_dead_daemon_is_replaced_and_an_older_server_leaves_the_newer_one_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("control.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let older = serve(&path, Some(tree(false).await)).await;
    let newer = serve(&path, Some(tree(false).await)).await;
    drop(older);
    Client::connect(&path).await.unwrap().tree().await.unwrap();
    drop(newer);
    assert!(!path.exists());
}

#[tokio::test]
async fn a_path_longer_than_a_sockets_address_works_too() {
    let folder = tempfile::tempdir().unwrap();
    let deep = folder.path().join("d".repeat(120));
    std::fs::create_dir(&deep).unwrap();
    let path = deep.join("control.sock");
    let _running = serve(&path, Some(tree(false).await)).await;
    Client::connect(&path).await.unwrap().tree().await.unwrap();
}

#[tokio::test]
async fn without_a_daemon_the_message_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("control.sock");
    let error = Client::connect(&path).await.unwrap_err();
    assert!(matches!(&error, ControlError::NotRunning { .. }), "{error}");
    assert!(error.to_string().contains("orinoco serve"));
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(matches!(Client::connect(&path).await.unwrap_err(), ControlError::NotRunning { .. }));
}

#[tokio::test]
async fn a_tree_that_is_still_starting_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("control.sock");
    let _running = serve(&path, None).await;
    let error = Client::connect(&path).await.unwrap().tree().await.unwrap_err().to_string();
    assert_eq!(error, "the tree is still starting; try again");
}

#[tokio::test]
async fn what_is_not_understood_is_answered_and_a_line_without_end_is_cut_off() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("control.sock");
    let _running = serve(&path, Some(tree(false).await)).await;
    let mut stream = socket::connect(&path).await.unwrap();
    stream.write_all(b"hello\n{\"command\":\"dance\"}\n{\"command\":\"kill\"}\n").await.unwrap();
    stream.write_all(&vec![b'x'; LINE_BYTES_MAX]).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 4, "{text}");
    assert!(lines[..3].iter().all(|line| line.starts_with("{\"error\":\"not understood: ")), "{text}");
    assert_eq!(lines[3], "{\"error\":\"a request has at most 4096 bytes\"}");
}

#[tokio::test]
async fn more_clients_than_allowed_are_told_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("control.sock");
    let _running = serve(&path, Some(tree(false).await)).await;
    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS_MAX {
        let mut client = Client::connect(&path).await.unwrap();
        client.tree().await.unwrap();
        clients.push(client);
    }
    let error = Client::connect(&path).await.unwrap().tree().await.unwrap_err();
    assert!(matches!(&error, ControlError::Refused(reason) if reason.contains("in use")), "{error}");
    drop(clients.pop());
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while Client::connect(&path).await.unwrap().tree().await.is_err() {
        assert!(tokio::time::Instant::now() < deadline, "the place of a client that left stays taken");
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_says_nothing_is_let_go() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("control.sock");
    let _running = serve(&path, None).await;
    let mut stream = socket::connect(&path).await.unwrap();
    assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 0);
}

#[tokio::test]
async fn a_command_ends_the_logins_of_an_account_and_its_daemon_hears_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("control.sock");
    let user = UserId(7);
    let ender = LoginEnder::Daemon(path.clone());
    ender.end_all(user, EndReason::Disabled).await.unwrap();

    let logins = Arc::new(MemoryLoginStore::new(Arc::new(ManualClock::default()), 10));
    let mut heard = logins.subscribe().await.unwrap();
    let slot = TreeSlot::default();
    slot.fill_logins(logins);
    let _running = ControlServer::new(path, slot).start().await.unwrap();
    ender.end_all(user, EndReason::Disabled).await.unwrap();
    let ended = LoginEvent::LoginsEnded { user_id: user, family: None, reason: EndReason::Disabled };
    assert_eq!(heard.next().await.unwrap(), ended);
}

#[tokio::test]
async fn a_daemon_that_can_t_end_logins_yet_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("control.sock");
    let _running = serve(&path, None).await;
    let error = LoginEnder::Daemon(path).end_all(UserId(7), EndReason::Disabled).await.unwrap_err();
    assert_eq!(error.to_string(), "the daemon is still starting; try again");
}

#[cfg(not(feature = "faults"))]
#[tokio::test]
async fn what_is_shipped_knows_no_kills_at_points() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("control.sock");
    let _running = serve(&path, Some(tree(true).await)).await;
    let mut stream = socket::connect(&path).await.unwrap();
    stream.write_all(b"{\"command\":\"strike\",\"target\":\"root/idle\",\"withinMs\":1}\n").await.unwrap();
    let mut answer = [0; 64];
    stream.read_exact(&mut answer).await.unwrap();
    assert!(answer.starts_with(b"{\"error\":\"not understood: unknown variant `strike`"));
}

#[cfg(feature = "faults")]
#[tokio::test]
async fn only_a_file_that_allows_it_lets_actors_be_killed_at_points() {
    for (allow_kill, answered) in [(false, "not allowed"), (true, "missed")] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.sock");
        let _running = serve(&path, Some(tree(allow_kill).await)).await;
        let mut stream = socket::connect(&path).await.unwrap();
        let request = b"{\"command\":\"strike\",\"target\":\"root/idle\",\"point\":\"actor.handle\",\"withinMs\":1}\n";
        stream.write_all(request).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\n") {
            assert_ne!(stream.read_buf(&mut answer).await.unwrap(), 0);
        }
        let answer = String::from_utf8(answer).unwrap();
        assert!(answer.starts_with("{\"error\"") && answer.contains(answered), "{answer}");
    }
}

#[tokio::test]
async fn a_reload_before_the_daemon_runs_is_ignored() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("control.sock");
    let running = serve(&path, Some(tree(false).await)).await;
    let outcome = Client::connect(&path).await.unwrap().reload().await.unwrap();
    assert_eq!(outcome, crate::reload::Outcome::Ignored { reason: "the daemon starts".to_owned() });
    running.drain().await;
}
