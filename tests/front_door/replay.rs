//! The recorded helicopter tracks, replayed through a real MQTT client, give exactly what the pairing rule gives.

use std::{collections::BTreeMap, fs};

use orinoco_testkit::unique_name;

use crate::support::{Frame, Mode, Setup, Socket, World};

const TRACKS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/helicopters.csv");

for_both_modes! {
    a_replay_in_pairing_latest_gives_a_frame_for_each_message
    a_replay_in_pairing_timestamp_gives_a_frame_for_each_row
}

/// One row of a device's track.
#[derive(Debug, Clone, PartialEq)]
struct Row {
    timestamp: String,
    x: f64,
    y: f64,
}

/// The tracks, under names that no other test has.
struct Tracks {
    csv: String,
    rows: BTreeMap<String, Vec<Row>>,
}

impl Tracks {
    fn load() -> Self {
        let suffix = unique_name("");
        let mut csv = String::new();
        let mut rows: BTreeMap<String, Vec<Row>> = BTreeMap::new();
        for (index, line) in fs::read_to_string(TRACKS).unwrap().lines().enumerate() {
            if index == 0 {
                csv.push_str(&format!("{line}\n"));
                continue;
            }
            let (device, rest) = line.split_once(',').unwrap();
            let device = format!("{device}{suffix}");
            csv.push_str(&format!("{device},{rest}\n"));
            let fields: Vec<&str> = rest.split(',').collect();
            let [timestamp, x, y] = fields[..] else { panic!("{line}") };
            let row = Row { timestamp: timestamp.to_owned(), x: x.parse().unwrap(), y: y.parse().unwrap() };
            rows.entry(device).or_default().push(row);
        }
        assert_eq!(rows.len(), 3);
        Self { csv, rows }
    }

    /// Replays them, while `read` reads a socket for each device.
    async fn watched(
        &self,
        world: &World,
        read: impl AsyncFn(&mut Socket, &[Row]) -> Vec<Frame>,
    ) -> BTreeMap<String, Vec<Frame>> {
        let mut sockets = Vec::new();
        for device in self.rows.keys() {
            sockets.push(world.watch(&format!("?device={device}")).await);
        }
        let [one, two, three] = &mut sockets[..] else { panic!("three devices") };
        let rows: Vec<&[Row]> = self.rows.values().map(Vec::as_slice).collect();
        let (one, two, three, ()) =
            tokio::join!(read(one, rows[0]), read(two, rows[1]), read(three, rows[2]), self.replay(world));
        self.rows.keys().cloned().zip([one, two, three]).collect()
    }

    async fn replay(&self, world: &World) {
        let file = world.data_dir.parent().unwrap().join(unique_name("tracks"));
        fs::write(&file, &self.csv).unwrap();
        // 3,518 messages in about two seconds.
        let output = world.command_beside(&["simulate", "--rate", "1000", "--replay", file.to_str().unwrap()]).await;
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

async fn a_replay_in_pairing_latest_gives_a_frame_for_each_message(mode: Mode) {
    let world = World::shared(mode).await;
    let tracks = Tracks::load();
    let frames = tracks.watched(world, async |socket, rows| read_until(socket, rows.last().unwrap()).await).await;
    for (device, rows) in &tracks.rows {
        assert_common(&frames[device], device);
        match mode {
            Mode::Embedded => assert_exact_order(&frames[device], rows),
            Mode::Services => assert_order_of_each_axis(&frames[device], rows),
        }
    }
}

/// Reads until both axes have moved for the last time. (Fetched apart, one may be well ahead of the other.)
async fn read_until(socket: &mut Socket, last: &Row) -> Vec<Frame> {
    let mut frames: Vec<Frame> = Vec::new();
    let has_last = |frames: &[Frame], axis: &str| {
        let newest = frames.iter().rfind(|frame| frame.source == axis);
        newest.is_some_and(|frame| frame.timestamp == last.timestamp)
    };
    while !(has_last(&frames, "coordX") && has_last(&frames, "coordY")) {
        frames.push(socket.frame().await);
    }
    frames
}

/// `assert_eq` that shows the first difference only.
fn assert_same<T: PartialEq + std::fmt::Debug>(found: &[T], expected: &[T], what: &str) {
    for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert_eq!(found, expected, "{what}: number {index}");
    }
    assert_eq!(found.len(), expected.len(), "{what}: count");
}

fn assert_common(frames: &[Frame], device: &str) {
    assert!(frames.iter().map(|frame| frame.offset).eq(1..=frames.len() as u64), "offsets of {device}");
    for frame in frames {
        assert_eq!((frame.device.as_str(), &frame.epoch), (device, &frames[0].epoch));
        assert!(!frame.unpaired && !frame.late, "{frame:?}");
    }
}

/// X and Y of each row in turn, the first X without a partner.
fn assert_exact_order(frames: &[Frame], rows: &[Row]) {
    let mut expected = Vec::new();
    for (index, row) in rows.iter().enumerate() {
        if index > 0 {
            expected.push((row.x, rows[index - 1].y, "coordX", row.timestamp.as_str()));
        }
        expected.push((row.x, row.y, "coordY", row.timestamp.as_str()));
    }
    let found: Vec<_> =
        frames.iter().map(|frame| (frame.x, frame.y, frame.source.as_str(), frame.timestamp.as_str())).collect();
    assert_same(&found, &expected, "frames");
}

/// Each axis in order and complete, but for those before the other axis was known; the other axis as it was.
fn assert_order_of_each_axis(frames: &[Frame], rows: &[Row]) {
    let value = |row: &Row, axis: &str| if axis == "coordX" { row.x } else { row.y };
    let mut unseen = [0, 0];
    for (axis, unseen) in ["coordX", "coordY"].iter().zip(&mut unseen) {
        let found: Vec<_> = frames
            .iter()
            .filter(|frame| frame.source == *axis)
            .map(|frame| (frame.moved(), frame.timestamp.as_str()))
            .collect();
        *unseen = rows.len() - found.len();
        let expected: Vec<_> = rows[*unseen..].iter().map(|row| (value(row, axis), row.timestamp.as_str())).collect();
        assert_same(&found, &expected, axis);
    }
    assert!(unseen.contains(&0) && unseen.iter().sum::<usize>() > 0, "one axis came first: {unseen:?}");
    for pair in frames.windows(2) {
        let before = if pair[1].source == "coordX" { pair[0].y } else { pair[0].x };
        assert_eq!(pair[1].kept(), before, "{:?} after {:?}", pair[1], pair[0]);
    }
}

async fn a_replay_in_pairing_timestamp_gives_a_frame_for_each_row(mode: Mode) {
    // A half that waits for its partner must not be given up on a busy machine.
    let setup = Setup::default().set("stream.pairing", "timestamp").set("stream.pairing_grace_ms", 60_000);
    let world = World::start(mode, setup).await;
    let tracks = Tracks::load();
    let frames = tracks
        .watched(&world, async |socket, rows| {
            let mut frames = Vec::new();
            while frames.len() < rows.len() {
                frames.push(socket.frame().await);
            }
            frames
        })
        .await;
    for (device, rows) in &tracks.rows {
        assert_common(&frames[device], device);
        let found: Vec<_> = frames[device]
            .iter()
            .map(|frame| Row { timestamp: frame.timestamp.clone(), x: frame.x, y: frame.y })
            .collect();
        assert_same(&found, rows, device);
    }
}
