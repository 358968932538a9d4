//! A browser that watches all devices and notices for how long nothing comes.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use tokio::task::JoinHandle;

use super::{Frame, Said, Socket, World, until};

pub(crate) struct Listener {
    devices: Arc<Mutex<BTreeMap<String, Heard>>>,
    task: JoinHandle<()>,
}

/// Of one device, since the last mark.
#[derive(Debug)]
struct Heard {
    epoch: String,
    offset: u64,
    at: Instant,
    frames: usize,
    silence: Duration,
}

impl Listener {
    pub(crate) fn start(world: &World) -> Self {
        let devices = Arc::new(Mutex::new(BTreeMap::new()));
        let (address, heard) = (world.daemon.ws_address().to_owned(), Arc::clone(&devices));
        let task = tokio::spawn(async move {
            loop {
                let mut socket = Socket::open_again(&mut [&address].into_iter().cycle(), "").await;
                while let Said::Text(text) = socket.next_whenever().await {
                    hear(&mut heard.lock().unwrap(), Frame::parse(&text));
                }
            }
        });
        Self { devices, task }
    }

    /// Silence counts from then on.
    pub(crate) fn mark(&self, at: Instant) {
        for heard in self.devices.lock().unwrap().values_mut() {
            (heard.at, heard.frames, heard.silence) = (heard.at.max(at), 0, Duration::ZERO);
        }
    }

    /// Waits until each device has had so many frames since the mark; returns the longest silence of any device since then.
    pub(crate) async fn silence(&self, frames: usize) -> Duration {
        until("each device to move", async || {
            let devices = self.devices.lock().unwrap();
            let moved = !devices.is_empty() && devices.values().all(|heard| heard.frames >= frames);
            moved.then(|| devices.values().map(|heard| heard.silence).max().unwrap())
        })
        .await
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn hear(devices: &mut BTreeMap<String, Heard>, frame: Frame) {
    let now = Instant::now();
    let heard = devices.entry(frame.device).or_insert_with(|| Heard {
        epoch: frame.epoch.clone(),
        offset: 0,
        at: now,
        frames: 0,
        silence: Duration::ZERO,
    });
    if heard.epoch == frame.epoch && heard.offset >= frame.offset {
        // A snapshot, after the connection was lost.
        return;
    }
    (heard.epoch, heard.offset, heard.frames) = (frame.epoch, frame.offset, heard.frames + 1);
    heard.silence = heard.silence.max(now.saturating_duration_since(heard.at));
    heard.at = heard.at.max(now);
}
