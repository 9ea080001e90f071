//! `tracing` on standard error, plain or JSON.

use std::io::{self, IsTerminal, Write};

use tracing_subscriber::{EnvFilter, fmt};
use watershed_batch::Secrets;

use crate::{
    config::{LoggingConfig, LoggingFormat},
    error::Error,
};

/// Starts logging for this process. A subscriber that a host program has set stays. Whatever crate logs it, no line says one of
/// `secrets`.
pub fn start(config: &LoggingConfig, is_service: bool, secrets: Secrets) -> Result<(), Error> {
    let level = config.level.as_deref().unwrap_or(if is_service { "info" } else { "warn" });
    let filter =
        EnvFilter::try_new(level).map_err(|error| Error::config(format!("logging.level: {level:?}: {error}")))?;
    let lines = fmt().with_env_filter(filter).with_writer(move || Discreet { secrets: secrets.clone() });
    // The only error is that there is a subscriber already.
    let _ = match config.format {
        LoggingFormat::Plain => lines.with_ansi(io::stderr().is_terminal()).with_target(false).try_init(),
        LoggingFormat::Json => lines.json().flatten_event(true).try_init(),
    };
    Ok(())
}

/// Standard error, for whole lines, without secrets.
struct Discreet {
    secrets: Secrets,
}

impl Write for Discreet {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        if self.secrets.are_in(&text) {
            io::stderr().write_all(self.secrets.hidden(&text).as_bytes())?;
        } else {
            io::stderr().write_all(line)?;
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
