//! Reading one partition of both topics.
//!
//! Each axis is read by long polls on a connection of its own (Kafka serves one request a connection at a time). A poll of the axis
//! that had nothing when the other returned is not given up, but taken up again by the next call: giving it up would leave the
//! connection occupied until the broker answers.

use std::{pin::Pin, sync::Arc, task::Poll, time::Duration};

use orinoco_domain::{Axis, Position};
use orinoco_ports::{Fetched, FetchedRecord};
use rskafka::{client::partition::PartitionClient, record::RecordAndOffset};
use tokio::time::{Instant, timeout, timeout_at};

use super::{
    cluster::{Trouble, bounded},
    merge::merge,
    record::from_kafka,
};

/// A long poll lasts so long at most: a connection that died without a word is noticed after that and a call's timeout.
const POLL_MAX: Duration = Duration::from_secs(5);
/// How long an answer of the second axis is waited for, where the first has brought records: most pairs are written at once.
const SECOND_AXIS_WAIT: Duration = Duration::from_millis(2);
/// The same where the second axis is known to have records there, as in a replay: without them the first axis's would find no partner.
const SECOND_AXIS_BEHIND_WAIT: Duration = Duration::from_secs(1);
/// A poll that was under way when the call began gets so long at least to bring what is there.
const TAKEN_UP_WAIT: Duration = Duration::from_millis(50);

type PollAnswer = Result<(Vec<RecordAndOffset>, i64), Trouble>;
type PollFuture = Pin<Box<dyn Future<Output = PollAnswer> + Send>>;

/// A poll under way.
struct AxisPoll {
    from: i64,
    answer: PollFuture,
}

/// One reader of a partition.
pub(super) struct Reader {
    clients: [Arc<PartitionClient>; 2],
    call_timeout: Duration,
    polls: [Option<AxisPoll>; 2],
    /// As last heard.
    end: Position,
}

/// Why a fetch failed, and on which axis.
pub(super) struct FetchTrouble {
    pub(super) axis: Axis,
    pub(super) trouble: Trouble,
}

impl Reader {
    pub(super) fn new(x: PartitionClient, y: PartitionClient, end: Position, call_timeout: Duration) -> Self {
        Self { clients: [Arc::new(x), Arc::new(y)], call_timeout, polls: [None, None], end }
    }

    /// Whether a poll under way can be taken up by a fetch from there.
    pub(super) fn fits(&self, from: Position) -> bool {
        Axis::BOTH
            .iter()
            .zip(&self.polls)
            .all(|(axis, poll)| poll.as_ref().is_none_or(|poll| poll.from == from.of(*axis)))
    }

    pub(super) async fn fetch(
        &mut self,
        from: Position,
        bytes_max: usize,
        wait_max: Duration,
    ) -> Result<Fetched, FetchTrouble> {
        let started = Instant::now();
        let deadline = started + wait_max;
        let taken_up = self.polls.iter().any(Option::is_some) && self.fits(from);
        // A poll ends by itself, by its own timeout at the latest; but one that was taken up may last longer than this call.
        let patience =
            if taken_up { deadline.max(started + TAKEN_UP_WAIT) } else { deadline + POLL_MAX + self.call_timeout };
        let mut arrived = [Vec::new(), Vec::new()];
        let mut answered = [false, false];
        loop {
            let remaining = deadline.saturating_duration_since(Instant::now());
            for axis in Axis::BOTH {
                if !(answered[index(axis)] && remaining.is_zero()) {
                    self.arm(axis, from.of(axis), bytes_max, remaining);
                }
            }
            let Ok((axis, answer)) = timeout_at(patience, self.first_answer()).await else { break };
            answered[index(axis)] = true;
            if self.take(axis, answer, &mut arrived)? {
                if let Ok((second, answer)) = timeout(self.second_axis_wait(axis, from), self.first_answer()).await {
                    self.take(second, answer, &mut arrived)?;
                }
                break;
            }
            if answered == [true, true] && Instant::now() >= deadline {
                break;
            }
        }
        Ok(self.fetched(from, arrived))
    }

    fn second_axis_wait(&self, first: Axis, from: Position) -> Duration {
        let is_behind = Axis::BOTH.iter().any(|axis| *axis != first && self.end.of(*axis) > from.of(*axis));
        if is_behind { SECOND_AXIS_BEHIND_WAIT } else { SECOND_AXIS_WAIT }
    }

    /// Starts a poll of the axis from there, unless one is under way.
    fn arm(&mut self, axis: Axis, from: i64, bytes_max: usize, wait: Duration) {
        let slot = &mut self.polls[index(axis)];
        if slot.as_ref().is_some_and(|poll| poll.from == from) {
            return;
        }
        let client = Arc::clone(&self.clients[index(axis)]);
        let wait = wait.min(POLL_MAX);
        let limit = wait + self.call_timeout;
        // Kafka's own default for the whole of a fetch; the bound is exclusive.
        let bytes_max = i32::try_from(bytes_max).unwrap_or(i32::MAX - 1).clamp(1, 50 << 20) + 1;
        let wait_ms = i32::try_from(wait.as_millis()).unwrap_or(i32::MAX);
        let answer = Box::pin(async move { bounded(limit, client.fetch_records(from, 1..bytes_max, wait_ms)).await });
        *slot = Some(AxisPoll { from, answer });
    }

    /// The next answer of a poll under way. Cancel safe: an answer that was not returned stays in its poll.
    async fn first_answer(&mut self) -> (Axis, PollAnswer) {
        let polls = &mut self.polls;
        std::future::poll_fn(|context| {
            for axis in Axis::BOTH {
                let slot = &mut polls[index(axis)];
                let Some(poll) = slot else { continue };
                if let Poll::Ready(answer) = poll.answer.as_mut().poll(context) {
                    *slot = None;
                    return Poll::Ready((axis, answer));
                }
            }
            Poll::Pending
        })
        .await
    }

    /// Says whether the answer brought records.
    fn take(
        &mut self,
        axis: Axis,
        answer: PollAnswer,
        arrived: &mut [Vec<RecordAndOffset>; 2],
    ) -> Result<bool, FetchTrouble> {
        let (records, high_watermark) = answer.map_err(|trouble| FetchTrouble { axis, trouble })?;
        self.end.set(axis, high_watermark);
        arrived[index(axis)] = records;
        Ok(!arrived[index(axis)].is_empty())
    }

    fn fetched(&self, from: Position, arrived: [Vec<RecordAndOffset>; 2]) -> Fetched {
        let (mut next, mut end) = (from, self.end);
        for (axis, records) in Axis::BOTH.into_iter().zip(&arrived) {
            if let Some(last) = records.last() {
                next.set(axis, last.offset + 1);
            }
            // The end was heard with an earlier answer of this axis.
            end.set(axis, end.of(axis).max(next.of(axis)));
        }
        let [x, y] = arrived;
        let converted = |axis: Axis, records: Vec<RecordAndOffset>| {
            let one = |RecordAndOffset { record, offset }| FetchedRecord { axis, offset, record: from_kafka(record) };
            records.into_iter().map(one).collect()
        };
        Fetched { records: merge(converted(Axis::X, x), converted(Axis::Y, y)), next, end }
    }
}

fn index(axis: Axis) -> usize {
    match axis {
        Axis::X => 0,
        Axis::Y => 1,
    }
}
