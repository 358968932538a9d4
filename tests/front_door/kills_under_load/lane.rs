//! Gives orders to the daemon, one after the other, over a control connection of its own.

use std::{
    collections::VecDeque,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::UnixStream,
};

use super::plan::Order;
use crate::support::within;

const CONNECT_AGAIN_AFTER: Duration = Duration::from_millis(1);
/// For the order to be there before.
const BESIDE_AFTER: Duration = Duration::from_millis(5);
/// An order whose moment does not come within this is a mistake in the plan, or part of the daemon does nothing any more.
const MOMENT_MAX: Duration = Duration::from_secs(60);
/// At a point an order is missed at once where its target is down, as others kill it too.
const ORDER_AGAIN_AFTER: Duration = Duration::from_millis(20);

/// A kill that happened, and counts: with work under way.
#[derive(Debug)]
pub(super) struct Kill {
    pub(super) order: Order,
    /// `None`: not for the daemon to measure, or nobody asked for a killed challenge again.
    pub(super) restart: Option<Duration>,
    /// Of the message in work.
    pub(super) handling: Option<String>,
}

pub(super) struct Control {
    path: PathBuf,
    stream: BufReader<UnixStream>,
}

impl Control {
    pub(super) async fn connect(data_dir: PathBuf) -> Self {
        let path = data_dir.join("control.sock");
        let stream = open(path.clone()).await;
        Self { path, stream }
    }

    /// The answer; `None` where the connection was lost, which is opened again then.
    async fn ask(&mut self, request: &Value) -> Option<Value> {
        let mut line = String::new();
        let asked = self.stream.get_mut().write_all(format!("{request}\n").as_bytes()).await;
        let read = self.stream.read_line(&mut line).await;
        if asked.is_ok() && read.is_ok() && line.ends_with('\n') {
            return Some(serde_json::from_str(&line).unwrap());
        }
        self.stream = open(self.path.clone()).await;
        None
    }

    async fn incarnation(&mut self, id: &str) -> u64 {
        loop {
            let Some(answer) = self.ask(&json!({"command": "tree"})).await else { continue };
            let children = answer["snapshot"]["root"]["children"].as_array().unwrap();
            let child = children.iter().find(|child| child["id"] == id).unwrap();
            return child["incarnation"].as_u64().unwrap();
        }
    }

    /// Kills who listens here; how long until the next one answers. The request itself is the work under way.
    pub(super) async fn kill_itself(&mut self) -> Duration {
        let before = self.incarnation("control").await;
        let started = Instant::now();
        let told = self.ask(&json!({"command": "kill", "path": "root/control"})).await;
        assert!(told.is_none_or(|told| told["killed"] == "root/control"));
        while self.incarnation("control").await == before {
            tokio::time::sleep(CONNECT_AGAIN_AFTER).await;
        }
        started.elapsed()
    }
}

async fn open(path: PathBuf) -> BufReader<UnixStream> {
    within("the control socket", async {
        loop {
            match UnixStream::connect(&path).await {
                Ok(stream) => return BufReader::new(stream),
                Err(_) => tokio::time::sleep(CONNECT_AGAIN_AFTER).await,
            }
        }
    })
    .await
}

/// Carries out what is left, and returns what it did.
pub(super) async fn run(data_dir: PathBuf, orders: Arc<Mutex<VecDeque<Order>>>) -> Vec<Kill> {
    let mut controls = [Control::connect(data_dir.clone()).await, Control::connect(data_dir).await];
    let mut kills = Vec::new();
    loop {
        let Some(order) = orders.lock().unwrap().pop_front() else { return kills };
        let struck = strike(&mut controls, order.clone()).await;
        let restart = struck["restartUs"].as_u64().map(Duration::from_micros);
        let handling = struck["handling"].as_str().map(str::to_owned);
        if !order.is_at_point {
            let depth = struck["depth"].as_u64().unwrap();
            assert!(handling.is_some() || depth > 0, "without work: {order:?} {struck}");
        }
        kills.push(Kill { order, restart, handling });
    }
}

async fn strike([control, second]: &mut [Control; 2], order: Order) -> Value {
    let begun = Instant::now();
    while begun.elapsed() < MOMENT_MAX {
        let beside = async {
            if let Some(path) = order.beside {
                tokio::time::sleep(BESIDE_AFTER).await;
                // Nobody there: it is being started already.
                while second.ask(&json!({"command": "kill", "path": path})).await.is_none() {}
            }
        };
        match tokio::join!(control.ask(&order.request), beside).0 {
            Some(mut answer) if answer["struck"].is_object() => return answer["struck"].take(),
            Some(answer) => assert!(answer["error"].as_str().unwrap().starts_with("missed"), "{answer}"),
            // Silent for so long that the daemon closed it.
            None => {}
        }
        tokio::time::sleep(ORDER_AGAIN_AFTER).await;
    }
    panic!("its moment never comes: {order:?}");
}
