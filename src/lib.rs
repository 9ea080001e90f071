//! Watershed.

pub mod cli;
mod commands;
pub mod config;
pub mod control;
pub mod datagen;
pub mod demo;
pub mod error;
mod logging;
pub mod output;
mod project;
mod report;
mod signal;

pub use project::{
    AppendOptions, AppendReport, BatchOptions, DeadLetter, Difference, Ledger, Lines, Project, ProjectBuilder,
    QueryOptions, RejectedRecord, SourceLedger, SourceStatus, Status, UpSummary, Verified, VerifyOptions, ViewLedger,
    ViewStatus, Writer,
};
pub use watershed_pipelines::{
    catalog::Catalog,
    key::{KeyBound, KeyFilter},
    registry::Registry,
    sql::SqlFile,
    types::{DataType, Field, Schema, Value},
};
pub use watershed_serving::{Answer, Receipt};
