//! A browser that watches a device over the ends of its connections.

use tokio::sync::watch;

use super::{Frame, Said, Socket};

/// Goes to the next of the daemons, and resumes, whenever its connection ends, until it has the frame at `end`.
pub(crate) async fn follow(
    addresses: Vec<String>,
    device: String,
    mut end: watch::Receiver<Option<u64>>,
) -> Vec<Frame> {
    let mut frames: Vec<Frame> = Vec::new();
    let mut turns = addresses.iter().cycle();
    loop {
        let query = frames.last().map_or_else(
            || format!("?device={device}"),
            |last| format!("?device={device}&offset={}&epoch={}", last.offset, last.epoch),
        );
        let mut socket = Socket::open_again(&mut turns, &query).await;
        loop {
            let reached =
                |end: &Option<u64>| end.is_some_and(|end| frames.last().is_some_and(|last| last.offset >= end));
            if reached(&end.borrow_and_update()) {
                return frames;
            }
            tokio::select! {
                changed = end.changed() => changed.unwrap(),
                said = socket.next() => match said {
                    Said::Text(text) => frames.push(Frame::parse(&text)),
                    Said::Closed(_) => break,
                },
            }
        }
    }
}
