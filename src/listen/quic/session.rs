//! A request over HTTP/3, as Pingora reads it and writes its answer.

use super::request::content_length;
use super::streams::{Bidi, Held, Side};
use crate::listen::pace::Pace;
use crate::listen::{Limits, Malformed};
use async_trait::async_trait;
use bytes::{Buf, Bytes};
use h3::error::{Code, StreamError};
use h3::server::RequestStream;
use http::header::{CONNECTION, DATE, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderName, Method, Response, StatusCode};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::Digest;
use pingora::protocols::http::HttpTask;
use pingora::protocols::http::custom::CustomMessageWrite;
use pingora::protocols::http::custom::server::Session as Custom;
use pingora::protocols::l4::socket::SocketAddr as Address;
use pingora::{Error, ErrorType, Result};
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime};
use tokio::time::{Instant, timeout};

/// Bytes of an answer that are one write, as far as its deadline goes.
const PART: usize = 64 << 10;
/// Bytes of a body that are kept for another try; as Pingora does it.
const KEPT: usize = 64 << 10;

/// RFC 9114 §4.2: what an answer of HTTP/1 may have, and this one may not.
const OF_THE_CONNECTION: [HeaderName; 5] = [
    CONNECTION,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

pub struct Session {
    request: RequestHeader,
    stream: RequestStream<Bidi, Bytes>,
    peer: Address,
    body: Body,
    /// None once it has come true.
    stopped: Option<Pin<Box<dyn Future<Output = ()> + Send + Sync>>>,
    written: Option<Box<ResponseHeader>>,
    ended: bool,
    sent: usize,
    read_timeout: Option<Duration>,
    write_timeout: Option<Duration>,
    drain_timeout: Option<Duration>,
}

/// A request's body.
struct Body {
    held: Arc<Held>,
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

impl Session {
    /// Of a head that was read. None: its client has left.
    pub(super) async fn begin(
        request: RequestHeader,
        stream: RequestStream<Bidi, Bytes>,
        side: Side,
        peer: SocketAddr,
        limits: &Limits,
    ) -> std::result::Result<Option<Session>, Malformed> {
        let length = content_length(&request.headers)?;
        let mut session = Session {
            stream,
            peer: peer.into(),
            body: Body {
                held: side.held,
                pace: Pace::at_least(limits.min_body_rate),
                length,
                first: None,
                came: 0,
                last: false,
                over: false,
                kept: None,
                too_much: false,
            },
            stopped: Some(side.stopped),
            written: None,
            ended: false,
            sent: 0,
            read_timeout: Some(limits.body_timeout),
            write_timeout: Some(limits.send_timeout),
            drain_timeout: None,
            request,
        };
        Ok(session.look_for_body().await.is_ok().then_some(session))
    }

    /// That there is no body is said by the stream's end alone, which comes with the head of a request
    /// that has none. Only where one is unusual is that waited for.
    async fn look_for_body(&mut self) -> Result<()> {
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
            let came = ready!(self.stream.poll_recv_data(cx)).map_err(gone)?;
            if let Some(mut part) = came {
                let part = part.copy_to_bytes(part.remaining());
                body.held.taken(part.len());
                body.came += part.len() as u64;
                return Poll::Ready(match body.length {
                    Some(length) if body.came > length => Err(misframed()),
                    _ => Ok(Some(part)),
                });
            }
            body.last = true;
        }
        if !body.over {
            // `h3` takes an empty frame for the end as well; what follows it is an error then.
            ready!(self.stream.poll_recv_trailers(cx)).map_err(gone)?;
            body.over = true;
        }
        Poll::Ready(match body.length {
            Some(length) if body.came < length => Err(misframed()),
            _ => Ok(None),
        })
    }

    /// The next part, within its time and fast enough.
    async fn read(&mut self) -> Result<Option<Bytes>> {
        if let Some(first) = self.body.first.take() {
            return Ok(Some(first));
        }
        self.body.pace.waits(Instant::now);
        let limit = self.read_timeout.unwrap_or(Duration::MAX);
        let part = timeout(limit, poll_fn(|cx| self.poll_body(cx)));
        let late = || Error::explain(ErrorType::ReadTimedout, "a body").into_down();
        let part = part.await.map_err(|_| late())??;
        let length = part.as_ref().map_or(0, Bytes::len);
        match self.body.pace.came(length, Instant::now) || part.is_none() {
            true => Ok(part),
            false => Err(unreadable(io::ErrorKind::TimedOut.into())),
        }
    }

    async fn within<T>(
        limit: Option<Duration>,
        write: impl Future<Output = std::result::Result<T, StreamError>>,
    ) -> Result<T> {
        let limit = limit.unwrap_or(Duration::MAX);
        let late = || Error::explain(ErrorType::WriteTimedout, "an answer").into_down();
        let written = timeout(limit, write).await.map_err(|_| late())?;
        written.map_err(|e| Error::because(ErrorType::WriteError, "answering", e).into_down())
    }

    async fn write_head(&mut self, mut head: Box<ResponseHeader>, end: bool) -> Result<()> {
        if self.ended || self.written.is_some() {
            return Ok(());
        }
        if head.status == StatusCode::SWITCHING_PROTOCOLS {
            return Error::e_explain(ErrorType::InvalidHTTPHeader, "HTTP/3 switches no protocols");
        }
        for name in &OF_THE_CONNECTION {
            head.remove_header(name);
        }
        let is_last = !head.status.is_informational();
        if is_last && !head.headers.contains_key(DATE) {
            head.insert_header(DATE, httpdate::fmt_http_date(SystemTime::now()))?;
        }
        let answer = Response::from_parts(head.as_owned_parts(), ());
        Session::within(self.write_timeout, self.stream.send_response(answer)).await?;
        if is_last {
            self.written = Some(head);
        }
        match end {
            true => self.end().await,
            false => Ok(()),
        }
    }

    async fn write(&mut self, mut part: Bytes, end: bool) -> Result<()> {
        if self.ended {
            return Ok(());
        }
        self.sent += part.len();
        while !part.is_empty() {
            let now = part.split_to(part.len().min(PART));
            Session::within(self.write_timeout, self.stream.send_data(now)).await?;
        }
        match end {
            true => self.end().await,
            false => Ok(()),
        }
    }

    /// Of an answer that is whole. One that has not begun is none: it is reset when it is dropped.
    async fn end(&mut self) -> Result<()> {
        if self.ended || self.written.is_none() {
            return Ok(());
        }
        self.ended = true;
        Session::within(self.write_timeout, self.stream.finish()).await?;
        if !self.body.over {
            // RFC 9114 §4.1: what is left of the request is not wanted.
            self.stream.stop_sending(Code::H3_NO_ERROR);
        }
        Ok(())
    }

    fn give_up(&mut self) {
        if !self.ended {
            self.ended = true;
            self.stream.stop_stream(Code::H3_INTERNAL_ERROR);
        }
    }
}

#[async_trait]
impl Custom for Session {
    fn req_header(&self) -> &RequestHeader {
        &self.request
    }

    fn req_header_mut(&mut self) -> &mut RequestHeader {
        &mut self.request
    }

    async fn read_body_bytes(&mut self) -> Result<Option<Bytes>> {
        let part = self.read().await?;
        if let (Some(part), Some(kept)) = (&part, &mut self.body.kept) {
            match kept.len() + part.len() <= KEPT {
                true => kept.extend_from_slice(part),
                false => (self.body.kept, self.body.too_much) = (None, true),
            }
        }
        Ok(part)
    }

    async fn drain_request_body(&mut self) -> Result<()> {
        while self.read().await?.is_some() {}
        Ok(())
    }

    async fn write_response_header(&mut self, head: Box<ResponseHeader>, end: bool) -> Result<()> {
        self.write_head(head, end).await
    }

    async fn write_response_header_ref(&mut self, head: &ResponseHeader, end: bool) -> Result<()> {
        self.write_head(Box::new(head.clone()), end).await
    }

    async fn write_body(&mut self, data: Bytes, end: bool) -> Result<()> {
        self.write(data, end).await
    }

    async fn write_trailers(&mut self, trailers: HeaderMap) -> Result<()> {
        if self.ended {
            return Ok(());
        }
        Session::within(self.write_timeout, self.stream.send_trailers(trailers)).await?;
        self.end().await
    }

    async fn response_duplex_vec(&mut self, tasks: Vec<HttpTask>) -> Result<bool> {
        let mut over = false;
        for task in tasks {
            over = match task {
                HttpTask::Header(head, end) => {
                    self.write_head(head, end).await?;
                    end
                }
                HttpTask::Body(part, end) => {
                    self.write(part.unwrap_or_default(), end).await?;
                    end
                }
                HttpTask::Trailer(trailers) => {
                    if let Some(trailers) = trailers {
                        self.write_trailers(*trailers).await?;
                    }
                    true
                }
                HttpTask::Done => true,
                HttpTask::UpgradedBody(..) => {
                    return Error::e_explain(ErrorType::InternalError, "nothing was switched");
                }
                HttpTask::Failed(e) => return Err(e),
            };
        }
        if over {
            self.end().await?;
        }
        Ok(over)
    }

    fn set_read_timeout(&mut self, timeout: Option<Duration>) {
        self.read_timeout = timeout;
    }

    fn get_read_timeout(&self) -> Option<Duration> {
        self.read_timeout
    }

    fn set_write_timeout(&mut self, timeout: Option<Duration>) {
        self.write_timeout = timeout;
    }

    fn get_write_timeout(&self) -> Option<Duration> {
        self.write_timeout
    }

    fn set_total_drain_timeout(&mut self, timeout: Option<Duration>) {
        self.drain_timeout = timeout;
    }

    fn get_total_drain_timeout(&self) -> Option<Duration> {
        self.drain_timeout
    }

    fn request_summary(&self) -> String {
        format!("{} over HTTP/3", self.request.method)
    }

    fn response_written(&self) -> Option<&ResponseHeader> {
        self.written.as_deref()
    }

    async fn shutdown(&mut self, _code: u32, _ctx: &str) {
        self.give_up();
    }

    async fn abandon(&mut self, _ctx: &str) {
        self.give_up();
    }

    fn is_body_done(&mut self) -> bool {
        self.body.first.is_none() && (self.body.over || self.is_body_empty())
    }

    async fn finish(&mut self) -> Result<()> {
        self.end().await
    }

    fn is_body_empty(&mut self) -> bool {
        self.body.came == 0 && (self.body.over || self.body.length == Some(0))
    }

    async fn read_body_or_idle(&mut self, no_body_expected: bool) -> Result<Option<Bytes>> {
        if !no_body_expected && !self.is_body_done() {
            return self.read_body_bytes().await;
        }
        if let Some(stopped) = &mut self.stopped {
            stopped.as_mut().await;
            self.stopped = None;
        }
        Err(Error::explain(ErrorType::ConnectionClosed, "the client wants no answer").into_down())
    }

    fn body_bytes_sent(&self) -> usize {
        self.sent
    }

    fn body_bytes_read(&self) -> usize {
        usize::try_from(self.body.came).unwrap_or(usize::MAX)
    }

    fn digest(&self) -> Option<&Digest> {
        None
    }

    fn digest_mut(&mut self) -> Option<&mut Digest> {
        None
    }

    fn client_addr(&self) -> Option<&Address> {
        Some(&self.peer)
    }

    fn server_addr(&self) -> Option<&Address> {
        None
    }

    fn pseudo_raw_h1_request_header(&self) -> Bytes {
        Bytes::new()
    }

    fn enable_retry_buffering(&mut self) {
        if !self.body.too_much {
            self.body.kept.get_or_insert_default();
        }
    }

    fn retry_buffer_truncated(&self) -> bool {
        self.body.too_much
    }

    fn get_retry_buffer(&self) -> Option<Bytes> {
        let kept = self.body.kept.as_ref().filter(|kept| !kept.is_empty());
        kept.map(|kept| Bytes::copy_from_slice(kept))
    }

    async fn finish_custom(&mut self) -> Result<()> {
        Ok(())
    }

    fn take_custom_message_reader(
        &mut self,
    ) -> Option<Box<dyn futures_core::Stream<Item = Result<Bytes>> + Unpin + Send + Sync + 'static>>
    {
        None
    }

    fn restore_custom_message_reader(
        &mut self,
        _reader: Box<
            dyn futures_core::Stream<Item = Result<Bytes>> + Unpin + Send + Sync + 'static,
        >,
    ) -> Result<()> {
        Ok(())
    }

    fn take_custom_message_writer(&mut self) -> Option<Box<dyn CustomMessageWrite>> {
        None
    }

    fn restore_custom_message_writer(
        &mut self,
        _writer: Box<dyn CustomMessageWrite>,
    ) -> Result<()> {
        Ok(())
    }
}

fn gone(e: StreamError) -> Box<Error> {
    Error::because(ErrorType::ConnectionClosed, "reading a body", e).into_down()
}

/// RFC 9114 §4.1.2.
fn misframed() -> Box<Error> {
    let why = "a body that is not as long as its Content-Length says";
    unreadable(io::Error::new(io::ErrorKind::InvalidData, why))
}

fn unreadable(e: io::Error) -> Box<Error> {
    Error::because(ErrorType::ReadError, "reading a body", e).into_down()
}
