//! Watershed.

pub mod config;
pub mod control;
pub mod demo;
pub mod error;
pub mod output;
