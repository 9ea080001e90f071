//! `watershed up`

use std::io::Write;

use serde_json::json;

use crate::{
    cli::{Context, Exit},
    error::Error,
    output::Format,
    report::note,
    signal::stop_signal,
};

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Form of the summary at the end.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<Exit, Error> {
    let project = context.project()?;
    let stop = stop_signal()?;
    let summary = project.up(stop, || note("up; stop with Ctrl-C")).await?;
    let mut out = std::io::stdout().lock();
    if args.format == Format::Table {
        writeln!(
            out,
            "{} records, {} epochs, {} batch runs ({} failed)",
            summary.records,
            summary.epochs,
            summary.batches + summary.failed_batches,
            summary.failed_batches
        )
    } else {
        writeln!(out, "{}", json!(summary))
    }
    .map_err(Error::Output)?;
    Ok(Exit::Done)
}
