//! HTTP/2: a connection, and the requests on its streams. RFC 9113.
//!
//! Frames, windows and floods are the affair of `h2`; a request is a session of Pingora's, as one over
//! HTTP/3 is, and goes the same way as all others from there on.

mod calm;
mod exchange;
mod websocket;

use super::session::{Session, Terms, check};
use super::{Conn, Limits, Malformed};
use bytes::Bytes;
use calm::{Calm, Spent};
use exchange::Exchange;
use h2::Reason;
use h2::server::{Builder, Connection as H2};
use http::Method;
use std::future::poll_fn;
use std::task::Poll;

/// Requests that a connection may have open.
const STREAMS: u32 = 100;
/// Requests that are none, after which a connection is closed: nobody sends many by mistake.
const MALFORMED: usize = 32;

/// To who agreed on HTTP/2 and said something else: SETTINGS, and a GOAWAY with PROTOCOL_ERROR. RFC 9113 §3.4.
pub const REFUSAL: &[u8] = b"\0\0\0\x04\0\0\0\0\0\0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\0\x01";

pub struct Connection {
    http: H2<Calm<Box<Conn>>, Bytes>,
    spent: Spent,
    terms: Terms,
    malformed: usize,
    /// That it has spent what it may: it gets nothing but the connection's end.
    is_told: bool,
}

pub type Request = Session<Exchange>;

/// What is asked for.
pub enum Asked {
    Answer(Request),
    /// The request is as HTTP/1.1 has it.
    WebSocket(Request),
}

impl Connection {
    pub async fn begin(conn: Box<Conn>, limits: &Limits) -> Result<Connection, h2::Error> {
        let terms = Terms {
            peer: conn.peer(),
            local: conn.local(),
            // A stream waits where another one on its connection is not read: not its client's fault.
            // And calls of gRPC may be silent for hours.
            read: None,
            min_rate: 0,
            write: limits.send_timeout,
        };
        let mut builder = Builder::new();
        builder.max_concurrent_streams(STREAMS);
        builder.max_header_list_size(limits.section_size());
        builder.enable_connect_protocol();
        let conn = Calm::new(conn);
        let spent = conn.spent();
        Ok(Connection {
            http: builder.handshake(conn).await?,
            spent,
            terms,
            malformed: 0,
            is_told: false,
        })
    }

    /// The next request, or why what came is none; None once the connection is over. Whatever happens on
    /// the connection, happens while this is waited for.
    pub async fn accept(&mut self) -> Option<Result<Asked, Malformed>> {
        let came = poll_fn(|cx| match self.http.poll_accept(cx) {
            Poll::Pending if self.spent.is_all() && !self.is_told => Poll::Ready(None),
            came => came.map(Some),
        });
        let Some(came) = came.await else {
            self.is_told = true;
            self.http.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
            return Some(Err(Malformed("too many frames that ask for nothing")));
        };
        let (request, mut answer) = came?.ok()?;
        let (mut head, body) = request.into_parts();
        let is_websocket = websocket::is_asked_for(&head);
        if is_websocket {
            head.method = Method::GET;
        }
        Some(match check(http::Request::from_parts(head, ())) {
            Ok(mut head) => {
                let exchange = Exchange::new(body, answer);
                Ok(match is_websocket {
                    false => Asked::Answer(Session::new(head, exchange, &self.terms)),
                    true => {
                        websocket::as_upgrade(&mut head);
                        Asked::WebSocket(Session::new(head, exchange, &self.terms))
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
        self.http.graceful_shutdown();
    }
}
