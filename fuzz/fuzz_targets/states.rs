//! The stored state of an aggregate.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| watershed::parts::pipelines::fuzzing::states(bytes));
