//! `watershed fsck`

use std::io::Write;

use serde_json::Value;

use crate::{
    Fsck, FsckOptions, FsckVerdict,
    cli::{Context, Exit},
    config::ByteSize,
    error::Error,
    output::{Format, Rows},
    report::note,
};

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Makes anew what can be; damaged originals are set aside, not deleted. Stop `watershed up` first.
    #[arg(long)]
    repair: bool,
    /// Form of the result; JSON is one object with everything.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<Exit, Error> {
    let fsck = context.project()?.fsck(FsckOptions { repair: args.repair }).await?;
    let mut out = std::io::stdout().lock();
    if args.format == Format::Json {
        let line = serde_json::to_string(&fsck).map_err(|e| Error::Internal(e.to_string()))?;
        writeln!(out, "{line}").map_err(Error::Output)?;
    } else {
        if !fsck.findings.is_empty() || args.format != Format::Table {
            findings(&fsck).write(&mut out, args.format)?;
        }
        if !fsck.repairs.is_empty() && args.format == Format::Table {
            repairs(&fsck).write(&mut out, args.format)?;
        }
    }
    out.flush().map_err(Error::Output)?;
    note(summary(&fsck, args.repair));
    Ok(match fsck.verdict() {
        FsckVerdict::Note | FsckVerdict::Repaired => Exit::Done,
        FsckVerdict::Repairable => Exit::Damaged,
        FsckVerdict::Lost => Exit::Lost,
    })
}

fn findings(fsck: &Fsck) -> Rows {
    let mut rows = Rows::new(&["verdict", "kind", "place", "byte", "reason", "affected", "remedy"]);
    for finding in &fsck.findings {
        let verdict = match finding.verdict {
            FsckVerdict::Note => "note",
            FsckVerdict::Repaired => "repaired",
            FsckVerdict::Repairable => "REPAIRABLE",
            FsckVerdict::Lost => "LOST",
        };
        rows.push([
            verdict.into(),
            finding.kind.into(),
            finding.place.as_str().into(),
            finding.byte.map_or(Value::Null, Value::from),
            finding.reason.as_str().into(),
            finding.affected.as_deref().map_or(Value::Null, Value::from),
            finding.remedy.as_str().into(),
        ]);
    }
    rows
}

fn repairs(fsck: &Fsck) -> Rows {
    let mut rows = Rows::new(&["repaired", "done"]);
    for repair in &fsck.repairs {
        rows.push([repair.place.as_str().into(), repair.done.as_str().into()]);
    }
    rows
}

fn summary(fsck: &Fsck, repaired: bool) -> String {
    let c = &fsck.checked;
    let bytes = ByteSize(c.bytes);
    let read = format!(
        "{} files read ({bytes}): {} segments with {} records, {} epochs, {} manifests, {} stored files",
        c.files, c.segments, c.records, c.epochs, c.manifests, c.stored_files
    );
    let verdict = match fsck.verdict() {
        FsckVerdict::Note => "everything is what was written",
        FsckVerdict::Repaired => "everything that was damaged has been made anew",
        FsckVerdict::Repairable if repaired => "something could not be made anew; see above",
        FsckVerdict::Repairable => "damaged, and can be made anew: `watershed fsck --repair`",
        FsckVerdict::Lost if repaired => "something is lost; all else is whole",
        FsckVerdict::Lost => "something is lost; `watershed fsck --repair` makes the rest anew",
    };
    format!("{read}: {verdict}")
}
