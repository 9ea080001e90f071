//! `watershed completions SHELL`

use std::io::Write;

use crate::{cli::Exit, error::Error};

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Which shell.
    shell: clap_complete::Shell,
}

pub(crate) fn run(args: &Args, mut command: clap::Command) -> Result<Exit, Error> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "watershed", &mut script);
    std::io::stdout().write_all(&script).map_err(Error::Output)?;
    Ok(Exit::Done)
}
