//! What the tests need: services, processes, records.

pub mod command;
pub mod fault_proxy;
pub mod log;
pub mod records;
pub mod s3;
pub mod seeds;
pub mod system;
pub mod tools;
pub mod wait;
