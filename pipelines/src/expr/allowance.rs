//! How much text evaluations on this thread may make.
//!
//! Texts are the one thing that an expression can make much more of than it was given. Kernels of texts take what they make from
//! the thread's allowance and fail without one. Where nobody has set it, it has no end, so that what becomes of a record never
//! depends on other records; the derived tail sets it, and ends the whole query when it is used up.

use std::cell::Cell;

thread_local! {
    static LEFT: Cell<u64> = const { Cell::new(u64::MAX) };
}

/// Runs `work` with an allowance of `bytes`; its result, and whether that was enough.
pub(crate) fn within<T>(bytes: u64, work: impl FnOnce() -> T) -> (T, bool) {
    struct Restore(u64);
    impl Drop for Restore {
        fn drop(&mut self) {
            LEFT.set(self.0);
        }
    }
    let restore = Restore(LEFT.replace(bytes.min(u64::MAX - 1)));
    let result = work();
    let enough = LEFT.get() > 0;
    drop(restore);
    (result, enough)
}

/// Takes from the allowance; `false` if it is used up.
pub(super) fn take(bytes: usize) -> bool {
    let left = LEFT.get();
    if left == u64::MAX {
        return true;
    }
    let left = left.saturating_sub(bytes as u64);
    LEFT.set(left);
    left > 0
}
