//! A steady load for a while: everything arrives, and the daemon uses no more of anything at its end than at its beginning.

use std::{collections::BTreeMap, time::Duration};

use orinoco_testkit::ProcessUsage;
use tokio::sync::watch;

use crate::support::{Load, LoadPlan, Mode, Setup, Socket, World, campaign, turn, until, within};

for_both_modes! {
    a_steady_load_arrives_whole_and_leaves_nothing_behind
}

/// 20 minutes in a campaign.
const SOAK_S: u64 = 9;
const SAMPLES: u32 = 30;
/// What an allocator and a runtime may still settle after the first third.
const RSS_GROWTH_BYTES_MAX: u64 = 8 << 20;
const DESCRIPTORS_GROWTH_MAX: usize = 8;
const THREADS_GROWTH_MAX: usize = 2;

async fn a_steady_load_arrives_whole_and_leaves_nothing_behind(mode: Mode) {
    let _turn = turn().await;
    let world = World::start(mode, Setup::default()).await;
    let plan = LoadPlan { connections: 4, devices: 5, messages_per_second: 2_000 };
    let (end, ended) = watch::channel(None);
    let load = Load::start(&world, plan).await;
    let watcher = tokio::spawn(follow(world.watch("").await, ended));
    let mut samples = Vec::new();
    for _ in 0..SAMPLES {
        tokio::time::sleep(Duration::from_secs(campaign("SOAK_S", SOAK_S)) / SAMPLES).await;
        samples.push(world.daemon.usage().unwrap());
    }
    let ledger = load.stop().await;
    let heads = ledger.heads();
    for (device, head) in &heads {
        until("the last frame", async || {
            let latest = crate::support::latest(&world, device).await?;
            (latest.offset == *head).then_some(())
        })
        .await;
    }
    end.send_replace(Some(heads));
    let left_out = within("the watcher's last frames", watcher).await.unwrap();
    println!("{mode:?}: {} messages, each with its frame; {left_out} left out for the watcher", ledger.messages());
    println!("{:?} at first, {:?} at the end", samples[0], samples[samples.len() - 1]);
    assert_flat(&samples);
}

/// Reads until all devices are at their heads, and never back; how many frames were left out. (After a stall of the disk, more may come
/// at once than a client's queue holds.)
async fn follow(mut socket: Socket, mut heads: watch::Receiver<Option<BTreeMap<String, u64>>>) -> u64 {
    let mut offsets: BTreeMap<String, u64> = BTreeMap::new();
    let mut left_out = 0;
    while heads.borrow_and_update().as_ref() != Some(&offsets) {
        tokio::select! {
            changed = heads.changed() => changed.unwrap(),
            frame = socket.frame() => {
                if let Some(before) = offsets.insert(frame.device.clone(), frame.offset) {
                    assert!(frame.offset > before, "{} went back", frame.device);
                    left_out += frame.offset - before - 1;
                }
            }
        }
    }
    left_out
}

/// Compares the highest of the last third with the highest of the middle one.
fn assert_flat(samples: &[ProcessUsage]) {
    let third = samples.len() / 3;
    let highest = |samples: &[ProcessUsage]| {
        let of = |value: fn(&ProcessUsage) -> u64| samples.iter().map(value).max().unwrap_or_default();
        (of(|usage| usage.rss_bytes), of(|usage| usage.fd_count as u64), of(|usage| usage.thread_count as u64))
    };
    let (middle, last) = (highest(&samples[third..2 * third]), highest(&samples[2 * third..]));
    assert!(last.0 <= middle.0 + RSS_GROWTH_BYTES_MAX, "memory grows: {samples:#?}");
    assert!(last.1 <= middle.1 + DESCRIPTORS_GROWTH_MAX as u64, "descriptors grow: {samples:#?}");
    assert!(last.2 <= middle.2 + THREADS_GROWTH_MAX as u64, "threads grow: {samples:#?}");
}
