//! `watershed.toml`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| watershed::fuzzing::config(bytes));
