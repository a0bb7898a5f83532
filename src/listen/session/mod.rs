//! A request with a stream of its own, over HTTP/2 or HTTP/3, as Pingora reads it and writes its answer.
//!
//! What both have in common is here; what carries it is a `Carrier`. Over HTTP/2 there is a session of
//! Pingora's own, but that keeps back answers before the answer, and never ends a stream with its head.

mod custom;
mod request;
mod writing;

pub use request::check;
pub use writing::Moved;

use super::pace::Pace;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, DATE};
use http::{HeaderMap, Method, Response, StatusCode};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::l4::socket::SocketAddr as Address;
use pingora::{Error, ErrorType, Result};
use request::{OF_THE_CONNECTION, content_length};
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime};
use tokio::time::{Instant, timeout};
use writing::Writing;

/// Bytes of an answer that are one write, as far as its deadline goes.
const PART: usize = 64 << 10;
/// Bytes of a body that are kept for another try; as Pingora does it.
const KEPT: usize = 64 << 10;

/// The stream of one request and its answer.
pub trait Carrier: Send + Sync + Unpin + 'static {
    /// The next part of the request's body; None once its trailers, or its end, are next.
    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>>>;

    /// Reads what follows the body, to the request's end.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>>;

    /// Whether the request's end is known to have come, with nothing before it that was not read.
    fn has_ended(&self) -> bool;

    /// Comes true once the client wants no answer any more.
    fn poll_stopped(&mut self, cx: &mut Context<'_>) -> Poll<()>;

    /// An answer before the answer: RFC 9110 §15.2.
    fn send_interim(&mut self, head: Response<()>) -> impl Send + Future<Output = Result<()>>;

    /// `end`, here and below: nothing follows.
    fn send_head(
        &mut self,
        head: Response<()>,
        end: bool,
    ) -> impl Send + Future<Output = Result<()>>;

    fn send_data(&mut self, part: Bytes, end: bool) -> impl Send + Future<Output = Result<()>>;

    /// Nothing follows.
    fn send_trailers(&mut self, trailers: HeaderMap) -> impl Send + Future<Output = Result<()>>;

    /// The answer is whole; what is left of the request is not wanted.
    fn refuse_rest(&mut self);

    /// The request is malformed: where the answer does not become whole, that is why.
    fn malformed(&mut self) {}

    /// The answer will not be whole.
    fn reset(&mut self);
}

/// Where a request comes from, and how long it and its answer may take.
#[derive(Clone)]
pub struct Terms {
    pub peer: SocketAddr,
    /// Where it came to, if that is known.
    pub local: Option<SocketAddr>,
    /// Between two reads of the body.
    pub read: Option<Duration>,
    /// Of the body, in bytes per second.
    pub min_rate: u64,
    /// How long its connection may take nothing of what waits to be written.
    pub write: Duration,
    /// What it has taken.
    pub moved: Moved,
}

impl Terms {
    /// Those of this request: a call of gRPC may be silent for hours.
    pub fn of(&self, head: &RequestHeader) -> Terms {
        let kind = head.headers.get(CONTENT_TYPE);
        match kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc")) {
            true => Terms {
                read: None,
                min_rate: 0,
                ..self.clone()
            },
            false => self.clone(),
        }
    }
}

pub struct Session<C> {
    request: RequestHeader,
    carrier: C,
    peer: Address,
    local: Option<Address>,
    body: Body,
    written: Option<Box<ResponseHeader>>,
    ended: bool,
    sent: usize,
    waits: Waits,
    read_timeout: Option<Duration>,
    writing: Writing,
    drain_timeout: Option<Duration>,
}

/// Whether a part of the request's body is being waited for.
#[derive(Clone, Default)]
pub struct Waits(Arc<AtomicBool>);

impl Waits {
    pub fn are_on(&self) -> bool {
        self.0.load(Relaxed)
    }
}

/// A request's body.
struct Body {
    pace: Pace,
    /// As Content-Length says.
    length: Option<u64>,
    /// What has come before anybody asked.
    first: Option<Bytes>,
    came: u64,
    /// Trailers, or the end, are next.
    last: bool,
    over: bool,
    /// What has been read, for another try. None: nobody wants it, or it was too much.
    kept: Option<Vec<u8>>,
    too_much: bool,
}

impl<C: Carrier> Session<C> {
    /// Of a head that `check` has passed.
    pub fn new(request: RequestHeader, carrier: C, terms: &Terms) -> Session<C> {
        let body = Body {
            pace: Pace::at_least(terms.min_rate),
            length: content_length(&request.headers).unwrap_or_default(),
            first: None,
            came: 0,
            last: false,
            over: false,
            kept: None,
            too_much: false,
        };
        Session {
            request,
            carrier,
            peer: terms.peer.into(),
            local: terms.local.map(Into::into),
            body,
            written: None,
            ended: false,
            sent: 0,
            waits: Waits::default(),
            read_timeout: terms.read,
            writing: Writing::on(terms),
            drain_timeout: None,
        }
    }

    /// Over HTTP/3 that there is no body is said by the stream's end alone, which comes with the head of
    /// a request that has none. Only where one is unusual is that waited for. An error: the client has left.
    pub async fn look_for_body(&mut self) -> Result<()> {
        let waits = self.body.length.is_none()
            && [Method::GET, Method::HEAD, Method::OPTIONS].contains(&self.request.method);
        self.body.first = poll_fn(|cx| match self.poll_body(cx) {
            Poll::Pending if !waits => Poll::Ready(Ok(None)),
            polled => polled,
        })
        .await?;
        Ok(())
    }

    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>>> {
        let body = &mut self.body;
        if !body.last && !body.over {
            if let Some(part) = ready!(self.carrier.poll_data(cx))? {
                body.came += part.len() as u64;
                return Poll::Ready(match body.length {
                    Some(length) if body.came > length => Err(misframed(&mut self.carrier)),
                    _ => Ok(Some(part)),
                });
            }
            body.last = true;
        }
        if !body.over {
            ready!(self.carrier.poll_end(cx))?;
            body.over = true;
        }
        Poll::Ready(match body.length {
            Some(length) if body.came < length => Err(misframed(&mut self.carrier)),
            _ => Ok(None),
        })
    }

    /// The next part, within its time and fast enough.
    async fn read(&mut self) -> Result<Option<Bytes>> {
        if let Some(first) = self.body.first.take() {
            return Ok(Some(first));
        }
        self.body.pace.waits(Instant::now);
        self.waits.0.store(true, Relaxed);
        let limit = self.read_timeout.unwrap_or(Duration::MAX);
        let part = timeout(limit, poll_fn(|cx| self.poll_body(cx)));
        let late = || Error::explain(ErrorType::ReadTimedout, "a body").into_down();
        let part = part.await.map_err(|_| late())??;
        self.waits.0.store(false, Relaxed);
        let length = part.as_ref().map_or(0, Bytes::len);
        match self.body.pace.came(length, Instant::now) || part.is_none() {
            true => Ok(part),
            false => Err(unreadable(io::ErrorKind::TimedOut.into())),
        }
    }

    /// Whether it changes nothing, and has no body: RFC 9110 §9.2.1.
    pub fn is_safe(&self) -> bool {
        let is_whole = self.body.over && self.body.first.is_none();
        is_whole && self.request.method.is_safe()
    }

    /// Whether nothing more of the request is to be read.
    pub fn is_read(&self) -> bool {
        self.body.over || self.carrier.has_ended()
    }

    pub fn request(&self) -> &RequestHeader {
        &self.request
    }

    pub fn request_mut(&mut self) -> &mut RequestHeader {
        &mut self.request
    }

    /// Where it comes from, and where it came to.
    pub fn peer(&self) -> (SocketAddr, Option<SocketAddr>) {
        let known = |address: &Address| address.as_inet().copied();
        let peer = known(&self.peer).expect("its terms have one");
        (peer, self.local.as_ref().and_then(known))
    }

    pub fn waits(&self) -> Waits {
        self.waits.clone()
    }

    pub fn carrier(&mut self) -> &mut C {
        &mut self.carrier
    }

    /// Comes true once the client wants no answer any more.
    pub async fn stopped(&mut self) {
        poll_fn(|cx| self.carrier.poll_stopped(cx)).await;
    }

    pub async fn write_head(&mut self, mut head: Box<ResponseHeader>, end: bool) -> Result<()> {
        if self.ended || self.written.is_some() {
            return Ok(());
        }
        if head.status == StatusCode::SWITCHING_PROTOCOLS {
            return Error::e_explain(
                ErrorType::InvalidHTTPHeader,
                "only HTTP/1.1 switches protocols",
            );
        }
        for name in &OF_THE_CONNECTION {
            head.remove_header(name);
        }
        if head.status.is_informational() {
            let interim = Response::from_parts(head.as_owned_parts(), ());
            return self.writing.of(self.carrier.send_interim(interim)).await;
        }
        if !head.headers.contains_key(DATE) {
            head.insert_header(DATE, httpdate::fmt_http_date(SystemTime::now()))?;
        }
        let answer = Response::from_parts(head.as_owned_parts(), ());
        self.writing.of(self.carrier.send_head(answer, end)).await?;
        self.written = Some(head);
        if end {
            self.over();
        }
        Ok(())
    }

    pub async fn write(&mut self, mut part: Bytes, end: bool) -> Result<()> {
        if self.ended {
            return Ok(());
        }
        self.sent += part.len();
        while !part.is_empty() {
            let now = part.split_to(part.len().min(PART));
            let last = end && part.is_empty();
            self.writing.of(self.carrier.send_data(now, last)).await?;
            if last {
                self.over();
            }
        }
        match end {
            true => self.end().await,
            false => Ok(()),
        }
    }

    async fn write_last(&mut self, trailers: HeaderMap) -> Result<()> {
        if self.ended {
            return Ok(());
        }
        self.writing
            .of(self.carrier.send_trailers(trailers))
            .await?;
        self.over();
        Ok(())
    }

    /// Of an answer that is whole. One that has not begun is none: it is reset when it is dropped.
    pub async fn end(&mut self) -> Result<()> {
        if self.ended || self.written.is_none() {
            return Ok(());
        }
        let nothing = self.carrier.send_data(Bytes::new(), true);
        self.writing.of(nothing).await?;
        self.over();
        Ok(())
    }

    /// The end was sent.
    fn over(&mut self) {
        self.ended = true;
        if !self.is_read() {
            self.carrier.refuse_rest();
        }
    }

    fn give_up(&mut self) {
        if !self.ended {
            self.ended = true;
            self.carrier.reset();
        }
    }
}

/// The client is gone, or has taken its request back.
pub fn gone(e: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Box<Error> {
    Error::because(ErrorType::ConnectionClosed, "reading a body", e).into_down()
}

pub fn unsent(e: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Box<Error> {
    Error::because(ErrorType::WriteError, "answering", e).into_down()
}

/// RFC 9113 §8.1.1, RFC 9114 §4.1.2.
fn misframed(carrier: &mut impl Carrier) -> Box<Error> {
    carrier.malformed();
    let why = "a body that is not as long as its Content-Length says";
    unreadable(io::Error::new(io::ErrorKind::InvalidData, why))
}

fn unreadable(e: io::Error) -> Box<Error> {
    Error::because(ErrorType::ReadError, "reading a body", e).into_down()
}
