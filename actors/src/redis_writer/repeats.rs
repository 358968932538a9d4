//! Which records of a batch the store's history shows to be in effect already.

use std::collections::{HashMap, HashSet};

use orinoco_domain::{
    CoordinateRecord, DeviceId, Frame,
    pairing::{self, Effect},
};
use orinoco_ports::StoreError;

use super::{RedisWriterArguments, Replica};

/// Frames read at a time. What a broker delivers twice came a moment ago, mostly.
const PAGE_FRAMES: u64 = 1_000;

/// Effects that history shows, of those that the records of a batch would have.
#[derive(Debug, Default)]
pub(super) struct Repeats(HashMap<DeviceId, HashSet<Effect>>);

impl Repeats {
    /// Reads history backwards, as far as needed: a page at a time, however long it is.
    ///
    /// # Errors
    /// History could not be read: it is not known what is a repeat.
    pub(super) async fn find(
        arguments: &RedisWriterArguments,
        partition: u32,
        replica: &Replica,
        records: &[CoordinateRecord],
    ) -> Result<Self, StoreError> {
        let mut found = HashMap::new();
        for (device, mut sought) in suspects(replica, records) {
            let mut shown = HashSet::new();
            let mut end = replica.devices.get(&device).map_or(0, |state| state.head);
            while !sought.is_empty() && end > 0 {
                let after = end.saturating_sub(PAGE_FRAMES);
                let page = arguments.store.history(partition, &device, after, (end - after) as usize).await?;
                for frame in &page.frames {
                    let data = frame.decode().map_err(|error| unreadable(frame, &error))?;
                    shown
                        .extend(Effect::shown_by(&data, arguments.rule.pairing).filter(|effect| sought.remove(effect)));
                }
                end = if page.first > after { 0 } else { after };
            }
            found.insert(device, shown);
        }
        Ok(Self(found))
    }

    pub(super) fn contain(&self, record: &CoordinateRecord) -> bool {
        self.0.get(&record.device).is_some_and(|effects| effects.contains(&Effect::of(record)))
    }
}

/// At least those that may be repeats when it is their turn: after a record of a newer ingest owner in the same batch they are late, too.
fn suspects(replica: &Replica, records: &[CoordinateRecord]) -> HashMap<DeviceId, HashSet<Effect>> {
    let newest = records.iter().filter_map(CoordinateRecord::ingest_epoch).max();
    let mut suspects: HashMap<DeviceId, HashSet<Effect>> = HashMap::new();
    for record in records {
        let Some(state) = replica.devices.get(&record.device) else { continue };
        let is_older = record.ingest_epoch().is_some_and(|epoch| Some(epoch) < newest);
        if is_older || pairing::may_be_repeat(state, record) {
            suspects.entry(record.device.clone()).or_default().insert(Effect::of(record));
        }
    }
    suspects
}

fn unreadable(frame: &Frame, error: &serde_json::Error) -> StoreError {
    StoreError::Corrupt { place: format!("history of {}", frame.device), reason: error.to_string() }
}
