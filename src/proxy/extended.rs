//! A WebSocket over HTTP/2: its request is a CONNECT (RFC 8441), which Pingora's proxy would refuse, so it has
//! a way of its own, from the same rooms as all others.

use super::answer::{self, Problem};
use super::client::Client;
use super::context::Context;
use super::finish::{Sent, finish};
use super::request::Request;
use super::tunnel::{self, Ended, Switches};
use super::way::{self, Way};
use super::{Edge, headers};
use crate::listen::{Entry, http2};
use bytes::Bytes;
use http::StatusCode;
use http::header::SEC_WEBSOCKET_ACCEPT;
use pingora::http::{RequestHeader, ResponseHeader};
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};

/// Answers a request for a WebSocket, and carries that to its end.
pub async fn answer(edge: Arc<Edge>, entry: Arc<Entry>, mut session: http2::Request) {
    headers::strip_proofs_of(session.request_mut());
    let (runtime, metrics) = (edge.runtime.load_full(), edge.foundation.metrics.clone());
    let mut ctx = Box::new(Context::new(runtime, metrics));
    let (peer, local) = session.peer();
    ctx.comes(peer, local);
    ctx.entry = Some(entry);
    let mut client = Stream {
        session,
        sent: Sent {
            status: 0,
            bytes: 0,
        },
    };
    let ended = match find(&client, &mut ctx).await {
        Ok(()) => tunnel::serve(&edge, &mut client, &mut ctx).await,
        Err(problem) => Ok(Ended::Refused(problem)),
    };
    let done = match ended {
        Ok(Ended::Refused(problem)) => answer::tell(&mut client, &mut ctx, &problem).await,
        Ok(Ended::Switched) => return drop(client.session.end().await),
        Ok(Ended::Answered) => client.session.end().await,
        Err(e) => Err(e),
    };
    let why = || done.as_ref().err().map(ToString::to_string);
    finish(&Request::of(client.request()), &ctx, &client.sent, why);
}

/// Whether it may be passed on, once that is decided.
async fn find(client: &Stream, ctx: &mut Context) -> Result<(), Problem> {
    let request = Request::of(client.request());
    way::identify(&request, ctx);
    let way = way::find(&request, ctx);
    match way::decided(way, &request, ctx).await {
        Way::Pass => Ok(()),
        Way::Refuse(problem) => Err(problem),
        // What the edge itself answers is nothing that speaks another protocol.
        _ => Err(Problem::Malformed("there is no WebSocket")),
    }
}

struct Stream {
    session: http2::Request,
    sent: Sent,
}

type Result<T = (), E = Box<pingora::Error>> = std::result::Result<T, E>;

impl Client for Stream {
    fn request(&self) -> &RequestHeader {
        self.session.request()
    }

    async fn send_interim(&mut self, head: Box<ResponseHeader>) -> Result {
        self.session.write_head(head, false).await
    }

    /// That there is a WebSocket is said by 200: RFC 8441 §5. A server that says so otherwise has opened none.
    async fn send_head(&mut self, mut head: Box<ResponseHeader>, end: bool) -> Result {
        let switches = head.status == StatusCode::SWITCHING_PROTOCOLS;
        if switches {
            head.set_status(StatusCode::OK)?;
            head.remove_header(&SEC_WEBSOCKET_ACCEPT);
        } else if head.status.is_success() {
            head.set_status(StatusCode::BAD_GATEWAY)?;
        }
        self.sent.status = head.status.as_u16();
        self.session.write_head(head, end && !switches).await
    }

    async fn send_body(&mut self, part: Bytes, end: bool) -> Result {
        self.sent.bytes += part.len();
        self.session.write(part, end).await
    }

    async fn rest(&mut self) {
        self.session.stopped().await;
    }
}

impl Switches for Stream {
    fn sent(&self) -> &Sent {
        &self.sent
    }

    fn switch(&mut self) -> Option<impl AsyncRead + AsyncWrite + Unpin + Send> {
        self.session.carrier().bytes()
    }
}
