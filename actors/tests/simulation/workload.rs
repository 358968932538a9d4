//! Devices that publish, and another producer that writes into the log.

use std::{collections::BTreeMap, time::Duration};

use orinoco_domain::{Axis, RawRecord, partition_of};
use orinoco_ports::RecordLog;
use tokio::time::sleep;

use crate::{services::BEGIN_MS, stream::PARTITIONS, world::World};

/// What was asked for: what must come out.
#[derive(Default)]
pub(crate) struct Published {
    /// By device and axis, the numbers in the order of publication.
    pub(crate) values: BTreeMap<(String, Axis), Vec<u64>>,
    /// Payloads that mean nothing.
    pub(crate) rubbish: Vec<String>,
    /// Devices of the other producer, whose records may come in the order of any partition.
    pub(crate) foreign: Vec<String>,
}

/// The numbers on an axis count from 1 a device; their times are a millisecond apart, in the order of publication.
fn payload(value: u64, time: i64) -> String {
    format!(r#"{{"message":"{value}","timestamp":{time}}}"#)
}

fn device(index: usize) -> String {
    format!("device-{index}")
}

pub(crate) async fn publish(world: &World) {
    let workload = &world.plan.workload;
    let mut random = fastrand::Rng::with_seed(workload.seed);
    let mut published = 0;
    while published < workload.messages {
        let name = device(random.usize(..usize::from(workload.devices)));
        let time = BEGIN_MS + i64::from(published) * 10;
        if random.u8(..20) == 0 {
            let text = format!("rubbish {published}");
            world.services.broker.publish(&format!("devices/{name}/coordX"), &text);
            world.published.lock().unwrap().rubbish.push(text);
            published += 1;
        } else if workload.by_timestamp {
            // Both halves, or one in ten alone.
            let value = next_value(world, &name);
            let halves = if random.u8(..10) == 0 { &Axis::BOTH[..1] } else { &Axis::BOTH[..] };
            for axis in halves {
                send(world, &name, *axis, value, time, &mut random);
                published += 1;
                pause(&mut random, workload.pause_ms_max.min(5)).await;
            }
        } else {
            let axis = if random.bool() { Axis::X } else { Axis::Y };
            let value = next_value(world, &name);
            send(world, &name, axis, value, time, &mut random);
            published += 1;
        }
        pause(&mut random, workload.pause_ms_max).await;
    }
}

/// One more than the device's last number, on whatever axis.
fn next_value(world: &World, name: &str) -> u64 {
    let published = world.published.lock().unwrap();
    let last = |axis: &Axis| published.values.get(&(name.to_owned(), *axis)).and_then(|values| values.last()).copied();
    Axis::BOTH.iter().filter_map(last).max().unwrap_or(0) + 1
}

fn send(world: &World, name: &str, axis: Axis, value: u64, time: i64, random: &mut fastrand::Rng) {
    let workload = &world.plan.workload;
    // A bare number has the time of its arrival: only the journal that has it can tell that it comes again.
    let is_bare = workload.daemons == 1 && !workload.by_timestamp && random.bool();
    let text = if is_bare { value.to_string() } else { payload(value, time) };
    world.services.broker.publish(&format!("devices/{name}/{}", axis.name()), &text);
    world.published.lock().unwrap().values.entry((name.to_owned(), axis)).or_default().push(value);
}

pub(crate) async fn write_foreign(world: &World) {
    let workload = &world.plan.workload;
    let mut random = fastrand::Rng::with_seed(workload.seed ^ 1);
    for index in 0..workload.foreign {
        pause(&mut random, workload.pause_ms_max * 4).await;
        let name = format!("foreign-{}", random.u8(..2));
        let axis = if random.bool() { Axis::X } else { Axis::Y };
        let value = next_value(world, &name);
        {
            let mut published = world.published.lock().unwrap();
            published.values.entry((name.clone(), axis)).or_default().push(value);
            if !published.foreign.contains(&name) {
                published.foreign.push(name.clone());
            }
        }
        let record = RawRecord {
            key: Some(name.clone().into_bytes()),
            value: payload(value, BEGIN_MS + 1_000_000 + i64::from(index) * 10).into_bytes(),
            headers: Vec::new(),
            timestamp_ms: BEGIN_MS,
        };
        // One in four where it does not belong.
        let own = partition_of(name.as_bytes(), PARTITIONS);
        let partition = if random.u8(..4) == 0 { (own + 1) % PARTITIONS } else { own };
        world.services.log.produce(partition, &[(axis, record)]).await.unwrap();
    }
}

async fn pause(random: &mut fastrand::Rng, ms_max: u16) {
    let ms = random.u64(0..=u64::from(ms_max));
    if ms > 0 {
        sleep(Duration::from_millis(ms)).await;
    } else {
        tokio::task::yield_now().await;
    }
}
