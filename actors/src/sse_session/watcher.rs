//! A stream as its challenge knows it.

use orinoco_supervision::Address;

use super::SseSessionMessage;
use crate::ChallengeView;

/// Tells a stream what becomes of its challenge. Wherever it is dropped, in a mailbox or with a challenge that was killed, the stream
/// learns that it is told nothing any more, and asks again.
#[derive(Debug)]
pub struct Watcher {
    stream: Address<SseSessionMessage>,
    session: u64,
    /// Counts the attachments of the stream: what an earlier one says means nothing.
    attachment: u64,
    is_told_last: bool,
}

impl Watcher {
    pub(super) fn new(stream: Address<SseSessionMessage>, session: u64, attachment: u64) -> Self {
        Self { stream, session, attachment, is_told_last: false }
    }

    pub(crate) fn is_up(&self) -> bool {
        self.stream.is_up()
    }

    /// Whether both are of one stream.
    pub(crate) fn is_of(&self, other: &Self) -> bool {
        self.session == other.session
    }

    /// Whether it took that. A stream that did not is gone, or lags behind and asks again.
    pub(crate) fn tell(&self, view: &ChallengeView) -> bool {
        let now = SseSessionMessage::Now { attachment: self.attachment, view: view.clone() };
        self.stream.try_send(now).is_ok()
    }

    /// There is no such challenge (any more).
    pub(crate) fn tell_gone(self) {
        let attachment = self.attachment;
        self.tell_last(SseSessionMessage::NoChallenge { attachment });
    }

    /// Too many streams watch the challenge.
    pub(crate) fn tell_too_many(self) {
        let attachment = self.attachment;
        self.tell_last(SseSessionMessage::TooMany { attachment });
    }

    fn tell_last(mut self, message: SseSessionMessage) {
        self.is_told_last = self.stream.try_send(message).is_ok();
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        if !self.is_told_last {
            // Down: nobody needs to know. Full: it asks again at its next comment.
            let _ = self.stream.try_send(SseSessionMessage::Lost { attachment: self.attachment });
        }
    }
}
