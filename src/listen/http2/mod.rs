//! HTTP/2: a connection, and the requests on its streams. RFC 9113.
//!
//! Frames, windows and floods are the affair of `h2`; a request is a session of Pingora's, as one over
//! HTTP/3 is, and goes the same way as all others from there on.

mod calm;
mod cancel;
mod exchange;
mod websocket;

use super::session::{Moved, Session, Terms, check};
use super::{Conn, Limits, Malformed};
use bytes::Bytes;
use calm::{Calm, Leaving, Lost};
pub use cancel::Cancelled;
use cancel::Watched;
use exchange::Exchange;
use h2::Reason;
use h2::server::{Builder, Connection as H2};
use http::Method;
use std::future::poll_fn;
use std::task::Poll;

/// Requests that a connection may have open.
const STREAMS: u32 = 100;
/// Bytes of bodies that a connection may have sent and nobody has read yet; a stream's are 64 KiB of them.
const WINDOW: u32 = 256 << 10;
/// Requests that are none, after which a connection is closed: nobody sends many by mistake.
const MALFORMED: usize = 32;
/// The same of streams that `h2` has to reset for what was sent on them (CVE-2025-8671). Some come of uploads that
/// were refused, and whose client was still sending.
const IN_ERROR: usize = 256;

/// To who agreed on HTTP/2 and said something else: SETTINGS, and a GOAWAY with PROTOCOL_ERROR. RFC 9113 §3.4.
pub const REFUSAL: &[u8] = b"\0\0\0\x04\0\0\0\0\0\0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\0\x01";

pub struct Connection {
    http: H2<Calm<Box<Conn>>, Bytes>,
    lost: Lost,
    leaving: Leaving,
    watched: Watched,
    terms: Terms,
    malformed: usize,
    /// That nothing more is read: it gets nothing but the connection's end.
    is_told: bool,
}

pub type Request = Session<Exchange>;

/// What is asked for.
pub enum Asked {
    /// Where it has a body, with what tells that the client wants no answer any more.
    Answer(Request, Option<Cancelled>),
    /// The request is as HTTP/1.1 has it.
    WebSocket(Request),
}

impl Connection {
    pub async fn begin(conn: Box<Conn>, limits: &Limits) -> Result<Connection, h2::Error> {
        let terms = Terms {
            peer: conn.peer(),
            local: conn.local(),
            read: Some(limits.body_timeout),
            min_rate: limits.min_body_rate,
            write: limits.send_timeout,
            moved: Moved::default(),
        };
        let mut builder = Builder::new();
        builder.max_concurrent_streams(STREAMS);
        builder.max_header_list_size(limits.section_size());
        builder.max_local_error_reset_streams(Some(IN_ERROR));
        builder.enable_connect_protocol();
        // Room for several streams' windows: one whose server is slow to read holds none of the others up.
        builder.initial_connection_window_size(WINDOW);
        let conn = Calm::new(conn, limits.header_timeout);
        let (lost, leaving, watched) = (conn.lost(), conn.leaving(), conn.watched());
        Ok(Connection {
            http: builder.handshake(conn).await?,
            lost,
            leaving,
            watched,
            terms,
            malformed: 0,
            is_told: false,
        })
    }

    /// The next request, or why what came is none; None once the connection is over. Whatever happens on
    /// the connection, happens while this is waited for.
    pub async fn accept(&mut self) -> Option<Result<Asked, Malformed>> {
        let came = poll_fn(|cx| match self.http.poll_accept(cx) {
            Poll::Pending => match self.lost.why().filter(|_| !self.is_told) {
                Some(why) => Poll::Ready(Err(why)),
                None => Poll::Pending,
            },
            Poll::Ready(came) => Poll::Ready(Ok(came)),
        });
        let came = match came.await {
            Ok(came) => came,
            Err(why) => {
                self.is_told = true;
                self.http.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
                return Some(Err(why));
            }
        };
        let (request, mut answer) = came?.ok()?;
        let (mut head, body) = request.into_parts();
        let is_websocket = websocket::is_asked_for(&head);
        if is_websocket {
            head.method = Method::GET;
        }
        Some(match check(http::Request::from_parts(head, ())) {
            Ok(mut head) => {
                let terms = self.terms.of(&head);
                let has_body = !body.is_end_stream();
                let cancelled = has_body.then(|| self.watched.watch(body.stream_id().into()));
                let exchange = Exchange::new(body, answer, terms.moved.clone());
                Ok(match is_websocket {
                    false => Asked::Answer(Session::new(head, exchange, &terms), cancelled),
                    true => {
                        websocket::as_upgrade(&mut head);
                        Asked::WebSocket(Session::new(head, exchange, &terms))
                    }
                })
            }
            Err(malformed) => {
                answer.send_reset(Reason::PROTOCOL_ERROR);
                self.malformed += 1;
                if self.malformed == MALFORMED {
                    self.http.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
                }
                Err(malformed)
            }
        })
    }

    /// Tells the client to go elsewhere with what it has not asked yet: RFC 9113 §6.8. The connection is over
    /// once all that it has asked is answered.
    pub fn go_away(&mut self) {
        self.leaving.begins();
        self.http.graceful_shutdown();
    }
}
