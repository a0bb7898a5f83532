//! What a server must make of each frame: RFC 9113 §3 to §8, and RFC 7541 where it decodes.

use super::frames::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, Event, Frames, GOAWAY, HEADERS, PADDED, PING,
    PREFACE, PRIORITIZED, PRIORITY, PUSH_PROMISE, RST_STREAM, SETTINGS, WINDOW_UPDATE, block,
};
use crate::harness::{Edge, Origin};

const PROTOCOL: u32 = 1;
const FLOW_CONTROL: u32 = 3;
const STREAM_CLOSED: u32 = 5;
const FRAME_SIZE: u32 = 6;
const REFUSED: u32 = 7;
const COMPRESSION: u32 = 9;

const ENABLE_PUSH: u16 = 2;
const MAX_STREAMS: u16 = 3;
const WINDOW: u16 = 4;
const MAX_FRAME: u16 = 5;

/// `GET http://h/`, and the same as `POST`: RFC 7541 appendix A.
const GET: &[u8] = b"\x82\x86\x84\x01\x01h";
const POST: &[u8] = b"\x83\x86\x84\x01\x01h";

/// What must come of it.
#[derive(Clone, Copy)]
enum Must {
    /// The request on stream 1 is answered, or the one on this stream.
    Serve,
    ServeOn(u32),
    Pong,
    TakeSettings,
    /// The connection ends, for one of these reasons where it says why.
    EndAll(&'static [u32]),
    /// The stream does, or the connection.
    EndStream(&'static [u32]),
}
use Must::{EndAll, EndStream, Pong, Serve, ServeOn, TakeSettings};

struct Rule {
    section: &'static str,
    what: &'static str,
    sends: fn(&mut Frames),
    must: Must,
}

const fn rule(
    section: &'static str,
    what: &'static str,
    must: Must,
    sends: fn(&mut Frames),
) -> Rule {
    Rule {
        section,
        what,
        sends,
        must,
    }
}

fn get(to: &mut Frames, stream: u32) {
    to.frame(HEADERS, END_HEADERS | END_STREAM, stream, GET);
}

/// A head without its body.
fn post(to: &mut Frames, stream: u32) {
    to.frame(HEADERS, END_HEADERS, stream, POST);
}

fn whole(to: &mut Frames, head: &[u8]) {
    to.frame(HEADERS, END_HEADERS | END_STREAM, 1, head);
}

/// GET with these fields after the usual ones.
fn with(to: &mut Frames, fields: &[(&[u8], &[u8])]) {
    whole(to, &[GET, &block(fields)].concat());
}

fn set(to: &mut Frames, name: u16, value: u32) {
    let setting = [&name.to_be_bytes()[..], &value.to_be_bytes()].concat();
    to.frame(SETTINGS, 0, 0, &setting);
}

fn add_window(to: &mut Frames, stream: u32, by: u32) {
    to.frame(WINDOW_UPDATE, 0, stream, &by.to_be_bytes());
}

/// The answer to what was asked on the stream has come to its end.
fn answered(to: &mut Frames, of: u32) {
    loop {
        match to.event() {
            Event::Head {
                stream, ends: true, ..
            }
            | Event::Data {
                stream, ends: true, ..
            } if stream == of => {
                return;
            }
            Event::Closed | Event::Silence => return,
            _ => {}
        }
    }
}

/// One more than the edge says it takes, of which it can't end any.
fn too_many(to: &mut Frames) {
    let most = loop {
        match to.event() {
            Event::Settings(settings) => {
                let most = settings.iter().find(|(name, _)| *name == MAX_STREAMS);
                break most.expect("there is a limit").1;
            }
            Event::Closed | Event::Silence => return,
            _ => {}
        }
    };
    set(to, WINDOW, 0);
    (0..=most).for_each(|n| get(to, 1 + 2 * n));
}

const CLOSED_ALL: &[u32] = &[STREAM_CLOSED, PROTOCOL];

/// Without one that can't be kept here: of pseudo-fields in trailers (§8.1) `h2` tells nobody; none of
/// them is passed on.
#[rustfmt::skip]
const RULES: &[Rule] = &[
    rule("4.1", "a frame of no known type", Pong, |to| { to.frame(0xff, 0, 0, &[0; 8]); to.frame(PING, 0, 0, b"whatever") }),
    rule("4.1", "flags that mean nothing", Pong, |to| to.frame(PING, 0xfe, 0, b"whatever")),
    rule("4.1", "the reserved bit", Pong, |to| to.frame(PING, 0, 1 << 31, b"whatever")),
    rule("4.2", "DATA of 16 KiB", Serve, |to| { post(to, 1); to.frame(DATA, END_STREAM, 1, &[b'x'; 1 << 14]) }),
    rule("4.2", "DATA larger than a frame may be", EndStream(&[FRAME_SIZE]), |to| { post(to, 1); to.frame(DATA, END_STREAM, 1, &[b'x'; (1 << 14) + 1]) }),
    rule("4.2", "HEADERS larger than a frame may be", EndAll(&[FRAME_SIZE]), |to| whole(to, &[GET, &[0; 1 << 14]].concat())),
    rule("4.3", "a block that can't be decoded", EndAll(&[COMPRESSION]), |to| whole(to, &[0x14, 0x48, 0x54, 0x54, 0x50])),
    rule("4.3", "PRIORITY within a block", EndAll(&[PROTOCOL]), |to| { to.frame(HEADERS, END_STREAM, 1, GET); to.frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 255]) }),
    rule("4.3", "HEADERS of another stream within a block", EndAll(&[PROTOCOL]), |to| { to.frame(HEADERS, END_STREAM, 1, GET); get(to, 3) }),

    rule("5.1", "idle: DATA", EndAll(CLOSED_ALL), |to| to.frame(DATA, END_STREAM, 1, b"test")),
    rule("5.1", "idle: RST_STREAM", EndAll(&[PROTOCOL]), |to| to.frame(RST_STREAM, 0, 1, &[0, 0, 0, 8])),
    rule("5.1", "idle: WINDOW_UPDATE", EndAll(&[PROTOCOL]), |to| add_window(to, 1, 100)),
    rule("5.1", "idle: CONTINUATION", EndAll(&[PROTOCOL]), |to| to.frame(CONTINUATION, END_HEADERS, 1, GET)),
    rule("5.1", "idle: PRIORITY is fine", Serve, |to| { to.frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 255]); get(to, 1) }),
    rule("5.1", "half closed: DATA", EndStream(&[STREAM_CLOSED]), |to| { get(to, 1); to.frame(DATA, END_STREAM, 1, b"test") }),
    rule("5.1", "half closed: HEADERS", EndStream(&[STREAM_CLOSED]), |to| { get(to, 1); get(to, 1) }),
    rule("5.1", "half closed: CONTINUATION", EndAll(CLOSED_ALL), |to| { get(to, 1); to.frame(CONTINUATION, END_HEADERS, 1, GET) }),
    rule("5.1", "half closed: WINDOW_UPDATE is fine", Serve, |to| { get(to, 1); add_window(to, 1, 100) }),
    rule("5.1", "half closed: PRIORITY is fine", Serve, |to| { get(to, 1); to.frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 255]) }),
    rule("5.1", "reset: DATA", EndStream(&[STREAM_CLOSED]), |to| { post(to, 1); to.frame(RST_STREAM, 0, 1, &[0, 0, 0, 8]); to.frame(DATA, END_STREAM, 1, b"test") }),
    rule("5.1", "reset: HEADERS", EndStream(&[STREAM_CLOSED]), |to| { post(to, 1); to.frame(RST_STREAM, 0, 1, &[0, 0, 0, 8]); get(to, 1) }),
    rule("5.1", "reset: CONTINUATION", EndAll(CLOSED_ALL), |to| { post(to, 1); to.frame(RST_STREAM, 0, 1, &[0, 0, 0, 8]); to.frame(CONTINUATION, END_HEADERS, 1, GET) }),
    rule("5.1", "closed: DATA", EndStream(&[STREAM_CLOSED]), |to| { get(to, 1); answered(to, 1); to.frame(DATA, END_STREAM, 1, b"test") }),
    rule("5.1", "closed: HEADERS", EndAll(CLOSED_ALL), |to| { get(to, 1); answered(to, 1); get(to, 1) }),
    rule("5.1", "closed: CONTINUATION", EndAll(CLOSED_ALL), |to| { get(to, 1); answered(to, 1); to.frame(CONTINUATION, END_HEADERS, 1, GET) }),
    rule("5.1", "closed: PRIORITY is fine", Pong, |to| { get(to, 1); answered(to, 1); to.frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 255]); to.frame(PING, 0, 0, b"whatever") }),
    rule("5.1.1", "an even stream", EndAll(&[PROTOCOL]), |to| get(to, 2)),
    rule("5.1.1", "a lower stream than before", EndAll(CLOSED_ALL), |to| { get(to, 5); get(to, 3) }),
    rule("5.1.2", "more streams than it takes", EndStream(&[PROTOCOL, REFUSED]), too_many),
    rule("5.3.1", "HEADERS that depend on themselves", EndStream(&[PROTOCOL]), |to| to.frame(HEADERS, END_HEADERS | END_STREAM | PRIORITIZED, 1, &[&[0, 0, 0, 1, 255], GET].concat())),
    rule("5.3.1", "PRIORITY that depends on itself", EndStream(&[PROTOCOL]), |to| to.frame(PRIORITY, 0, 1, &[0, 0, 0, 1, 255])),
    rule("5.4.1", "after an error all ends", EndAll(&[FRAME_SIZE]), |to| { get(to, 1); to.frame(PING, 0, 0, b"short") }),
    rule("5.5", "a frame of no known type on a stream", Serve, |to| { post(to, 1); to.frame(0x16, 0, 1, &[0; 8]); to.frame(DATA, END_STREAM, 1, b"test") }),
    rule("5.5", "a frame of no known type within a block", EndAll(&[PROTOCOL]), |to| { to.frame(HEADERS, END_STREAM, 1, GET); to.frame(0x16, 0, 0, &[0; 8]) }),

    rule("6.1", "DATA", Serve, |to| { post(to, 1); to.frame(DATA, END_STREAM, 1, b"test") }),
    rule("6.1", "DATA several times, the last with nothing", Serve, |to| { post(to, 1); to.frame(DATA, 0, 1, b"test"); to.frame(DATA, 0, 1, b"test"); to.frame(DATA, END_STREAM, 1, b"") }),
    rule("6.1", "DATA with padding", Serve, |to| { post(to, 1); to.frame(DATA, END_STREAM | PADDED, 1, b"\x06test\0\0\0\0\0\0") }),
    rule("6.1", "DATA of no stream", EndAll(&[PROTOCOL]), |to| { post(to, 1); to.frame(DATA, END_STREAM, 0, b"test") }),
    rule("6.1", "DATA on what has ended", EndStream(&[STREAM_CLOSED]), |to| { get(to, 1); to.frame(DATA, 0, 1, b"test") }),
    rule("6.1", "DATA shorter than its padding", EndAll(&[PROTOCOL]), |to| { post(to, 1); to.frame(DATA, END_STREAM | PADDED, 1, b"\x06test") }),
    rule("6.2", "HEADERS", Serve, |to| get(to, 1)),
    rule("6.2", "HEADERS with padding", Serve, |to| to.frame(HEADERS, END_HEADERS | END_STREAM | PADDED, 1, &[b"\x06", GET, &[0; 6]].concat())),
    rule("6.2", "HEADERS with a priority", Serve, |to| to.frame(HEADERS, END_HEADERS | END_STREAM | PRIORITIZED, 1, &[&[0x80, 0, 0, 0, 255], GET].concat())),
    rule("6.2", "HEADERS with padding and a priority", Serve, |to| to.frame(HEADERS, END_HEADERS | END_STREAM | PRIORITIZED | PADDED, 1, &[&[6, 0, 0, 0, 0, 255], GET, &[0; 6]].concat())),
    rule("6.2", "HEADERS of no stream", EndAll(&[PROTOCOL]), |to| get(to, 0)),
    rule("6.2", "HEADERS shorter than their padding", EndAll(&[PROTOCOL]), |to| to.frame(HEADERS, END_HEADERS | END_STREAM | PADDED, 1, &[&[GET.len() as u8 + 1], GET].concat())),
    rule("6.2", "HEADERS too short for a priority", EndAll(&[FRAME_SIZE, PROTOCOL]), |to| to.frame(HEADERS, END_HEADERS | END_STREAM | PRIORITIZED, 1, &[0, 0])),
    rule("6.3", "PRIORITY of no stream", EndAll(&[PROTOCOL]), |to| to.frame(PRIORITY, 0, 0, &[0, 0, 0, 0, 255])),
    rule("6.3", "PRIORITY of four bytes", EndStream(&[FRAME_SIZE]), |to| to.frame(PRIORITY, 0, 1, &[0, 0, 0, 0])),
    rule("6.4", "RST_STREAM, and another request", ServeOn(3), |to| { post(to, 1); to.frame(RST_STREAM, 0, 1, &[0, 0, 0, 8]); get(to, 3) }),
    rule("6.4", "RST_STREAM of no stream", EndAll(&[PROTOCOL]), |to| to.frame(RST_STREAM, 0, 0, &[0, 0, 0, 8])),
    rule("6.4", "RST_STREAM of three bytes", EndAll(&[FRAME_SIZE]), |to| { post(to, 1); to.frame(RST_STREAM, 0, 1, &[0, 0, 8]) }),
    rule("6.5", "SETTINGS", TakeSettings, |to| set(to, MAX_STREAMS, 7)),
    rule("6.5", "SETTINGS that nobody knows", TakeSettings, |to| set(to, 0xff, 1)),
    rule("6.5", "SETTINGS acknowledged with something", EndAll(&[FRAME_SIZE]), |to| to.frame(SETTINGS, ACK, 0, &[0; 6])),
    rule("6.5", "SETTINGS of a stream", EndAll(&[PROTOCOL]), |to| to.frame(SETTINGS, 0, 1, &[0, 3, 0, 0, 0, 100])),
    rule("6.5", "SETTINGS of three bytes", EndAll(&[FRAME_SIZE]), |to| to.frame(SETTINGS, 0, 0, &[0, 3, 0])),
    rule("6.5.2", "a push that is neither on nor off", EndAll(&[PROTOCOL]), |to| set(to, ENABLE_PUSH, 2)),
    rule("6.5.2", "a window too large", EndAll(&[FLOW_CONTROL]), |to| set(to, WINDOW, 1 << 31)),
    rule("6.5.2", "frames too small", EndAll(&[PROTOCOL]), |to| set(to, MAX_FRAME, (1 << 14) - 1)),
    rule("6.5.2", "frames too large", EndAll(&[PROTOCOL]), |to| set(to, MAX_FRAME, 1 << 24)),
    rule("6.6", "PUSH_PROMISE from a client", EndAll(&[PROTOCOL]), |to| to.frame(PUSH_PROMISE, END_HEADERS, 1, &[&[0, 0, 0, 2], GET].concat())),
    rule("6.7", "PING", Pong, |to| to.frame(PING, 0, 0, b"whatever")),
    rule("6.7", "PING that is an answer gets none", Pong, |to| { to.frame(PING, ACK, 0, b"notasked"); to.frame(PING, 0, 0, b"whatever") }),
    rule("6.7", "PING of a stream", EndAll(&[PROTOCOL]), |to| to.frame(PING, 0, 1, b"whatever")),
    rule("6.7", "PING of six bytes", EndAll(&[FRAME_SIZE]), |to| to.frame(PING, 0, 0, &[0; 6])),
    rule("6.8", "GOAWAY of a stream", EndAll(&[PROTOCOL]), |to| to.frame(GOAWAY, 0, 1, &[0; 8])),
    rule("6.9", "a window that grows by nothing", EndAll(&[PROTOCOL]), |to| add_window(to, 0, 0)),
    rule("6.9", "a stream's window that grows by nothing", EndStream(&[PROTOCOL]), |to| { post(to, 1); add_window(to, 1, 0) }),
    rule("6.9", "WINDOW_UPDATE of three bytes", EndAll(&[FRAME_SIZE]), |to| to.frame(WINDOW_UPDATE, 0, 0, &[0, 0, 1])),
    rule("6.9.1", "a window beyond what can be counted", EndAll(&[FLOW_CONTROL]), |to| { add_window(to, 0, i32::MAX as u32); add_window(to, 0, i32::MAX as u32) }),
    rule("6.9.1", "a stream's window beyond what can be counted", EndStream(&[FLOW_CONTROL]), |to| { post(to, 1); add_window(to, 1, i32::MAX as u32); add_window(to, 1, i32::MAX as u32) }),
    rule("6.10", "CONTINUATION", Serve, |to| { to.frame(HEADERS, END_STREAM, 1, &GET[..2]); to.frame(CONTINUATION, END_HEADERS, 1, &GET[2..]) }),
    rule("6.10", "CONTINUATION several times", Serve, |to| { to.frame(HEADERS, END_STREAM, 1, &GET[..1]); to.frame(CONTINUATION, 0, 1, &GET[1..2]); to.frame(CONTINUATION, 0, 1, b""); to.frame(CONTINUATION, END_HEADERS, 1, &GET[2..]) }),
    rule("6.10", "CONTINUATION, then something else", EndAll(&[PROTOCOL]), |to| { to.frame(HEADERS, END_STREAM, 1, &GET[..1]); to.frame(CONTINUATION, 0, 1, &GET[1..2]); to.frame(DATA, END_STREAM, 1, b"test") }),
    rule("6.10", "CONTINUATION of no stream", EndAll(&[PROTOCOL]), |to| { to.frame(HEADERS, END_STREAM, 1, &GET[..1]); to.frame(CONTINUATION, END_HEADERS, 0, &GET[1..]) }),
    rule("6.10", "CONTINUATION of a whole block", EndAll(&[PROTOCOL]), |to| { post(to, 1); to.frame(CONTINUATION, END_HEADERS, 1, GET) }),
    rule("6.10", "CONTINUATION of a block that was continued", EndAll(&[PROTOCOL]), |to| { to.frame(HEADERS, 0, 1, &GET[..1]); to.frame(CONTINUATION, END_HEADERS, 1, &GET[1..]); to.frame(CONTINUATION, END_HEADERS, 1, GET) }),
    rule("6.10", "CONTINUATION after DATA", EndAll(&[PROTOCOL]), |to| { post(to, 1); to.frame(DATA, 0, 1, b"test"); to.frame(CONTINUATION, END_HEADERS, 1, GET) }),
    rule("7", "GOAWAY for no known reason", Serve, |to| { get(to, 1); to.frame(GOAWAY, 0, 0, &[0, 0, 0, 0, 0, 0, 0, 0xff]) }),
    rule("7", "RST_STREAM for no known reason", Pong, |to| { post(to, 1); to.frame(RST_STREAM, 0, 1, &[0, 0, 0, 0xff]); to.frame(PING, 0, 0, b"whatever") }),

    rule("8.1", "a second head that does not end it", EndStream(&[PROTOCOL]), |to| { post(to, 1); post(to, 1) }),
    rule("8.1", "trailers", Serve, |to| { post(to, 1); to.frame(DATA, 0, 1, b"test"); to.frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&[(b"x-a", b"1")])) }),
    rule("8.1.1", "less than its length", EndStream(&[PROTOCOL]), |to| { to.frame(HEADERS, END_HEADERS, 1, &[POST, &block(&[(b"content-length", b"9")])].concat()); to.frame(DATA, END_STREAM, 1, b"test") }),
    rule("8.1.1", "more than its length", EndStream(&[PROTOCOL]), |to| { to.frame(HEADERS, END_HEADERS, 1, &[POST, &block(&[(b"content-length", b"1")])].concat()); to.frame(DATA, END_STREAM, 1, b"test") }),
    rule("8.1.1", "more than its length, bit by bit", EndStream(&[PROTOCOL]), |to| { to.frame(HEADERS, END_HEADERS, 1, &[POST, &block(&[(b"content-length", b"5")])].concat()); to.frame(DATA, 0, 1, b"test"); to.frame(DATA, END_STREAM, 1, b"test") }),
    rule("8.1.1", "a length and no body", EndStream(&[PROTOCOL]), |to| to.frame(HEADERS, END_HEADERS | END_STREAM, 1, &[POST, &block(&[(b"content-length", b"9")])].concat())),
    rule("8.2.1", "a name in capital letters", EndStream(&[PROTOCOL]), |to| with(to, &[(b"X-A", b"1")])),
    rule("8.2.2", "Connection", EndStream(&[PROTOCOL]), |to| with(to, &[(b"connection", b"keep-alive")])),
    rule("8.2.2", "TE that is not of trailers", EndStream(&[PROTOCOL]), |to| with(to, &[(b"te", b"trailers, deflate")])),
    rule("8.3", "a pseudo-field that nobody knows", EndStream(&[PROTOCOL]), |to| whole(to, &[&block(&[(b":x", b"1")]), GET].concat())),
    rule("8.3", "a pseudo-field of answers", EndStream(&[PROTOCOL]), |to| whole(to, &[GET, &block(&[(b":status", b"200")])].concat())),
    rule("8.3", "a pseudo-field after others", EndStream(&[PROTOCOL]), |to| whole(to, &[&block(&[(b"x-a", b"1")]), GET].concat())),
    rule("8.3.1", "an empty path", EndStream(&[PROTOCOL]), |to| whole(to, &[b"\x82\x86\x01\x01h", &block(&[(b":path", b"")])[..]].concat())),
    rule("8.3.1", "no method", EndStream(&[PROTOCOL]), |to| whole(to, &GET[1..])),
    rule("8.3.1", "no scheme", EndStream(&[PROTOCOL]), |to| whole(to, b"\x82\x84\x01\x01h")),
    rule("8.3.1", "no path", EndStream(&[PROTOCOL]), |to| whole(to, b"\x82\x86\x01\x01h")),
    rule("8.3.1", "two methods", EndStream(&[PROTOCOL]), |to| whole(to, &[b"\x82", GET].concat())),
    rule("8.3.1", "two schemes", EndStream(&[PROTOCOL]), |to| whole(to, &[b"\x86", GET].concat())),
    rule("8.3.1", "two paths", EndStream(&[PROTOCOL]), |to| whole(to, &[b"\x84", GET].concat())),

    rule("7541 2.3.3", "a field that no table has", EndAll(&[COMPRESSION]), |to| whole(to, &[GET, b"\xc6"].concat())),
    rule("7541 2.3.3", "a name that no table has", EndAll(&[COMPRESSION]), |to| whole(to, &[GET, b"\x7f\x07\x00"].concat())),
    rule("7541 4.2", "a table's size at the end of a block", EndAll(&[COMPRESSION]), |to| whole(to, &[GET, b"\x21"].concat())),
    rule("7541 4.3", "a table's size at the start of a block", Serve, |to| whole(to, &[b"\x3f\xe1\x1f", GET].concat())),
    rule("7541 5.2", "more padding than seven bits", EndAll(&[COMPRESSION]), |to| whole(to, &[GET, b"\x00\x85\xf2\xb2\x4a\x84\xff\x84\x49\x50\x9f\xff"].concat())),
    rule("7541 5.2", "padding that is not of ones", EndAll(&[COMPRESSION]), |to| whole(to, &[GET, b"\x00\x85\xf2\xb2\x4a\x84\xff\x83\x49\x50\x90"].concat())),
    rule("7541 5.2", "the end of a string within it", EndAll(&[COMPRESSION]), |to| whole(to, &[GET, b"\x00\x85\xf2\xb2\x4a\x84\xff\x88\xff\xff\xff\xff\xff\xff\xff\xff"].concat())),
    rule("7541 6.1", "field number 0", EndAll(&[COMPRESSION]), |to| whole(to, &[GET, b"\x80"].concat())),
    rule("7541 6.2.1", "what is kept is known again", ServeOn(3), |to| { whole(to, &[GET, b"\x40\x03x-a\x011"].concat()); to.frame(HEADERS, END_HEADERS | END_STREAM, 3, &[GET, b"\xbe"].concat()) }),
    rule("7541 6.2.3", "what is never kept", Serve, |to| whole(to, &[GET, b"\x10\x03x-a\x011"].concat())),
    rule("7541 6.3", "a table larger than is allowed", EndAll(&[COMPRESSION]), |to| whole(to, &[b"\x3f\xe2\x1f", GET].concat())),
];

#[test]
fn each_frame_comes_to_what_the_rules_say() {
    let origin = Origin::saying("hello");
    let edge = Edge::before(&origin);
    let mut wrong = Vec::new();
    for rule in RULES {
        let mut frames = Frames::connect(edge.web);
        (rule.sends)(&mut frames);
        if let Err(came) = outcome(&mut frames, rule.must) {
            wrong.push(format!("§{} {}: {came:?}", rule.section, rule.what));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// All that came, if it is not what must.
fn outcome(frames: &mut Frames, must: Must) -> Result<(), Vec<Event>> {
    let mut came = Vec::new();
    loop {
        let event = frames.event();
        came.push(event.clone());
        let is_it = match (must, event) {
            (Serve, Event::Head { stream, status, .. }) => (stream, status) == (1, 200),
            (ServeOn(on), Event::Head { stream, status, .. }) => (stream, status) == (on, 200),
            (Pong, Event::Pong(said)) => said == b"whatever",
            // The first is for the settings that began the connection.
            (TakeSettings, Event::SettingsTaken) => {
                came.iter()
                    .filter(|event| **event == Event::SettingsTaken)
                    .count()
                    == 2
            }
            // `h2` says PROTOCOL_ERROR of whatever it can't read, and of frames after a stream's end.
            // A code tells people what went wrong; that all ends is what counts (§5.4.1).
            (EndAll(codes) | EndStream(codes), Event::GoAway { code }) if code != 0 => {
                code == PROTOCOL || codes.contains(&code)
            }
            (EndStream(codes), Event::Reset { code, .. }) => codes.contains(&code),
            (EndAll(_) | EndStream(_), Event::Closed) => true,
            (_, Event::Closed | Event::Silence) => return Err(came),
            _ => false,
        };
        if is_it {
            return Ok(());
        }
    }
}

/// §3.4.
#[test]
fn a_connection_begins_with_the_preface_and_settings() {
    let origin = Origin::saying("hello");
    let edge = Edge::before(&origin);
    let begin = |sends: fn(&mut Frames)| {
        let mut frames = Frames::open(edge.web);
        sends(&mut frames);
        frames
    };

    let mut right = begin(|to| {
        to.send(PREFACE);
        to.frame(SETTINGS, 0, 0, &[]);
    });
    assert!(
        matches!(right.event(), Event::Settings(_)),
        "the first frame"
    );

    let mut wrong = begin(|to| to.send(b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n"));
    assert_eq!(outcome(&mut wrong, EndAll(&[PROTOCOL])), Ok(()));
}

/// §5.2, §6.9: no byte more than the client has room for.
#[test]
fn windows_are_kept_to() {
    let origin = Origin::saying("hello");
    let edge = Edge::before(&origin);
    let data = |frames: &mut Frames| loop {
        match frames.event() {
            Event::Data { length, ends, .. } => break Some((length, ends)),
            Event::Closed | Event::Silence => break None,
            _ => {}
        }
    };

    let mut narrow = Frames::connect(edge.web);
    set(&mut narrow, WINDOW, 1);
    get(&mut narrow, 1);
    assert_eq!(data(&mut narrow), Some((1, false)));
    set(&mut narrow, WINDOW, 3);
    assert_eq!(
        data(&mut narrow),
        Some((2, false)),
        "the window has changed"
    );
    // It is less than nothing now, until two more are given.
    set(&mut narrow, WINDOW, 1);
    add_window(&mut narrow, 1, 2);
    narrow.frame(PING, 0, 0, b"whatever");
    assert_eq!(outcome(&mut narrow, Pong), Ok(()), "and no data before");
    add_window(&mut narrow, 1, 2);
    assert_eq!(data(&mut narrow), Some((2, true)));
}
