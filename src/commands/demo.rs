//! `watershed demo`

use std::{io::IsTerminal, path::PathBuf, time::Duration};

use crate::{
    cli::{Context, Exit},
    demo::{Screen, Tour},
    error::Error,
};

/// How long half an hour of the live day takes, for people who watch.
const PACE: Duration = Duration::from_millis(180);

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Where the demo makes its project. What it made there before is replaced; anything else is never touched.
    #[arg(long, value_name = "DIR", default_value = "watershed-demo")]
    dir: PathBuf,
    /// Does not slow the live day down for people who watch.
    #[arg(long)]
    fast: bool,
}

pub(crate) async fn run(args: Args, _context: &Context) -> Result<Exit, Error> {
    let mut out = std::io::stdout();
    let is_terminal = out.is_terminal();
    let coloured = is_terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let pace = if is_terminal && !args.fast { PACE } else { Duration::ZERO };
    let mut screen = Screen::new(&mut out, is_terminal, coloured);
    Tour { directory: args.dir, pace }.give(&mut screen).await?;
    Ok(Exit::Done)
}
