//! `watershed verify [VIEW]`

use std::{io::Write, sync::Arc};

use indicatif::ProgressBar;

use crate::{
    Verified, VerifyOptions, VerifyProgress,
    cli::{Context, Exit},
    config::ByteSize,
    error::Error,
    output::{Format, Rows, progress_bar},
    report::note,
};

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Only these views, with those they are made of; without any: all.
    views: Vec<String>,
    /// Everything, however long it takes: all records, every recorded epoch as a cut, sweeps over micro-batches, orders and
    /// threads, batch runs in a store of their own, every stored file.
    #[arg(long)]
    thorough: bool,
    /// Recorded epochs that are tried as cuts, the newest ones (8; with --thorough: all).
    #[arg(long, value_name = "N")]
    epochs: Option<usize>,
    /// Pseudo-random positions that are tried as cuts (5; with --thorough: 16).
    #[arg(long, value_name = "N")]
    random_cuts: Option<usize>,
    /// Seed of what is random; without it: a new one, which is printed.
    #[arg(long)]
    seed: Option<u64>,
    /// Records that are recomputed at most, the newest ones (1000000; with --thorough: all).
    #[arg(long, value_name = "N")]
    records: Option<u64>,
    /// Memory for what is compared, about; beyond it, the scratch directory is used.
    #[arg(long, value_name = "SIZE", default_value_t = ByteSize(VerifyOptions::default().memory_bytes_max as u64))]
    memory: ByteSize,
    /// Form of the result; JSON is one object per view with everything.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

impl Args {
    fn options(&self, seed: u64) -> VerifyOptions {
        let usual = if self.thorough { VerifyOptions::thorough() } else { VerifyOptions::default() };
        VerifyOptions {
            views: self.views.clone(),
            epochs: self.epochs.unwrap_or(usual.epochs),
            random_cuts: self.random_cuts.unwrap_or(usual.random_cuts),
            records_max: self.records.unwrap_or(usual.records_max),
            memory_bytes_max: self.memory.as_usize(),
            seed,
            ..usual
        }
    }
}

/// Shows how many of the records were read, and what is being done.
struct Bar(ProgressBar);

impl VerifyProgress for Bar {
    fn records_planned(&self, records: u64) {
        self.0.set_length(records);
    }

    fn records_read(&self, records: u64) {
        self.0.inc(records);
    }

    fn doing(&self, what: &str) {
        self.0.set_message(what.to_owned());
    }
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<Exit, Error> {
    let project = context.project()?;
    let seed = args.seed.unwrap_or_else(|| project.clock().now_micros().unsigned_abs());
    note(format_args!("seed {seed}"));
    let bar = progress_bar(ProgressBar::new(0), "{bar:30} {human_pos}/{human_len} records read, {msg}");
    let options = VerifyOptions { progress: Some(Arc::new(Bar(bar.clone()))), ..args.options(seed) };
    let verified = project.verify(&options).await;
    bar.finish_and_clear();
    let verified = verified?;
    let mut out = std::io::stdout().lock();
    match args.format {
        Format::Json => verified.iter().try_for_each(|view| json(&mut out, view))?,
        format => tables(&mut out, &verified, format)?,
    }
    out.flush().map_err(Error::Output)?;
    Ok(if verified.iter().all(Verified::is_equal) { Exit::Done } else { Exit::Different })
}

fn json(out: &mut dyn Write, view: &Verified) -> Result<(), Error> {
    let line = serde_json::to_string(view).map_err(|e| Error::Internal(e.to_string()))?;
    writeln!(out, "{line}").map_err(Error::Output)
}

fn tables(out: &mut dyn Write, verified: &[Verified], format: Format) -> Result<(), Error> {
    let mut rows =
        Rows::new(&["view", "records", "of", "rows", "cuts", "ways", "stored_partitions", "digest", "result"]);
    for view in verified {
        let digest = if format == Format::Table { &view.digest[..12.min(view.digest.len())] } else { &view.digest };
        rows.push([
            view.view.as_str().into(),
            view.records.into(),
            view.records_in_all.into(),
            view.rows.into(),
            view.cuts.len().into(),
            view.ways.len().into(),
            view.stored_partitions.into(),
            digest.into(),
            if view.is_equal() { "equal" } else { "DIFFERENT" }.into(),
        ]);
    }
    rows.write(out, format)?;
    let mut differences = Rows::new(&["view", "way", "differs", "expected", "found"]);
    for view in verified {
        for difference in &view.differences {
            let value = |value: &Option<String>| value.clone().map_or(serde_json::Value::Null, Into::into);
            let (way, key) = (difference.way.as_str(), difference.key.as_str());
            let values = [value(&difference.expected), value(&difference.found)];
            differences.push([view.view.as_str().into(), way.into(), key.into()].into_iter().chain(values));
        }
    }
    if !differences.is_empty() {
        differences.write(out, format)?;
    }
    for view in verified {
        for what in &view.not_covered {
            note(format_args!("{}: not covered: {what}", view.view));
        }
    }
    Ok(())
}
