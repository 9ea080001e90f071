//! `watershed dead-letters TABLE`

use crate::{
    cli::{Context, Exit},
    error::Error,
    output::{Format, Rows, payload_json, timestamp_text},
};

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// The table.
    table: String,
    /// Lists at most so many.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    limit: usize,
    /// Form of the rows.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<Exit, Error> {
    let dead = context.project()?.dead_letters(&args.table, args.limit).await?;
    let mut rows = Rows::new(&["partition", "offset", "append_time", "reason", "payload"]);
    for letter in dead {
        rows.push([
            letter.partition.into(),
            letter.offset.into(),
            timestamp_text(letter.append_time_micros).into(),
            letter.reason.into(),
            payload_json(&letter.payload),
        ]);
    }
    rows.write(&mut std::io::stdout().lock(), args.format)?;
    Ok(Exit::Done)
}
