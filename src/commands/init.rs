//! `watershed init DIR`

use std::path::PathBuf;

use crate::{
    cli::{Context, Exit},
    error::Error,
    report::note,
};

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Where; created if it does not exist. Default: the directory of `--project`.
    directory: Option<PathBuf>,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<Exit, Error> {
    let directory = args.directory.as_ref().unwrap_or(&context.directory);
    for file in crate::Project::init(directory)? {
        note(format_args!("wrote {}", file.display()));
    }
    let shown = directory.display();
    note(format_args!(
        "\nNext, in {shown}:\n  watershed datagen --count 10000 | watershed append payments -\n  watershed query \"SELECT * FROM \
         hot_cards ORDER BY n DESC LIMIT 5\"\n  watershed batch\n  watershed verify\nSee {shown}/README.md."
    ));
    Ok(Exit::Done)
}
