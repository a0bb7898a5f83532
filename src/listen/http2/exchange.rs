//! A request's stream, as `h2` reads and writes it.

use crate::listen::session::{Carrier, Moved, gone, unsent};
use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Response};
use pingora::Result;
use std::future::poll_fn;
use std::task::{Context, Poll, ready};

pub struct Exchange {
    pub(super) body: RecvStream,
    answer: SendResponse<Bytes>,
    /// Once the answer's head was sent.
    pub(super) sending: Option<SendStream<Bytes>>,
    moved: Moved,
}

impl Exchange {
    pub fn new(body: RecvStream, answer: SendResponse<Bytes>, moved: Moved) -> Exchange {
        Exchange {
            body,
            answer,
            sending: None,
            moved,
        }
    }
}

fn begun(sending: &mut Option<SendStream<Bytes>>) -> Result<&mut SendStream<Bytes>> {
    let sending = sending.as_mut();
    sending.ok_or_else(|| unsent("a body before its head"))
}

impl Carrier for Exchange {
    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>>> {
        let Some(part) = ready!(self.body.poll_data(cx)) else {
            return Poll::Ready(Ok(None));
        };
        let part = part.map_err(gone)?;
        // Whoever asks for it has room for it. A stream that was reset has no window to widen.
        let _ = self.body.flow_control().release_capacity(part.len());
        Poll::Ready(Ok(Some(part)))
    }

    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        ready!(self.body.poll_trailers(cx)).map_err(gone)?;
        Poll::Ready(Ok(()))
    }

    fn has_ended(&self) -> bool {
        self.body.is_end_stream()
    }

    /// By a reset, or with its connection.
    fn poll_stopped(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.sending {
            Some(sending) => sending.poll_reset(cx).map(drop),
            None => self.answer.poll_reset(cx).map(drop),
        }
    }

    async fn send_interim(&mut self, head: Response<()>) -> Result<()> {
        self.answer.send_informational(head).map_err(unsent)
    }

    async fn send_head(&mut self, head: Response<()>, end: bool) -> Result<()> {
        self.sending = Some(self.answer.send_response(head, end).map_err(unsent)?);
        Ok(())
    }

    /// As the client's windows take it: RFC 9113 §5.2.
    async fn send_data(&mut self, mut part: Bytes, end: bool) -> Result<()> {
        let Exchange { sending, moved, .. } = self;
        let sending = begun(sending)?;
        if part.is_empty() {
            return sending.send_data(part, end).map_err(unsent);
        }
        while !part.is_empty() {
            sending.reserve_capacity(part.len());
            let room = poll_fn(|cx| sending.poll_capacity(cx)).await;
            let room = room.ok_or_else(|| unsent("the stream is closed"))?;
            let now = part.split_to(room.map_err(unsent)?.min(part.len()));
            let last = end && part.is_empty();
            moved.add(now.len());
            sending.send_data(now, last).map_err(unsent)?;
        }
        Ok(())
    }

    async fn send_trailers(&mut self, trailers: HeaderMap) -> Result<()> {
        begun(&mut self.sending)?
            .send_trailers(trailers)
            .map_err(unsent)
    }

    /// `h2` does, with NO_ERROR, when the stream is dropped: RFC 9113 §8.1.
    fn refuse_rest(&mut self) {}

    fn reset(&mut self) {
        self.answer.send_reset(Reason::INTERNAL_ERROR);
    }
}
