//! Seeds: how many are tried, where they begin, and what repeats one that failed.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// Runs `attempt` with `count` seeds from 0 on. `WATERSHED_TEST_SEEDS` sets how many, `WATERSHED_TEST_SEED` the first one (and
/// with it alone only that one is tried). Prints how many were tried; on a panic, what repeats that seed.
pub fn each(count: u64, attempt: impl Fn(u64)) {
    let number = |name: &str| {
        let text = std::env::var(name).ok()?;
        Some(text.parse::<u64>().unwrap_or_else(|_| panic!("{name}={text:?} is not a number")))
    };
    let first = number("WATERSHED_TEST_SEED");
    let count = number("WATERSHED_TEST_SEEDS").unwrap_or(if first.is_some() { 1 } else { count });
    let first = first.unwrap_or(0);
    for seed in first..first + count {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| attempt(seed))) {
            eprintln!("seed {seed} failed, after {} that passed; WATERSHED_TEST_SEED={seed} repeats it", seed - first);
            resume_unwind(panic);
        }
    }
    let test = std::thread::current().name().unwrap_or("test").to_owned();
    eprintln!("{test}: {count} seeds tried, from {first} on");
}
