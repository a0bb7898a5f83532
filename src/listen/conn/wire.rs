//! What carries a connection's bytes: the socket, and TLS on it where that is spoken.
//!
//! Records are made when they are written and not before, so that what a slow client has yet to take
//! is kept once, and mostly by others: `AHEAD` bytes of it are a connection's own.

use crate::listen::socket::Socket;
use rustls::ServerConnection;
use std::io::{self, BufRead, IoSlice, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes in records that wait for the socket: an answer of 64 KiB with its head is one write.
const AHEAD: usize = 80 << 10;

pub struct Wire {
    socket: Socket,
    tls: Option<Box<ServerConnection>>,
}

impl Wire {
    pub fn new(socket: Socket) -> Wire {
        Wire { socket, tls: None }
    }

    pub fn socket(&self) -> &Socket {
        &self.socket
    }

    pub fn socket_mut(&mut self) -> &mut Socket {
        &mut self.socket
    }

    /// From here on all goes through `tls`.
    pub fn secure(&mut self, mut tls: Box<ServerConnection>) {
        tls.set_buffer_limit(Some(AHEAD));
        self.tls = Some(tls);
    }

    pub fn is_secure(&self) -> bool {
        self.tls.is_some()
    }

    /// Whether the socket has all that was written.
    pub fn is_flushed(&self) -> bool {
        self.tls.as_ref().is_none_or(|tls| !tls.wants_write())
    }

    /// What the socket takes at once. Nothing, where it takes nothing.
    pub fn try_write(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let Wire { socket, tls } = self;
        let Some(tls) = tls else {
            return or_nothing(try_write(socket, parts));
        };
        let taken = tls.writer().write_vectored(parts)?;
        or_nothing(tls.write_tls(&mut Trying(socket)))?;
        Ok(taken)
    }

    pub fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let Wire { socket, tls } = self;
        let Some(tls) = tls else {
            return poll_write(socket, cx, parts);
        };
        loop {
            let taken = tls.writer().write_vectored(parts)?;
            let flushed = poll_flush_some(socket, tls, cx)?;
            if taken > 0 || parts.iter().all(|part| part.is_empty()) {
                return Poll::Ready(Ok(taken));
            }
            ready!(flushed);
        }
    }

    /// One write of what the socket has yet to take. Only while `is_flushed` is false.
    pub fn poll_flush_some(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.tls {
            Some(tls) => poll_flush_some(&mut self.socket, tls, cx),
            None => Poll::Ready(Ok(())),
        }
    }

    /// The end of what is written, said in TLS too: who doesn't see it said knows that something is
    /// missing. RFC 8446 §6.1.
    pub fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
            while tls.wants_write() {
                ready!(poll_flush_some(&mut self.socket, tls, cx))?;
            }
        }
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }

    /// Says the end if that can be done at once.
    pub fn try_end(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
            // Who can't be told has left.
            let _ = tls.write_tls(&mut Trying(&self.socket));
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Wire { socket, tls } = self.get_mut();
        let Some(tls) = tls else {
            return Pin::new(socket).poll_read(cx, buf);
        };
        loop {
            let mut reader = tls.reader();
            match reader.fill_buf() {
                Ok(part) => {
                    let n = part.len().min(buf.remaining());
                    buf.put_slice(&part[..n]);
                    reader.consume(n);
                    return Poll::Ready(Ok(()));
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) => return Poll::Ready(Err(e)),
            }
            let came = poll_records(socket, tls, cx);
            if tls.wants_write() {
                // Tickets, an alert, an answer to new keys: nobody else may write for long.
                let _ = poll_flush_some(socket, tls, cx)?;
            }
            ready!(came)?;
        }
    }
}

/// Reads what has come, and opens the records that are whole. At the end too; `reader` says then
/// whether it was one.
fn poll_records(
    socket: &mut Socket,
    tls: &mut ServerConnection,
    cx: &mut Context<'_>,
) -> Poll<io::Result<()>> {
    match tls.read_tls(&mut Polling(socket, cx)) {
        Ok(_) => {}
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
        Err(e) => return Poll::Ready(Err(e)),
    }
    let opened = tls.process_new_packets();
    Poll::Ready(opened.map(drop).map_err(not_tls))
}

/// What is no TLS is no request either.
pub fn not_tls(e: rustls::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, e)
}

fn poll_flush_some(
    socket: &mut Socket,
    tls: &mut ServerConnection,
    cx: &mut Context<'_>,
) -> Poll<io::Result<()>> {
    match tls.write_tls(&mut Polling(socket, cx)) {
        Ok(0) if tls.wants_write() => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
        Ok(_) => Poll::Ready(Ok(())),
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
        Err(e) => Poll::Ready(Err(e)),
    }
}

fn poll_write(
    socket: &mut Socket,
    cx: &mut Context<'_>,
    parts: &[IoSlice<'_>],
) -> Poll<io::Result<usize>> {
    match parts {
        [part] => Pin::new(socket).poll_write(cx, part),
        parts => Pin::new(socket).poll_write_vectored(cx, parts),
    }
}

fn try_write(socket: &Socket, parts: &[IoSlice<'_>]) -> io::Result<usize> {
    match parts {
        [part] => socket.try_write(part),
        parts => socket.try_write_vectored(parts),
    }
}

fn or_nothing(written: io::Result<usize>) -> io::Result<usize> {
    match written {
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(0),
        written => written,
    }
}

/// A socket as `rustls` reads and writes one; waiting is `WouldBlock`.
struct Polling<'a, 'b>(&'a mut Socket, &'a mut Context<'b>);

impl Read for Polling<'_, '_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut buf = ReadBuf::new(into);
        match Pin::new(&mut *self.0).poll_read(self.1, &mut buf) {
            Poll::Ready(read) => read.map(|()| buf.filled().len()),
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

impl Write for Polling<'_, '_> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(data)])
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        match poll_write(self.0, self.1, parts) {
            Poll::Ready(written) => written,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The same for what isn't waited for.
struct Trying<'a>(&'a Socket);

impl Write for Trying<'_> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.0.try_write(data)
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        try_write(self.0, parts)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
