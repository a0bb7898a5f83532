//! The express lane: plain requests are answered on the connection itself.
//!
//! Handing a request to Pingora costs more than answering it from memory does: it reads the head
//! again, copies a future of 14 KB to the heap and sets timers. So a plain request over HTTP/1.1 is
//! decided here, and if it is a hit, answered here, together with those that were sent after it
//! without waiting. What has yet to come, into the cache or from a server to this client alone, is
//! waited for here too. The rest goes on to Pingora with all that was found out about it: nothing is
//! counted, limited or looked up twice.

use super::answer::{self, Problem};
use super::cached::{self, Answered};
use super::client::{Client, Plain};
use super::context::Context;
use super::finish::finish;
use super::reply::Hit;
use super::request::{self, Request};
use super::tunnel::{self, Ended, Switches};
use super::way::{self, Way};
use super::{Edge, coded, headers, images, pass};
use crate::listen::{Conn, Head};
use bytes::Bytes;
use pingora::http::RequestHeader;
use std::cell::Cell;
use std::sync::Arc;

/// Answers that are written at once: no more than this, and the last.
const BATCH: usize = 64 << 10;
/// A body up to this size is copied behind its head; a larger one is sent from where it is.
const COPIED: usize = 16 << 10;
/// Larger bodies are Pingora's: there the lane saves nothing that counts, and how long a slow
/// client takes for them belongs into the log.
const LARGEST: usize = 256 << 10;

/// What a request that goes on takes along.
pub struct Found {
    pub ctx: Context,
    pub way: Way,
}

/// How the lane was left.
pub enum Left {
    /// The present request is not for this lane.
    Pingora,
    /// It is for `wait`.
    Waits(Box<Waits>),
    /// It is for `switch`: it asks for another protocol.
    Switches(Box<Waits>),
    /// There is another one, once this much is sent.
    More,
    /// No whole request is left.
    Empty,
    /// The connection is to be closed once what was written has arrived.
    Closes,
    Broken,
}

/// A request that can't be answered at once.
pub struct Waits {
    found: Found,
    request: Box<RequestHeader>,
}

/// What is written into again and again; a thread has one.
#[derive(Default)]
struct Desk {
    head: Head,
    out: Vec<u8>,
}

thread_local! {
    static DESK: Cell<Option<Box<Desk>>> = const { Cell::new(None) };
}

/// Answers the present request of `conn`, and those behind it, as long as they are hits. What the
/// client doesn't take at once is left to `Conn::sent`.
pub fn serve(edge: &Edge, conn: &mut Conn) -> Left {
    let mut desk = DESK.take().unwrap_or_default();
    let left = desk.serve(edge, conn);
    desk.out.clear();
    DESK.set(Some(desk));
    left
}

impl Desk {
    fn serve(&mut self, edge: &Edge, conn: &mut Conn) -> Left {
        loop {
            let Some(head) = conn.plain() else {
                return self.write(conn, Bytes::new(), Left::Pingora);
            };
            if self.head.read(head).is_err() {
                // `check` has passed it, so this does not come; Pingora will say what it is.
                return self.write(conn, Bytes::new(), Left::Pingora);
            }
            headers::strip_proofs(&mut self.head.fields);
            let mut ctx = Context::new(edge.runtime.load_full(), edge.foundation.metrics.clone());
            let request = Request::plain(&self.head);
            ctx.comes(conn.peer(), conn.local());
            ctx.entry = Some(conn.entry().clone());
            way::identify(&request, &mut ctx);
            let body = match way::find(&request, &mut ctx) {
                Way::Hit(hit) if hit.object.body.len() <= LARGEST => {
                    write_hit(&hit, &request, &mut ctx, &mut self.out)
                }
                Way::Refuse(problem) => {
                    match write_refusal(&problem, &request, &ctx, &mut self.out) {
                        Ok(()) if problem.closes() => {
                            return self.write(conn, Bytes::new(), Left::Closes);
                        }
                        Ok(()) => Bytes::new(),
                        Err(_) => return Left::Broken,
                    }
                }
                way => {
                    let left = self.hand_on(conn, Found { ctx, way });
                    return self.write(conn, Bytes::new(), left);
                }
            };
            let header_size = ctx.runtime.limits.header_size;
            let more = conn.next_plain(header_size);
            if !more || !body.is_empty() || self.out.len() > BATCH {
                let left = if more { Left::More } else { Left::Empty };
                return self.write(conn, body, left);
            }
        }
    }

    fn hand_on(&mut self, conn: &Conn, found: Found) -> Left {
        let waits = matches!(
            found.way,
            Way::Ask(_) | Way::Fill(_) | Way::Render(_) | Way::Pass
        );
        if waits && let Ok(request) = request::owned(std::mem::take(&mut self.head)) {
            let request = Box::new(request);
            return Left::Waits(Box::new(Waits { found, request }));
        }
        conn.pack(Box::new(found));
        Left::Pingora
    }

    fn write(&mut self, conn: &mut Conn, body: Bytes, left: Left) -> Left {
        if self.out.is_empty() {
            return left;
        }
        match conn.send(&self.out, body) {
            Ok(()) => left,
            Err(_) => Left::Broken,
        }
    }
}

/// Answers the present request of `conn` once that can be done.
pub async fn wait(edge: &Arc<Edge>, conn: &mut Conn, waits: Waits) -> Left {
    let Waits {
        found: Found { mut ctx, way },
        mut request,
    } = waits;
    let way = way::decided(way, &Request::of(&request), &mut ctx).await;
    let is_stored = matches!(way, Way::Hit(_));
    if !is_stored && ctx.routed().compress && coded::translate_conditions(&mut request).is_err() {
        return Left::Broken;
    }
    if ctx.upgrade && matches!(way, Way::Pass) {
        let found = Found { ctx, way };
        return Left::Switches(Box::new(Waits { found, request }));
    }
    let mut client = Plain::new(conn, request);
    let mut answered = match way {
        Way::Hit(hit) => {
            let reply = hit.reply(&Request::of(client.request()), &mut ctx);
            reply.send(&mut client).await.map(|()| Answered::Yes)
        }
        Way::Fill(resource) => cached::answer(edge, &mut client, &mut ctx, &resource).await,
        Way::Render(work) => images::answer(edge, &mut client, &mut ctx, *work).await,
        Way::Refuse(problem) => Ok(Answered::Refused(problem)),
        Way::Pass => Ok(Answered::No),
        way => {
            conn.pack(Box::new(Found { ctx, way }));
            return Left::Pingora;
        }
    };
    if let Ok(Answered::No) = answered {
        answered = pass::answer(edge, &mut client, &mut ctx).await;
    }
    let closes = match answered {
        Ok(Answered::Yes) => Ok(false),
        Ok(Answered::Refused(problem)) => {
            let refused = client.refuse(&problem, &ctx).await;
            refused.map(|()| problem.closes())
        }
        Ok(Answered::No) => {
            let way = Way::Pass;
            conn.pack(Box::new(Found { ctx, way }));
            return Left::Pingora;
        }
        Err(e) => Err(e),
    };
    let why = || closes.as_ref().err().map(ToString::to_string);
    finish(&Request::of(client.request()), &ctx, client.sent(), why);
    match closes {
        Err(_) => Left::Broken,
        Ok(true) => Left::Closes,
        Ok(false) => match conn.next_plain(ctx.runtime.limits.header_size) {
            true => Left::More,
            false => Left::Empty,
        },
    }
}

/// Answers a request for another protocol, and carries that to its end.
pub fn switch<'a>(
    edge: &'a Edge,
    conn: &'a mut Conn,
    waits: Waits,
) -> impl Future<Output = Left> + 'a {
    let Waits { found, request } = waits;
    switched(edge, conn, request, Box::new(found.ctx))
}

async fn switched(
    edge: &Edge,
    conn: &mut Conn,
    request: Box<RequestHeader>,
    mut ctx: Box<Context>,
) -> Left {
    let mut client = Plain::new(conn, request);
    let ended = tunnel::serve(edge, &mut client, &mut ctx).await;
    match ended {
        Ok(Ended::Switched) => return Left::Broken,
        Ok(Ended::Refused(problem)) => {
            let way = Way::Refuse(problem);
            conn.pack(Box::new(Found { ctx: *ctx, way }));
            return Left::Pingora;
        }
        Ok(Ended::Answered) | Err(_) => {}
    }
    let why = || ended.as_ref().err().map(ToString::to_string);
    finish(&Request::of(client.request()), &ctx, client.sent(), why);
    // What came behind the request may be in the protocol that it asked for, and so is no request.
    match ended.is_ok() && !conn.has_more() {
        true => conn.end_plain(),
        false => return Left::Broken,
    }
    Left::Empty
}

/// Writes the answer of one that is not let in.
fn write_refusal(
    problem: &Problem,
    request: &Request<'_>,
    ctx: &Context,
    out: &mut Vec<u8>,
) -> pingora::Result<()> {
    let sent = answer::write(problem, request, ctx, out)?;
    finish(request, ctx, &sent, || None);
    Ok(())
}

/// Writes the answer; gives back its body where that is too large to be copied.
fn write_hit(hit: &Hit, request: &Request<'_>, ctx: &mut Context, out: &mut Vec<u8>) -> Bytes {
    let (sent, body) = hit.write(request, ctx, out, COPIED);
    finish(request, ctx, &sent, || None);
    body
}
