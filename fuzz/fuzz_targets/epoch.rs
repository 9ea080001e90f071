//! An epoch object.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| watershed::parts::batch::fuzzing::epoch(bytes));
