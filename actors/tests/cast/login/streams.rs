//! Clients of streams: many, slow, gone.

use std::{sync::Arc, time::Duration};

use futures_util::StreamExt;
use orinoco_actors::SseLimits;
use orinoco_domain::challenge::Status;

use super::{
    browser::{Browser, EventSource, render},
    remote::Server,
    world::{Daemon, until},
};

#[tokio::test(start_paused = true)]
async fn a_stream_begins_with_how_it_stands_and_has_a_comment_each_15_seconds() {
    let server = Server::start();
    let daemon = Arc::new(Daemon::start(&server).await);
    let browser = Browser::at(&daemon).await;
    browser.scan(&daemon).await.unwrap();
    let mut stream = daemon.streams.open(browser.key, render()).await.unwrap();
    assert_eq!(stream.next().await.unwrap(), "retry: 2000\n\n");
    assert!(stream.next().await.unwrap().starts_with(b"event: status\nid: 2\ndata: {\"status\":\"SCANNED\""));
    for _ in 0..3 {
        let began = tokio::time::Instant::now();
        assert_eq!(stream.next().await.unwrap(), ":\n\n");
        assert!((14_900..=15_100).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_whose_client_goes_ends_at_once() {
    let server = Server::start();
    let daemon = Arc::new(Daemon::start(&server).await);
    let browser = Browser::at(&daemon).await;
    let stream = daemon.streams.open(browser.key, render()).await.unwrap();
    assert_eq!(daemon.streams.live(), 1);
    drop(stream);
    let began = tokio::time::Instant::now();
    until("it ended", || daemon.streams.live() == 0).await;
    assert!(began.elapsed() < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_slow_client_gets_the_newest_status_and_one_that_takes_nothing_is_ended() {
    let server = Server::start();
    let limits = SseLimits { chunks_max: 2, ..SseLimits::default() };
    let daemon = Arc::new(Daemon::with_room(&server, 10, limits).await);
    let browser = Browser::at(&daemon).await;
    let mut stream = daemon.streams.open(browser.key, render()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    browser.scan(&daemon).await.unwrap();
    browser.approve(&daemon).await.unwrap();
    // There was room for two chunks.
    assert_eq!(stream.next().await.unwrap(), "retry: 2000\n\n");
    assert!(stream.next().await.unwrap().starts_with(b"event: status\nid: 1\n"));
    assert!(stream.next().await.unwrap().starts_with(b"event: status\nid: 3\n"), "what it missed is left out");
    // It takes no more: full after two comments, ended 30 s later.
    until("it ended", || daemon.streams.live() == 0).await;
    let rest: Vec<_> = stream.collect().await;
    assert_eq!(rest.len(), 2, "{rest:?}");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_was_slow_at_the_end_still_gets_the_terminal_status() {
    let server = Server::start();
    let limits = SseLimits { chunks_max: 1, ..SseLimits::default() };
    let daemon = Arc::new(Daemon::with_room(&server, 10, limits).await);
    let browser = Browser::at(&daemon).await;
    let mut stream = daemon.streams.open(browser.key, render()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    browser.cancel(&daemon).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(stream.next().await.unwrap(), "retry: 2000\n\n");
    assert!(stream.next().await.unwrap().starts_with(b"event: status\nid: 2\ndata: {\"status\":\"CANCELLED\""));
    assert!(stream.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn of_too_many_streams_of_one_challenge_the_last_is_ended_and_ended_ones_make_room() {
    let server = Server::start();
    let daemon = Arc::new(Daemon::start(&server).await);
    let browser = Browser::at(&daemon).await;
    let streams: Vec<_> = (0..4).map(|_| EventSource::connect(&daemon, browser.key)).collect();
    for stream in &streams {
        stream.until(Status::Pending).await;
    }
    let fifth = daemon.streams.open(browser.key, render()).await.unwrap();
    let chunks: Vec<_> = fifth.collect().await;
    assert_eq!(chunks, ["retry: 2000\n\n"]);
    drop(streams);
    let sixth = EventSource::connect(&daemon, browser.key);
    sixth.until(Status::Pending).await;
}
