//! What the tests need: services, processes, records.

pub mod s3;
pub mod tools;
pub mod wait;
