//! A slot of a partition's head file.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| watershed_log::fuzzing::head(bytes));
