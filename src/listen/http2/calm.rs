//! What `h2` has no bound for, a head that never ends and frames that ask for nothing; that who floods comes back no
//! sooner than in a while; and what `h2` tells nobody at once, that a client cancels.
//!
//! Of frames that ask for nothing a client may send some (a PING tells it how far the edge is, SETTINGS what it
//! has room for), and each is answered; who sends them without end keeps a worker busy for nothing
//! (CVE-2019-9512, CVE-2019-9515, CVE-2019-9518). `h2` has no bound for them. RFC 9113 §10.5.

use super::cancel::Watched;
use crate::listen::Malformed;
use bytes::Buf;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Sleep, sleep};

/// What a frame costs that asks for nothing.
const IDLE: u64 = 64;
/// And one that takes little to read, and may come with each that is sent: WINDOW_UPDATE, RST_STREAM.
const LIGHT: u64 = 1;
/// What may come at once: two idle frames for each stream that a connection may have, and no browser comes near that.
const MOST: f64 = (200 * IDLE) as f64;
/// What a second pays for.
const A_SECOND: f64 = (100 * IDLE) as f64;
/// Bytes sent to the client that pay for a light frame: a DATA frame that brings one byte has ten. A thousand pay for
/// an idle one: there are clients that measure their way to the edge by a PING for as good as each frame that they get.
const BYTES: f64 = 16.0;

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

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const HEAD: usize = 9;
const PREFACE: usize = 24;

/// Where frames begin: RFC 9113 §4.1. Pure.
struct Frames {
    head: [u8; HEAD],
    came: usize,
    /// Bytes until the next head.
    left: usize,
    /// A request's head has begun, and CONTINUATION is to follow. §6.10.
    goes_on: bool,
    /// How often something has ended that is awaited to its end.
    ended: u64,
}

impl Default for Frames {
    fn default() -> Frames {
        Frames {
            head: [0; HEAD],
            came: 0,
            left: PREFACE,
            goes_on: false,
            ended: 0,
        }
    }
}

impl Frames {
    /// These bytes have come; what their frames cost. `cancelled`: is told each stream that its client resets.
    fn pass(&mut self, mut bytes: &[u8], mut cancelled: impl FnMut(u32)) -> u64 {
        let mut cost = 0;
        while !bytes.is_empty() {
            let skipped = self.left.min(bytes.len());
            self.left -= skipped;
            bytes.advance(skipped);
            let taken = (HEAD - self.came).min(bytes.len());
            self.head[self.came..self.came + taken].copy_from_slice(&bytes[..taken]);
            self.came += taken;
            bytes.advance(taken);
            if self.came == HEAD {
                let [a, b, c, kind, flags, stream @ ..] = self.head;
                (self.came, self.left) = (0, u32::from_be_bytes([0, a, b, c]) as usize);
                if kind == HEADERS || kind == CONTINUATION {
                    self.goes_on = flags & END_HEADERS == 0;
                }
                if kind == RST_STREAM {
                    // Without its first bit: RFC 9113 §4.1.
                    cancelled(u32::from_be_bytes(stream) & !(1 << 31));
                }
                self.ended += u64::from(!self.goes_on);
                cost += cost_of(kind, flags, self.left);
            }
        }
        cost
    }
}

impl Frames {
    /// The number of what has begun and not ended, if that is no DATA: what a body may take is another
    /// matter, and so is the preface, which was awaited before.
    fn unfinished(&self) -> Option<u64> {
        let in_frame = self.left > 0 && self.head[3] != DATA;
        (self.came > 0 || in_frame || self.goes_on).then_some(self.ended)
    }
}

/// By what the edge does for it; a request has bounds of its own.
fn cost_of(kind: u8, flags: u8, length: usize) -> u64 {
    match kind {
        DATA if length == 0 && flags & END_STREAM == 0 => IDLE,
        PRIORITY | SETTINGS | PING => IDLE,
        WINDOW_UPDATE | RST_STREAM => LIGHT,
        kind if kind > CONTINUATION => IDLE,
        _ => 0,
    }
}

/// What a connection's frames may still cost.
struct Budget {
    since: Instant,
    /// Since then.
    spent: f64,
    written: u64,
}

impl Budget {
    fn new(now: Instant) -> Budget {
        Budget {
            since: now,
            spent: 0.0,
            written: 0,
        }
    }

    /// False: there is not enough. The clock is not asked while there is anyhow.
    fn spend(&mut self, cost: u64, now: impl FnOnce() -> Instant) -> bool {
        self.spent += cost as f64;
        if self.spent <= MOST {
            return true;
        }
        let now = now();
        let waited = now.duration_since(self.since).as_secs_f64() * A_SECOND;
        let spent = self.spent - waited - self.written as f64 / BYTES;
        *self = Budget {
            spent: spent.max(0.0),
            ..Budget::new(now)
        };
        spent <= MOST
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;
    use tokio::io::AsyncWriteExt;

    fn frame(kind: u8, flags: u8, length: usize) -> Vec<u8> {
        let mut frame = (length as u32).to_be_bytes()[1..].to_vec();
        frame.extend([kind, flags, 0, 0, 0, 1]);
        frame.resize(frame.len() + length, kind);
        frame
    }

    proptest! {
        /// However the bytes are cut, and whatever is in them.
        #[test]
        fn each_is_counted_once(
            frames in proptest::collection::vec((0u8..12, 0u8..2, 0usize..300), 0..30),
            cut in 1usize..400,
        ) {
            let (mut sent, mut cost, mut resets) = (vec![0; PREFACE], 0, 0);
            for (kind, flags, length) in frames {
                sent.extend(frame(kind, flags, length));
                cost += cost_of(kind, flags, length);
                resets += u32::from(kind == RST_STREAM);
            }
            let (mut seen, mut cancelled) = (Frames::default(), 0);
            // All of them are of the first stream.
            let parts = sent.chunks(cut);
            let counted: u64 = parts.map(|part| seen.pass(part, |stream| cancelled += stream)).sum();
            prop_assert_eq!((counted, cancelled), (cost, resets));
        }

        /// Never more than what is there at once and what time and bytes have paid for.
        #[test]
        fn a_budget_is_kept(
            steps in proptest::collection::vec((0u64..100_000, 0u64..3000, 0u64..2_000_000), 1..40),
        ) {
            let begun = Instant::now();
            let (mut budget, mut now) = (Budget::new(begun), begun);
            let (mut spent, mut written) = (0.0, 0);
            for (cost, millis, bytes) in steps {
                now += Duration::from_millis(millis);
                written += bytes;
                budget.written += bytes;
                spent += cost as f64;
                let waited = now.duration_since(begun).as_secs_f64();
                let paid = waited * A_SECOND + written as f64 / BYTES;
                let has_room = budget.spend(cost, || now);
                prop_assert!(!has_room || spent <= MOST + paid + 1e-6);
                if !has_room {
                    break;
                }
            }
        }
    }

    #[test]
    fn what_asks_for_something_costs_nothing() {
        for (kind, flags, length, cost) in [
            (DATA, 0, 1, 0),
            (DATA, END_STREAM, 0, 0),
            (HEADERS, 0, 9, 0),
            (CONTINUATION, 0, 0, 0),
            (WINDOW_UPDATE, 0, 4, LIGHT),
            (RST_STREAM, 0, 4, LIGHT),
            (DATA, 0, 0, IDLE),
            (PING, 0, 8, IDLE),
            (PING, 1, 8, IDLE),
            (SETTINGS, 0, 0, IDLE),
            (0x21, 0, 1, IDLE),
        ] {
            assert_eq!(cost_of(kind, flags, length), cost, "{kind}");
        }
    }

    #[test]
    fn who_asks_at_a_calm_pace_may_go_on_for_ever() {
        let begun = Instant::now();
        let mut budget = Budget::new(begun);
        for tick in 0..100_000 {
            let now = begun + Duration::from_millis(10 * tick);
            assert!(budget.spend(IDLE, || now), "at {tick}");
        }
    }

    /// Two windows are widened for each frame that brings one byte.
    #[test]
    fn who_is_sent_little_at_a_time_may_say_so_each_time() {
        let begun = Instant::now();
        let mut budget = Budget::new(begun);
        for tick in 0..100_000 {
            let now = begun + Duration::from_micros(500 * tick);
            budget.written += 10;
            assert!(budget.spend(2 * LIGHT, || now), "at {tick}");
        }
    }

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
