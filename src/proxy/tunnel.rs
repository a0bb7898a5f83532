//! A connection that switches protocols: WebSocket, mostly. The request goes to a server as any other
//! does; once the server agrees, bytes go both ways until either side ends or both are silent.
//!
//! Not by Pingora's proxy: there, an answer of 101 that comes before the request's own end has been
//! noticed is taken for the tunnel's end.

use super::client::{Client, Plain};
use super::context::Context;
use super::express::{Found, Left};
use super::finish::{Sent, finish};
use super::relay::relay;
use super::request::Request;
use super::way::Way;
use super::{Edge, headers, pass};
use crate::listen::Conn;
use crate::upstream::{Response, WebSocket};
use bytes::Bytes;
use http::{StatusCode, Version};
use pingora::http::RequestHeader;
use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::ready;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf, split};

/// What is carried at once. A tunnel holds no memory while nothing is: most are silent.
const PART: usize = 8 << 10;

/// Answers a request to switch protocols. `limit`: between two writes, until they are switched.
pub async fn serve(
    edge: &Edge,
    conn: &mut Conn,
    request: Box<RequestHeader>,
    mut ctx: Context,
    limit: Duration,
) -> Left {
    let mut client = Plain::new(conn, request, limit);
    let done = match pass::open(edge, &mut client, &mut ctx).await {
        Ok(Ok(response)) if response.head().status == StatusCode::SWITCHING_PROTOCOLS => {
            return switch(client, ctx, response).await;
        }
        Ok(Ok(response)) => relay(&mut client, &mut ctx, response, None).await,
        Ok(Err(problem)) => {
            let way = Way::Refuse(problem);
            conn.pack(Box::new(Found { ctx, way }));
            return Left::Pingora;
        }
        Err(e) => Err(e),
    };
    let why = || done.as_ref().err().map(|e| e.to_string());
    finish(&Request::of(client.request()), &ctx, client.sent(), why);
    // What came behind the request may be in the protocol that it asked for, and so is no request.
    match done.is_ok() && !conn.has_more() {
        true => conn.end_plain(),
        false => return Left::Broken,
    }
    Left::Empty
}

async fn switch(mut client: Plain<'_>, mut ctx: Context, response: Response) -> Left {
    let (mut head, mut body) = response.into_parts();
    head.set_version(Version::HTTP_11);
    headers::edit_answer(&mut head, |fields| {
        headers::strip_from_server(fields, true, &ctx.runtime.invalidate_headers);
        headers::to_client(fields, &ctx);
    });
    let told = client.send_head(head, true).await;
    let pool = ctx.pool().clone();
    let carried = match (told, body.take_stream().await) {
        (Ok(()), Some((server, early))) => {
            let _counted = WebSocket::begin(&pool.group);
            carry(client.conn(), server, early, pool.timeouts.websocket).await
        }
        (Err(e), _) => {
            ctx.error = Some(e.to_string());
            0
        }
        (_, None) => {
            ctx.error = Some("protocols were not switched over HTTP/1.1".into());
            0
        }
    };
    let sent = Sent {
        status: client.sent().status,
        bytes: carried as usize,
    };
    finish(&Request::of(client.request()), &ctx, &sent, || None);
    Left::Broken
}

/// Bytes both ways; gives how many went to the client.
async fn carry(
    conn: &mut Conn,
    server: impl AsyncRead + AsyncWrite + Unpin,
    early: Bytes,
    silence: Duration,
) -> u64 {
    conn.switch();
    let (activity, carried) = (Activity::new(), AtomicU64::new(0));
    let (mut from_client, mut to_client) = split(conn);
    let (mut from_server, mut to_server) = split(server);
    let down = async {
        let mut part = early;
        loop {
            to_client.write_all(&part).await?;
            to_client.flush().await?;
            carried.fetch_add(part.len() as u64, Relaxed);
            part = read(&mut from_server).await?;
            activity.note();
            if part.is_empty() {
                return io::Result::Ok(());
            }
        }
    };
    let up = async {
        loop {
            let part = read(&mut from_client).await?;
            activity.note();
            if part.is_empty() {
                return io::Result::Ok(());
            }
            to_server.write_all(&part).await?;
            to_server.flush().await?;
        }
    };
    // Whichever ends, the connection has. There is nobody to tell of an error.
    let _ = tokio::select! {
        ended = down => ended,
        ended = up => ended,
        () = activity.silent_for(silence) => Ok(()),
    };
    carried.into_inner()
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

/// When something last came, from either side.
struct Activity {
    begun: Instant,
    /// Milliseconds since.
    last: AtomicU64,
}

impl Activity {
    fn new() -> Activity {
        Activity {
            begun: Instant::now(),
            last: AtomicU64::new(0),
        }
    }

    fn note(&self) {
        let now = self.begun.elapsed().as_millis() as u64;
        self.last.store(now, Relaxed);
    }

    async fn silent_for(&self, silence: Duration) {
        loop {
            let last = self.begun + Duration::from_millis(self.last.load(Relaxed));
            let left = (last + silence).saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left).await;
        }
    }
}
