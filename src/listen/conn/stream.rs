//! A connection as the stream that Pingora reads a request from and writes its answer to.

use super::{Conn, Rest, WRITE_BUFFER};
use crate::listen::Malformed;
use async_trait::async_trait;
use bytes::Buf;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::tls::SslDigest;
use pingora::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl,
    TimingDigest, UniqueID, UniqueIDType,
};
use std::io::{self, IoSlice};
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

impl AsyncRead for Conn {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let conn = self.get_mut();
        // Whoever waits for the client has said what there is to say for now; Pingora holds back a
        // body whose length is known until the last of it.
        if let Poll::Ready(sent) = conn.poll_send(cx) {
            sent?;
        }
        if conn.rest == Rest::All {
            ready!(conn.turn.poll(cx));
        }
        let before = buf.filled().len();
        let read = conn.poll_request(cx, buf);
        if read.is_pending() {
            conn.turn.pause();
        }
        let is_body = !matches!(conn.rest, Rest::All) && !conn.was_read();
        match &read {
            Poll::Pending if is_body => conn.pace.waits(Instant::now),
            Poll::Ready(Ok(())) => {
                let came = buf.filled().len() - before;
                conn.unread.came(came, conn.wire.socket());
                if !conn.pace.came(came, Instant::now) {
                    return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
                }
            }
            _ => {}
        }
        read
    }
}

impl AsyncWrite for Conn {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        let conn = self.get_mut();
        conn.farewell.has_begun = true;
        if !conn.tail.is_empty() {
            ready!(conn.poll_send(cx))?;
        }
        loop {
            if conn.output.len() + data.len() <= WRITE_BUFFER {
                let start = conn.output.len();
                conn.output.extend_from_slice(data);
                conn.restore_date(start);
                return Poll::Ready(Ok(data.len()));
            }
            let n = ready!(conn.poll_write_through(cx, data))?;
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            let waited = conn.output.len();
            conn.output.advance(n.min(waited));
            if n > waited {
                return Poll::Ready(Ok(n - waited));
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_send(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let conn = self.get_mut();
        ready!(conn.poll_send(cx))?;
        conn.wire.poll_shutdown(cx)
    }
}

impl Conn {
    /// What has come of the present request, or its end.
    fn poll_request(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let most = ready!(self.poll_granted(cx))?.min(buf.remaining());
        if most == 0 {
            return self.poll_between(cx);
        }
        if !self.input.is_empty() {
            let n = most.min(self.input.len());
            buf.put_slice(&self.input[..n]);
            self.input.advance(n);
            self.spend(n);
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        if most >= buf.remaining() {
            ready!(Pin::new(&mut self.wire).poll_read(cx, buf))?;
        } else {
            let mut part = ReadBuf::new(buf.initialize_unfilled_to(most));
            ready!(Pin::new(&mut self.wire).poll_read(cx, &mut part))?;
            let n = part.filled().len();
            buf.advance(n);
        }
        let n = buf.filled().len() - before;
        self.spend(n);
        Poll::Ready(Ok(()))
    }

    /// Straight from where it is.
    fn poll_write_through(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let both = [IoSlice::new(&self.output), IoSlice::new(data)];
        let written = match self.output.is_empty() {
            true => self.wire.poll_write(cx, &both[1..]),
            // What waits goes first, in the same packet as what follows it.
            false => self.wire.poll_write(cx, &both),
        };
        self.poll_moving(cx, written)
    }

    /// At the end of a request: a client's bytes are the next request's, that it is gone is news.
    fn poll_between(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.input.is_empty() {
            return Poll::Pending;
        }
        match ready!(self.poll_fill(cx))? {
            0 if self.was_read() => self.poll_gone(cx).map(Ok),
            // It has said less than it was going to.
            0 => Poll::Ready(Ok(())),
            _ => Poll::Pending,
        }
    }

    /// How many of the next bytes may be read; 0 at the request's end, or the connection's.
    fn poll_granted(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let most = match &mut self.rest {
            Rest::All => u64::MAX,
            Rest::Chunks(chunks) if self.granted == 0 && !chunks.ended() => {
                if self.input.is_empty() {
                    ready!(self.poll_fill(cx))?;
                }
                self.grant_chunks()?
            }
            _ => self.granted,
        };
        Poll::Ready(Ok(usize::try_from(most).unwrap_or(usize::MAX)))
    }

    /// All that has come of the chunks. What was granted before has been read by then.
    fn grant_chunks(&mut self) -> io::Result<u64> {
        if let Rest::Chunks(chunks) = &mut self.rest {
            self.granted = chunks.take(&self.input).map_err(Malformed::into_io)? as u64;
        }
        Ok(self.granted)
    }

    fn spend(&mut self, read: usize) {
        if self.rest != Rest::All {
            self.granted -= read as u64;
        }
    }
}

impl std::fmt::Debug for Conn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Conn")
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Shutdown for Conn {
    async fn shutdown(&mut self) {
        self.close().await;
    }
}

#[async_trait]
impl Peek for Conn {
    /// Only ever asked for the HTTP/2 preface, which `begin` has read by then.
    async fn try_peek(&mut self, buf: &mut [u8]) -> io::Result<bool> {
        while self.input.len() < buf.len() {
            if self.fill().await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        buf.copy_from_slice(&self.input[..buf.len()]);
        Ok(true)
    }
}

impl UniqueID for Conn {
    fn id(&self) -> UniqueIDType {
        self.wire.socket().as_raw_fd()
    }
}

/// For connections that are handed over whole, which speak HTTP/2: Pingora takes no preface inside TLS
/// for prior knowledge.
impl Ssl for Conn {
    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        let secured = self.entry.secured()?;
        let (cipher, version) = (secured.cipher, secured.version);
        Some(Arc::new(SslDigest::new(
            cipher,
            version,
            None,
            None,
            Vec::new(),
        )))
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        self.wire.is_secure().then_some(ALPN::H2)
    }
}

impl GetTimingDigest for Conn {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetProxyDigest for Conn {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        None
    }
}

impl GetSocketDigest for Conn {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        Some(self.digest.clone())
    }
}
