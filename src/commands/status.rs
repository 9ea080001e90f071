//! `watershed status`

use std::{
    io::{StdoutLock, Write},
    time::Duration,
};

use indicatif::HumanDuration;

use crate::{
    Status,
    cli::{Context, Exit},
    config::ByteSize,
    error::Error,
    output::{Format, Rows},
};

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Form of the result; JSON is one object with everything.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<Exit, Error> {
    let status = context.project()?.status().await?;
    let mut out = std::io::stdout().lock();
    if args.format == Format::Table {
        print(&mut out, &status)?;
    } else if args.format == Format::Json {
        let line = serde_json::to_string(&status).map_err(|e| Error::Internal(e.to_string()))?;
        writeln!(out, "{line}").map_err(Error::Output)?;
    } else {
        views(&status).write(&mut out, args.format)?;
    }
    Ok(if status.ledger.adds_up() { Exit::Done } else { Exit::Different })
}

fn print(out: &mut StdoutLock<'_>, status: &Status) -> Result<(), Error> {
    let number = |n: Option<u64>| n.map_or_else(|| "none".to_owned(), |n| n.to_string());
    let seconds = |s: Option<f64>| s.map_or_else(|| "never".to_owned(), ago);
    let speed = status.pid.map_or_else(|| "not running".to_owned(), |pid| format!("running in process {pid}"));
    let lines = [
        format!("speed layer  {speed}"),
        format!(
            "head         {} records; the last one appended {}",
            total(status),
            seconds(status.last_append_seconds)
        ),
        format!(
            "cut          epoch {}, manifest {}; recorded {}; {} records above it",
            number(status.cut_epoch),
            number(status.manifest),
            seconds(status.cut_age_seconds),
            status.above_cut
        ),
        format!("epochs       newest {}", number(status.epoch)),
        format!("sizes        log {}, archive {}", ByteSize(status.log_bytes), ByteSize(status.archive_bytes)),
    ];
    for line in lines {
        writeln!(out, "{line}").map_err(Error::Output)?;
    }
    sources(status).write(out, Format::Table)?;
    views(status).write(out, Format::Table)?;
    for line in ledger(status) {
        writeln!(out, "{line}").map_err(Error::Output)?;
    }
    Ok(())
}

fn total(status: &Status) -> u64 {
    status.sources.iter().map(|source| source.records).sum()
}

fn sources(status: &Status) -> Rows {
    let mut rows = Rows::new(&["table", "partitions", "records", "dead", "late"]);
    for source in &status.sources {
        rows.push([
            source.name.as_str().into(),
            source.partitions.into(),
            source.records.into(),
            source.dead.into(),
            source.late.into(),
        ]);
    }
    rows
}

fn views(status: &Status) -> Rows {
    let mut rows = Rows::new(&["view", "state", "fingerprint", "rows", "partitions", "bytes", "live_bytes"]);
    for view in &status.views {
        let fingerprint: String = view.fingerprint.chars().take(12).collect();
        rows.push([
            view.name.as_str().into(),
            view.state.as_str().into(),
            fingerprint.into(),
            view.rows.into(),
            view.partitions.into(),
            view.bytes.into(),
            view.live_bytes.into(),
        ]);
    }
    rows
}

/// The equations, each with whether it holds.
fn ledger(status: &Status) -> Vec<String> {
    let mark = |holds: bool| if holds { "✓" } else { "✗ DOES NOT ADD UP" };
    let sources = status.ledger.sources.iter().map(|(name, source)| {
        let c = &source.counts;
        let (log, records, accepted, dead) = (source.log, c.records, c.accepted, c.dead);
        format!(
            "{name}: {log} in the log = {records} records = {accepted} accepted + {dead} dead {}",
            mark(source.adds_up())
        )
    });
    let views = status.ledger.views.iter().map(|(name, view)| {
        let c = &view.counts;
        format!(
            "{name}: {} accepted = {} counted + {} filtered + {} deduplicated + {} rejected {}",
            c.accepted,
            c.counted,
            c.filtered,
            c.deduplicated,
            c.rejected,
            mark(view.adds_up())
        )
    });
    let to_be_counted = status.ledger.to_be_counted.iter();
    let later = to_be_counted.map(|name| {
        format!(
            "{name}: declared otherwise than when the newest manifest was made; the next batch run counts its records"
        )
    });
    sources.chain(views).chain(later).collect()
}

/// `3.2 s ago`, `13 years ago`: the larger, the coarser.
fn ago(seconds: f64) -> String {
    match Duration::try_from_secs_f64(seconds) {
        Ok(long) if long.as_secs() >= 60 => format!("{} ago", HumanDuration(long)),
        _ => format!("{seconds:.1} s ago"),
    }
}
