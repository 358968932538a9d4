//! What applying costs: frames a second, processor seconds a million frames of this process and of Redis, beside the least that
//! could be done (a pipelined HSET and PUBLISH a frame).
//!
//! `cargo run --release -p orinoco-services --example apply_rate -- [frames] [devices]`; starts a Redis of its own.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::{sync::Arc, time::Instant};

use orinoco_domain::{
    Axis, CoordinateData, DeviceId, Position, Timestamp,
    pairing::{AxisValue, DeviceState},
};
use orinoco_ports::{Applied, Batch, CoordinateStore, DeviceUpdate, PartitionState, PublishedFrame};
use orinoco_services::{RedisStore, RedisStoreOptions};
use orinoco_testkit::{ProcessUsage, Redis, RedisKind};

const BATCHES: [usize; 4] = [1, 20, 100, 500];
const HISTORY_MAX: usize = 1_000;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse::<usize>().unwrap());
    let (frames, devices) = (arguments.next().unwrap_or(500_000), arguments.next().unwrap_or(50));
    let redis = Redis::start(RedisKind::Ws).await.unwrap();
    let names: Vec<DeviceId> = (0..devices).map(|n| DeviceId::parse(&format!("device-{n}")).unwrap()).collect();
    println!("{frames} frames, {devices} devices");
    println!("{:<28} {:>10} {:>14} {:>14}", "", "frames/s", "client s/M", "Redis s/M");

    let baseline = measure(&redis, frames, || hset_and_publish(&redis, &names, frames)).await;
    print_row("HSET+PUBLISH, pipelines of 500", baseline);
    for frames_a_batch in BATCHES {
        let frames = if frames_a_batch < 20 { frames / 20 } else { frames };
        let store = RedisStore::new(&RedisStoreOptions::new(redis.url())).unwrap();
        let partition = u32::try_from(frames_a_batch).unwrap();
        let row = measure(&redis, frames, || apply(&store, partition, &names, frames, frames_a_batch)).await;
        print_row(&format!("apply, batches of {frames_a_batch}"), row);
    }
}

/// Frames a second, processor seconds a million frames: client, Redis.
async fn measure<F: Future<Output = ()>>(redis: &Redis, frames: usize, run: impl FnOnce() -> F) -> [f64; 3] {
    let own = || ProcessUsage::of(std::process::id()).unwrap().cpu_seconds;
    let before = (own(), redis.usage().unwrap().cpu_seconds, Instant::now());
    run().await;
    let millions = frames as f64 / 1e6;
    let redis_seconds = redis.usage().unwrap().cpu_seconds - before.1;
    [frames as f64 / before.2.elapsed().as_secs_f64(), (own() - before.0) / millions, redis_seconds / millions]
}

fn print_row(name: &str, [rate, client, redis]: [f64; 3]) {
    println!("{name:<28} {rate:>10.0} {client:>14.2} {redis:>14.2}");
}

fn next_frame(device: &DeviceId, epoch: &Arc<str>, state: &mut DeviceState) -> PublishedFrame {
    state.head += 1;
    let value = state.head as f64 / 7.0;
    let axis_value = AxisValue {
        value,
        message: format!("{value}"),
        timestamp: Timestamp::from_epoch_ms(1_767_323_045_678 + state.head as i64).unwrap(),
    };
    state.x = Some(axis_value.clone());
    state.y = Some(axis_value.clone());
    let data = CoordinateData {
        coord_x: value,
        coord_y: value,
        timestamp: axis_value.timestamp,
        source: Axis::X,
        device: device.clone(),
        offset: state.head,
        epoch: Arc::clone(epoch),
        unpaired: false,
        late: false,
    };
    PublishedFrame { frame: data.encode(), is_latest: true }
}

async fn hset_and_publish(redis: &Redis, names: &[DeviceId], frames: usize) {
    let client = redis::Client::open(redis.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let mut state = DeviceState::default();
    let epoch: Arc<str> = "baseline".into();
    for start in (0..frames).step_by(500) {
        let mut pipeline = redis::pipe();
        for index in start..(start + 500).min(frames) {
            let device = &names[index % names.len()];
            let frame = next_frame(device, &epoch, &mut state).frame;
            pipeline.cmd("HSET").arg("latest").arg(device.as_str()).arg(&*frame.json).ignore();
            pipeline.cmd("PUBLISH").arg("stream").arg(&*frame.json).ignore();
        }
        pipeline.query_async::<()>(&mut connection).await.unwrap();
    }
}

async fn apply(store: &RedisStore, partition: u32, names: &[DeviceId], frames: usize, frames_a_batch: usize) {
    let PartitionState { mut revision, mut position, epoch, .. } = store.load(partition, 1).await.unwrap();
    let mut states = vec![DeviceState::default(); names.len()];
    for start in (0..frames).step_by(frames_a_batch) {
        let count = frames_a_batch.min(frames - start);
        let mut updates: Vec<Option<DeviceUpdate>> = vec![None; names.len()];
        for index in start..start + count {
            let which = index % names.len();
            let frame = next_frame(&names[which], &epoch, &mut states[which]);
            let empty =
                || DeviceUpdate { device: names[which].clone(), state: DeviceState::default(), frames: Vec::new() };
            updates[which].get_or_insert_with(empty).frames.push(frame);
        }
        for (update, state) in updates.iter_mut().zip(&states) {
            if let Some(update) = update {
                update.state = state.clone();
            }
        }
        let to = Position { x: position.x + count as i64, y: position.y + count as i64 };
        let marks = vec![("coordX:mqtt/9f2c".to_owned(), revision), ("coordY:mqtt/9f2c".to_owned(), revision)];
        let devices = updates.into_iter().flatten().collect();
        let batch =
            Batch { partition, fence: 1, revision, from: position, to, marks, devices, history_max: HISTORY_MAX };
        assert_eq!(store.apply(&batch).await.unwrap(), Applied::Done);
        (revision, position) = (revision + 1, to);
    }
}
