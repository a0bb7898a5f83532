//! A connection that switches protocols: WebSocket, mostly. The request goes to a server as any other
//! does; once the server agrees, bytes go both ways until either side ends or both are silent.
//!
//! Not by Pingora's proxy: there, an answer of 101 that comes before the request's own end has been
//! noticed is taken for the tunnel's end.

use super::alive::{Side, carried, silent_for};
use super::answer::Problem;
use super::client::Client;
use super::context::Context;
use super::finish::{Sent, finish};
use super::frames::{Frames, GOING_AWAY, GOING_AWAY_MASKED, PING, PING_MASKED};
use super::relay::relay;
use super::request::Request;
use super::{Edge, headers, pass};
use crate::runtime::Route;
use crate::upstream::{Response, WebSocket};
use bytes::Bytes;
use http::header::UPGRADE;
use http::{StatusCode, Version};
use pingora::http::RequestHeader;
use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::ready;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf, split};

/// What is carried at once. A tunnel holds no memory while nothing is: most are silent.
const PART: usize = 8 << 10;
/// How long a WebSocket that is being closed waits for its client's own Close.
const CLOSING: Duration = Duration::from_secs(5);

/// A client whose connection, or stream, can be switched to another protocol.
pub trait Switches: Client {
    fn sent(&self) -> &Sent;

    /// What comes from here on is the other protocol's. None where no answer has begun.
    fn switch(&mut self) -> Option<impl AsyncRead + AsyncWrite + Unpin + Send>;
}

/// What became of a request to switch protocols.
pub enum Ended {
    /// They were switched, and that is over. It is finished with.
    Switched,
    /// The server has said something else.
    Answered,
    /// The client is yet to be told.
    Refused(Problem),
}

/// Answers a request to switch protocols.
pub async fn serve(
    edge: &Edge,
    client: &mut impl Switches,
    ctx: &mut Context,
) -> pingora::Result<Ended> {
    let Some(_open) = Open::begin(ctx.routed()) else {
        return Ok(Ended::Refused(Problem::RouteBusy));
    };
    // Aside, and gone when it is answered: what the tunnel holds is held for hours.
    let opened = Box::pin(pass::open(edge, client, ctx)).await?;
    match opened {
        Ok(response) if response.head().status == StatusCode::SWITCHING_PROTOCOLS => {
            switch(edge, client, ctx, response).await;
            Ok(Ended::Switched)
        }
        Ok(response) => {
            Box::pin(relay(client, ctx, response, None)).await?;
            Ok(Ended::Answered)
        }
        Err(problem) => Ok(Ended::Refused(problem)),
    }
}

async fn switch(edge: &Edge, client: &mut impl Switches, ctx: &mut Context, response: Response) {
    let (mut head, mut body) = response.into_parts();
    head.set_version(Version::HTTP_11);
    headers::edit_answer(&mut head, |fields| {
        headers::strip_from_server(fields, true, &ctx.runtime.invalidate_headers);
        headers::to_client(fields, ctx);
    });
    let frames = is_websocket(client.request());
    let told = client.send_head(head, true).await;
    let pool = ctx.pool().clone();
    let carried = match (told, body.take_stream().await, client.switch()) {
        (Ok(()), Some((server, early)), Some(near)) => {
            let _counted = WebSocket::begin(&pool.group);
            let tunnel = Tunnel {
                edge,
                silence: pool.timeouts.websocket,
                ping: pool.timeouts.websocket_ping.filter(|_| frames),
                has_frames: frames,
            };
            tunnel.carry(near, server, early).await
        }
        (Err(e), ..) => {
            ctx.error = Some(e.to_string());
            0
        }
        _ => {
            ctx.error = Some("protocols were not switched over HTTP/1.1".into());
            0
        }
    };
    let sent = Sent {
        status: client.sent().status,
        bytes: carried as usize,
    };
    finish(&Request::of(client.request()), ctx, &sent, || None);
}

/// Other protocols have no frames that we know of.
fn is_websocket(request: &RequestHeader) -> bool {
    let upgrade = request.headers.get(UPGRADE);
    upgrade.is_some_and(|to| to.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

/// One of those that a route may have open.
struct Open(Arc<Route>);

impl Open {
    /// None: there are as many as may be.
    fn begin(route: &Arc<Route>) -> Option<Open> {
        let open = &route.metrics.websockets;
        open.inc();
        let begun = Open(route.clone());
        let most = route.websockets.unwrap_or(usize::MAX);
        (open.get() as u64 <= most as u64).then_some(begun)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.metrics.websockets.dec();
    }
}

struct Tunnel<'a> {
    edge: &'a Edge,
    silence: Duration,
    /// How long a side may be silent until it is asked whether it is there, and then until it is not.
    ping: Option<Duration>,
    has_frames: bool,
}

impl Tunnel<'_> {
    /// Bytes both ways; gives how many went to the client.
    async fn carry(
        &self,
        client: impl AsyncRead + AsyncWrite + Unpin,
        server: impl AsyncRead + AsyncWrite + Unpin,
        early: Bytes,
    ) -> u64 {
        let (near, far, came) = (Side::new(), Side::new(), AtomicU64::new(0));
        let (from_client, to_client) = split(client);
        let (from_server, to_server) = split(server);
        // Whichever ends, the connection has. There is nobody to tell of an error.
        let _ = tokio::select! {
            ended = self.down(from_server, to_client, early, [&near, &far], &came) => ended,
            ended = self.up(from_client, to_server, [&near, &far]) => ended,
            () = silent_for([&near, &far], self.silence) => Ok(()),
            () = near.gone(self.ping) => Ok(()),
            () = far.gone(self.ping) => Ok(()),
            () = self.closed() => Ok(()),
        };
        came.into_inner()
    }

    /// From the server to the client, until the edge drains: then the client is told, and gets no more.
    async fn down(
        &self,
        mut from: impl AsyncRead + Unpin,
        mut to: impl AsyncWrite + Unpin,
        early: Bytes,
        [near, far]: [&Side; 2],
        came: &AtomicU64,
    ) -> io::Result<()> {
        let mut drains = pin!(self.edge.foundation.drains());
        let mut frames = Frames::default();
        carried(self.send(&mut to, &mut frames, &early), [near, far]).await?;
        came.fetch_add(early.len() as u64, Relaxed);
        drop(early);
        loop {
            let part = tokio::select! {
                biased;
                () = &mut drains, if self.takes_frames(&frames) => break,
                () = near.to_be_asked(self.ping), if self.takes_frames(&frames) => {
                    carried(put(&mut to, &PING), [near, far]).await?;
                    near.asked();
                    continue;
                }
                part = read(&mut from) => part?,
            };
            far.heard();
            if part.is_empty() {
                return Ok(());
            }
            carried(self.send(&mut to, &mut frames, &part), [near, far]).await?;
            came.fetch_add(part.len() as u64, Relaxed);
        }
        put(&mut to, &GOING_AWAY).await?;
        // The client ends it now: see `up`.
        std::future::pending().await
    }

    /// From the client to the server. Once both were told that this is the end, until the client says so
    /// too.
    async fn up(
        &self,
        mut from: impl AsyncRead + Unpin,
        mut to: impl AsyncWrite + Unpin,
        [near, far]: [&Side; 2],
    ) -> io::Result<()> {
        let mut drains = pin!(self.edge.foundation.drains());
        let mut frames = Frames::default();
        loop {
            let part = tokio::select! {
                biased;
                () = &mut drains, if self.takes_frames(&frames) => break,
                () = far.to_be_asked(self.ping), if self.takes_frames(&frames) => {
                    carried(put(&mut to, &PING_MASKED), [near, far]).await?;
                    far.asked();
                    continue;
                }
                part = read(&mut from) => part?,
            };
            near.heard();
            if part.is_empty() {
                return Ok(());
            }
            carried(self.send(&mut to, &mut frames, &part), [near, far]).await?;
        }
        put(&mut to, &GOING_AWAY_MASKED).await?;
        while !frames.closed() {
            match read(&mut from).await? {
                end if end.is_empty() => break,
                part => frames.pass(&part),
            }
        }
        Ok(())
    }

    /// Whether a frame of the edge's own may be put in here.
    fn takes_frames(&self, frames: &Frames) -> bool {
        self.has_frames && frames.is_between() && !frames.closed()
    }

    async fn send(
        &self,
        to: &mut (impl AsyncWrite + Unpin),
        frames: &mut Frames,
        part: &[u8],
    ) -> io::Result<()> {
        if self.has_frames {
            frames.pass(part);
        }
        put(to, part).await
    }

    /// When a client that was told has had its time to answer.
    async fn closed(&self) {
        if !self.has_frames {
            return std::future::pending().await;
        }
        self.edge.foundation.drains().await;
        tokio::time::sleep(CLOSING).await;
    }
}

async fn put(to: &mut (impl AsyncWrite + Unpin), part: &[u8]) -> io::Result<()> {
    to.write_all(part).await?;
    to.flush().await
}

/// What has come; empty at the end.
async fn read(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Bytes> {
    poll_fn(|cx| {
        let mut room = [MaybeUninit::uninit(); PART];
        let mut part = ReadBuf::uninit(&mut room);
        ready!(Pin::new(&mut *from).poll_read(cx, &mut part))?;
        io::Result::Ok(Bytes::copy_from_slice(part.filled())).into()
    })
    .await
}
