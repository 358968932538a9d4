//! What a campaign did, as a table.

use std::{collections::BTreeMap, time::Duration};

use super::{
    Told,
    lane::Kill,
    plan::{Back, KINDS},
    watchers::Watched,
};

/// Of these; `None` where there are none. `quantile` is in 0.0 to 1.0.
pub(super) fn quantile(durations: &mut [Duration], quantile: f64) -> Option<Duration> {
    durations.sort_unstable();
    let last = durations.len().checked_sub(1)?;
    durations.get((last as f64 * quantile).round() as usize).copied()
}

fn ms(duration: Option<Duration>) -> String {
    duration.map_or_else(|| "-".to_owned(), |duration| format!("{:.0}", duration.as_secs_f64() * 1_000.0))
}

fn line(name: &str, kills: usize, at_points: usize, restarts: &mut [Duration]) {
    let [half, most] = [0.5, 0.99].map(|share| ms(quantile(restarts, share)));
    println!("| {name} | {kills} | {at_points} | {} | {half} | {most} |", restarts.len());
}

/// One line a type of actor; whose work is made up for by its clients has their gaps.
pub(super) fn print(kills: &[Kill], control: &mut [Duration], told: &Told) {
    println!("| type of actor | kills that count | of them at points | measured | back after, ms: p50 | p99 |");
    println!("|---|--:|--:|--:|--:|--:|");
    for (index, kind) in KINDS.iter().enumerate() {
        let of_kind: Vec<&Kill> = kills.iter().filter(|kill| kill.order.kind == index).collect();
        if of_kind.is_empty() {
            continue;
        }
        let at_points = of_kind.iter().filter(|kill| kill.order.is_at_point).count();
        let mut restarts: Vec<Duration> = of_kind.iter().filter_map(|kill| kill.restart).collect();
        if kind.back == Back::Client {
            let of = |watched: &[Watched]| watched.iter().flat_map(|one| one.gaps.iter().copied()).collect();
            restarts = match kind.target {
                "root/ws_sessions/*" => of(&told.plain),
                "root/centrifuge_sessions/*" => of(&told.centrifuge),
                _ => told.outcomes.gaps.clone(),
            };
        }
        line(kind.target, of_kind.len(), at_points, &mut restarts);
    }
    line("root/control", control.len(), 0, control);
    let mut handling: BTreeMap<&str, usize> = BTreeMap::new();
    for kill in kills {
        *handling
            .entry(kill.handling.as_deref().unwrap_or("none: queued, on its way in, or a restart"))
            .or_default() += 1;
    }
    println!("messages in work at the kills: {handling:?}");
}
