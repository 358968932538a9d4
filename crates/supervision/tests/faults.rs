//! The points at which a test can make a program fail; only with the feature `faults`. A process of its own, because
//! the points are the process's.

#![cfg(feature = "faults")]
#![allow(clippy::unwrap_used)]

#[expect(dead_code, reason = "shared with the tests of whole trees")]
#[path = "tree/support.rs"]
mod support;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use orinoco_supervision::CallError;
use orinoco_supervision::fault::{self, Fault};

use support::{Tell, World, incarnation, restarted, start, until};

const ONE: &str = r#"
[[supervisor]]
id = "root"
strategy = "one_for_one"
intensity = 100
children = [{ id = "a", start = "Probe", watchdog = { handler_max = "2s" } }, { id = "b", start = "Probe" }]
"#;

#[tokio::test(start_paused = true)]
async fn each_fault_does_what_it_says_to_the_actor_that_reaches_the_point() {
    let world = World::default();
    let (tree, probes) = start(&world, ONE).await;
    let probe = probes.get(0);
    let faults = [
        (Fault::Kill, "killed on request"),
        (Fault::Abort, "actor_task_cancelled"),
        (Fault::Panic, "fault injected at actor.handle"),
        (Fault::Fail, "fault injected at actor.handle"),
        (Fault::Hang, "killed by the watchdog: `note` took more than 2000 ms"),
    ];
    for (fault, reason) in faults {
        fault::set("actor.handle", move |path| if path == "root/a" { fault } else { Fault::Continue });
        probe.send(Tell::Note(1)).await.unwrap();
        until("down", || !probe.is_up()).await;
        fault::clear();
        until("up", || probe.is_up()).await;
        let failure = tree.inspect().find("root/a").unwrap().last_failure.clone().unwrap();
        assert_eq!(failure.reason, reason, "{fault:?}");
    }
    assert!(!world.log_contains("note 1"), "each fault came before the message");

    let began_at = tokio::time::Instant::now();
    fault::set("actor.handle", |_| Fault::Slow(Duration::from_secs(1)));
    incarnation(&probe).await;
    assert_eq!(began_at.elapsed(), Duration::from_secs(1));
    fault::clear();

    fault::set("actor.pre_start", |_| if fault::hits("actor.pre_start") < 3 { Fault::Fail } else { Fault::Continue });
    probe.send(Tell::Fail).await.unwrap();
    restarted(&probe).await;
    assert_eq!(fault::hits("actor.pre_start"), 3);
    fault::clear();

    // A sibling's restart is a point too, and the wait before it.
    fault::set("supervisor.start", |path| if path == "root/a" { Fault::Fail } else { Fault::Continue });
    probe.send(Tell::Fail).await.unwrap();
    until("the start failed", || {
        let failure = tree.inspect().find("root/a").unwrap().last_failure.clone();
        failure.is_some_and(|failure| failure.reason == "start failed: fault injected at supervisor.start")
    })
    .await;
    assert!(fault::hits("supervisor.backoff") > 0);
    assert_eq!(incarnation(&probes.get(1)).await, 0);
    fault::clear();
    until("up", || probe.is_up()).await;

    fault::set("actor.reply", |_| Fault::DropReply);
    let answer = probe.call(Tell::Ask, Duration::from_secs(1)).await;
    assert_eq!(answer, Err(CallError::Dropped));
    fault::clear();

    // On its thread a scoped hook stands before those of the process, until it is dropped.
    fault::set("actor.handle", |_| Fault::Fail);
    let reached = Rc::new(RefCell::new(Vec::new()));
    let seen = Rc::clone(&reached);
    let scoped = fault::scoped(move |reached| {
        seen.borrow_mut().push((reached.point, reached.path.to_owned()));
        Fault::Yield(3)
    });
    incarnation(&probe).await;
    assert_eq!(reached.borrow()[0], ("actor.handle", "root/a".to_owned()));
    drop(scoped);
    assert_eq!(fault::hits("actor.handle"), 0);
    fault::clear();

    assert!(fault::point("test.outside").await.is_ok());
    fault::set("test.outside", |path| if path.is_empty() { Fault::Fail } else { Fault::Continue });
    assert!(fault::point("test.outside").await.is_err());
    assert_eq!(incarnation(&probes.get(1)).await, 0);
    fault::clear();
    tree.shutdown().await;
}
