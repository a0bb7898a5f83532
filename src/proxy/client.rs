//! Whoever waits for an answer, and how it is sent.

use super::answer::{self, Problem};
use super::context::Context;
use super::finish::Sent;
use super::front;
use super::reply::write_status;
use super::request::Request;
use super::tunnel::Switches;
use crate::listen::Conn;
use bytes::Bytes;
use http::header::{DATE, TRANSFER_ENCODING};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::http::HttpTask;
use pingora::proxy::Session;
use pingora::{Error, ErrorType};
use std::future::Future;
use std::io::Write;
use std::time::SystemTime;
use tokio::io::{AsyncRead, AsyncWrite};

/// A request that is being answered. An error means that the client is gone.
pub trait Client: Send {
    fn request(&self) -> &RequestHeader;

    /// An answer before the answer.
    fn send_interim(&mut self, head: Box<ResponseHeader>) -> impl Send + Future<Output = Result>;

    /// `end`: no body follows.
    fn send_head(
        &mut self,
        head: Box<ResponseHeader>,
        end: bool,
    ) -> impl Send + Future<Output = Result>;

    fn send_body(&mut self, part: Bytes, end: bool) -> impl Send + Future<Output = Result>;

    /// What is to be done while the server is waited for: send what is held back, and look whether
    /// the client still is there. Ends when it has left, as far as that can be seen.
    fn rest(&mut self) -> impl Send + Future<Output = ()>;
}

type Result = pingora::Result<()>;

impl Client for Session {
    fn request(&self) -> &RequestHeader {
        self.req_header()
    }

    async fn send_interim(&mut self, head: Box<ResponseHeader>) -> Result {
        self.write_response_header(head, false).await
    }

    async fn send_head(&mut self, head: Box<ResponseHeader>, end: bool) -> Result {
        front::keep_date(self, &head.headers);
        if !end {
            return self.write_response_header(head, false).await;
        }
        // As a task, because that alone ends a stream with its head: gRPC's clients take a head that is
        // followed by nothing for an answer that broke off.
        let whole = vec![HttpTask::Header(head, true)];
        self.write_response_tasks(whole).await.map(drop)
    }

    async fn send_body(&mut self, part: Bytes, end: bool) -> Result {
        self.write_response_body(Some(part), end).await
    }

    /// The connection is read, which sends what it still holds: see `Conn::poll_read`.
    async fn rest(&mut self) {
        match self.is_body_done() {
            true => drop(self.read_body_or_idle(true).await),
            // Reading would take the request's body.
            false => std::future::pending().await,
        }
    }
}

/// A plain request on its connection, without Pingora, whose sessions take 25 KB each: many may
/// wait for the same answer.
pub struct Plain<'a> {
    conn: &'a mut Conn,
    request: Box<RequestHeader>,
    /// What goes before the next part of the body.
    out: Vec<u8>,
    chunked: bool,
    sent: Sent,
}

impl<'a> Plain<'a> {
    pub fn new(conn: &'a mut Conn, request: Box<RequestHeader>) -> Plain<'a> {
        Plain {
            conn,
            request,
            out: Vec::new(),
            chunked: false,
            sent: Sent {
                status: 0,
                bytes: 0,
            },
        }
    }

    /// Answers with the problem.
    pub async fn refuse(&mut self, problem: &Problem, ctx: &Context) -> Result {
        self.sent = answer::write(problem, &Request::of(&self.request), ctx, &mut self.out)?;
        self.flush(Bytes::new()).await
    }

    fn write_head(&mut self, head: &ResponseHeader) {
        write_status(&mut self.out, head.status);
        head.header_to_h1_wire(&mut self.out);
        self.out.extend_from_slice(b"\r\n");
    }

    async fn flush(&mut self, body: Bytes) -> Result {
        if self.out.is_empty() && body.is_empty() {
            return Ok(());
        }
        let out = std::mem::take(&mut self.out);
        let sent = match self.conn.send(&out, body) {
            Ok(()) => self.conn.sent().await,
            Err(e) => Err(e),
        };
        sent.map_err(|e| Error::because(ErrorType::WriteError, "answering", e).into_down())
    }
}

impl Client for Plain<'_> {
    fn request(&self) -> &RequestHeader {
        &self.request
    }

    async fn send_interim(&mut self, head: Box<ResponseHeader>) -> Result {
        self.write_head(&head);
        self.flush(Bytes::new()).await
    }

    async fn send_head(&mut self, mut head: Box<ResponseHeader>, end: bool) -> Result {
        if !head.headers.contains_key(DATE) {
            head.insert_header(DATE, httpdate::fmt_http_date(SystemTime::now()))?;
        }
        self.sent.status = head.status.as_u16();
        self.chunked = head.headers.contains_key(TRANSFER_ENCODING);
        self.write_head(&head);
        match end {
            true => self.flush(Bytes::new()).await,
            // With the first part, if that is there already.
            false => Ok(()),
        }
    }

    async fn send_body(&mut self, part: Bytes, end: bool) -> Result {
        self.sent.bytes += part.len();
        if !self.chunked {
            return self.flush(part).await;
        }
        if !part.is_empty() {
            write!(self.out, "{:x}\r\n", part.len()).expect("memory takes it");
            self.flush(part).await?;
            self.out.extend_from_slice(b"\r\n");
        }
        if end {
            self.out.extend_from_slice(b"0\r\n\r\n");
            self.flush(Bytes::new()).await?;
        }
        Ok(())
    }

    async fn rest(&mut self) {
        if self.out.is_empty() || self.flush(Bytes::new()).await.is_ok() {
            self.conn.left().await;
        }
    }
}

impl Switches for Plain<'_> {
    fn sent(&self) -> &Sent {
        &self.sent
    }

    fn switch(&mut self) -> Option<impl AsyncRead + AsyncWrite + Unpin + Send> {
        self.conn.switch();
        Some(&mut *self.conn)
    }
}
