//! Credentials of devices, at the embedded broker and at mosquitto.

use std::time::Instant;

use orinoco_testkit::unique_name;
use tokio::process::Command;

use crate::support::{DEADLINE, Device, Mode, Setup, World, turn, until, within};

for_both_modes! {
    a_device_with_credentials_is_its_own_and_a_revoked_one_is_nobody_s
    mosquitto_s_client_is_told_what_it_may
    without_anonymous_only_devices_with_credentials_connect
}

/// MQTT 3.1.1, section 3.2.2.3.
const NOT_AUTHORIZED: &str = "CONNACK is [32, 2, 0, 5]";
const UNAVAILABLE: &str = "CONNACK is [32, 2, 0, 3]";

/// In services mode the accounts are in PostgreSQL.
async fn world(mode: Mode, setup: Setup) -> World {
    World::start(mode, if mode == Mode::Services { setup.embedded_broker() } else { setup }).await
}

fn add(world: &World, device: &str) -> String {
    world.json(&["device", "add", device, "--json"])[0]["secret"].as_str().unwrap().to_owned()
}

async fn a_device_with_credentials_is_its_own_and_a_revoked_one_is_nobody_s(mode: Mode) {
    let world = world(mode, Setup::default()).await;
    let url = world.mqtt_url();
    let (name, other) = (unique_name("owned"), unique_name("free"));
    let topic = format!("devices/{name}/coordX");
    let before = world.device().await;
    before.publish(&topic, "1").await;

    let secret = add(&world, &name);
    // Who connects from now on is refused at once; who published for it before, within the seconds.
    assert!(!world.device().await.try_publish(&topic, "2").await);
    let began = Instant::now();
    until("the client of before is refused", async || (!before.try_publish(&topic, "3").await).then_some(())).await;
    println!("{mode:?}: refused {:?} after device add", began.elapsed());
    let free = world.device().await;
    free.move_to(&other, 1.0, 2.0).await;
    free.publish("odd/topic", "1").await;

    for wrong in ["", "wrong", &add(&world, &other)] {
        assert_eq!(Device::connect_as(&url, &name, wrong).await.err().as_deref(), Some(NOT_AUTHORIZED));
    }
    assert_eq!(Device::connect_as(&url, "nobody", &secret).await.err().as_deref(), Some(NOT_AUTHORIZED));
    let mut owner = Device::connect_as(&url, &name, &secret).await.unwrap();
    owner.move_to(&name, 5.0, 6.0).await;
    // Another's topic, and one of a device without credentials, are not its own.
    let foreign = Device::connect_as(&url, &name, &secret).await.unwrap();
    assert!(!foreign.try_publish(&format!("devices/{}/coordX", unique_name("foreign")), "1").await);

    let revoked = world.command(&["device", "revoke", &name]);
    assert!(revoked.status.success());
    let began = Instant::now();
    within("the session of the revoked device ends", owner.lost()).await;
    println!("{mode:?}: ended {:?} after device revoke", began.elapsed());
    assert_eq!(Device::connect_as(&url, &name, &secret).await.err().as_deref(), Some(NOT_AUTHORIZED));
    assert!(!world.device().await.try_publish(&topic, "4").await);
    // A new secret opens it again.
    let secret = add(&world, &name);
    Device::connect_as(&url, &name, &secret).await.unwrap().move_to(&name, 7.0, 8.0).await;
    let latest = until("what its owner published", async || {
        let frame = crate::support::latest(&world, &name).await?;
        ((frame.x, frame.y) == (7.0, 8.0)).then_some(frame)
    })
    .await;
    assert_eq!(latest.device, name);
}

async fn mosquitto_s_client_is_told_what_it_may(mode: Mode) {
    let world = world(mode, Setup::default()).await;
    let name = unique_name("owned");
    let secret = add(&world, &name);
    let own = format!("devices/{name}/coordX");
    for version in ["mqttv311", "mqttv5"] {
        assert_eq!(mosquitto_pub(&world, version, &own, Some((&name, &secret))).await, "", "{version}");
        let refused = mosquitto_pub(&world, version, &own, Some((&name, "wrong"))).await;
        assert!(refused.to_lowercase().contains("not authori"), "{version}: {refused}");
        // Without credentials; QoS 1.
        let refused = mosquitto_pub(&world, version, &own, None).await;
        if version == "mqttv5" {
            assert!(refused.to_lowercase().contains("not authori"), "{version}: {refused}");
        }
        assert_eq!(mosquitto_pub(&world, version, &format!("devices/{}/coordX", unique_name("free")), None).await, "");
    }
}

async fn without_anonymous_only_devices_with_credentials_connect(mode: Mode) {
    let world = world(mode, Setup::default().set("mqtt.anonymous", false)).await;
    let name = unique_name("owned");
    let secret = add(&world, &name);
    assert_eq!(Device::connect(&world.mqtt_url()).await.err().as_deref(), Some(NOT_AUTHORIZED));
    Device::connect_as(&world.mqtt_url(), &name, &secret).await.unwrap().move_to(&name, 1.0, 2.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_accounts_are_away_nobody_is_let_in_by_a_secret_and_nobody_is_sent_away() {
    let _turn = turn().await;
    let world = world(Mode::Services, Setup::default().own_kafka()).await;
    let url = world.mqtt_url();
    let name = unique_name("owned");
    let secret = add(&world, &name);
    let owner = Device::connect_as(&url, &name, &secret).await.unwrap();
    owner.move_to(&name, 1.0, 2.0).await;
    let postgres = world.services.as_ref().unwrap().postgres.as_ref().unwrap();
    postgres.stop().await.unwrap();
    for _ in 0..3 {
        assert_eq!(Device::connect_as(&url, &name, &secret).await.err().as_deref(), Some(UNAVAILABLE));
    }
    postgres.restart().await.unwrap();
    world.daemon.wait_until_ready(DEADLINE).await.unwrap();
    owner.move_to(&name, 3.0, 4.0).await;
    Device::connect_as(&url, &name, &secret).await.unwrap().move_to(&name, 5.0, 6.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mosquitto_goes_by_the_files_that_device_add_and_revoke_write() {
    let setup = Setup::default().set("mqtt.username", "orinoco").set("mqtt.password", "of the daemon");
    let world = World::start(Mode::Services, setup).await;
    let url = world.mqtt_url();
    let mosquitto = &world.services.as_ref().unwrap().mosquitto;
    let files = mosquitto.folder().join("logins");
    std::fs::create_dir(&files).unwrap();
    let folder = files.to_str().unwrap();
    std::fs::write(files.join("passwords"), "somebody:$7$101$of$else\n").unwrap();
    let (name, foreign) = (unique_name("owned"), unique_name("foreign"));
    let mut secrets = Vec::new();
    for device in [&name, &foreign, &name] {
        let added = world.json(&["device", "add", device, "--mosquitto", folder, "--json"]);
        secrets.push(added[0]["secret"].as_str().unwrap().to_owned());
    }
    let [former, _, secret] = secrets.try_into().unwrap();
    let passwords = std::fs::read_to_string(files.join("passwords")).unwrap();
    let users: Vec<&str> = passwords.lines().filter_map(|line| Some(line.split_once(':')?.0)).collect();
    assert_eq!(users, ["somebody", &foreign, "orinoco", &name]);
    assert!(!passwords.contains(&secret) && !passwords.contains("of the daemon"));

    let conf = mosquitto.folder().join("mosquitto.conf");
    let closed = std::fs::read_to_string(&conf).unwrap().replace("allow_anonymous true", "allow_anonymous false");
    std::fs::write(&conf, format!("{closed}password_file {folder}/passwords\nacl_file {folder}/acl\n")).unwrap();
    reload(mosquitto.pid().unwrap());
    until("strangers are refused", async || {
        (Device::connect(&url).await.err().as_deref() == Some(NOT_AUTHORIZED)).then_some(())
    })
    .await;
    for wrong in ["", &former] {
        assert_eq!(Device::connect_as(&url, &name, wrong).await.err().as_deref(), Some(NOT_AUTHORIZED));
    }
    let mut owner = Device::connect_as(&url, &name, &secret).await.unwrap();
    let topic = format!("devices/{foreign}/coordX");
    let refused = mosquitto_pub(&world, "mqttv5", &topic, Some((&name, &secret))).await;
    assert!(refused.contains("Not authorized"), "{refused}");
    owner.move_to(&name, 5.0, 6.0).await;
    until("what its owner published", async || crate::support::latest(&world, &name).await).await;

    assert!(world.command(&["device", "revoke", &name, "--mosquitto", folder]).status.success());
    reload(mosquitto.pid().unwrap());
    within("the session of the revoked device ends", owner.lost()).await;
    assert_eq!(Device::connect_as(&url, &name, &secret).await.err().as_deref(), Some(NOT_AUTHORIZED));

    let refused = world.command(&["device", "add", "orinoco", "--mosquitto", folder]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("has the name of mqtt.username"), "{refused:?}");
    let refused = world.command(&["device", "add", &unique_name("d"), "--mosquitto", "/no/such/folder"]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("make the folder first"), "{refused:?}");
}

fn reload(mosquitto: u32) {
    assert!(std::process::Command::new("kill").args(["-HUP", &mosquitto.to_string()]).status().unwrap().success());
}

/// What Eclipse Mosquitto's client says about publishing at QoS 1; empty: nothing went wrong.
async fn mosquitto_pub(world: &World, version: &str, topic: &str, credentials: Option<(&str, &str)>) -> String {
    let url = world.mqtt_url();
    let (host, port) = url.trim_start_matches("mqtt://").rsplit_once(':').unwrap();
    let mut command = Command::new("timeout");
    // Where the connection is closed it connects again, for ever.
    command.args(["5", "mosquitto_pub", "-h", host, "-p", port, "-V", version, "-q", "1", "-t", topic, "-m", "1"]);
    if let Some((name, secret)) = credentials {
        command.args(["-u", name, "-P", secret]);
    }
    let output = command.output().await.expect("mosquitto_pub (scripts/install services)");
    String::from_utf8_lossy(&output.stderr).trim().to_owned()
}
