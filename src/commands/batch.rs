//! `watershed batch`

use std::{io::Write, sync::Arc};

use indicatif::ProgressBar;
use watershed_batch::{BatchError, ParityReport, Progress, Report, ViewBuild};

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
    if let (Err(Error::Batch(BatchError::ParityDiffers(parity))), Format::Json) = (&report, args.format) {
        let line = serde_json::json!({ "published": null, "parity": parity });
        writeln!(std::io::stdout().lock(), "{line}").map_err(Error::Output)?;
    }
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
        if let Some(parity) = &report.parity {
            parity_lines(parity).iter().try_for_each(|line| writeln!(out, "{line}")).map_err(Error::Output)?;
        }
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
            ViewBuild::Repaired => "repaired",
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

/// How the run compared with the speed layer.
fn parity_lines(parity: &ParityReport) -> Vec<String> {
    if let Some(why) = &parity.not_compared {
        return vec![format!("not compared with the speed layer: {why}")];
    }
    let compared = parity.views.values().filter(|view| view.not_compared.is_none()).count();
    let result = if parity.differs() { "DIFFERENT" } else { "equal" };
    let mut lines = vec![format!("compared with the speed layer: {compared} views, {result}")];
    let not_compared = |(name, view): (&String, &watershed_batch::ParityView)| {
        Some(format!("  {name} was not compared: {}", view.not_compared.as_ref()?))
    };
    lines.extend(parity.views.iter().filter_map(not_compared));
    lines.extend(parity.lines().into_iter().map(|line| format!("  {line}")));
    lines
}
