use std::{fs, path::Path};

use orinoco_testkit::{Kafka, Program};
use tempfile::TempDir;

use crate::{DEADLINE, assert_gone, run};

const SHELL: &str = "/bin/sh";

#[tokio::test]
async fn the_usage_of_a_program_has_its_children_in_it_and_both_end_with_the_handle() {
    let folder = TempDir::new().unwrap();
    // The one that ends has its processor time counted on; the other runs.
    let script = "sh -c 'n=0; while [ $n -lt 300000 ]; do n=$((n + 1)); done'; sleep 600 & echo \"child $!\"; wait";
    let program = Program::spawn(Path::new(SHELL), &["-c", script], &[], folder.path()).unwrap();
    let child: u32 = program.wait_for_output("child ", DEADLINE).await.unwrap().parse().unwrap();
    let usage = program.usage().unwrap();
    assert_eq!(usage.thread_count, 2);
    assert!(usage.cpu_seconds >= 0.02, "{usage:?}");
    drop(program);
    assert_gone(child).await;
}

#[tokio::test]
async fn a_program_that_ends_before_it_says_what_was_waited_for_is_an_error_with_its_output() {
    let folder = TempDir::new().unwrap();
    let variables = [("WHY", "no licence")];
    let program =
        Program::spawn(Path::new(SHELL), &["-c", "echo \"$WHY\"; exit 3"], &variables, folder.path()).unwrap();
    let error = format!("{:#}", program.wait_for_output("ready", DEADLINE).await.unwrap_err());
    assert!(error.contains("exit status: 3") && error.contains("no licence"), "{error}");
}

#[tokio::test]
async fn the_end_offset_of_a_partition_is_what_it_has_been_given() {
    let kafka = Kafka::start().await.unwrap();
    kafka.address().create_topic("ends", 1).await.unwrap();
    let folder = TempDir::new().unwrap();
    let records = folder.path().join("records");
    fs::write(&records, "a\nb\nc\n").unwrap();
    run("kcat", &["-P", "-b", kafka.url(), "-t", "ends", "-p", "0", "-l", records.to_str().unwrap()]);
    assert_eq!(kafka.address().end_offset("ends", 0).await.unwrap(), 3);
    assert!(kafka.address().end_offset("ends", 7).await.is_err());
}
