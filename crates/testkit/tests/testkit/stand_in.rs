//! Processes that the tests hurt: this test binary itself, told by its arguments to play a part.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use orinoco_testkit::{Redis, RedisKind};

/// Runs this binary as one of the parts below.
pub(crate) fn spawn(part: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(arguments(part))
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// A program that runs this binary as a part, whatever arguments it is given.
pub(crate) fn program(folder: &Path, part: &str) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let path = folder.join(part);
    let binary = std::env::current_exe().unwrap();
    std::fs::write(&path, format!("#!/bin/sh\nexec '{}' {}\n", binary.display(), arguments(part).join(" "))).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn arguments(part: &str) -> [String; 5] {
    ["--quiet", "--nocapture", "--ignored", "--exact", &format!("stand_in::{part}")].map(str::to_owned)
}

/// Announces a server and its folder, then waits to be killed.
#[tokio::test]
#[ignore = "a part that another test plays"]
async fn holder_of_a_server() {
    let redis = Redis::start(RedisKind::Ws).await.unwrap();
    println!("server {} {}", redis.pid().unwrap(), redis.folder().display());
    std::future::pending::<()>().await;
}

/// Answers the first /readyz with 503 and all later ones with 200; ends at once where the configuration is bad.
#[test]
#[ignore = "a part that another test plays"]
fn daemon() {
    let listen = std::env::var("ORINOCO__HTTP__LISTEN").unwrap();
    if std::env::var("ORINOCO__MODE").is_ok() {
        println!("no such mode");
        std::process::exit(64);
    }
    let listener = TcpListener::bind(listen).unwrap();
    for (count, stream) in listener.incoming().enumerate() {
        let mut stream = BufReader::new(stream.unwrap());
        let mut line = String::new();
        stream.read_line(&mut line).unwrap();
        let status = if count == 0 { "503 Service Unavailable" } else { "200 OK" };
        let answer = format!("HTTP/1.0 {status}\r\nContent-Type: application/json\r\n\r\n{{\"count\":{count}}}");
        stream.get_mut().write_all(answer.as_bytes()).unwrap();
    }
}
