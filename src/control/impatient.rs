//! A stream that does not wait for ever for a peer that has stalled.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

/// Fails with [`io::ErrorKind::TimedOut`] where nothing moves for some time. However slow a peer is, as long as something moves it is
/// waited for.
#[derive(Debug)]
pub(super) struct Impatient<S> {
    stream: S,
    stalled_max: Duration,
    waiting: Option<Pin<Box<Sleep>>>,
}

impl<S> Impatient<S> {
    pub(super) fn new(stream: S, stalled_max: Duration) -> Impatient<S> {
        Impatient { stream, stalled_max, waiting: None }
    }

    fn watched<T>(&mut self, context: &mut Context<'_>, moved: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if moved.is_ready() {
            self.waiting = None;
            return moved;
        }
        let stalled_max = self.stalled_max;
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(sleep(stalled_max)));
        ready!(waiting.as_mut().poll(context));
        self.waiting = None;
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the other process has stalled")))
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
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn a_stalled_peer_is_left_and_a_slow_one_is_not() {
        let (ours, mut theirs) = tokio::io::duplex(4);
        let mut ours = Impatient::new(ours, Duration::from_millis(50));
        let stalled = ours.write_all(&[0; 64]).await.unwrap_err();
        assert_eq!(stalled.kind(), io::ErrorKind::TimedOut);
        assert_eq!(ours.read(&mut [0]).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        // It takes a few bytes now and then.
        let taking = tokio::spawn(async move {
            let mut taken = [0; 64];
            theirs.read_exact(&mut taken).await.unwrap();
        });
        ours.write_all(&[0; 60]).await.unwrap();
        taking.await.unwrap();
    }
}
