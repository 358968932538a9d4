//! One partition's share of a session: how far its snapshot, or its resumption, has come. Pure.

use orinoco_domain::DeviceId;
use orinoco_supervision::Address;

use crate::StreamHubMessage;

pub(crate) struct Feed {
    pub(crate) partition: u32,
    pub(crate) hub: Address<StreamHubMessage>,
    /// The last batch or page that counts.
    pub(crate) sequence: u64,
    pub(crate) stage: Stage,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stage {
    /// No page yet: live frames are in the pages to come.
    Joining { asked: bool },
    /// Pages up to the cursor are here; later devices are in the pages to come.
    Paging {
        cursor: DeviceId,
        /// The next page is asked for.
        asked: bool,
    },
    /// History after this offset is being read; `seen` is the newest live frame that went by meanwhile.
    Resuming { after: u64, seen: u64 },
    /// All that comes goes out; of a single device, what is above this offset.
    Live { above: u64 },
}

impl Feed {
    pub(crate) fn is_live(&self) -> bool {
        matches!(self.stage, Stage::Live { .. })
    }

    /// Whether there is something to ask for: of the hub, or of history.
    pub(crate) fn owes(&self) -> bool {
        match self.stage {
            Stage::Joining { asked } | Stage::Paging { asked, .. } => !asked,
            Stage::Resuming { .. } => true,
            Stage::Live { .. } => false,
        }
    }

    /// A request may be lost: make it again.
    pub(crate) fn forget_request(&mut self) {
        if let Stage::Joining { asked } | Stage::Paging { asked, .. } = &mut self.stage {
            *asked = false;
        }
    }

    /// Whether a batch is new to this session; it counts from now on.
    pub(crate) fn accept(&mut self, sequence: u64) -> bool {
        let is_new = sequence > self.sequence;
        self.sequence = self.sequence.max(sequence);
        is_new
    }

    /// Whether a live frame goes out now.
    pub(crate) fn wants(&self, device: &DeviceId, offset: u64) -> bool {
        match &self.stage {
            Stage::Joining { .. } | Stage::Resuming { .. } => false,
            Stage::Paging { cursor, .. } => device <= cursor,
            Stage::Live { above } => offset > *above,
        }
    }
}
