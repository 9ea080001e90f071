//! Definitions from Rust: a typed builder that renders to SQL and goes through the same planner.
