//! `watershed query SQL`

use std::{
    fs,
    io::{BufWriter, Read, Write},
    path::PathBuf,
};

use watershed_log::Position;

use crate::{
    Answer, QueryLimits, QueryOptions,
    cli::{Context, Exit},
    config::{ByteSize, Span},
    error::Error,
    output::{Format, write_answer},
    report::note,
};

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// A SELECT over the views; `-`: read it from standard input.
    #[arg(required_unless_present = "file", allow_hyphen_values = true)]
    sql: Option<String>,
    /// Reads the SELECT from a file.
    #[arg(long, conflicts_with = "sql")]
    file: Option<PathBuf>,
    /// Form of the rows.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// How NULL is shown in a table (default: NULL) and in CSV (default: an empty field).
    #[arg(long, value_name = "TEXT")]
    null: Option<String>,
    /// Writes what the answer covers to standard error: as text with --format table, else as a line of JSON.
    #[arg(long)]
    receipt: bool,
    /// Waits until the answer covers this position: JSON, from table to offsets by partition ({"payments":[10,0,3,7]}).
    #[arg(long, value_name = "POSITION", value_parser = position)]
    at_least: Option<Position>,
    /// Answers as of this epoch.
    #[arg(long, value_name = "EPOCH")]
    as_of: Option<u64>,
    /// The answer may have so many rows, instead of query.max_rows.
    #[arg(long, value_name = "N")]
    max_rows: Option<u64>,
    /// The query may take so much memory ("500 MiB"), instead of query.max_bytes.
    #[arg(long, value_name = "SIZE")]
    max_bytes: Option<ByteSize>,
    /// The query may take so long ("10 seconds"), instead of query.timeout.
    #[arg(long, value_name = "TIME")]
    timeout: Option<Span>,
}

fn position(text: &str) -> Result<Position, String> {
    serde_json::from_str(text).map_err(|e| format!("write, for example, {{\"payments\":[10,0,3,7]}} ({e})"))
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<Exit, Error> {
    let sql = match (&args.file, args.sql.as_deref()) {
        (Some(file), _) => fs::read_to_string(file).map_err(Error::io("read", file))?,
        (None, Some("-") | None) => {
            let mut sql = String::new();
            std::io::stdin().read_to_string(&mut sql).map_err(Error::io("read", "standard input"))?;
            sql
        }
        (None, Some(sql)) => sql.to_owned(),
    };
    let project = context.project()?;
    let limits = QueryLimits {
        max_rows: args.max_rows,
        max_bytes: args.max_bytes.map(|size| size.0),
        timeout_millis: args.timeout.map(|span| u64::try_from(span.0.as_millis()).unwrap_or(u64::MAX)),
    };
    let options = QueryOptions { at_least: args.at_least.clone(), as_of: args.as_of, limits };
    let answer = project.query_with(&sql, options).await?;
    print(&args, &answer)?;
    Ok(Exit::Done)
}

fn print(args: &Args, answer: &Answer) -> Result<(), Error> {
    let mut out = BufWriter::new(std::io::stdout().lock());
    write_answer(&mut out, args.format, &answer.frame, &answer.schema, args.null.as_deref())?;
    out.flush().map_err(Error::Output)?;
    if args.receipt {
        match args.format {
            Format::Table => note(answer.receipt.to_string().trim_end()),
            Format::Json | Format::Csv => {
                note(serde_json::to_string(&answer.receipt).map_err(|e| Error::Internal(e.to_string()))?);
            }
        }
    }
    Ok(())
}
