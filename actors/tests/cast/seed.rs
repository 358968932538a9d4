//! One seed for all that is random in a test: the kills and waits it draws itself, the model stores' delays and the product's jitter, since
//! a paused runtime has one thread and `fastrand` one generator a thread.
//!
//! `ORINOCO_CAST_SEED=N cargo test -p orinoco-actors --test cast -- NAME` replays a failure. Not replayed: what the machine's own clock
//! decides (`std::time::Instant`, which only orders requests and reads), `tokio::select!` without `biased` (the supervision crate's delays,
//! where both ways lead to the same) and the order of a `HashMap`.

/// The variable `ORINOCO_CAST_SEED`, else another one each run; printed, and what this thread draws from now on follows from it.
pub(crate) fn begin() -> u64 {
    let seed = match std::env::var("ORINOCO_CAST_SEED") {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("ORINOCO_CAST_SEED is {text:?}, and no number")),
        Err(_) => fastrand::u64(..),
    };
    println!("ORINOCO_CAST_SEED={seed}");
    fastrand::seed(seed);
    seed
}
