//! Applies batches of one frame a device, in turn; prints rates and CPU time.
//! `cargo run --release -p orinoco-embedded --example store_rate [FRAMES] [DEVICES] [BATCH] [HISTORY_MAX]`

mod rate;

use orinoco_domain::{Axis, CoordinateData, DeviceId, Position, Timestamp, pairing::AxisValue, pairing::DeviceState};
use orinoco_embedded::store::{SqliteStore, SqliteStoreOptions};
use orinoco_ports::{Applied, Batch, CoordinateStore, DeviceUpdate, PublishedFrame};
use rate::{Outcome, Started};

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Outcome {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse::<u64>());
    let mut next = |default| arguments.next().unwrap_or(Ok(default));
    let (frames, devices, batch_frames, history_max) = (next(500_000)?, next(1_000)?, next(250)?, next(100)?);
    let directory = tempfile::tempdir()?;
    let store = SqliteStore::open(&directory.path().join("coordinates.sqlite"), SqliteStoreOptions::default())?;
    let epoch = store.load(0, 1).await?.epoch;
    let names =
        (0..devices).map(|number| DeviceId::parse(&format!("device-{number}"))).collect::<Result<Vec<_>, _>>()?;
    let timestamp = Timestamp::parse("2026-01-02T03:04:05.678Z")?;
    let mut heads = vec![0; names.len()];
    let mut batch = Batch {
        partition: 0,
        fence: 1,
        revision: 0,
        from: Position::default(),
        to: Position::default(),
        marks: Vec::new(),
        devices: Vec::new(),
        history_max: usize::try_from(history_max)?,
    };
    // The first round makes the devices and fills their history, beside the measurement.
    for (name, frames) in [("fill", frames), ("steady", frames)] {
        let started = Started::now()?;
        let mut at = 0;
        for _ in 0..frames / batch_frames {
            batch.devices.clear();
            for _ in 0..batch_frames.min(devices) {
                let index = usize::try_from(at % devices)?;
                at += 1;
                heads[index] += 1;
                batch.devices.push(update(&names[index], heads[index], &timestamp, &epoch));
            }
            batch.from = batch.to;
            batch.to.x += i64::try_from(batch_frames)?;
            batch.marks = vec![("mqtt/journal".to_owned(), batch.to.x.unsigned_abs())];
            let applied = store.apply(&batch).await?;
            if applied != Applied::Done {
                return Err(format!("{applied:?}").into());
            }
            batch.revision += 1;
        }
        started.print(name, at)?;
    }
    let started = Started::now()?;
    let (mut cursor, mut entries) = (None, 0);
    loop {
        let page = store.snapshot(0, cursor.as_deref(), 1_000).await?;
        entries += page.entries.len() as u64;
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    started.print("snapshot entries", entries)?;
    let started = Started::now()?;
    let mut read = 0;
    for name in &names {
        read += store.history(0, name, 0, 1_000).await?.frames.len() as u64;
    }
    started.print("history frames", read)
}

fn update(device: &DeviceId, offset: u64, timestamp: &Timestamp, epoch: &std::sync::Arc<str>) -> DeviceUpdate {
    let axis = AxisValue { value: 43.123_456, message: "43.123456".to_owned(), timestamp: timestamp.clone() };
    let data = CoordinateData {
        coord_x: 43.123_456,
        coord_y: 6.654_321,
        timestamp: timestamp.clone(),
        source: Axis::X,
        device: device.clone(),
        offset,
        epoch: epoch.clone(),
        unpaired: false,
        late: false,
    };
    let state =
        DeviceState { x: Some(axis.clone()), y: Some(axis), head: offset, ingest_epoch: 1, ..DeviceState::default() };
    DeviceUpdate {
        device: device.clone(),
        state,
        frames: vec![PublishedFrame { frame: data.encode(), is_latest: true }],
    }
}
