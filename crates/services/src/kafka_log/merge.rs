//! The order of two axes' records that were fetched together.

use orinoco_domain::{Axis, HEADER_ID};
use orinoco_ports::FetchedRecord;

/// One list of both: each axis in its order; across them by `orinoco-id` where both next records are of one journal, else by the
/// records' times, X first where these are equal.
pub(super) fn merge(x: Vec<FetchedRecord>, y: Vec<FetchedRecord>) -> Vec<FetchedRecord> {
    if x.is_empty() {
        return y;
    }
    if y.is_empty() {
        return x;
    }
    let mut merged = Vec::with_capacity(x.len() + y.len());
    let (mut x, mut y) = (x.into_iter().peekable(), y.into_iter().peekable());
    while let (Some(head_x), Some(head_y)) = (x.peek(), y.peek()) {
        let from = if y_comes_first(head_x, head_y) { &mut y } else { &mut x };
        merged.extend(from.next());
    }
    merged.extend(x);
    merged.extend(y);
    merged
}

fn y_comes_first(x: &FetchedRecord, y: &FetchedRecord) -> bool {
    debug_assert!(x.axis == Axis::X && y.axis == Axis::Y, "one list an axis");
    match (journal_place(x), journal_place(y)) {
        (Some((journal_x, sequence_x)), Some((journal_y, sequence_y))) if journal_x == journal_y => {
            sequence_y < sequence_x
        }
        _ => y.record.timestamp_ms < x.record.timestamp_ms,
    }
}

/// Journal and sequence of an id `mqtt/EPOCH/JOURNAL/SEQUENCE`, without building the id.
fn journal_place(fetched: &FetchedRecord) -> Option<(&str, u64)> {
    let id = std::str::from_utf8(fetched.record.header(HEADER_ID)?).ok()?;
    let (_epoch, place) = id.strip_prefix("mqtt/")?.split_once('/')?;
    let (journal, sequence) = place.split_once('/')?;
    Some((journal, sequence.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use orinoco_domain::RawRecord;

    use super::*;

    fn record(axis: Axis, offset: i64, id: Option<&str>, timestamp_ms: i64) -> FetchedRecord {
        let headers = id.map(|id| (HEADER_ID.to_owned(), id.as_bytes().to_vec())).into_iter().collect();
        FetchedRecord { axis, offset, record: RawRecord { headers, timestamp_ms, ..RawRecord::default() } }
    }

    fn order(x: Vec<FetchedRecord>, y: Vec<FetchedRecord>) -> String {
        let name = |fetched: &FetchedRecord| format!("{}{}", &fetched.axis.name()[5..], fetched.offset);
        merge(x, y).iter().map(name).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn records_of_one_journal_are_ordered_by_sequence_whatever_their_times() {
        let x = vec![record(Axis::X, 0, Some("mqtt/1/j/2"), 9), record(Axis::X, 1, Some("mqtt/2/j/10"), 1)];
        let y = vec![record(Axis::Y, 0, Some("mqtt/1/j/1"), 10), record(Axis::Y, 1, Some("mqtt/1/j/3"), 0)];
        assert_eq!(order(x, y), "Y0 X0 Y1 X1");
    }

    #[test]
    fn records_of_two_journals_or_of_none_are_ordered_by_time_x_first() {
        let x = vec![record(Axis::X, 0, Some("mqtt/1/j/2"), 5), record(Axis::X, 1, None, 7)];
        let y = vec![record(Axis::Y, 0, Some("mqtt/1/k/1"), 5), record(Axis::Y, 1, Some("nonsense"), 6)];
        assert_eq!(order(x, y), "X0 Y0 Y1 X1");
    }

    #[test]
    fn an_axis_keeps_its_order_even_where_ids_or_times_go_back() {
        let x = vec![record(Axis::X, 0, None, 9), record(Axis::X, 1, None, 1)];
        let y = vec![record(Axis::Y, 0, None, 5)];
        assert_eq!(order(x, y), "Y0 X0 X1");
        assert_eq!(order(vec![record(Axis::X, 0, None, 1)], Vec::new()), "X0");
    }
}
