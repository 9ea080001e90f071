//! `watershed gc`

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
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<Exit, Error> {
    let collected = context.project()?.collect_garbage().await?;
    let mut rows = Rows::new(&["manifests", "epochs", "files", "bytes", "kept_manifests"]);
    rows.push([
        collected.manifests.into(),
        collected.epochs.into(),
        collected.files.into(),
        collected.bytes.into(),
        collected.kept.len().into(),
    ]);
    rows.write(&mut std::io::stdout().lock(), args.format)?;
    Ok(Exit::Done)
}
