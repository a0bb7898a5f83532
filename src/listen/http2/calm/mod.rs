//! What `h2` has no bound for, a head that never ends and frames that ask for nothing; that who floods comes back no
//! sooner than in a while; and what `h2` tells nobody at once, that a client cancels.
//!
//! Of frames that ask for nothing a client may send some (a PING tells it how far the edge is, SETTINGS what it
//! has room for), and each is answered; who sends them without end keeps a worker busy for nothing
//! (CVE-2019-9512, CVE-2019-9515, CVE-2019-9518). `h2` has no bound for them. RFC 9113 §10.5.

mod budget;
mod frames;

use super::cancel::Watched;
use crate::listen::Malformed;
use budget::Budget;
use frames::Frames;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Sleep, sleep};

/// How long a connection with an error stays open once its client was told: a thousand new ones in a second cost more
/// than whatever is sent on them. It is less than anybody waits who looks whether it ends.
const TARPIT: Duration = Duration::from_millis(250);
/// Such connections at a time, each with what its client has sent and nobody reads any more.
static TARPITS: Semaphore = Semaphore::const_new(128);

/// A connection's bytes, with an eye on the frames that come.
pub struct Calm<S> {
    io: S,
    frames: Frames,
    budget: Budget,
    /// From a head's first byte to its last.
    patience: Duration,
    /// When the head that is coming, the one of this number, must have come.
    deadline: Option<(u64, Pin<Box<Sleep>>)>,
    lost: Lost,
    leaving: Leaving,
    end: End,
    watched: Watched,
}

/// How far a connection's end is.
enum End {
    NotYet,
    Waits(
        Pin<Box<Sleep>>,
        #[expect(dead_code, reason = "it is held")] SemaphorePermit<'static>,
    ),
    Now,
}

/// Whether one of both sides has said that it goes: then the end is no error.
#[derive(Clone, Default)]
pub struct Leaving(Arc<AtomicBool>);

impl Leaving {
    pub fn begins(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn has_begun(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Whether nothing more is read of a connection.
#[derive(Clone, Default)]
pub struct Lost(Arc<OnceLock<Malformed>>);

impl Lost {
    pub fn why(&self) -> Option<Malformed> {
        self.0.get().copied()
    }

    fn because(&self, why: &'static str) {
        // Whatever was first.
        let _ = self.0.set(Malformed(why));
    }
}

impl<S> Calm<S> {
    pub fn new(io: S, patience: Duration) -> Calm<S> {
        Calm {
            io,
            frames: Frames::default(),
            budget: Budget::new(Instant::now()),
            patience,
            deadline: None,
            lost: Lost::default(),
            leaving: Leaving::default(),
            end: End::NotYet,
            watched: Watched::default(),
        }
    }

    pub fn leaving(&self) -> Leaving {
        self.leaving.clone()
    }

    pub fn lost(&self) -> Lost {
        self.lost.clone()
    }

    pub fn watched(&self) -> Watched {
        self.watched.clone()
    }

    /// Nothing comes at present. Ready: a head has begun, and has taken too long. The clock is asked only
    /// where one has to be waited for.
    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(head) = self.frames.unfinished() else {
            self.deadline = None;
            return Poll::Pending;
        };
        let (of, deadline) = self
            .deadline
            .get_or_insert_with(|| (head, Box::pin(sleep(self.patience))));
        if *of != head {
            *of = head;
            deadline
                .as_mut()
                .reset(tokio::time::Instant::now() + self.patience);
        }
        deadline.as_mut().poll(cx)
    }

    /// Ready: the connection may end. An error makes its client wait for that, while there is room to.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if matches!(self.end, End::NotYet) && !self.leaving.has_begun() {
            self.end = match TARPITS.try_acquire() {
                Ok(place) => End::Waits(Box::pin(sleep(TARPIT)), place),
                Err(_) => End::Now,
            };
        }
        if let End::Waits(until, _) = &mut self.end {
            ready!(until.as_mut().poll(cx));
            self.end = End::Now;
        }
        Poll::Ready(())
    }
}

impl<S> Drop for Calm<S> {
    fn drop(&mut self) {
        self.watched.cancel_all();
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Calm<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.lost.why().is_some() {
            return Poll::Pending;
        }
        let before = buf.filled().len();
        let read = Pin::new(&mut self.io).poll_read(cx, buf)?;
        if read.is_pending() {
            if self.poll_late(cx).is_ready() {
                self.lost.because("a head that does not end");
            }
            return Poll::Pending;
        }
        if buf.filled().len() == before {
            self.leaving.begins();
        }
        let Calm {
            frames, watched, ..
        } = &mut *self;
        let cost = frames.pass(&buf.filled()[before..], |stream| watched.cancel(stream));
        if cost > 0 && !self.budget.spend(cost, Instant::now) {
            self.lost.because("too many frames that ask for nothing");
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Calm<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.io).poll_write(cx, buf))?;
        self.budget.written += written as u64;
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.io).poll_write_vectored(cx, bufs))?;
        self.budget.written += written as u64;
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_end(cx));
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt;

    #[tokio::test(start_paused = true)]
    async fn an_error_is_waited_for_where_there_is_room_and_a_farewell_is_not() {
        let started = tokio::time::Instant::now();
        let calm = || Calm::new(tokio::io::duplex(1).0, Duration::ZERO);
        let mut gone = calm();
        gone.leaving().begins();
        gone.shutdown().await.expect("nobody is there");
        let most = TARPITS.available_permits();
        let mut held: Vec<_> = (0..most).map(|_| calm()).collect();
        let mut waiting: Vec<_> = held
            .iter_mut()
            .map(|one| Box::pin(one.shutdown()))
            .collect();
        for one in &mut waiting {
            tokio::select! {
                biased;
                _ = one => panic!("it is held"),
                () = std::future::ready(()) => {}
            }
        }
        calm().shutdown().await.expect("there is no room");
        assert_eq!(started.elapsed(), Duration::ZERO);
        for one in waiting {
            one.await.expect("its time is over");
        }
        assert_eq!(started.elapsed(), TARPIT);
        drop(held);
        assert_eq!(TARPITS.available_permits(), most);
    }
}
