//! Waiting for a condition, with a deadline.

use std::{
    thread,
    time::{Duration, Instant},
};

/// Far beyond what any condition takes, even on a busy machine.
pub const DEADLINE: Duration = Duration::from_secs(120);

/// Asks until the answer is `Some`.
///
/// # Panics
/// After [`DEADLINE`].
pub fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(begun.elapsed() < DEADLINE, "waited in vain for {what}");
        thread::park_timeout(Duration::from_millis(5));
    }
}
