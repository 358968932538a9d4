//! Which QoS 2 publishes of a session were accepted and not yet released (MQTT 5.0, section 4.3.3), pure.
//!
//! rmqtt knows this for one connection only; a session goes on over many. A client whose PUBREC got lost repeats its PUBLISH
//! on the next connection, with DUP and the same packet identifier, and it must not be accepted twice. But a DUP PUBLISH may
//! just as well be one that never arrived, under an identifier that was used before, perhaps with the same
//! content: taking that for a repetition would lose a message. What tells them apart is the PUBREL of the earlier one.
//!
//! rmqtt shows no PUBREL to its hooks, only that a packet was processed. So every packet that no other hook explains counts as
//! the PUBREL of the oldest open identifier (clients release in the order of PUBREC: section 4.6). Where that guess is wrong
//! (the packet acknowledged one of our own messages, or repeated an earlier PUBREL), it releases too early. That is why a release only counts
//! from the next connection on: an identifier released on this one can't be repeated on it unless the guess was wrong.
//! What remains errs towards accepting twice, never towards a loss.

use std::collections::VecDeque;

/// One session's open QoS 2 publishes, oldest first.
#[derive(Debug, Default)]
pub(super) struct OpenPublishes {
    open: VecDeque<Open>,
    connection: u32,
    explained: bool,
}

#[derive(Debug)]
struct Open {
    packet_id: u16,
    fingerprint: u64,
    released_on: Option<u32>,
}

impl OpenPublishes {
    /// Whether a DUP PUBLISH repeats one that was accepted.
    pub(super) fn repeats(&self, packet_id: u16, fingerprint: u64) -> bool {
        self.open.iter().any(|open| {
            open.packet_id == packet_id
                && open.fingerprint == fingerprint
                && open.released_on.is_none_or(|connection| connection == self.connection)
        })
    }

    /// A PUBLISH was accepted. Beyond `open_max` the oldest is forgotten, which is a released one unless the client ignores
    /// our Receive Maximum.
    pub(super) fn accepted(&mut self, packet_id: u16, fingerprint: u64, open_max: usize) {
        self.open.retain(|open| open.packet_id != packet_id);
        if self.open.len() >= open_max {
            self.open.pop_front();
        }
        self.open.push_back(Open { packet_id, fingerprint, released_on: None });
    }

    /// The packet under way is known: a PUBLISH, SUBSCRIBE, UNSUBSCRIBE, PINGREQ, or an acknowledgement of ours.
    pub(super) fn packet_explained(&mut self) {
        self.explained = true;
    }

    /// A packet was processed.
    pub(super) fn packet_processed(&mut self) {
        if std::mem::take(&mut self.explained) {
            return;
        }
        let connection = self.connection;
        if let Some(oldest) = self.open.iter_mut().find(|open| open.released_on.is_none()) {
            oldest.released_on = Some(connection);
        }
    }

    /// The session goes on over another connection.
    pub(super) fn resumed(&mut self) {
        self.open.retain(|open| open.released_on.is_none());
        self.connection = self.connection.wrapping_add(1);
        self.explained = false;
    }
}

#[cfg(test)]
mod tests {
    use super::OpenPublishes;

    fn publish(session: &mut OpenPublishes, packet_id: u16, fingerprint: u64) {
        session.accepted(packet_id, fingerprint, 10);
        session.packet_explained();
        session.packet_processed();
    }

    #[test]
    fn a_publish_repeated_on_the_next_connection_is_known() {
        let mut session = OpenPublishes::default();
        publish(&mut session, 1, 11);
        session.resumed();
        assert!(session.repeats(1, 11));
        assert!(!session.repeats(1, 12), "another message under the same identifier");
        assert!(!session.repeats(2, 11));
    }

    #[test]
    fn a_released_identifier_is_free_from_the_next_connection_on() {
        let mut session = OpenPublishes::default();
        publish(&mut session, 1, 11);
        session.packet_processed(); // PUBREL
        session.resumed();
        assert!(!session.repeats(1, 11), "a message that never arrived, with the content of an earlier one");
    }

    #[test]
    fn a_repeated_release_does_not_hide_a_repeated_publish() {
        let mut session = OpenPublishes::default();
        publish(&mut session, 5, 1);
        session.packet_processed(); // PUBREL 5, whose PUBCOMP gets lost
        publish(&mut session, 6, 2); // its PUBREC gets lost
        session.resumed();
        session.packet_processed(); // PUBREL 5 again, taken for that of 6
        assert!(session.repeats(6, 2));
    }

    #[test]
    fn an_identifier_used_again_counts_once() {
        let mut session = OpenPublishes::default();
        publish(&mut session, 1, 11);
        publish(&mut session, 1, 12);
        assert!(!session.repeats(1, 11));
        assert!(session.repeats(1, 12));
    }

    #[test]
    fn what_is_open_is_bounded() {
        let mut session = OpenPublishes::default();
        (1..=20).for_each(|packet_id| publish(&mut session, packet_id, 0));
        assert!(!session.repeats(10, 0));
        assert!((11..=20).all(|packet_id| session.repeats(packet_id, 0)));
    }
}
