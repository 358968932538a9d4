//! kill -9 of the daemon under load.

use std::{collections::BTreeMap, time::Instant};

use tokio::sync::watch;

use crate::support::{Load, LoadPlan, Mode, Repeats, Setup, World, campaign, follow, turn, until};

const KILLS: usize = 5;
/// Frames of each device between two kills, at least; 1,000 in a campaign.
const FRAMES_BETWEEN: u64 = 50;

for_both_modes! {
    five_kills_under_load_lose_nothing_and_double_nothing
}

async fn five_kills_under_load_lose_nothing_and_double_nothing(mode: Mode) {
    let _turn = turn().await;
    let world = World::start(mode, Setup::default().set("stream.history_max", 1_000_000)).await;
    let plan = LoadPlan { connections: 4, devices: 4, messages_per_second: 4_000 };
    let load = Load::start(&world, plan).await;
    let began = Instant::now();
    let devices = load.devices().to_vec();
    let watched = devices[0].clone();
    let (end, ended) = watch::channel(None);
    let addresses = vec![world.daemon.ws_address().to_owned()];
    let watcher = tokio::spawn(follow(addresses, watched.clone(), ended));
    let mut at_least: BTreeMap<String, u64> = BTreeMap::new();
    for _ in 0..KILLS {
        // A kill counts only with work in flight.
        for device in &devices {
            let before = at_least.get(device).copied().unwrap_or(0);
            let offset = until("the stream to move", async || {
                let latest = crate::support::latest(&world, device).await?;
                (latest.offset > before + campaign("FRAMES_BETWEEN", FRAMES_BETWEEN)).then_some(latest.offset)
            })
            .await;
            at_least.insert(device.clone(), offset);
        }
        world.daemon.kill().unwrap();
        world.daemon.restart().await.unwrap();
    }
    let ledger = load.stop().await;
    println!("{mode:?}: {} messages in {:?} with {KILLS} kills", ledger.messages(), began.elapsed());
    assert!(ledger.messages() > 2_000, "only {} messages", ledger.messages());
    // The broker of the services was not killed: devices sent nothing again.
    let repeats = if mode == Mode::Services { Repeats::Never } else { Repeats::OfWhatWasSentAgain };
    ledger.assert_all_came_out(&world, repeats).await;
    let head = crate::support::latest(&world, &watched).await.unwrap().offset;
    end.send_replace(Some(head));
    let frames = watcher.await.unwrap();
    assert!(frames.iter().map(|frame| frame.offset).eq(frames[0].offset..=head), "the watcher missed frames");
}
