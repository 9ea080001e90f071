//! `watershed rejected VIEW`

use crate::{
    cli::{Context, Exit},
    error::Error,
    output::{Format, Rows, payload_json},
};

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// The materialized view.
    view: String,
    /// Lists at most so many.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    limit: usize,
    /// Form of the rows.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<Exit, Error> {
    let rejected = context.project()?.rejected(&args.view, args.limit).await?;
    let mut rows = Rows::new(&["partition", "offset", "column", "reason", "payload"]);
    for record in rejected {
        rows.push([
            record.partition.into(),
            record.offset.into(),
            record.column.into(),
            record.reason.into(),
            payload_json(&record.payload),
        ]);
    }
    rows.write(&mut std::io::stdout().lock(), args.format)?;
    Ok(Exit::Done)
}
