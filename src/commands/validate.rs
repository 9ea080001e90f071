//! `watershed validate`

use std::io::Write;

use crate::{
    cli::{Context, Exit},
    error::Error,
    output::{Format, Rows},
};

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Form of the result.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Shows the effective configuration, too (secrets hidden).
    #[arg(long)]
    config: bool,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<Exit, Error> {
    let project = context.project()?;
    let mut out = std::io::stdout().lock();
    if args.config {
        let mut rows = Rows::new(&["key", "value"]);
        for (key, value) in project.config().lines() {
            rows.push([key.into(), value]);
        }
        rows.write(&mut out, args.format)?;
    }
    let mut rows = Rows::new(&["name", "kind", "columns", "fingerprint"]);
    for source in project.catalog().sources.values() {
        rows.push([
            source.name.as_str().into(),
            "table".into(),
            source.schema.fields.len().into(),
            None::<&str>.into(),
        ]);
    }
    for view in project.catalog().views.values() {
        let kind = if view.core.is_some() { "materialized view" } else { "view" };
        let fingerprint = view.core.as_ref().map(|_| view.fingerprint.as_str());
        rows.push([view.name.as_str().into(), kind.into(), view.schema.fields.len().into(), fingerprint.into()]);
    }
    rows.write(&mut out, args.format)?;
    out.flush().map_err(Error::Output)?;
    Ok(Exit::Done)
}
