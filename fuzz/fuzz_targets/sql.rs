//! Definitions and queries: parsed, planned, compiled, run over a few rows.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| watershed::parts::pipelines::fuzzing::sql(bytes));
