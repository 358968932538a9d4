//! What systemd is to a daemon: it starts it again when it has ended.

use std::{sync::Arc, time::Duration};

use orinoco_ports::conformance::journal::{JournalFactory, memory::MemoryJournals};
use orinoco_supervision::Exit;
use orinoco_testkit::simulation::JournalOnDisk;
use tokio::{sync::mpsc, time::sleep};

use crate::{daemon::Daemon, world::World};

const RESTART_AFTER: Duration = Duration::from_secs(1);
const JOURNAL_BYTES_MAX: u64 = 1 << 30;

/// What is asked of a keeper.
#[derive(Debug)]
pub(crate) enum Order {
    /// SIGKILL, and a start after so long.
    Kill { down: Duration },
    /// SIGTERM, and a start after so long.
    Stop { down: Duration },
    /// SIGTERM, for good.
    End,
}

/// Keeps one daemon running until it is told to end it.
pub(crate) async fn keep(world: Arc<World>, number: usize, mut orders: mpsc::Receiver<Order>) {
    let journals = &world.journals[number];
    let trace = world.services.trace.clone();
    for run in 0.. {
        world.restarts.began(&format!("d{number}"));
        let journal = journals.open(JOURNAL_BYTES_MAX).await;
        let journal = Arc::new(JournalOnDisk::new(journal, &world.disks[number]));
        let down = match Daemon::start(&world.services, &world.plan, journal, number, run).await {
            Ok(daemon) => {
                trace.add(format_args!("d{number}: up, run {run}"));
                let daemon = Arc::new(daemon);
                world.set_daemon(number, Some(Arc::clone(&daemon)));
                let down = keep_one(&world, number, &daemon, &mut orders).await;
                world.set_daemon(number, None);
                daemon.links.values().for_each(|link| link.die());
                drop(daemon);
                down
            }
            Err((links, error)) => {
                trace.add(format_args!("d{number}: does not start: {error}"));
                links.values().for_each(|link| link.die());
                Some(RESTART_AFTER)
            }
        };
        let Some(down) = down else { return };
        sleep(down).await;
    }
}

/// Until it has ended; after which time it starts again, if at all.
async fn keep_one(
    world: &World,
    number: usize,
    daemon: &Daemon,
    orders: &mut mpsc::Receiver<Order>,
) -> Option<Duration> {
    let trace = &world.services.trace;
    tokio::select! {
        biased;
        order = orders.recv() => match order {
            Some(Order::Kill { down }) => {
                trace.add(format_args!("d{number}: killed"));
                daemon.links.values().for_each(|link| link.die());
                // It may be ending already.
                let _ = daemon.tree.kill(&format!("d{number}"));
                daemon.tree.wait().await;
                Some(down)
            }
            Some(Order::Stop { down }) => {
                let exit = daemon.tree.shutdown().await;
                trace.add(format_args!("d{number}: stopped: {exit:?}"));
                Some(down)
            }
            Some(Order::End) | None => {
                let exit = daemon.tree.shutdown().await;
                if exit != Exit::Shutdown {
                    trace.violated("an orderly stop ends in order", format!("d{number}: {exit:?}"));
                }
                None
            }
        },
        exit = daemon.tree.wait() => {
            trace.add(format_args!("d{number}: ended: {exit:?}"));
            Some(RESTART_AFTER)
        }
    }
}

pub(crate) fn journals(daemons: usize) -> Vec<MemoryJournals> {
    (0..daemons).map(|number| MemoryJournals::named(&format!("j{number}"))).collect()
}
