//! The front on the wire: what each RFC asks of a message, what the client gets, and what a
//! recording origin saw of it. Nothing ambiguous reaches the origin, nothing is smuggled, and no cut
//! message is passed off as whole.

mod answers;
mod ends;
mod floods;
pub mod frames;
mod framing;
mod http2;
mod passed;
mod refused;
mod rules;

use crate::harness::{Client, Edge, Origin, Seen};

/// What a client sends, and what comes of it.
pub struct Case {
    /// The section that asks for it: of RFC 9112 where it names none.
    rfc: &'static str,
    what: &'static str,
    sent: &'static [u8],
    /// The statuses of the answers, in order.
    client: &'static [u16],
    closes: bool,
    origin: &'static [Arrived],
}

/// A request as the origin must have seen it.
pub struct Arrived {
    /// Without the version.
    line: &'static str,
    /// Fields that are there, each with all of its values in order.
    has: &'static [(&'static str, &'static [&'static str])],
    /// Fields that are not.
    lacks: &'static [&'static str],
    body: &'static str,
}

/// 400, the connection is closed, and nothing of it reaches the origin.
const fn refused(rfc: &'static str, what: &'static str, sent: &'static [u8]) -> Case {
    Case {
        rfc,
        what,
        sent,
        client: &[400],
        closes: true,
        origin: &[],
    }
}

/// 200 for each, and the connection stays.
const fn passed(
    rfc: &'static str,
    what: &'static str,
    sent: &'static [u8],
    client: &'static [u16],
    origin: &'static [Arrived],
) -> Case {
    Case {
        rfc,
        what,
        sent,
        client,
        closes: false,
        origin,
    }
}

const fn arrived(line: &'static str) -> Arrived {
    Arrived {
        line,
        has: &[],
        lacks: &[],
        body: "",
    }
}

impl Case {
    const fn and_closes(mut self) -> Case {
        self.closes = true;
        self
    }

    /// What is wrong with how it went.
    fn run(&self, edge: &Edge, origin: &Origin) -> Vec<String> {
        let before = origin.count();
        let mut client = edge.connect();
        client.send(self.sent);
        let mut wrong = self.look_at_answers(&mut client);
        let seen = origin.seen().split_off(before);
        if seen.len() != self.origin.len() {
            let heads: Vec<_> = seen.iter().map(|seen| &seen.head).collect();
            wrong.push(format!("the origin saw {heads:?}"));
        }
        for (seen, arrived) in seen.iter().zip(self.origin) {
            wrong.extend(arrived.differs(seen));
        }
        let (rfc, what) = (self.rfc, self.what);
        wrong
            .iter()
            .map(|w| format!("{what} (§{rfc}): {w}"))
            .collect()
    }

    fn look_at_answers(&self, client: &mut Client) -> Vec<String> {
        let mut wrong = Vec::new();
        let method = match self.sent.trim_ascii_start().starts_with(b"HEAD") {
            true => "HEAD",
            false => "GET",
        };
        for status in self.client {
            match client.try_reply(method) {
                Ok(reply) if reply.status != *status => wrong.push(format!("got {}", reply.status)),
                Ok(reply) if reply.field("x-request-id").is_none() && *status >= 200 => {
                    wrong.push("no request id".into())
                }
                Ok(_) => {}
                Err(e) => wrong.push(format!("no answer: {e}")),
            }
        }
        if self.closes && !client.closes() {
            wrong.push("the connection stays open".into());
        }
        wrong
    }
}

impl Arrived {
    fn differs(&self, seen: &Seen) -> Vec<String> {
        let mut wrong = Vec::new();
        if seen.head.split("\r\n").next() != Some(&format!("{} HTTP/1.1", self.line)) {
            wrong.push(format!("not `{}`", self.line));
        }
        for (name, values) in self.has {
            let found: Vec<_> = values_of(seen, name);
            if found != *values {
                wrong.push(format!("{name} is {found:?}"));
            }
        }
        let known = |name: &&&str| !values_of(seen, name).is_empty();
        wrong.extend(self.lacks.iter().filter(known).map(|n| format!("has {n}")));
        if seen.body != self.body.as_bytes() {
            let body = String::from_utf8_lossy(&seen.body);
            wrong.push(format!("its body is {body:?}"));
        }
        if !wrong.is_empty() {
            wrong.push(seen.head.clone());
        }
        wrong
    }
}

fn values_of<'a>(seen: &'a Seen, name: &str) -> Vec<&'a str> {
    let fields = seen.fields.iter().filter(|(n, _)| n == name);
    fields.map(|(_, value)| value.as_str()).collect()
}

#[track_caller]
fn all(cases: &[Case]) {
    let origin = Origin::saying("hello");
    let edge = Edge::before(&origin);
    let wrong: Vec<_> = cases.iter().flat_map(|c| c.run(&edge, &origin)).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    crate::harness::get("/").send(&edge).expect(200);
    edge.await_metric("lakh_in_flight", 0.0);
}
