//! Recorded tracks: CSV (RFC 4180 without quotes, which none of the four columns needs).

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use orinoco_domain::{Axis, DeviceId, Timestamp};

use super::plan::{Pace, Planned, payload};

const HEADER: &str = "device,timestamp,coordX,coordY";
/// A recording is held in memory.
const ROWS_MAX: usize = 5_000_000;
const LINE_SIZE_MAX: usize = 4_096;

/// One row: a place at a moment, with the texts as the file has them.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Row {
    device_index: usize,
    timestamp: String,
    unix_ns: i128,
    coordinates: [String; 2],
}

/// A file's rows, in its order.
#[derive(Debug)]
pub(super) struct Recording {
    devices: Vec<Arc<str>>,
    rows: Vec<Row>,
}

/// Reads and checks the whole file.
///
/// # Errors
/// It can't be read, or a line is wrong; the text begins with file and line.
pub(super) fn read(path: &Path) -> anyhow::Result<Recording> {
    let place = path.display().to_string();
    let file = File::open(path).with_context(|| format!("{place} can't be read"))?;
    parse(BufReader::new(file), &place)
}

fn parse(mut reader: impl BufRead, place: &str) -> anyhow::Result<Recording> {
    let mut recording = Recording { devices: Vec::new(), rows: Vec::new() };
    let mut indices = HashMap::new();
    let mut line = String::new();
    for number in 1.. {
        line.clear();
        let limited = &mut std::io::Read::take(&mut reader, LINE_SIZE_MAX as u64);
        let size = limited.read_line(&mut line).with_context(|| format!("{place}:{number}: can't be read"))?;
        if size == 0 {
            break;
        }
        let text = line.trim_end_matches(['\n', '\r']);
        if size == LINE_SIZE_MAX {
            bail!("{place}:{number}: longer than {LINE_SIZE_MAX} bytes");
        }
        if number == 1 {
            if text.trim_start_matches('\u{feff}') != HEADER {
                bail!("{place}:1: the header is not {HEADER}");
            }
        } else if !text.is_empty() {
            let row = row(text, &mut recording.devices, &mut indices)
                .map_err(|reason| anyhow::anyhow!("{place}:{number}: {reason}"))?;
            if recording.rows.len() == ROWS_MAX {
                bail!("{place}:{number}: more than {ROWS_MAX} rows; cut the file in pieces");
            }
            recording.rows.push(row);
        }
    }
    if recording.rows.is_empty() {
        bail!("{place}: no rows after the header {HEADER}");
    }
    Ok(recording)
}

fn row(text: &str, devices: &mut Vec<Arc<str>>, indices: &mut HashMap<String, usize>) -> Result<Row, String> {
    let columns: Vec<&str> = text.split(',').collect();
    let [device, timestamp, x, y] = columns[..] else {
        return Err(format!("{} columns, not the four of {HEADER}", columns.len()));
    };
    for (axis, coordinate) in Axis::BOTH.into_iter().zip([x, y]) {
        if !coordinate.parse::<f64>().is_ok_and(f64::is_finite) {
            return Err(format!("{} is not a number", axis.name()));
        }
    }
    let unix_ns = Timestamp::parse(timestamp).map_err(|error| format!("timestamp: {error}"))?.unix_ns();
    let device_index = match indices.get(device) {
        Some(index) => *index,
        None => {
            DeviceId::parse(device).map_err(|error| format!("device: {error}"))?;
            indices.insert(device.to_owned(), devices.len());
            devices.push(device.into());
            devices.len() - 1
        }
    };
    Ok(Row { device_index, timestamp: timestamp.to_owned(), unix_ns, coordinates: [x.to_owned(), y.to_owned()] })
}

impl Recording {
    pub(super) fn device_count(&self) -> u64 {
        self.devices.len() as u64
    }

    pub(super) fn message_count(&self) -> u64 {
        self.rows.len() as u64 * 2
    }

    /// The rows by their time since their device's first row, so that all devices start at once; each as coordX, then
    /// coordY. A row older than the one before it in the file goes out right after that one: order is the file's.
    pub(super) fn plan(self, pace: Pace) -> impl Iterator<Item = Planned> + Send {
        let mut begins: Vec<Option<i128>> = vec![None; self.devices.len()];
        let mut latest = vec![Duration::ZERO; self.devices.len()];
        let mut rows: Vec<(Duration, Row)> = Vec::with_capacity(self.rows.len());
        for row in self.rows {
            let begin = *begins[row.device_index].get_or_insert(row.unix_ns);
            let elapsed_ns = u64::try_from((row.unix_ns - begin).max(0)).unwrap_or(u64::MAX);
            let elapsed = Duration::from_nanos(elapsed_ns).max(latest[row.device_index]);
            latest[row.device_index] = elapsed;
            rows.push((elapsed, row));
        }
        rows.sort_by_key(|(elapsed, _)| *elapsed); // Stable.
        let devices = self.devices;
        let messages = rows.into_iter().flat_map(|(elapsed, row)| Axis::BOTH.map(|axis| (elapsed, row.clone(), axis)));
        (0_u64..).zip(messages).map(move |(number, (elapsed, row, axis))| Planned {
            at: pace.at(number, elapsed),
            device: Arc::clone(&devices[row.device_index]),
            device_index: row.device_index,
            axis,
            payload: payload(&row.coordinates[usize::from(axis == Axis::Y)], &row.timestamp),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::num::NonZeroU32;

    use super::*;

    const TRACKS: &str = include_str!("../../../tests/data/tracks.csv");

    fn error(text: &str) -> String {
        parse(text.as_bytes(), "tracks.csv").unwrap_err().to_string()
    }

    #[test]
    fn a_recording_keeps_the_order_and_the_texts_of_each_device() {
        let recording = parse(TRACKS.as_bytes(), "tracks.csv").unwrap();
        assert_eq!((recording.device_count(), recording.message_count()), (3, 120));
        let planned: Vec<Planned> = recording.plan(Pace::Recorded { speed: 1.0 }).collect();
        assert!(planned.is_sorted_by_key(|message| message.at));
        for device in ["samu31", "rega-sg", "rega-zh"] {
            let sent = planned.iter().filter(|message| &*message.device == device);
            let sent: Vec<String> = sent.map(|message| String::from_utf8(message.payload.clone()).unwrap()).collect();
            let rows = TRACKS.lines().skip(1).filter_map(|line| line.strip_prefix(&format!("{device},")));
            let recorded: Vec<String> = rows
                .flat_map(|row| {
                    let (timestamp, coordinates) = row.split_once(',').unwrap();
                    let halves = coordinates.split(',');
                    halves.map(move |half| format!(r#"{{"message":"{half}","timestamp":"{timestamp}"}}"#))
                })
                .collect();
            assert_eq!(sent, recorded);
        }
    }

    #[test]
    fn devices_start_at_once_and_go_as_recorded() {
        let text = "device,timestamp,coordX,coordY\nA,1000,1,2\nA,3000,3,4\nB,90000,5,6\nA,2000,7,8\n";
        let planned = |pace| {
            parse(text.as_bytes(), "t")
                .unwrap()
                .plan(pace)
                .map(|message| (message.at.as_millis(), format!("{}{:?}", message.device, message.axis)))
                .collect::<Vec<_>>()
        };
        let order = ["AX", "AY", "BX", "BY", "AX", "AY", "AX", "AY"].map(str::to_owned);
        let recorded = planned(Pace::Recorded { speed: 2.0 });
        assert_eq!(recorded, [0, 0, 0, 0, 1000, 1000, 1000, 1000].into_iter().zip(order.clone()).collect::<Vec<_>>());
        let even = planned(Pace::Even { per_second: NonZeroU32::new(10).unwrap() });
        assert_eq!(even, [0, 100, 200, 300, 400, 500, 600, 700].into_iter().zip(order).collect::<Vec<_>>());
    }

    #[test]
    fn what_is_wrong_is_named_with_file_and_line() {
        assert_eq!(error(""), "tracks.csv: no rows after the header device,timestamp,coordX,coordY");
        assert_eq!(error("a,b\n"), "tracks.csv:1: the header is not device,timestamp,coordX,coordY");
        let with = |row: &str| error(&format!("{HEADER}\r\nD,1000,1,2\r\n\n{row}\n"));
        assert_eq!(with("D,1000,x,2"), "tracks.csv:4: coordX is not a number");
        assert_eq!(with("D,1000,1,inf"), "tracks.csv:4: coordY is not a number");
        assert_eq!(with("D,1000,1"), "tracks.csv:4: 3 columns, not the four of device,timestamp,coordX,coordY");
        assert!(with("D,yesterday,1,2").starts_with("tracks.csv:4: timestamp: "));
        assert!(with("D/E,1000,1,2").starts_with("tracks.csv:4: device: "));
        assert_eq!(with(&"x".repeat(5_000)), "tracks.csv:4: longer than 4096 bytes");
        let missing = read(Path::new("/nonexistent/tracks.csv")).unwrap_err();
        assert!(format!("{missing:#}").starts_with("/nonexistent/tracks.csv can't be read: "));
    }
}
