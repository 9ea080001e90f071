//! Entries for fuzzing: functions that take any bytes, and fail (by a panic) only where a promise of this crate is broken. Not part of
//! the public interface.

mod json;
mod sql;
mod states;

pub use self::{json::json, sql::sql, states::states};

/// One entry: its name, what takes any bytes, and bytes to begin with.
pub type Target = (&'static str, fn(&[u8]), fn() -> Vec<Vec<u8>>);

/// The entries of this crate.
pub const TARGETS: &[Target] =
    &[("sql", sql, sql::corpus), ("json", json, json::corpus), ("states", states, states::corpus)];
