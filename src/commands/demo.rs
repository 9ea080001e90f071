//! `watershed demo`

use crate::{
    cli::{Context, Exit},
    error::Error,
};

#[derive(clap::Args, Debug)]
pub(crate) struct Args {}

pub(crate) async fn run(_args: Args, _context: &Context) -> Result<Exit, Error> {
    Err(Error::Unavailable("the demo is not there yet".to_owned()))
}
