//! A log segment: its header, record batches and frames.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| watershed_log::fuzzing::segment(bytes));
