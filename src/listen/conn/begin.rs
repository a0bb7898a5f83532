//! How a request begins: its head is waited for, bounded, and checked.

use super::farewell::Farewell;
use super::{Conn, Rest, lock};
use crate::listen::Malformed;
use crate::listen::chunks::Chunks;
use crate::listen::head::{self, Checked, Framing};
use crate::listen::pace::Pace;
use bytes::{Buf, BytesMut};
use pingora::time::timeout;
use std::task::Poll;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

const H2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What a head may cost.
#[derive(Clone, Copy, Debug)]
pub struct ConnLimits {
    /// Between two requests.
    pub idle: Duration,
    /// From a head's first byte to its last.
    pub header: Duration,
    pub header_size: usize,
    /// How long nothing may be taken of what is written.
    pub send: Duration,
    /// Of a body, in bytes per second.
    pub min_body_rate: u64,
}

/// How the wait for a request ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Begun {
    /// A well-formed head is in the buffer.
    Request,
    /// HTTP/2: with prior knowledge, or agreed on inside TLS.
    Http2,
    /// The client left, or nothing came for too long.
    Closed,
    TimedOut,
    TooLarge,
    Malformed(Malformed),
    /// What came is the preface of something else: an answer would not be understood. RFC 9113 §3.4.
    Stranger,
}

impl Conn {
    /// Waits for the next request's head. Cancel-safe while nothing of it has come.
    pub async fn begin(&mut self, limits: &ConnLimits) -> Begun {
        (self.granted, self.rest, self.plain) = (0, Rest::Nothing, None);
        self.pace = Pace::at_least(limits.min_body_rate);
        self.patience = limits.send;
        self.farewell = Farewell::default();
        *lock(&self.luggage) = None;
        if self.input.is_empty() && !self.wait_for_input(limits.idle).await {
            return Begun::Closed;
        }
        // The usual case: the whole head came at once, and no timer is needed.
        if let Some(begun) = self.look(limits.header_size) {
            return begun;
        }
        match timeout(limits.header, self.read_head(limits.header_size)).await {
            Ok(begun) => begun,
            Err(_) => Begun::TimedOut,
        }
    }

    /// False when the client left or nothing came for `idle`.
    ///
    /// One timer lives as long as the connection and is moved only when it fires: setting one for
    /// each request costs a place in the timer's queue, and nearly none of them ever fires.
    async fn wait_for_input(&mut self, idle: Duration) -> bool {
        let until = Instant::now() + idle;
        std::future::poll_fn(|cx| {
            if let Poll::Ready(read) = self.poll_fill(cx) {
                return Poll::Ready(matches!(read, Ok(1..)));
            }
            let timer = self
                .idle
                .get_or_insert_with(|| Box::pin(sleep_until(until)));
            // Set for an earlier request, or by a configuration that waited longer.
            if timer.deadline() > until {
                timer.as_mut().reset(until);
            }
            while timer.as_mut().poll(cx).is_ready() {
                if timer.deadline() >= until {
                    return Poll::Ready(false);
                }
                timer.as_mut().reset(until);
            }
            Poll::Pending
        })
        .await
    }

    async fn read_head(&mut self, header_size: usize) -> Begun {
        loop {
            match self.fill().await {
                Ok(n) if n > 0 => {}
                _ => return Begun::Closed,
            }
            if let Some(begun) = self.look(header_size) {
                return begun;
            }
        }
    }

    /// What the buffer holds: a head, something that will never be one, or not enough yet.
    fn look(&mut self, header_size: usize) -> Option<Begun> {
        if self.agreed_on_http2() {
            return self.look_for_preface();
        }
        self.skip_empty_lines();
        let seen = self.input.len().min(H2_PREFACE.len());
        if seen > 3 && self.input[..seen] == H2_PREFACE[..seen] {
            return self.look_for_preface();
        }
        let end = match end_of_head(&self.input) {
            Ok(Some(end)) if end > header_size => return Some(Begun::TooLarge),
            Ok(Some(end)) => end,
            Ok(None) if self.input.len() > header_size => return Some(Begun::TooLarge),
            Ok(None) => return None,
            Err(malformed) => return Some(Begun::Malformed(malformed)),
        };
        Some(match self.take_head(end) {
            Ok(()) => Begun::Request,
            Err(_) if is_broken_preface(&self.input[..end]) => Begun::Stranger,
            Err(malformed) => Begun::Malformed(malformed),
        })
    }

    fn look_for_preface(&mut self) -> Option<Begun> {
        self.rest = Rest::All;
        if self.input.starts_with(H2_PREFACE) {
            return Some(Begun::Http2);
        }
        let may_come = H2_PREFACE.starts_with(&self.input);
        (!may_come).then_some(Begun::Malformed(Malformed("it is not HTTP/2")))
    }

    fn take_head(&mut self, end: usize) -> Result<(), Malformed> {
        let checked = head::check(&self.input[..end])?;
        let Checked { framing, plain, .. } = checked;
        let mut length = end;
        if checked.declined {
            length = self.replace_head(length, &head::without_offer(&self.input[..length])?);
        }
        if let Some(head) = head::to_origin_form(&self.input[..length])? {
            length = self.replace_head(length, &head);
        }
        let head = length as u64;
        (self.granted, self.rest) = match framing {
            Framing::Length(body) => (head.saturating_add(body), Rest::Nothing),
            Framing::Chunked => (head, Rest::Chunks(Chunks::default())),
            Framing::Upgrade => (0, Rest::All),
        };
        let body = match framing {
            Framing::Length(body) => body,
            Framing::Chunked => u64::MAX,
            Framing::Upgrade => 0,
        };
        self.unread.begins(body, self.wire.socket());
        self.plain = plain.then_some(length);
        self.farewell.can_be_asked = checked.is_http_11;
        Ok(())
    }

    /// Gives back the new one's length.
    fn replace_head(&mut self, length: usize, head: &[u8]) -> usize {
        let after = self.input.split_off(length);
        self.input = BytesMut::from(head);
        self.input.unsplit(after);
        head.len()
    }

    /// RFC 9112 §2.2: some clients send an empty line after a request's body.
    fn skip_empty_lines(&mut self) {
        while self.input.starts_with(b"\r\n") {
            self.input.advance(2);
        }
    }

    /// Ends a plain request, which is answered by what is sent next. True when another plain one
    /// has already come and is now the present one.
    pub fn next_plain(&mut self, header_size: usize) -> bool {
        let length = self.plain.take().expect("called for a plain request");
        self.input.advance(length);
        self.granted = 0;
        // What is no whole, plain request is `begin`'s affair: it looks again.
        !self.input.is_empty()
            && self.look(header_size) == Some(Begun::Request)
            && self.plain.is_some()
    }
}

/// Whether it is a line like HTTP/2's preface, three words and nothing more, with neither a path nor a version
/// of HTTP among them.
fn is_broken_preface(head: &[u8]) -> bool {
    let line = head.strip_suffix(b"\r\n\r\n").unwrap_or(head);
    let words = line.split(|byte| *byte == b' ');
    words.count() == 3
        && line
            .iter()
            .all(|byte| byte.is_ascii_uppercase() || *byte == b' ')
}

/// The length of the head that `input` begins with, its empty line included. A line that ends
/// without CR is refused: readers differ on it (RFC 9112 §2.2).
fn end_of_head(input: &[u8]) -> Result<Option<usize>, Malformed> {
    let mut line = 0;
    for newline in memchr::memchr_iter(b'\n', input) {
        if newline == line || input[newline - 1] != b'\r' {
            return Err(Malformed("a line that ends without CR"));
        }
        if newline == line + 1 {
            return Ok(Some(newline + 1));
        }
        line = newline + 1;
    }
    Ok(None)
}
