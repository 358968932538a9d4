//! What an idle WebSocket holds.

use std::time::Duration;

use super::{
    browser::Crowd,
    device::{Device, FLOOD_DEVICES},
    fan_out::NO_PINGS,
    figure::Figure,
    usage::push,
    world::{DEADLINE, Mode, World, wait_for_counter},
};

pub(crate) const ABOUT: &str = "Embedded mode, 20 devices with a value each. 10,000 plain WebSockets are opened and each has received the \
    snapshot of 20 frames; resident bytes of the daemon three seconds later, less those before the first socket, by 10,000. A new \
    daemon a round. The daemon's pings are put off, so that none falls into the measurement. Sockets' buffers in the kernel are not \
    part of a process's resident bytes. The path of a socket is the same in services mode.";

const SOCKETS: usize = 10_000;
const SETTLE: Duration = Duration::from_secs(3);
const KIB: f64 = 1_024.0;
/// Of issue and contract.
const REACH_KIB: f64 = 15.0;

pub(crate) async fn run(rounds: usize) -> anyhow::Result<Vec<Figure>> {
    let (mode, mut figures) = (Mode::Embedded, Vec::new());
    for _ in 0..rounds {
        let world = World::new(mode).await?;
        let daemon = world.spawn_ready(&NO_PINGS).await?;
        let mut device = Device::connect(&world.broker_address(&daemon)).await?;
        for number in 0..FLOOD_DEVICES {
            for axis in ["coordX", "coordY"] {
                device.publish(&format!("devices/idle-{number}/{axis}"), "12.5").await?;
            }
        }
        wait_for_counter(&daemon, "orinoco_frames_total", FLOOD_DEVICES).await?;
        tokio::time::sleep(SETTLE).await;
        let before = daemon.usage()?;
        let crowd = Crowd::open(daemon.ws_address(), SOCKETS).await?;
        crowd.wait_for_texts(SOCKETS * FLOOD_DEVICES, DEADLINE).await?;
        tokio::time::sleep(SETTLE).await;
        let after = daemon.usage()?;
        let each = (after.rss_bytes as f64 - before.rss_bytes as f64) / SOCKETS as f64;
        let opening_us = (after.cpu_seconds - before.cpu_seconds) * 1e6 / SOCKETS as f64;
        let name = mode.name();
        push(&mut figures, Figure::new("resident, each of 10,000 sockets", name, "KiB").reach(REACH_KIB), each / KIB);
        push(&mut figures, Figure::new("opening a socket, 20 devices' snapshot", name, "CPU µs"), opening_us);
    }
    Ok(figures)
}
