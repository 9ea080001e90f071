//! A cron expression and a time zone.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| watershed::parts::batch::fuzzing::schedule(bytes));
