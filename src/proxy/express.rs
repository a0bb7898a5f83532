//! The express lane: what is stored is answered on the connection itself.
//!
//! Handing a request to Pingora costs more than answering it from memory does: it reads the head
//! again, copies a future of 14 KB to the heap and sets timers. So a plain request over HTTP/1.1 is
//! decided here, and if it is a hit, answered here, together with those that were sent after it
//! without waiting. What is not a hit goes on to Pingora with all that was found out about it:
//! nothing is counted, limited or looked up twice.

use super::Edge;
use super::context::Context;
use super::finish::{Sent, finish};
use super::reply::Hit;
use super::request::Request;
use super::way::{self, Way};
use crate::listen::{Conn, Head};
use bytes::Bytes;
use std::cell::Cell;

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
#[derive(Debug, PartialEq, Eq)]
pub enum Left {
    /// The present request is not for this lane.
    Pingora,
    /// There is another one, once this much is sent.
    More,
    /// No whole request is left.
    Empty,
    Broken,
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
            let mut ctx = Context::new(edge.runtime.load_full(), edge.foundation.metrics.clone());
            let request = Request::plain(&self.head);
            ctx.peer = conn.peer().ip().to_canonical();
            way::identify(&request, &mut ctx);
            let hit = match way::find(&request, &mut ctx) {
                Way::Hit(hit) if hit.object.body.len() <= LARGEST => hit,
                way => {
                    conn.pack(Box::new(Found { ctx, way }));
                    return self.write(conn, Bytes::new(), Left::Pingora);
                }
            };
            let body = answer(&hit, &request, &mut ctx, &mut self.out);
            let header_size = ctx.runtime.limits.header_size;
            let more = conn.next_plain(header_size);
            if !more || !body.is_empty() || self.out.len() > BATCH {
                let left = if more { Left::More } else { Left::Empty };
                return self.write(conn, body, left);
            }
        }
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

/// Writes the answer; gives back its body where that is too large to be copied.
fn answer(hit: &Hit, request: &Request<'_>, ctx: &mut Context, out: &mut Vec<u8>) -> Bytes {
    let (status, body) = hit.write(request, ctx, out);
    let sent = Sent {
        status: status.as_u16(),
        bytes: body.len(),
    };
    finish(request, ctx, &sent, || None);
    if body.len() > COPIED {
        return body;
    }
    out.extend_from_slice(&body);
    Bytes::new()
}
