//! `watershed verify [VIEW]`

use std::io::Write;

use crate::{
    VerifyOptions,
    cli::{Context, Exit},
    error::Error,
    output::{Format, Rows},
    report::note,
};

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Only these views; without any: all.
    views: Vec<String>,
    /// Recorded epochs that are tried as cuts, the newest ones.
    #[arg(long, value_name = "N", default_value_t = VerifyOptions::default().epochs)]
    epochs: usize,
    /// Pseudo-random positions that are tried as cuts.
    #[arg(long, value_name = "N", default_value_t = VerifyOptions::default().random_cuts)]
    random_cuts: usize,
    /// Seed of the pseudo-random positions; without it: a new one, which is printed.
    #[arg(long)]
    seed: Option<u64>,
    /// Form of the result.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<Exit, Error> {
    let project = context.project()?;
    let seed = args.seed.unwrap_or_else(|| project.clock().now_micros().unsigned_abs());
    note(format_args!("seed {seed}"));
    let options = VerifyOptions { views: args.views, epochs: args.epochs, random_cuts: args.random_cuts, seed };
    let verified = project.verify(&options).await?;
    let mut rows = Rows::new(&["view", "records", "rows", "cuts", "stored_partitions", "digest", "result"]);
    for view in &verified {
        let digest =
            if args.format == Format::Table { &view.digest[..12.min(view.digest.len())] } else { &view.digest };
        rows.push([
            view.view.as_str().into(),
            view.records.into(),
            view.rows.into(),
            view.cuts.into(),
            view.stored_partitions.into(),
            digest.into(),
            if view.is_equal() { "equal" } else { "DIFFERENT" }.into(),
        ]);
    }
    let mut out = std::io::stdout().lock();
    rows.write(&mut out, args.format)?;
    let mut differences = Rows::new(&["view", "way", "differs"]);
    for view in &verified {
        for difference in &view.differences {
            let (way, key) = (difference.way.as_str(), difference.key.as_str());
            differences.push([view.view.as_str().into(), way.into(), key.into()]);
        }
    }
    if differences.is_empty() {
        return Ok(Exit::Done);
    }
    differences.write(&mut out, args.format)?;
    out.flush().map_err(Error::Output)?;
    Ok(Exit::Different)
}
