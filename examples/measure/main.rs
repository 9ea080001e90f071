//! What `benchmarks/run` measures of Watershed itself. Each subcommand prints one line of JSON.
//!
//! `cargo build --workspace --examples`, then `target/debug/examples/measure --help`.

mod append;
mod hot_path;
mod live;
mod lookup;
mod memory;
mod raw;
mod replay;
mod restart;
mod sql;
mod visible;

use clap::Parser;

type Outcome = Result<serde_json::Value, Box<dyn std::error::Error>>;

/// Measures one part of Watershed.
#[derive(Parser)]
enum Measure {
    /// Appends to a log of one partition.
    Append(append::Args),
    /// Writes the same bytes to a file, without a log.
    Raw(raw::Args),
    /// Folds a project's log through the speed layer.
    Replay(replay::Args),
    /// Time until an appended record is in an answer, while records keep coming.
    Visible(visible::Args),
    /// Point lookups on the merged view.
    Lookup(lookup::Args),
    /// Queries over the merged views.
    Sql(sql::Args),
    /// From opening a project to its first answer.
    Restart(restart::Args),
    /// Bytes per key.
    Memory(memory::Args),
    /// Does one hot path a number of times and nothing else, for instruction counts.
    HotPath(hot_path::Args),
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let measured = match Measure::parse() {
        Measure::Append(args) => append::run(&args),
        Measure::Raw(args) => raw::run(&args),
        Measure::Replay(args) => replay::run(&args),
        Measure::Visible(args) => visible::run(&args),
        Measure::Lookup(args) => lookup::run(&args),
        Measure::Sql(args) => sql::run(&args),
        Measure::Restart(args) => restart::run(&args),
        Measure::Memory(args) => memory::run(&args),
        Measure::HotPath(args) => hot_path::run(&args),
    }?;
    use std::io::Write;
    writeln!(std::io::stdout(), "{measured}")?;
    Ok(())
}
