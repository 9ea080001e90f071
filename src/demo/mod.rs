//! The guided tour: New York's flights of 2013 as a log, a nightly batch load, a live day, and the proof.

pub mod flights;
