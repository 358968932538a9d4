//! The journal's disk: torn, damaged, full, read-only. (Two daemons on one directory: see `configuration`.)

use std::{
    fs::{self, OpenOptions, Permissions},
    io::Write,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    time::Duration,
};

use orinoco_testkit::unique_name;

use crate::support::{Backend, Load, LoadPlan, Mode, Repeats, Setup, World, history, latest, turn, until};

const PLAN: LoadPlan = LoadPlan { connections: 2, devices: 5, messages_per_second: 1_000 };
const READY_DEADLINE: Duration = Duration::from_secs(60);
/// The first bytes of a record (length, checksum, payload), as a power cut leaves them: less than its length says.
const HALF_A_RECORD: [u8; 12] = [90, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];

/// The file that the journal appends to.
fn last_segment(world: &World) -> PathBuf {
    let paths = fs::read_dir(world.data_dir.join("journal")).unwrap().map(|entry| entry.unwrap().path());
    paths.filter(|path| path.extension().is_some_and(|extension| extension == "segment")).max().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_torn_tail_is_cut_off_and_a_flipped_bit_is_refused_with_its_place() {
    let world = World::start(Mode::Services, Setup::default().own_kafka().embedded_broker()).await;
    let services = world.services.as_ref().unwrap();
    let name = unique_name("d");
    let device = world.device().await;
    device.move_to(&name, 0.0, 0.0).await;
    until("a value", async || latest(&world, &name).await).await;
    // What follows is in the journal only.
    Backend::Kafka.stop(services).await;
    for value in 1..=50 {
        device.publish(&format!("devices/{name}/coordX"), value.to_string()).await;
    }
    world.daemon.kill().unwrap();
    let segment = last_segment(&world);
    OpenOptions::new().append(true).open(&segment).unwrap().write_all(&HALF_A_RECORD).unwrap();
    world.daemon.start_without_waiting().unwrap();
    until("the torn tail to be cut off", async || {
        let log = world.daemon.stderr().ok()?;
        (log.contains("cutting off a record that was not written whole") && log.contains(segment.to_str()?))
            .then_some(())
    })
    .await;
    until("the daemon", async || world.daemon.get("/healthz").await.ok()).await;
    world.daemon.kill().unwrap();
    let segment = last_segment(&world);
    let whole = fs::read(&segment).unwrap();
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 0x10;
    fs::write(&segment, &flipped).unwrap();
    let output = world.command(&["serve"]);
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(message.contains(segment.to_str().unwrap()) && message.contains("byte"), "{message}");
    assert_eq!(fs::read(&segment).unwrap(), flipped, "what is damaged is left alone");
    fs::write(&segment, &whole).unwrap();
    Backend::Kafka.start(services).await;
    world.daemon.start_without_waiting().unwrap();
    world.daemon.wait_until_ready(READY_DEADLINE).await.unwrap();
    until("all that was acknowledged", async || latest(&world, &name).await.filter(|latest| latest.x == 50.0)).await;
    let values: Vec<f64> = history(&world, &name).await.iter().map(|frame| frame.x).collect();
    assert!(values.iter().copied().eq((0..=50).map(f64::from)), "{values:?}");
}

/// `hurt` makes the journal's disk refuse, `mend` makes it take again.
async fn refuses_for_a_while(setup: Setup, hurt: impl AsyncFn(&World), mend: impl AsyncFn(&World)) -> World {
    let setup = setup.set("stream.history_max", 1_000_000).set("journal.bytes_max", 1 << 20);
    let world = World::start(Mode::Services, setup.set("mqtt.packet_size_max", 1 << 16).embedded_broker()).await;
    let load = Load::start(&world, PLAN).await;
    let accepted = async || world.metric("orinoco_messages_accepted_total").await;
    until("messages", async || accepted().await.filter(|count| *count > 500.0)).await;
    hurt(&world).await;
    let is_full = async |full: f64| (world.metric("orinoco_journal_full").await? == full).then_some(());
    until("a journal that takes no more", async || is_full(1.0).await).await;
    let acknowledged = until("the number of acknowledged messages", &accepted).await;
    let ready = until("/readyz to be red", async || {
        let answer = world.get("/readyz").await;
        (answer.status == 503 && answer.body.contains("journal")).then_some(answer)
    })
    .await;
    assert!(ready.body.contains("segment") || ready.body.contains("directory"), "{ready:?}");
    assert!(world.daemon.stderr().unwrap().contains("acknowledging stops"));
    assert_eq!(world.get("/healthz").await.status, 200);
    assert_eq!(until("the number of acknowledged messages", &accepted).await, acknowledged);
    mend(&world).await;
    until("more messages", async || accepted().await.filter(|now| *now > acknowledged + 500.0)).await;
    world.daemon.wait_until_ready(READY_DEADLINE).await.unwrap();
    let ledger = load.stop().await;
    println!("{} messages, of which {acknowledged} before", ledger.messages());
    // The broker closes connections in place of a PUBACK: devices sent again.
    ledger.assert_all_came_out(&world, Repeats::OfWhatWasSentAgain).await;
    world
}

/// No file may grow any more: the kernel writes short and then refuses, as it does where the disk is full.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_stops_the_acknowledging_and_costs_nothing() {
    let _turn = turn().await;
    // What is ignored stays so across exec: a full disk sends no signal.
    let setup = Setup::default().run_by(&["/bin/sh", "-c", "trap '' XFSZ; exec \"$@\"", "sh"]);
    let hurt = async |world: &World| {
        let length = fs::metadata(last_segment(world)).unwrap().len();
        world.daemon.limit_file_bytes(Some(length / 2)).unwrap();
    };
    let mend = async |world: &World| world.daemon.limit_file_bytes(None).unwrap();
    refuses_for_a_while(setup, hurt, mend).await;
}

/// The permissions of the journal's directory stand for a disk that the kernel has made read-only: no segment can be made, none removed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_only_disk_stops_the_acknowledging_and_costs_nothing() {
    let _turn = turn().await;
    let journal = |world: &World| world.data_dir.join("journal");
    let may = |world: &World, mode: u32| fs::set_permissions(journal(world), Permissions::from_mode(mode)).unwrap();
    let mut setup = Setup::default();
    if rustix::process::geteuid().is_root() {
        // Permissions count for root as well.
        setup = setup.run_by(&["setpriv", "--bounding-set=-dac_override,-dac_read_search"]);
    }
    let (hurt, mend) = (async |world: &World| may(world, 0o500), async |world: &World| may(world, 0o700));
    let world = refuses_for_a_while(setup, hurt, mend).await;
    assert!(world.daemon.terminate().await.unwrap().success());
    may(&world, 0o500);
    world.daemon.start_without_waiting().unwrap();
    let status = world.daemon.wait_for_exit(READY_DEADLINE).await.unwrap();
    may(&world, 0o700);
    assert_eq!(status.code(), Some(1));
    let log = world.daemon.stderr().unwrap();
    let last = log.lines().last().unwrap();
    assert!(last.contains(journal(&world).to_str().unwrap()) && last.contains("denied"), "{last}");
}
