//! Watershed: write a transform once; run it nightly and live; ask one question and get one exact answer.
//!
//! A [`Project`] is a directory with a configuration (`watershed.toml`), definitions (`definitions/*.sql`: tables and views), an
//! event log and a store. Records are appended to the log; batch runs fold them into Parquet; the speed layer keeps what came
//! since; a query merges the two into one answer, which is the same wherever the line between them lies.
//!
//! ```
//! use watershed::{BatchOptions, Project, Registry, Value};
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = tempfile::tempdir()?;
//! // What `watershed init` writes: the table "payments" and two views.
//! Project::init(directory.path())?;
//! let project = Project::open(directory.path(), Registry::new())?;
//!
//! let payment = |id: u32, amount: &str| {
//!     format!(
//!         r#"{{"event_id": "{id}", "ts": "2026-01-01T00:00:30Z", "card": "c1", "amount": {amount}, "status": "approved"}}"#
//!     )
//! };
//! project.append("payments", [payment(1, "10.00"), payment(2, "2.50")]).await?;
//! project.run_batch(&BatchOptions::default()).await?; // The first two are answered for by the batch side …
//! project.append("payments", [payment(3, "0.05")]).await?; // … this one by the speed side.
//!
//! let answer = project.query("SELECT card, n, total FROM card_minute").await?;
//! let rows: Vec<Vec<Value>> = answer.rows().collect();
//! assert_eq!(rows, [[Value::Text("c1".into()), Value::Int(3), Value::Decimal(1255)]]); // 12.55
//! assert_eq!(answer.receipt.sources["payments"].records, 3);
//! # Ok(())
//! # }
//! ```
//!
//! | to | use |
//! | --- | --- |
//! | open a project, or build one in code | [`Project::open`], [`Project::builder`], [`Catalog`], [`definition`] |
//! | append | [`Project::append`], [`Project::writer`], [`Project::append_lines`] |
//! | fold the log into the store | [`Project::run_batch`], [`Project::epoch`], [`Project::collect_garbage`] |
//! | run the speed layer and the schedules | [`Project::up`] |
//! | ask | [`Project::query`], [`Project::lookup`], [`Project::scan`] → [`Answer`] with its [`Receipt`] |
//! | check | [`Project::fsck`], [`Project::verify`], [`Project::status`], [`Project::dead_letters`], [`Project::rejected`] |
//! | call functions of your own in definitions | [`Registry`], and [`cli::main`] for a command that knows them |
//!
//! Any number of processes may use one project at the same time. One of them writes the log; the others find it by the log's
//! lock file and talk to it over a local socket ([`control`]), without a caller having to know which one it is.

pub mod cli;
mod commands;
pub mod config;
pub mod control;
pub mod datagen;
pub mod demo;
pub mod error;
#[doc(hidden)]
pub mod fuzzing;
mod logging;
pub mod output;
mod project;
mod report;
mod signal;

pub use error::Error;
pub use project::{
    AppendOptions, AppendReport, BatchOptions, DeadLetter, Difference, Fsck, FsckChecked, FsckFinding, FsckOptions,
    FsckRepair, FsckVerdict, Ledger, Lines, Project, ProjectBuilder, QueryLimits, QueryOptions, RejectedRecord,
    SourceLedger, SourceStatus, Status, UpSummary, Verified, VerifyOptions, VerifyProgress, ViewLedger, ViewStatus,
    Writer,
};
pub use watershed_batch::Report;
pub use watershed_log::{Numbering, Position, ProducerId};
pub use watershed_pipelines::{
    builder as definition,
    catalog::Catalog,
    key::{KeyBound, KeyFilter},
    registry::Registry,
    sql::SqlFile,
    types::{DataType, Field, Schema, Value},
};
pub use watershed_serving::{Answer, Receipt};

/// The crates that this one is made of, for what it does not re-export.
pub mod parts {
    pub use watershed_batch as batch;
    pub use watershed_log as log;
    pub use watershed_pipelines as pipelines;
    pub use watershed_serving as serving;
    pub use watershed_speed as speed;
}

/// The README's Rust examples compile.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
