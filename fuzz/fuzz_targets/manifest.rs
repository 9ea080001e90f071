//! A manifest.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| watershed::parts::batch::fuzzing::manifest(bytes));
