//! Following the head of a log that another process writes.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::watch;

use crate::Position;
use crate::file_log::Shared;

/// How long to wait between looks at the head files: at least, after news, and at most, after a quiet time.
const WAIT_MIN: Duration = Duration::from_millis(1);
const WAIT_MAX: Duration = Duration::from_millis(16);
/// New sources are looked for once in so many looks.
const LOOKS_PER_LISTING: u32 = 32;

/// Starts to follow the head; ends when the log's handle is dropped.
pub(crate) fn follow(shared: &Arc<Shared>) -> watch::Receiver<Position> {
    let now = shared.head().unwrap_or_else(|error| {
        tracing::warn!(%error, "cannot read the head yet");
        Position::new()
    });
    let (heads, seen) = watch::channel(now);
    let shared = Arc::downgrade(shared);
    let started = std::thread::Builder::new().name("log-follower".to_owned()).spawn(move || look_on(&shared, &heads));
    if let Err(error) = started {
        tracing::error!(%error, "cannot start a thread to follow the head");
    }
    seen
}

fn look_on(shared: &Weak<Shared>, heads: &watch::Sender<Position>) {
    let mut wait = WAIT_MIN;
    let mut looks = 0u32;
    while let Some(shared) = shared.upgrade() {
        let listed = if looks.is_multiple_of(LOOKS_PER_LISTING) { shared.look() } else { Ok(()) };
        looks = looks.wrapping_add(1);
        let news = match listed.and_then(|()| shared.head()) {
            Ok(head) => heads.send_if_modified(|known| {
                let news = *known != head;
                *known = head;
                news
            }),
            Err(error) => {
                tracing::warn!(%error, "cannot read the head");
                false
            }
        };
        drop(shared);
        wait = if news { WAIT_MIN } else { (wait * 2).min(WAIT_MAX) };
        std::thread::sleep(wait);
    }
}
