//! Publications of one partition.

use async_trait::async_trait;
use orinoco_ports::{Publication, StoreError, Subscription};

use super::{decode, failed};
use crate::redis_server::Publications;

pub(super) struct RedisSubscription {
    pub(super) partition: u32,
    pub(super) publications: Publications,
}

#[async_trait]
impl Subscription for RedisSubscription {
    async fn next(&mut self) -> Result<Publication, StoreError> {
        let text = self.publications.next().await.map_err(failed)?;
        let place = self.publications.place();
        decode::publication(self.partition, &text).map_err(|error| failed(place.corrupt(error)))
    }
}
