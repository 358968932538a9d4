//! Those who watch a partition: sessions of the plain mode, and subscriptions of Centrifuge sessions.

use std::sync::Arc;

use orinoco_supervision::{Address, Message, SendError};

use super::{HubBatch, StreamPage};
use crate::{CentrifugeSessionMessage, WsSessionMessage};

/// Names one who watches. Unique in this process within a view.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct HubWatcherId {
    /// Of the socket.
    pub session: u64,
    /// Of the subscription; 0 in plain mode.
    pub subscription: u32,
}

/// One who watches, and where it is told.
#[derive(Clone)]
pub enum HubWatcher {
    Plain { session: u64, address: Address<WsSessionMessage> },
    Centrifuge { id: HubWatcherId, address: Address<CentrifugeSessionMessage> },
}

/// What a hub, or its audience, tells those who watch.
#[derive(Debug)]
pub enum HubEvent {
    /// A page of the snapshot, or the position to go on at.
    Page(StreamPage),
    /// Frames as they come.
    Live(Arc<HubBatch>),
    /// The hub started anew; requests to its predecessor may be lost.
    HubStarted { partition: u32 },
    /// A new stream epoch: what the client has means nothing any more.
    Reset { partition: u32 },
    /// The mailbox was full.
    Lagged,
}

/// What became of a word to one who watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    Taken,
    /// Its mailbox is full.
    Full,
    /// It has gone.
    Down,
}

impl HubWatcher {
    #[must_use]
    pub fn id(&self) -> HubWatcherId {
        match self {
            Self::Plain { session, .. } => HubWatcherId { session: *session, subscription: 0 },
            Self::Centrifuge { id, .. } => *id,
        }
    }

    pub(crate) fn tell(&self, event: HubEvent) -> Told {
        match self {
            Self::Plain { address, .. } => told(address.try_send(event.into())),
            Self::Centrifuge { id, address } => {
                let subscription = id.subscription;
                told(address.try_send(CentrifugeSessionMessage::Hub { subscription, event }))
            }
        }
    }
}

impl From<HubEvent> for WsSessionMessage {
    fn from(event: HubEvent) -> Self {
        match event {
            HubEvent::Page(page) => Self::Page(page),
            HubEvent::Live(batch) => Self::Live(batch),
            HubEvent::HubStarted { partition } => Self::HubStarted { partition },
            HubEvent::Reset { partition } => Self::Reset { partition },
            HubEvent::Lagged => Self::Lagged,
        }
    }
}

fn told<M: Message>(sent: Result<(), SendError<M>>) -> Told {
    match sent {
        Ok(()) => Told::Taken,
        Err(SendError::Full(_)) => Told::Full,
        Err(SendError::Down(_)) => Told::Down,
    }
}
