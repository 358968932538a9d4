//! Publication: in memory, at most once, in the order of commits.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use orinoco_ports::{Publication, StoreError, Subscription};
use tokio::sync::broadcast;

#[derive(Debug)]
pub(super) struct Publications {
    senders: Mutex<HashMap<u32, broadcast::Sender<Arc<Publication>>>>,
    publications_max: usize,
    place: String,
}

impl Publications {
    pub(super) fn new(publications_max: usize, place: String) -> Self {
        Self { senders: Mutex::default(), publications_max, place }
    }

    fn sender(&self, partition: u32) -> broadcast::Sender<Arc<Publication>> {
        let mut senders = self.senders.lock().unwrap_or_else(PoisonError::into_inner);
        senders.entry(partition).or_insert_with(|| broadcast::Sender::new(self.publications_max)).clone()
    }

    pub(super) fn publish(&self, publication: Publication) {
        // Without subscribers it goes nowhere.
        let _ = self.sender(publication.partition).send(Arc::new(publication));
    }

    pub(super) fn subscribe(&self, partition: u32) -> Box<dyn Subscription> {
        let receiver = Some(self.sender(partition).subscribe());
        Box::new(Subscriber { receiver, place: self.place.clone() })
    }
}

struct Subscriber {
    /// `None` once it has ended.
    receiver: Option<broadcast::Receiver<Arc<Publication>>>,
    place: String,
}

#[async_trait]
impl Subscription for Subscriber {
    async fn next(&mut self) -> Result<Publication, StoreError> {
        let received = match &mut self.receiver {
            Some(receiver) => receiver.recv().await.map_err(|error| error.to_string()),
            None => Err("subscription has ended".to_owned()),
        };
        match received {
            Ok(publication) => Ok(Arc::unwrap_or_clone(publication)),
            Err(reason) => {
                self.receiver = None;
                Err(StoreError::Unavailable { place: self.place.clone(), reason })
            }
        }
    }
}
