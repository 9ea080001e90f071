//! `watershed batch`

use std::{io::Write, sync::Arc};

use indicatif::ProgressBar;
use watershed_batch::{Progress, Report, ViewBuild};

use crate::{
    BatchOptions,
    cli::{Context, Exit},
    error::Error,
    output::{Format, Rows, progress_bar},
};

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Computes everything from the first record on, and compares with what the incremental runs gave.
    #[arg(long)]
    full: bool,
    /// With --full: publishes the recomputed rows where they differ.
    #[arg(long, requires = "full")]
    repair: bool,
    /// Form of the result.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Shows how many of the records are read.
struct Bar(ProgressBar);

impl Progress for Bar {
    fn records_planned(&self, records: u64) {
        self.0.set_length(records);
    }

    fn records_decoded(&self, records: u64, _bytes: u64) {
        self.0.inc(records);
    }

    fn partition_merged(&self, view: &str, partition: &str, _changed: bool) {
        self.0.set_message(format!("{view} {partition}"));
    }
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<Exit, Error> {
    let project = context.project()?;
    let template = "{bar:30} {human_pos}/{human_len} records, {per_sec} {msg}";
    let bar = progress_bar(ProgressBar::new(0), template);
    let progress: Arc<dyn Progress> = Arc::new(Bar(bar.clone()));
    let options = BatchOptions { full: args.full, repair: args.repair, progress: Some(progress) };
    let report = project.run_batch(&options).await;
    bar.finish_and_clear();
    print(&args, &report?)?;
    Ok(Exit::Done)
}

fn print(args: &Args, report: &Report) -> Result<(), Error> {
    let mut out = std::io::stdout().lock();
    if args.format == Format::Json {
        let report = serde_json::to_string(report).map_err(|e| Error::Internal(e.to_string()))?;
        return writeln!(out, "{report}").map_err(Error::Output);
    }
    if args.format == Format::Table {
        let what = match report.published {
            Some(manifest) => format!("published manifest {manifest}: the cut is epoch {}", report.epoch),
            None => format!("nothing to do: the cut is epoch {} already", report.epoch),
        };
        let (records, seconds) = (report.records, report.total.as_secs_f64());
        writeln!(out, "{what}; {records} records read in {seconds:.2} s").map_err(Error::Output)?;
        if report.views.is_empty() {
            return Ok(());
        }
    }
    let mut rows = Rows::new(&["view", "build", "rows", "bytes", "written", "kept", "late"]);
    for (name, view) in &report.views {
        let build = match view.build {
            ViewBuild::Incremental => "incremental",
            ViewBuild::New => "new",
            ViewBuild::Changed => "changed",
        };
        rows.push([
            name.as_str().into(),
            build.into(),
            view.rows.into(),
            view.bytes.into(),
            view.written.len().into(),
            view.kept.into(),
            view.late.len().into(),
        ]);
    }
    rows.write(&mut out, args.format)
}
