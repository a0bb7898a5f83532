//! A request's stream, as `h3` reads and writes it.

use super::streams::{Bidi, Held, Later};
use crate::listen::session::{Carrier, gone, unsent};
use bytes::{Buf, Bytes};
use h3::error::Code;
use h3::server::RequestStream;
use http::{HeaderMap, Response};
use pingora::Result;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

pub struct Exchange {
    stream: RequestStream<Bidi, Bytes>,
    held: Arc<Held>,
    /// None once it has come true.
    stopped: Option<Later<()>>,
    malformed: bool,
    ended: bool,
}

impl Exchange {
    async fn finish(&mut self) -> Result<()> {
        self.ended = true;
        self.stream.finish().await.map_err(unsent)
    }

    pub fn new(
        stream: RequestStream<Bidi, Bytes>,
        held: Arc<Held>,
        stopped: Later<()>,
    ) -> Exchange {
        Exchange {
            stream,
            held,
            stopped: Some(stopped),
            malformed: false,
            ended: false,
        }
    }
}

impl Carrier for Exchange {
    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>>> {
        let came = ready!(self.stream.poll_recv_data(cx)).map_err(gone)?;
        Poll::Ready(Ok(came.map(|mut part| {
            let part = part.copy_to_bytes(part.remaining());
            self.held.taken(part.len());
            part
        })))
    }

    /// `h3` takes an empty frame for the end as well; what follows it is an error then.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        ready!(self.stream.poll_recv_trailers(cx)).map_err(gone)?;
        Poll::Ready(Ok(()))
    }

    /// Only reading tells.
    fn has_ended(&self) -> bool {
        false
    }

    fn poll_stopped(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(stopped) = &mut self.stopped {
            ready!(stopped.as_mut().poll(cx));
            self.stopped = None;
        }
        Poll::Ready(())
    }

    async fn send_interim(&mut self, head: Response<()>) -> Result<()> {
        self.stream.send_response(head).await.map_err(unsent)
    }

    async fn send_head(&mut self, head: Response<()>, end: bool) -> Result<()> {
        self.stream.send_response(head).await.map_err(unsent)?;
        match end {
            true => self.finish().await,
            false => Ok(()),
        }
    }

    async fn send_data(&mut self, part: Bytes, end: bool) -> Result<()> {
        if !part.is_empty() {
            self.stream.send_data(part).await.map_err(unsent)?;
        }
        match end {
            true => self.finish().await,
            false => Ok(()),
        }
    }

    async fn send_trailers(&mut self, trailers: HeaderMap) -> Result<()> {
        self.stream.send_trailers(trailers).await.map_err(unsent)?;
        self.finish().await
    }

    /// RFC 9114 §4.1.
    fn refuse_rest(&mut self) {
        self.stream.stop_sending(Code::H3_NO_ERROR);
    }

    /// RFC 9114 §4.1.2.
    fn malformed(&mut self) {
        self.malformed = true;
    }

    fn reset(&mut self) {
        self.ended = true;
        self.stream.stop_stream(match self.malformed {
            true => Code::H3_MESSAGE_ERROR,
            false => Code::H3_INTERNAL_ERROR,
        });
    }
}

impl Drop for Exchange {
    /// Whoever drops an answer that is not whole need not know why it isn't.
    fn drop(&mut self) {
        if !self.ended {
            self.reset();
        }
    }
}
