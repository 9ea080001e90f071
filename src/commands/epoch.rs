//! `watershed epoch`

use std::io::Write;

use crate::{
    cli::{Context, Exit},
    error::Error,
};

#[derive(clap::Args, Debug)]
pub(crate) struct Args {}

pub(crate) async fn run(_args: Args, context: &Context) -> Result<Exit, Error> {
    let number = context.project()?.epoch().await?;
    writeln!(std::io::stdout(), "{number}").map_err(Error::Output)?;
    Ok(Exit::Done)
}
