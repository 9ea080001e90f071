//! The trace of a history: every step, and every I/O operation with its outcome.

use std::{
    fmt::Display,
    sync::{Mutex, PoisonError},
};

/// What happened, line by line. The same seed gives the same lines.
#[derive(Debug, Default)]
pub struct Trace {
    lines: Mutex<Vec<String>>,
}

impl Trace {
    /// Adds a line.
    pub fn note(&self, line: impl Display) {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).push(line.to_string());
    }

    /// The lines so far.
    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The hash of a trace.
pub fn digest(lines: &[String]) -> String {
    let mut hasher = blake3::Hasher::new();
    for line in lines {
        hasher.update(line.as_bytes());
        hasher.update(b"\n");
    }
    hasher.finalize().to_hex().to_string()
}
