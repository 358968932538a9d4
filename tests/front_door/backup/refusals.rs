//! What is refused, and that nothing comes to harm by it.

use std::{
    path::Path,
    process::{Command, Output, Stdio},
};

use super::{archive, back_up, publish_marks, start, text, wait_for_head};
use crate::support::{World, command, folder, prepared};

fn names_in(folder: &Path) -> Vec<String> {
    let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.collect()
}

/// It failed, with 1, and says why.
fn assert_refused(output: &Output, because: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && said.contains(because), "{:?}: {said}", output.status);
}

/// Files of the command can't grow beyond `kibibytes`, as on a full disk (setrlimit(2)).
fn command_on_a_full_disk(world: &World, arguments: &[&str], kibibytes: u32) -> Output {
    let prepared = prepared(&world.environment(), &world.data_dir, arguments);
    let script = format!("trap '' XFSZ; ulimit -f {}; exec \"$@\"", kibibytes * 2);
    let mut shell = Command::new("sh");
    shell.args(["-c", &script, "sh"]).arg(prepared.get_program()).args(prepared.get_args());
    shell.envs(prepared.get_envs().filter_map(|(name, value)| Some((name, value?))));
    shell.current_dir(prepared.get_current_dir().unwrap()).output().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_that_can_t_be_written_leaves_nothing_and_the_daemon_unharmed() {
    let world = start().await;
    let name = publish_marks(&world).await;
    let elsewhere = folder();
    let file = elsewhere.path().join("saved.tar");
    std::fs::write(&file, "the one before").unwrap();
    assert_refused(&command_on_a_full_disk(&world, &["backup", text(&file)], 48), "File too large");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "the one before");
    assert_eq!(names_in(elsewhere.path()), ["saved.tar"], "no half of it is left");
    let missing = elsewhere.path().join("missing/saved.tar");
    assert_refused(&world.command(&["backup", text(&missing)]), "must go to a folder that this user may write");
    assert_refused(&world.command(&["backup", "/dev/null"]), "no regular file");
    let full = Stdio::from(std::fs::File::options().write(true).open("/dev/full").unwrap());
    let output = prepared(&world.environment(), &world.data_dir, &["backup", "-"]).stdout(full).output().unwrap();
    assert_refused(&output, "No space left on device");
    let nowhere = command(&[], elsewhere.path(), &["backup", text(&missing)]);
    assert_refused(&nowhere, "is no data directory");
    // It noticed nothing of all that.
    let head = wait_for_head(&world, &name, super::MARKS as u64).await;
    world.device().await.publish(&format!("devices/{name}/coordY"), "7").await;
    assert_eq!(wait_for_head(&world, &name, head.offset + 1).await.y, 7.0);
    assert!(!names_in(&world.data_dir).iter().any(|name| name.contains("saved")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restore_touches_no_daemon_s_directory_and_believes_no_damaged_archive() {
    let world = start().await;
    publish_marks(&world).await;
    let saved = archive(&world, "saved.tar");
    back_up(&world, &saved);
    assert_refused(&world.command(&["restore", text(&saved)]), "a daemon runs on");
    world.daemon.kill().unwrap();
    assert_refused(&world.command(&["restore", text(&saved)]), "is not empty; move it away first");

    let elsewhere = folder();
    let to = elsewhere.path().join("data");
    let refused = |bytes: &[u8], because: &str| {
        let damaged = elsewhere.path().join("damaged.tar");
        std::fs::write(&damaged, bytes).unwrap();
        assert_refused(&world.command(&["restore", text(&damaged), "--to", text(&to)]), because);
        assert_eq!(names_in(elsewhere.path()), ["damaged.tar"], "nothing is left");
    };
    let whole = std::fs::read(&saved).unwrap();
    refused(&whole[..whole.len() - 1], "truncated: it ends within its end");
    refused(&whole[..whole.len() / 2], "truncated: it ends within ");
    refused(b"", "is no backup of orinoco");
    for part in 1..8 {
        let mut bytes = whole.clone();
        bytes[whole.len() * part / 8] ^= 0x10;
        refused(&bytes, "is damaged: ");
    }
    let mut newer = whole.clone();
    let at = newer.windows(10).position(|bytes| bytes == b"\"format\":1").unwrap();
    newer[at + 9] = b'2';
    refused(&newer, "has format 2, this program knows 1");
    let missing = world.command(&["restore", "no/such/file", "--to", text(&to)]);
    assert_refused(&missing, "no/such/file");

    let restored = world.json(&["restore", text(&saved), "--to", text(&to), "--json"]);
    assert_eq!(restored[0]["directory"], text(&to));
    assert!(to.join("journal/id").exists());
    assert_eq!(world.command(&["restore"]).status.code(), Some(2), "wrong usage");
}
