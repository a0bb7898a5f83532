//! A client's connection, as Pingora sees it: a stream that holds exactly one request at a time.
//!
//! The head is read here, with a deadline for the whole of it and a bound on its size, and is
//! checked before Pingora reads it again from our buffer. What follows the request stays here
//! until the next one: pipelined requests are answered in order, and Pingora, which drops bytes
//! it did not expect, never meets them.

mod begin;
mod farewell;
mod secure;
mod stall;
mod stream;
mod wire;

pub use begin::{Begun, ConnLimits};
pub use secure::Unsecured;

use super::Malformed;
use super::chunks::Chunks;
use super::entry::Entry;
use super::pace::Pace;
use super::proxied::{self, Proxied};
use super::socket::Socket;
use super::turn::Turn;
use super::unread::Unread;
use bytes::{Buf, Bytes, BytesMut};
use farewell::Farewell;
use pingora::protocols::SocketDigest;
use pingora::time::timeout;
use stall::Stall;
use std::any::Any;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::time::{Sleep, sleep};
use wire::Wire;

/// Where a head's buffer starts; most heads fit.
const FIRST_READ: usize = 2048;
/// Writes up to this size wait for the flush that follows, so that a small answer is one packet.
const WRITE_BUFFER: usize = 16 << 10;
/// How long, and how much, a closing connection reads what the client is still sending: closed
/// with unread bytes, TCP would reset it and the client might lose the answer. RFC 9112 §9.6.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 1 << 20;

pub struct Conn {
    wire: Wire,
    entry: Arc<Entry>,
    /// Read and not yet asked for.
    input: BytesMut,
    /// How many of the next bytes are the present request's.
    granted: u64,
    /// What is the request's after those.
    rest: Rest,
    /// At which a body comes.
    pace: Pace,
    /// What the kernel has of it.
    unread: Unread,
    /// Written and not yet sent; `tail` after it.
    output: BytesMut,
    tail: Bytes,
    turn: Turn,
    /// The client takes no more at the moment.
    stuck: bool,
    /// How long that may be so. Zero before the first request: whoever is served then has a deadline.
    patience: Duration,
    stall: Stall,
    farewell: Farewell,
    /// Length of the present request's head, while it can be answered here: see `plain`.
    plain: Option<usize>,
    /// The next answer's Date: see `keep_date`.
    date: Mutex<Option<Date>>,
    /// What is known of the present request: see `pack`.
    luggage: Mutex<Option<Luggage>>,
    /// Ends a wait for the next request.
    idle: Option<Pin<Box<Sleep>>>,
    peer: SocketAddr,
    digest: Arc<SocketDigest>,
}

/// What goes with a request to whoever answers it.
pub type Luggage = Box<dyn Any + Send>;

/// `Thu, 01 Jan 1970 00:00:00 GMT`; the field as Pingora writes it.
type Date = [u8; 29];
const DATE_FIELD: &[u8] = b"\r\nDate: ";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rest {
    Nothing,
    /// Chunks, of which as many are granted as have come.
    Chunks(Chunks),
    All,
}

impl Conn {
    pub fn new(io: impl Into<Socket>, peer: SocketAddr, entry: Arc<Entry>) -> Conn {
        let io = io.into();
        let digest = digest(&io, peer);
        Conn {
            wire: Wire::new(io),
            entry,
            input: BytesMut::new(),
            granted: 0,
            rest: Rest::Nothing,
            pace: Pace::default(),
            unread: Unread::default(),
            output: BytesMut::new(),
            tail: Bytes::new(),
            turn: Turn::default(),
            stuck: false,
            patience: Duration::ZERO,
            stall: Stall::default(),
            farewell: Farewell::default(),
            plain: None,
            date: Mutex::new(None),
            luggage: Mutex::new(None),
            idle: None,
            peer,
            digest,
        }
    }

    /// Reads who is behind the proxy that this connection comes from, and is theirs from here on.
    /// An error where it does not begin so, or not within `limit`.
    pub async fn unwrap_proxied(&mut self, limit: Duration) -> io::Result<()> {
        let header = timeout(limit, self.read_proxied())
            .await
            .map_err(|_| io::ErrorKind::TimedOut)??;
        self.input.advance(header.length);
        if let Some(client) = header.client {
            self.peer = client;
            self.digest = digest(self.wire.socket(), client);
        }
        Ok(())
    }

    async fn read_proxied(&mut self) -> io::Result<Proxied> {
        loop {
            if let Some(header) = proxied::read(&self.input).map_err(Malformed::into_io)? {
                return Ok(header);
            }
            if self.fill().await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Lets the next answer keep the Date that its origin gave it (RFC 9110 §6.6.1): Pingora puts
    /// the present time there, which would make a stored answer look new.
    pub fn keep_date(&self, value: &[u8]) {
        if let Ok(date) = value.try_into() {
            *lock(&self.date) = Some(date);
        }
    }

    /// In a head, if that is what `output` has from `start` on.
    fn restore_date(&mut self, start: usize) {
        let Some(date) = lock(&self.date).take() else {
            return;
        };
        let head = &mut self.output[start..];
        if let Some(at) = memchr::memmem::find(head, DATE_FIELD) {
            let at = at + DATE_FIELD.len();
            if head
                .get(at + date.len()..)
                .is_some_and(|rest| rest.starts_with(b"\r\n"))
            {
                head[at..at + date.len()].copy_from_slice(&date);
            }
        }
    }

    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Where it came to, if that is an address. Asked for once of the kernel.
    pub fn local(&self) -> Option<SocketAddr> {
        self.digest.local_addr()?.as_inet().copied()
    }

    pub fn entry(&self) -> &Arc<Entry> {
        &self.entry
    }

    /// Whether a part of the present request's body is waited for.
    pub fn waits_for_body(&self) -> bool {
        self.pace.is_waiting()
    }

    /// Whether nothing else is understood.
    pub fn agreed_on_http2(&self) -> bool {
        self.entry.secured().is_some_and(|tls| tls.is_http2)
    }

    /// Whether some of the next request has come already.
    pub fn has_input(&self) -> bool {
        !self.input.is_empty()
    }

    /// Sends along what is already known of the present request; gone at its end.
    pub fn pack(&self, luggage: Luggage) {
        *lock(&self.luggage) = Some(luggage);
    }

    pub fn unpack(&self) -> Option<Luggage> {
        lock(&self.luggage).take()
    }

    /// The present request's head, if the request can be answered by `answer_here`.
    pub fn plain(&self) -> Option<&[u8]> {
        self.plain.map(|length| &self.input[..length])
    }

    /// Ends a plain request that was answered, and takes no other.
    pub fn end_plain(&mut self) {
        let length = self.plain.take().expect("called for a plain request");
        self.input.advance(length);
        (self.granted, self.rest) = (0, Rest::Nothing);
    }

    /// Whether the client has sent something after the present, plain request.
    pub fn has_more(&self) -> bool {
        self.plain.is_some_and(|length| self.input.len() > length)
    }

    /// Ends a plain request by switching protocols: all that comes is the other one's. Most such
    /// connections are silent, for hours, and what has held the head is not held meanwhile.
    pub fn switch(&mut self) {
        self.end_plain();
        self.rest = Rest::All;
        if self.input.is_empty() {
            self.input = BytesMut::new();
        }
    }

    /// Ends when the client of a plain request has left. What it has sent after the request hides that.
    pub async fn left(&mut self) {
        if self.has_more() {
            return std::future::pending().await;
        }
        match self.fill().await {
            Ok(0) => std::future::poll_fn(|cx| self.poll_gone(cx)).await,
            Ok(_) => std::future::pending().await,
            Err(_) => {}
        }
    }

    /// Sends what the socket takes at once, which is nearly always all; the rest is kept for
    /// `sent`. `head` is copied where it must wait, `body` never is.
    pub fn send(&mut self, head: &[u8], body: Bytes) -> io::Result<()> {
        self.farewell.has_begun = true;
        let taken = match self.output.is_empty() && self.tail.is_empty() {
            true if body.is_empty() => self.wire.try_write(&[IoSlice::new(head)])?,
            true => {
                let both = [IoSlice::new(head), IoSlice::new(&body)];
                self.wire.try_write(&both)?
            }
            false => 0,
        };
        let of_head = taken.min(head.len());
        self.output.extend_from_slice(&head[of_head..]);
        self.tail = body.slice(taken - of_head..);
        Ok(())
    }

    /// Waits until all is sent.
    pub async fn sent(&mut self) -> io::Result<()> {
        std::future::poll_fn(|cx| self.poll_send(cx)).await
    }

    fn is_sent(&self) -> bool {
        self.output.is_empty() && self.tail.is_empty() && self.wire.is_flushed()
    }

    async fn fill(&mut self) -> io::Result<usize> {
        std::future::poll_fn(|cx| self.poll_fill(cx)).await
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.input.capacity() - self.input.len() < FIRST_READ / 2 {
            self.input.reserve(FIRST_READ.max(self.input.len()));
        }
        let Conn { wire, input, .. } = self;
        let read = tokio_util::io::poll_read_buf(Pin::new(wire), cx, input);
        if read.is_pending() {
            self.turn.pause();
        }
        read
    }

    /// Lets others run, if requests of this client have been answered for long without a pause.
    pub async fn give_turn(&mut self) {
        std::future::poll_fn(|cx| self.turn.poll(cx)).await
    }

    /// Sends an answer that Pingora has no part in, and closes.
    pub async fn refuse(&mut self, answer: &[u8], limit: Duration) {
        self.patience = limit;
        self.output.extend_from_slice(answer);
        self.close().await;
    }

    /// Closes so that the client can read all that it was sent.
    pub async fn close(&mut self) {
        let ended = async {
            self.sent().await?;
            std::future::poll_fn(|cx| self.wire.poll_shutdown(cx)).await
        };
        if ended.await.is_err() {
            return;
        }
        if !self.was_read() || !self.input.is_empty() {
            self.drain().await;
        }
        self.delivered().await;
    }

    /// Ends a connection that waits for nothing.
    pub async fn leave(&mut self) {
        self.wire.try_end();
        self.delivered().await;
    }

    /// Reads what the client is still sending.
    async fn drain(&mut self) {
        let drain = async {
            let mut left = LINGER_BYTES;
            let mut buffer = vec![0; 16 << 10];
            while let Ok(n @ 1..) = self.wire.socket_mut().read(&mut buffer).await {
                left = left.saturating_sub(n);
                if left == 0 {
                    break;
                }
            }
        };
        // Whoever sends for longer has had the time to see the answer.
        let _ = timeout(LINGER, drain).await;
    }

    /// Waits until the client has taken what the kernel holds for it. Closed before, the kernel
    /// would go on sending for as long as the client likes, with as much memory; so whoever takes it
    /// slower than a body may come is cut off.
    async fn delivered(&mut self) {
        let least = self.pace.least(self.patience);
        let mut before = None;
        while let Some(info) = self.digest.tcp_info()
            && info.tcpi_notsent_bytes > 0
        {
            let taken = before.map(|before| info.tcpi_bytes_acked.saturating_sub(before));
            self.stuck = taken.is_some_and(|taken| taken < least);
            if self.stuck {
                return;
            }
            before = Some(info.tcpi_bytes_acked);
            sleep(self.patience).await;
        }
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.is_sent() {
            ready!(self.poll_send_some(cx))?;
        }
        Poll::Ready(Ok(()))
    }

    /// One write of what waits.
    fn poll_send_some(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.output.is_empty() && self.tail.is_empty() {
            let flushed = self.wire.poll_flush_some(cx);
            return self.poll_moving(cx, flushed);
        }
        let both = [IoSlice::new(&self.output), IoSlice::new(&self.tail)];
        let parts = match self.tail.is_empty() {
            true => &both[..1],
            false => &both[..],
        };
        let written = self.wire.poll_write(cx, parts);
        let n = ready!(self.poll_moving(cx, written))?;
        if n == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        let of_output = n.min(self.output.len());
        self.output.advance(of_output);
        self.tail.advance(n - of_output);
        Poll::Ready(Ok(()))
    }

    /// What a write has come to, or that the client takes nothing for too long. Where the connection speaks something
    /// else by now, whoever carries that knows how long it may.
    fn poll_moving<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        self.stuck = written.is_pending();
        if !self.stuck {
            self.stall.is_over();
            return written;
        }
        if self.patience.is_zero() || self.rest == Rest::All {
            return Poll::Pending;
        }
        let Conn {
            stall,
            digest,
            pace,
            patience,
            ..
        } = self;
        // A Unix socket's peer has all that was written.
        let taken = || digest.tcp_info().map_or(0, |info| info.tcpi_bytes_acked);
        ready!(stall.poll(cx, *patience, pace, taken));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    fn was_read(&self) -> bool {
        self.granted == 0
            && match &self.rest {
                Rest::Nothing => true,
                Rest::Chunks(chunks) => chunks.ended(),
                Rest::All => false,
            }
    }
}

impl Drop for Conn {
    /// An answer that its client would not take has no end, and the client is to see that. Without
    /// this the kernel would go on sending what it has, for as long as the client likes.
    fn drop(&mut self) {
        if self.stuck {
            // A socket that can't be told is gone.
            let _ = self.wire.socket().drop_unsent();
        }
    }
}

fn digest(io: &Socket, peer: SocketAddr) -> Arc<SocketDigest> {
    let digest = SocketDigest::from_raw_fd(io.as_raw_fd());
    // Set only here, right after it was made.
    let _ = digest.peer_addr.set(Some(peer.into()));
    Arc::new(digest)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .expect("no code panics while it holds this lock")
}

#[cfg(test)]
mod tests;
