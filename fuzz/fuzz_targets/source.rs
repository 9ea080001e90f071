//! A source's `source` file.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| watershed_log::fuzzing::source(bytes));
