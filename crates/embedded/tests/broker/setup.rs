//! A broker on a free port and an intake that remembers.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use orinoco_embedded::broker::{BrokerOptions, EmbeddedBroker};
use orinoco_ports::{InboundMessage, Intake, MqttLink, MqttSource, Refused, Running, Server};
use tokio::time::timeout;

use crate::client::DEADLINE;

/// One accepted message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Accepted {
    pub(crate) topic: String,
    pub(crate) payload: Vec<u8>,
    pub(crate) traceparent: Option<String>,
    pub(crate) redelivered: bool,
}

/// A journal in memory: accepts, refuses, or panics.
#[derive(Default)]
pub(crate) struct Journal {
    pub(crate) accepted: Mutex<Vec<Accepted>>,
    pub(crate) is_full: AtomicBool,
    pub(crate) panics: AtomicBool,
}

#[async_trait]
impl Intake for Journal {
    fn accept_blocking(&self, _: InboundMessage<'_>) -> Result<(), Refused> {
        unreachable!("the embedded broker is asynchronous")
    }

    async fn accept(&self, message: InboundMessage<'_>) -> Result<(), Refused> {
        // The write of a real journal takes its time, in which others run.
        tokio::task::yield_now().await;
        assert!(!self.panics.load(Ordering::SeqCst), "the intake was told to panic");
        assert_eq!(message.packet_id, None);
        if self.is_full.load(Ordering::SeqCst) {
            return Err(Refused::Full);
        }
        self.accepted.lock().unwrap().push(Accepted {
            topic: message.topic.to_owned(),
            payload: message.payload.to_vec(),
            traceparent: message.traceparent.map(str::to_owned),
            redelivered: message.redelivered,
        });
        Ok(())
    }
}

impl Journal {
    pub(crate) fn payloads(&self) -> Vec<String> {
        let accepted = self.accepted.lock().unwrap();
        accepted.iter().map(|message| String::from_utf8_lossy(&message.payload).into_owned()).collect()
    }

    pub(crate) fn topics(&self) -> Vec<String> {
        self.accepted.lock().unwrap().iter().map(|message| message.topic.clone()).collect()
    }
}

/// A broker at work, its gate open to a journal.
pub(crate) struct Setup {
    pub(crate) broker: Arc<EmbeddedBroker>,
    pub(crate) running: Box<dyn Running>,
    pub(crate) journal: Arc<Journal>,
    pub(crate) link: Option<Box<dyn MqttLink>>,
    pub(crate) address: SocketAddr,
}

pub(crate) fn options() -> BrokerOptions {
    BrokerOptions {
        listen: "127.0.0.1:0".to_owned(),
        refusal_wait_max: Duration::from_millis(20),
        ..BrokerOptions::default()
    }
}

impl Setup {
    pub(crate) async fn new() -> Self {
        Self::with(options()).await
    }

    pub(crate) async fn with(options: BrokerOptions) -> Self {
        let broker = EmbeddedBroker::new(options);
        let running = broker.start().await.unwrap();
        let address = broker.local_addr().unwrap();
        let journal = Arc::new(Journal::default());
        let link = Some(broker.connect(journal.clone()).await.unwrap());
        Self { broker, running, journal, link, address }
    }
}

/// Polls until `condition` gives something.
pub(crate) async fn until<T>(what: &str, mut condition: impl AsyncFnMut() -> Option<T>) -> T {
    let polled = timeout(DEADLINE, async {
        loop {
            if let Some(value) = condition().await {
                return value;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    polled.await.unwrap_or_else(|_| panic!("{what}, in time"))
}

/// Polls until `condition` holds.
pub(crate) async fn until_true(what: &str, mut condition: impl FnMut() -> bool) {
    until(what, async || condition().then_some(())).await;
}
