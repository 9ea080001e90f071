//! `tracing` on standard error, plain or JSON.

use std::io::{self, IsTerminal};

use tracing_subscriber::{EnvFilter, fmt};

use crate::{
    config::{LoggingConfig, LoggingFormat},
    error::Error,
};

/// Starts logging for this process. A subscriber that a host program has set stays.
pub fn start(config: &LoggingConfig, is_service: bool) -> Result<(), Error> {
    let level = config.level.as_deref().unwrap_or(if is_service { "info" } else { "warn" });
    let filter =
        EnvFilter::try_new(level).map_err(|error| Error::config(format!("logging.level: {level:?}: {error}")))?;
    let lines = fmt().with_env_filter(filter).with_writer(io::stderr);
    // The only error is that there is a subscriber already.
    let _ = match config.format {
        LoggingFormat::Plain => lines.with_ansi(io::stderr().is_terminal()).with_target(false).try_init(),
        LoggingFormat::Json => lines.json().flatten_event(true).try_init(),
    };
    Ok(())
}
