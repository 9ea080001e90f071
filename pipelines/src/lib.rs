//! Definitions, compiled once and run by both layers.
//!
//! A definition (SQL or the builder) is planned into a typed plan and compiled into kernels over column batches. This crate is
//! the pure core of Watershed: it does no I/O, reads no clock and draws no random numbers.

pub mod aggregate;
pub mod builder;
pub mod canonical;
pub mod catalog;
mod columns;
pub mod core;
pub mod decode;
pub mod error;
pub mod explain;
pub mod expr;
#[doc(hidden)]
pub mod fuzzing;
pub mod key;
mod number;
pub mod partial;
pub mod registry;
pub mod rows;
pub mod source;
pub mod sql;
pub mod tail;
pub mod time;
pub mod types;
pub mod window;
