//! The two index files of a sealed segment.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| watershed_log::fuzzing::index(bytes));
