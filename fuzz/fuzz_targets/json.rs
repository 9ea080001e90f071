//! A record's payload, read the short way and the long way.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| watershed::parts::pipelines::fuzzing::json(bytes));
