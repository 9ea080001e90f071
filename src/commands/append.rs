//! `watershed append TABLE [FILE|-]`

use std::{
    fs::File,
    io::{IsTerminal, Write},
    path::PathBuf,
};

use indicatif::ProgressBar;
use serde_json::json;
use watershed_log::{Numbering, ProducerId};

use crate::{
    AppendOptions, AppendReport, Lines,
    cli::{Context, Exit},
    config::Durability,
    error::Error,
    output::{Format, progress_bar},
    report::note,
    signal::stop_signal,
};

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// The table.
    table: String,
    /// A file of JSON lines; `-`: standard input, as a stream.
    #[arg(default_value = "-")]
    file: PathBuf,
    /// When a record counts as acknowledged; without it: as configured (log.durability).
    #[arg(long, value_enum)]
    durability: Option<Durability>,
    /// Names the sequence of records that the lines are: what of it is in the log is not appended again, so that the same
    /// command may be run again after whatever befell it. The lines are numbered, blank ones left out.
    #[arg(long, value_name = "ID", value_parser = |id: &str| ProducerId::new(id))]
    producer: Option<ProducerId>,
    /// The number of the first line in the producer's sequence, which begins with 0.
    #[arg(long, value_name = "N", default_value_t = 0, requires = "producer")]
    sequence: u64,
    /// Does not check the records against the table's schema to warn of dead letters.
    #[arg(long)]
    no_check: bool,
    /// Form of the result.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Writes each acknowledgement to standard output at once, as a line {"acknowledged": N}: the first N lines of the input
    /// are in the log.
    #[arg(long)]
    ack: bool,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<Exit, Error> {
    let project = context.project()?;
    let is_stream = args.file.as_os_str() == "-";
    let lines = if is_stream {
        if std::io::stdin().is_terminal() {
            note("reading JSON lines from the terminal; end with Ctrl-D");
        }
        Lines::read("standard input", std::io::stdin())
    } else {
        let file = File::open(&args.file).map_err(Error::io("open", &args.file))?;
        Lines::read(&args.file.to_string_lossy(), file)
    };
    let numbering = args.producer.clone().map(|producer| Numbering { producer, first: args.sequence });
    let options = AppendOptions { durability: args.durability, check: !args.no_check, numbering };
    let bar = progress_bar(ProgressBar::new_spinner(), "{spinner} {human_pos} records acknowledged, {per_sec}");
    let stop = stop_signal()?;
    let mut out = std::io::stdout();
    let progress = |records| {
        bar.set_position(records);
        if args.ack {
            // The records are in the log, whether or not anyone reads this.
            let _ = writeln!(out, "{}", json!({ "acknowledged": records })).and_then(|()| out.flush());
        }
    };
    let report = project.append_lines(&args.table, lines, &options, stop, progress).await?;
    bar.finish_and_clear();
    print(&args, &report)?;
    match report.failure {
        Some(failure) => {
            note(format_args!("stopped early; the {} records above are in the log", report.acknowledged.records));
            Err(failure)
        }
        None => Ok(Exit::Done),
    }
}

fn print(args: &Args, report: &AppendReport) -> Result<(), Error> {
    let mut out = std::io::stdout().lock();
    let acknowledged = &report.acknowledged;
    let offsets: Vec<String> = acknowledged
        .offsets
        .iter()
        .map(|(partition, (first, last))| format!("  partition {partition}: offsets {first} to {last}"))
        .collect();
    let repeated = match (&args.producer, acknowledged.repeated) {
        (None, _) => String::new(),
        (Some(_), repeated) => format!(", {repeated} of them were there before"),
    };
    match args.format {
        Format::Table => writeln!(out, "{} records acknowledged in {}{repeated}", acknowledged.records, args.table)
            .and_then(|()| offsets.iter().try_for_each(|line| writeln!(out, "{line}"))),
        Format::Json => {
            let report = json!({
                "table": args.table,
                "acknowledged": acknowledged.records,
                "repeated": acknowledged.repeated,
                "dead": report.dead,
                "offsets": acknowledged.offsets,
            });
            writeln!(out, "{report}")
        }
        Format::Csv => writeln!(out, "table,partition,first_offset,last_offset").and_then(|()| {
            acknowledged
                .offsets
                .iter()
                .try_for_each(|(partition, (first, last))| writeln!(out, "{},{partition},{first},{last}", args.table))
        }),
    }
    .map_err(Error::Output)?;
    if let Some(dead) = report.dead.filter(|dead| *dead > 0) {
        note(format_args!(
            "warning: {dead} of the lines are dead letters; see `watershed dead-letters {}`",
            args.table
        ));
    }
    Ok(())
}
