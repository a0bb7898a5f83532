//! QUIC's streams, as `h3` reads and writes them.
//!
//! `h3` takes all that has come before it looks at what it holds, and holds a frame until it is whole.
//! So how much that may be is bounded here: beyond it a stream is not read, and its client waits for
//! credit (RFC 9000 §4.1). And what was not finished is no whole answer: dropped, it is reset.

use crate::listen::session::Moved;
use bytes::{Buf, Bytes};
use h3::error::Code;
use h3::quic::{self, ConnectionErrorIncoming, StreamErrorIncoming, StreamId, WriteBuf};
use quinn::{ConnectionError, ReadError, VarInt, WriteError};
use std::collections::VecDeque;
use std::future::Future;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use tokio::io::ReadBuf;

/// What is read at once. A stream holds no memory while nothing comes.
const PART: usize = 8 << 10;
/// Bytes of a stream that carries no request, in all: settings and the like are few.
const CONTROL: usize = 1 << 20;

pub type Later<T> = Pin<Box<dyn Future<Output = T> + Send + Sync>>;

/// A connection, as `h3` sees it.
pub struct Streams {
    quic: quinn::Connection,
    bidi: Option<Later<Result<(quinn::SendStream, quinn::RecvStream), ConnectionError>>>,
    uni: Option<Later<Result<quinn::RecvStream, ConnectionError>>>,
    opener: Opener,
    beside: Arc<Beside>,
    most: usize,
    moved: Moved,
}

/// What `h3` hides of the request streams that it was given, in their order.
#[derive(Default)]
pub struct Beside(Mutex<VecDeque<Side>>);

pub struct Side {
    id: StreamId,
    pub held: Arc<Held>,
    /// It came before the handshake was whole.
    pub is_early: bool,
    /// Comes true when the client wants no more of the answer, and when it has all of it.
    pub stopped: Later<()>,
    /// Comes true when the client wants no more of the answer, or is gone.
    pub cancelled: Later<()>,
}

/// Bytes of a stream that `h3` has and nobody has taken from it.
pub struct Held {
    now: AtomicUsize,
    most: usize,
}

pub struct Opener {
    quic: quinn::Connection,
    uni: Option<Later<Result<quinn::SendStream, ConnectionError>>>,
}

pub struct Bidi {
    send: SendHalf,
    recv: RecvHalf,
}

pub struct SendHalf {
    stream: quinn::SendStream,
    moved: Moved,
    writing: Option<WriteBuf<Bytes>>,
    /// Something was sent on it.
    begun: bool,
    ended: bool,
}

pub struct RecvHalf {
    stream: quinn::RecvStream,
    held: Arc<Held>,
}

impl Streams {
    /// `most`: bytes of a request's stream that are held at once, its whole head among them. `moved`: of answers.
    pub fn new(quic: quinn::Connection, most: usize, moved: Moved) -> Streams {
        Streams {
            bidi: None,
            uni: None,
            opener: Opener {
                quic: quic.clone(),
                uni: None,
            },
            beside: Arc::default(),
            quic,
            most,
            moved,
        }
    }

    pub fn beside(&self) -> Arc<Beside> {
        self.beside.clone()
    }
}

impl Beside {
    /// That of the stream which `h3` has given out; those before it were refused.
    pub fn take(&self, id: StreamId) -> Option<Side> {
        let mut sides = self.0.lock().expect("no code panics with it");
        std::iter::from_fn(|| sides.pop_front()).find(|side| side.id == id)
    }
}

impl Held {
    fn new(most: usize) -> Arc<Held> {
        let now = AtomicUsize::new(0);
        Arc::new(Held { now, most })
    }

    /// Part of a body was taken. It came in a frame, whose own few bytes count too.
    pub fn taken(&self, part: usize) {
        let frame = match part {
            ..64 => 2,
            64..16384 => 3,
            _ => 5,
        };
        let less = |now: usize| Some(now.saturating_sub(part + frame));
        // It always gives a number.
        let _ = self.now.fetch_update(Relaxed, Relaxed, less);
    }
}

impl quic::Connection<Bytes> for Streams {
    type RecvStream = RecvHalf;
    type OpenStreams = Opener;

    fn poll_accept_recv(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<RecvHalf, ConnectionErrorIncoming>> {
        let quic = &self.quic;
        let accept = || -> Later<_> {
            let quic = quic.clone();
            Box::pin(async move { quic.accept_uni().await })
        };
        let accepting = self.uni.get_or_insert_with(accept);
        let accepted = ready!(accepting.as_mut().poll(cx));
        self.uni = None;
        let stream = accepted.map_err(of_connection)?;
        let held = Held::new(CONTROL);
        Poll::Ready(Ok(RecvHalf { stream, held }))
    }

    fn poll_accept_bidi(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Bidi, ConnectionErrorIncoming>> {
        let quic = &self.quic;
        let accept = || -> Later<_> {
            let quic = quic.clone();
            Box::pin(async move { quic.accept_bi().await })
        };
        let accepting = self.bidi.get_or_insert_with(accept);
        let accepted = ready!(accepting.as_mut().poll(cx));
        self.bidi = None;
        let (send, stream) = accepted.map_err(of_connection)?;
        let held = Held::new(self.most);
        let (stopped, cancelled) = (send.stopped(), send.stopped());
        let is_early = stream.is_0rtt();
        let bidi = Bidi {
            send: SendHalf::new(send, self.moved.clone()),
            recv: RecvHalf {
                stream,
                held: held.clone(),
            },
        };
        let side = Side {
            id: quic::SendStream::send_id(&bidi),
            held,
            is_early,
            stopped: Box::pin(async move { drop(stopped.await) }),
            cancelled: Box::pin(async move {
                if let Ok(None) = cancelled.await {
                    std::future::pending().await
                }
            }),
        };
        let mut sides = self.beside.0.lock().expect("no code panics with it");
        sides.push_back(side);
        Poll::Ready(Ok(bidi))
    }

    fn opener(&self) -> Opener {
        Opener {
            quic: self.quic.clone(),
            uni: None,
        }
    }
}

impl quic::OpenStreams<Bytes> for Streams {
    type BidiStream = Bidi;
    type SendStream = SendHalf;

    fn poll_open_bidi(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bidi, StreamErrorIncoming>> {
        self.opener.poll_open_bidi(cx)
    }

    fn poll_open_send(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<SendHalf, StreamErrorIncoming>> {
        self.opener.poll_open_send(cx)
    }

    fn close(&mut self, code: Code, reason: &[u8]) {
        self.opener.close(code, reason);
    }
}

impl quic::OpenStreams<Bytes> for Opener {
    type BidiStream = Bidi;
    type SendStream = SendHalf;

    /// RFC 9114 §6.1: a server opens none.
    fn poll_open_bidi(&mut self, _: &mut Context<'_>) -> Poll<Result<Bidi, StreamErrorIncoming>> {
        let why = "a server opens no requests";
        Poll::Ready(Err(StreamErrorIncoming::Unknown(why.into())))
    }

    fn poll_open_send(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<SendHalf, StreamErrorIncoming>> {
        let quic = &self.quic;
        let open = || -> Later<_> {
            let quic = quic.clone();
            Box::pin(async move { quic.open_uni().await })
        };
        let opening = self.uni.get_or_insert_with(open);
        let opened = ready!(opening.as_mut().poll(cx));
        self.uni = None;
        // What goes there is no answer's.
        let opened = opened.map(|stream| SendHalf::new(stream, Moved::default()));
        Poll::Ready(opened.map_err(of_stream))
    }

    fn close(&mut self, code: Code, reason: &[u8]) {
        self.quic.close(number(code.value()), reason);
    }
}

impl SendHalf {
    fn new(stream: quinn::SendStream, moved: Moved) -> SendHalf {
        SendHalf {
            stream,
            moved,
            writing: None,
            begun: false,
            ended: false,
        }
    }
}

impl quic::SendStream<Bytes> for SendHalf {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        if let Some(data) = &mut self.writing {
            while data.has_remaining() {
                let written = Pin::new(&mut self.stream).poll_write(cx, data.chunk());
                let written = ready!(written).map_err(of_write)?;
                self.moved.add(written);
                data.advance(written);
            }
        }
        self.writing = None;
        Poll::Ready(Ok(()))
    }

    fn send_data<T: Into<WriteBuf<Bytes>>>(&mut self, data: T) -> Result<(), StreamErrorIncoming> {
        if self.writing.is_some() {
            // Of a write that was given up: the frame would be cut in two.
            return Err(StreamErrorIncoming::Unknown("a write is under way".into()));
        }
        self.writing = Some(data.into());
        self.begun = true;
        Ok(())
    }

    fn poll_finish(&mut self, _: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        self.ended = true;
        let finished = self.stream.finish();
        Poll::Ready(finished.map_err(|e| StreamErrorIncoming::Unknown(Box::new(e))))
    }

    fn reset(&mut self, code: u64) {
        self.ended = true;
        // Closed already, if that can't be done.
        let _ = self.stream.reset(number(code));
    }

    fn send_id(&self) -> StreamId {
        id(self.stream.id())
    }
}

impl Drop for SendHalf {
    /// Quinn would say that this is the end. What was begun is ended by its exchange, or is what `h3` itself answers.
    fn drop(&mut self) {
        if !self.begun && !self.ended {
            let _ = self.stream.reset(number(Code::H3_INTERNAL_ERROR.value()));
        }
    }
}

impl quic::RecvStream for RecvHalf {
    type Buf = Bytes;

    /// While as much is held as may be, there is nothing: whoever takes some of it asks again. A frame
    /// that is larger has its whole stream wait, and then its time is up.
    fn poll_data(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Bytes>, StreamErrorIncoming>> {
        if self.held.now.load(Relaxed) >= self.held.most {
            return Poll::Pending;
        }
        let mut room = [MaybeUninit::uninit(); PART];
        let mut part = ReadBuf::uninit(&mut room);
        ready!(self.stream.poll_read_buf(cx, &mut part)).map_err(of_read)?;
        let part = part.filled();
        self.held.now.fetch_add(part.len(), Relaxed);
        Poll::Ready(Ok((!part.is_empty()).then(|| Bytes::copy_from_slice(part))))
    }

    fn stop_sending(&mut self, code: u64) {
        // Closed already, if that can't be done.
        let _ = self.stream.stop(number(code));
    }

    fn recv_id(&self) -> StreamId {
        id(self.stream.id())
    }
}

impl quic::BidiStream<Bytes> for Bidi {
    type SendStream = SendHalf;
    type RecvStream = RecvHalf;

    fn split(self) -> (SendHalf, RecvHalf) {
        (self.send, self.recv)
    }
}

impl quic::SendStream<Bytes> for Bidi {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        self.send.poll_ready(cx)
    }

    fn send_data<T: Into<WriteBuf<Bytes>>>(&mut self, data: T) -> Result<(), StreamErrorIncoming> {
        self.send.send_data(data)
    }

    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        self.send.poll_finish(cx)
    }

    fn reset(&mut self, code: u64) {
        self.send.reset(code);
    }

    fn send_id(&self) -> StreamId {
        self.send.send_id()
    }
}

impl quic::RecvStream for Bidi {
    type Buf = Bytes;

    fn poll_data(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Bytes>, StreamErrorIncoming>> {
        self.recv.poll_data(cx)
    }

    fn stop_sending(&mut self, code: u64) {
        self.recv.stop_sending(code);
    }

    fn recv_id(&self) -> StreamId {
        self.recv.recv_id()
    }
}

fn id(id: quinn::StreamId) -> StreamId {
    let id: u64 = id.into();
    id.try_into().expect("both are of 62 bits")
}

fn number(code: u64) -> VarInt {
    VarInt::from_u64(code).unwrap_or(VarInt::MAX)
}

fn of_connection(e: ConnectionError) -> ConnectionErrorIncoming {
    match e {
        ConnectionError::ApplicationClosed(close) => ConnectionErrorIncoming::ApplicationClose {
            error_code: close.error_code.into(),
        },
        ConnectionError::TimedOut => ConnectionErrorIncoming::Timeout,
        e => ConnectionErrorIncoming::Undefined(Arc::new(e)),
    }
}

fn of_stream(e: ConnectionError) -> StreamErrorIncoming {
    StreamErrorIncoming::ConnectionErrorIncoming {
        connection_error: of_connection(e),
    }
}

fn of_read(e: ReadError) -> StreamErrorIncoming {
    match e {
        ReadError::Reset(code) => StreamErrorIncoming::StreamTerminated {
            error_code: code.into_inner(),
        },
        ReadError::ConnectionLost(e) => of_stream(e),
        e => StreamErrorIncoming::Unknown(Box::new(e)),
    }
}

fn of_write(e: WriteError) -> StreamErrorIncoming {
    match e {
        WriteError::Stopped(code) => StreamErrorIncoming::StreamTerminated {
            error_code: code.into_inner(),
        },
        WriteError::ConnectionLost(e) => of_stream(e),
        e => StreamErrorIncoming::Unknown(Box::new(e)),
    }
}
