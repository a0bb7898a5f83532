//! A WebSocket on a stream: it is asked for by an extended CONNECT, and its bytes are the stream's. RFC 8441.

use super::exchange::Exchange;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::{Buf, Bytes};
use h2::ext::Protocol;
use h2::{RecvStream, SendStream};
use http::Method;
use http::header::{CONNECTION, SEC_WEBSOCKET_KEY, UPGRADE};
use http::request::Parts;
use pingora::http::RequestHeader;
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Whether this asks for a WebSocket. §5.
pub fn is_asked_for(head: &Parts) -> bool {
    let protocol = head.extensions.get::<Protocol>();
    head.method == Method::CONNECT && protocol.is_some_and(|to| to.as_str() == "websocket")
}

/// The request as HTTP/1.1 has it, which servers are asked by: RFC 6455 §4.1. It has passed `check` as a GET.
pub fn as_upgrade(head: &mut RequestHeader) {
    let nonce: [u8; 16] = std::array::from_fn(|_| fastrand::u8(..));
    for (name, value) in [
        (UPGRADE, "websocket"),
        (CONNECTION, "Upgrade"),
        (SEC_WEBSOCKET_KEY, &BASE64_STANDARD.encode(nonce)),
    ] {
        head.insert_header(name, value)
            .expect("it is a field's value");
    }
}

/// The stream's bytes, once it was answered.
pub struct Bytestream<'a> {
    from: &'a mut RecvStream,
    to: &'a mut SendStream<Bytes>,
    /// Come and not yet read.
    input: Bytes,
}

impl Exchange {
    /// None: it has no answer yet.
    pub fn bytes(&mut self) -> Option<Bytestream<'_>> {
        Some(Bytestream {
            from: &mut self.body,
            to: self.sending.as_mut()?,
            input: Bytes::new(),
        })
    }
}

impl AsyncRead for Bytestream<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.input.is_empty() {
            match ready!(self.from.poll_data(cx)) {
                Some(part) => self.input = part.map_err(io::Error::other)?,
                None => return Poll::Ready(Ok(())),
            }
        }
        let n = self.input.len().min(buf.remaining());
        buf.put_slice(&self.input[..n]);
        self.input.advance(n);
        // A stream that was reset has no window to widen.
        let _ = self.from.flow_control().release_capacity(n);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Bytestream<'_> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.to.reserve_capacity(buf.len());
        // More of it is told only when it grows.
        while self.to.capacity() == 0 {
            let room = ready!(self.to.poll_capacity(cx)).ok_or(ErrorKind::BrokenPipe)?;
            room.map_err(io::Error::other)?;
        }
        let part = Bytes::copy_from_slice(&buf[..buf.len().min(self.to.capacity())]);
        let n = part.len();
        self.to.send_data(part, false).map_err(io::Error::other)?;
        Poll::Ready(Ok(n))
    }

    /// The connection is flushed whenever there is something: whoever looks after it sees to that.
    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// As a connection that ends in order: §5.
    fn poll_shutdown(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let ended = self.to.send_data(Bytes::new(), true);
        Poll::Ready(ended.map_err(io::Error::other))
    }
}
