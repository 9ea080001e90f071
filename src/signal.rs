//! Being told to stop.

use tokio::signal::unix::{SignalKind, signal};

use crate::error::Error;

/// Completes at the first Ctrl-C (`SIGINT`) or `SIGTERM`. From then on a second one ends the process as usual: whoever asks
/// twice means it.
pub(crate) fn stop_signal() -> Result<impl Future<Output = ()>, Error> {
    let listen = |kind| signal(kind).map_err(Error::io("listen for", "signals"));
    let (mut interrupt, mut terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        tokio::spawn(async move {
            tokio::select! {
                _ = interrupt.recv() => std::process::exit(130),
                _ = terminate.recv() => std::process::exit(143),
            }
        });
    })
}
