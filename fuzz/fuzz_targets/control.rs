//! What a peer of the control socket sends.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| watershed::fuzzing::control(bytes));
