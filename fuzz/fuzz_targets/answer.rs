//! The rows that a running process sends.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| watershed::fuzzing::answer(bytes));
