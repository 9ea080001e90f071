//! A stream that does not wait for ever for a peer that has stalled.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep},
};

/// Fails with [`io::ErrorKind::TimedOut`] where nothing moves for some time. However slow a peer is, as long as something moves it is
/// waited for.
pub(super) struct Impatient<S> {
    stream: S,
    timeout: StallTimeout,
    /// Since when nothing has moved, and when to look again.
    stalled: Option<(Instant, Pin<Box<Sleep>>)>,
}

/// How long a peer is waited for.
#[derive(Clone)]
pub(super) struct StallTimeout {
    /// In any case no longer than this.
    pub most: Duration,
    /// No longer than this when somebody else waits for what the peer holds.
    pub least: Duration,
    /// Whether somebody does.
    pub is_waited_for: Arc<dyn Fn() -> bool + Send + Sync>,
}

impl StallTimeout {
    /// So long, whoever waits.
    pub(super) fn of(most: Duration) -> StallTimeout {
        StallTimeout { most, least: most, is_waited_for: Arc::new(|| false) }
    }
}

impl<S> Impatient<S> {
    pub(super) fn new(stream: S, timeout: StallTimeout) -> Impatient<S> {
        Impatient { stream, timeout, stalled: None }
    }

    fn watched<T>(&mut self, context: &mut Context<'_>, moved: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if moved.is_ready() {
            self.stalled = None;
            return moved;
        }
        let StallTimeout { most, least, is_waited_for } = &self.timeout;
        let step = *most.min(least);
        let (since, look) = self.stalled.get_or_insert_with(|| (Instant::now(), Box::pin(sleep(step))));
        loop {
            ready!(look.as_mut().poll(context));
            if since.elapsed() >= *most || is_waited_for() {
                self.stalled = None;
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the other process has stalled")));
            }
            look.as_mut().reset(Instant::now() + step);
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Impatient<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let moved = Pin::new(&mut this.stream).poll_read(context, into);
        this.watched(context, moved)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Impatient<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let moved = Pin::new(&mut this.stream).poll_write(context, bytes);
        this.watched(context, moved)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let moved = Pin::new(&mut this.stream).poll_flush(context);
        this.watched(context, moved)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let moved = Pin::new(&mut this.stream).poll_shutdown(context);
        this.watched(context, moved)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    fn pair(most: u64, least: u64, waited_for: bool) -> (Impatient<DuplexStream>, DuplexStream) {
        let (ours, theirs) = duplex(4);
        let [most, least] = [most, least].map(Duration::from_millis);
        (Impatient::new(ours, StallTimeout { most, least, is_waited_for: Arc::new(move || waited_for) }), theirs)
    }

    #[tokio::test]
    async fn a_stalled_peer_is_left_and_a_slow_one_is_not() {
        let (mut ours, mut theirs) = pair(50, 20, false);
        let began = Instant::now();
        let stalled = ours.write_all(&[0; 64]).await.unwrap_err();
        assert_eq!(stalled.kind(), io::ErrorKind::TimedOut);
        assert!(began.elapsed() >= Duration::from_millis(50), "nobody waits for it");
        assert_eq!(ours.read(&mut [0]).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        // It takes a few bytes now and then.
        let taking = tokio::spawn(async move {
            let mut taken = [0; 64];
            theirs.read_exact(&mut taken).await.unwrap();
        });
        ours.write_all(&[0; 60]).await.unwrap();
        taking.await.unwrap();
    }

    #[tokio::test]
    async fn a_peer_that_others_wait_for_is_left_sooner() {
        let (mut ours, _theirs) = pair(600_000, 20, true);
        assert_eq!(ours.write_all(&[0; 64]).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
}
