//! A connection's life: requests come in on streams, as many at once as may be.

use super::Socket;
use super::exchange::Exchange;
use super::pseudo;
use super::streams::{Beside, Bidi, Later, Side, Streams};
use crate::listen::session::{Moved, Session, Terms, check};
use crate::listen::{Limits, Malformed};
use bytes::Bytes;
use h3::error::{Code, StreamError};
use h3::proto::frame::Frame;
use h3::quic::SendStream;
use h3::server::{RequestResolver, RequestStream, builder};
use http::{HeaderName, HeaderValue};
use pingora::http::RequestHeader;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::timeout;

/// How long a connection that has ended stays for its last answers to arrive.
const LINGER: Duration = Duration::from_secs(2);

pub struct Connection {
    quic: quinn::Connection,
    socket: Arc<Socket>,
    http: h3::server::Connection<Streams, Bytes>,
    beside: Arc<Beside>,
    moved: Moved,
    whole: Whole,
}

pub type Request = Session<Exchange>;

/// Where it has a body, with what comes true once the client wants no answer any more.
pub type Asked = (Request, Option<Later<()>>);

/// A stream that a request comes on.
pub struct Stream {
    resolver: RequestResolver<Streams, Bytes>,
    side: Side,
    peer: SocketAddr,
    moved: Moved,
    whole: Whole,
    local: Option<SocketAddr>,
}

/// Why a stream brings no request; its client was told.
#[derive(Debug)]
pub enum NoRequest {
    Malformed(Malformed),
    TooLarge,
}

/// Turns true when the handshake is whole.
pub(super) type Whole = watch::Receiver<bool>;

const EARLY_DATA: HeaderName = HeaderName::from_static("early-data");

impl Connection {
    pub(super) async fn begin(
        quic: quinn::Connection,
        whole: Whole,
        socket: Arc<Socket>,
        limits: &Limits,
    ) -> Result<Connection, h3::error::ConnectionError> {
        let head = limits.section_size();
        let moved = Moved::default();
        let streams = Streams::new(quic.clone(), head as usize, moved.clone());
        let beside = streams.beside();
        let mut builder = builder();
        builder.max_field_section_size(head.into());
        let http = builder.send_grease(false).build(streams).await?;
        Ok(Connection {
            quic,
            socket,
            http,
            beside,
            moved,
            whole,
        })
    }

    /// The next one; None once the connection is lost.
    pub async fn accept(&mut self) -> Option<Stream> {
        let resolver = self.http.accept().await.ok()??;
        let side = self.beside.take(resolver.frame_stream.send_id());
        Some(Stream {
            side: side.expect("it was put there when the stream came"),
            // Where its client is now: it may have moved.
            peer: self.quic.remote_address(),
            moved: self.moved.clone(),
            whole: self.whole.clone(),
            local: self.socket.local(self.quic.local_ip()),
            resolver,
        })
    }

    /// Tells the client to go elsewhere with what it has not asked yet. RFC 9114 §5.2.
    pub async fn go_away(&mut self) {
        // Lost, if it can't be told.
        let _ = self.http.shutdown(0).await;
    }

    /// Closes once the client has all that was sent to it, as far as can be told: it closes first.
    pub async fn end(self) {
        let _ = timeout(LINGER, self.quic.closed()).await;
    }
}

impl Stream {
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Reads the head. None: nobody is left to answer to. To be called with a deadline.
    pub async fn read(mut self, limits: &Limits) -> Result<Option<Asked>, NoRequest> {
        let Side {
            is_early,
            held,
            stopped,
            cancelled,
            ..
        } = self.side;
        let Some((head, stream)) = head(self.resolver).await? else {
            return Ok(None);
        };
        let terms = Terms {
            peer: self.peer,
            local: self.local,
            read: Some(limits.body_timeout),
            min_rate: limits.min_body_rate,
            write: limits.send_timeout,
            moved: self.moved,
        };
        let terms = terms.of(&head);
        let exchange = Exchange::new(stream, held, stopped);
        let mut session = Session::new(head, exchange, &terms);
        if session.look_for_body().await.is_err() {
            return Ok(None);
        }
        if is_early && !*self.whole.borrow() {
            // Somebody may repeat it. What changes nothing is answered all the same, and the server told that it is
            // for it to say 425: RFC 8470 §5.1. All else waits until it is known who asks.
            match session.is_safe() {
                true => {
                    let said = HeaderValue::from_static("1");
                    let added = session.request_mut().insert_header(EARLY_DATA, said);
                    added.expect("it is a field");
                }
                false if self.whole.wait_for(|whole| *whole).await.is_err() => return Ok(None),
                false => {}
            }
        }
        let cancelled = (!session.is_read()).then_some(cancelled);
        Ok(Some((session, cancelled)))
    }
}

/// The head, if it is a request's, and its stream. None: nobody is left to answer to.
async fn head(
    mut resolver: RequestResolver<Streams, Bytes>,
) -> Result<Option<(RequestHeader, RequestStream<Bidi, Bytes>)>, NoRequest> {
    let frame = poll_fn(|cx| resolver.frame_stream.poll_next(cx)).await;
    let said = match &frame {
        Ok(Some(Frame::Headers(section))) => pseudo::check(section),
        _ => Ok(()),
    };
    let resolved = match resolver.accept_with_frame(frame) {
        Ok(resolved) => resolved.resolve().await,
        Err(error) => Err(error),
    };
    let (request, mut stream) = match resolved {
        Ok(resolved) => resolved,
        Err(StreamError::StreamError { .. }) => {
            return Err(NoRequest::Malformed(Malformed("it has no head of HTTP/3")));
        }
        Err(StreamError::HeaderTooBig { .. }) => return Err(NoRequest::TooLarge),
        Err(_) => return Ok(None),
    };
    match said.and_then(|()| check(request)) {
        Ok(head) => Ok(Some((head, stream))),
        Err(malformed) => {
            stream.stop_stream(Code::H3_MESSAGE_ERROR);
            stream.stop_sending(Code::H3_MESSAGE_ERROR);
            Err(NoRequest::Malformed(malformed))
        }
    }
}
