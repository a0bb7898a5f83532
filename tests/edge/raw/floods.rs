//! What costs a client little and a server much, over HTTP/2. Each flood is bounded, and ends where
//! the edge ends it or no longer reads; what it may cost the edge is memory and the service of others.

use super::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, End, Event, Frames, HEADERS, PING, PRIORITY,
    RST_STREAM, SETTINGS, WINDOW_UPDATE, block,
};
use crate::harness::{Answer, Edge, Origin, get};
use std::time::{Duration, Instant};

/// Beyond what the edge had before; less than a hundred large answers would be, were they held whole.
const MOST_MEMORY: u64 = 64 << 20;
const GET: &[u8] = b"\x82\x86\x84\x01\x01h";
const POST: &[u8] = b"\x83\x86\x84\x01\x01h";
const ASK: &[(&[u8], &[u8])] = &[
    (b":method", b"GET"),
    (b":scheme", b"http"),
    (b":path", b"/a"),
    (b":authority", b"h"),
];
const CANCEL: &[u8] = &[0, 0, 0, 8];
const ENHANCE_YOUR_CALM: u32 = 11;

struct Flood {
    /// With the name that it is known by.
    what: &'static str,
    sends: fn(&mut Frames),
}

const FLOODS: &[Flood] = &[
    Flood {
        what: "rapid reset, CVE-2023-44487",
        sends: |to| {
            for stream in (1..40_000).step_by(2) {
                to.frame(HEADERS, END_HEADERS | END_STREAM, stream, GET);
                to.frame(RST_STREAM, 0, stream, CANCEL);
            }
        },
    },
    Flood {
        what: "resets that the edge is made to send, CVE-2025-8671",
        sends: |to| {
            for stream in (1..40_000).step_by(2) {
                to.frame(HEADERS, END_HEADERS, stream, POST);
                to.frame(WINDOW_UPDATE, 0, stream, &[0; 4]);
            }
        },
    },
    Flood {
        what: "a head without end, CVE-2024-27316",
        sends: |to| {
            let fields = block(&[(b"x-a", &[b'a'; 120])]).repeat(100);
            to.frame(HEADERS, END_STREAM, 1, GET);
            (0..10_000).for_each(|_| to.frame(CONTINUATION, 0, 1, &fields));
        },
    },
    Flood {
        what: "a head without end that says nothing, CVE-2019-9518",
        sends: |to| {
            to.frame(HEADERS, END_STREAM, 1, GET);
            (0..200_000).for_each(|_| to.frame(CONTINUATION, 0, 1, b""));
        },
    },
    Flood {
        what: "a field that is kept and said again and again",
        sends: |to| {
            let mut head = GET.to_vec();
            head.extend(b"\x40\x03x-a\x7f\x81\x1e");
            head.extend([b'a'; 4000]);
            head.extend([0xbe; 10_000]);
            for stream in (1..200).step_by(2) {
                to.frame(HEADERS, END_HEADERS | END_STREAM, stream, &head);
            }
        },
    },
    Flood {
        what: "pings, CVE-2019-9512",
        sends: |to| (0..200_000).for_each(|_| to.frame(PING, 0, 0, b"whatever")),
    },
    Flood {
        what: "settings, CVE-2019-9515",
        sends: |to| (0..200_000).for_each(|_| to.frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100])),
    },
    Flood {
        what: "data that says nothing, CVE-2019-9518",
        sends: |to| {
            to.frame(HEADERS, END_HEADERS, 1, POST);
            (0..200_000).for_each(|_| to.frame(DATA, 0, 1, b""));
        },
    },
    Flood {
        what: "priorities, CVE-2019-9513",
        sends: |to| {
            for stream in (1..400_000).step_by(2) {
                to.frame(PRIORITY, 0, stream, &[0, 0, 0, 0, 255]);
            }
        },
    },
    Flood {
        what: "windows that nobody asked for",
        sends: |to| {
            to.frame(HEADERS, END_HEADERS, 1, POST);
            (0..200_000).for_each(|_| to.frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1]));
        },
    },
    Flood {
        what: "a window that never opens, CVE-2019-9517",
        sends: |to| {
            to.frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]);
            let large = block(&[
                (b":method", b"GET"),
                (b":scheme", b"http"),
                (b":path", b"/large"),
                (b":authority", b"h"),
            ]);
            for stream in (1..200).step_by(2) {
                to.frame(HEADERS, END_HEADERS | END_STREAM, stream, &large);
            }
        },
    },
];

/// Of one client; others are served meanwhile.
#[test]
fn floods_cost_a_bounded_memory_and_nobody_elses_service() {
    let large = vec![b'x'; 1 << 20];
    let origin = Origin::start(move |seen| match seen.path() {
        "/large" => Answer::of(200, &[], &large),
        _ => Answer::ok("here"),
    });
    let edge = Edge::before(&origin);
    for flood in FLOODS {
        let before = edge.peak_memory();
        std::thread::scope(|scope| {
            let flooding = scope.spawn(|| {
                let mut frames = Frames::connect(edge.web);
                (flood.sends)(&mut frames);
                frames
            });
            let (mut other, mut answers) = (edge.connect(), 0);
            while !flooding.is_finished() || answers < 10 {
                get("/").on(&mut other).expect(200);
                answers += 1;
            }
            drop(flooding.join().expect("no thread panics"));
        });
        edge.await_metric("lakh_in_flight", 0.0);
        let grown = edge.peak_memory().saturating_sub(before);
        assert!(grown < MOST_MEMORY, "{}: {} MiB", flood.what, grown >> 20);
    }
}

/// What its next connection would cost is not spent until then.
#[test]
fn who_floods_is_told_at_once_and_let_go_later() {
    let origin = Origin::saying("here");
    let edge = Edge::before(&origin);
    let begun = Instant::now();
    let mut frames = Frames::connect(edge.web);
    (0..5_000).for_each(|_| frames.frame(PING, 0, 0, b"whatever"));
    let mut told = None;
    let over = loop {
        match frames.event() {
            Event::GoAway { code } => told = Some(code),
            over @ (Event::Closed | Event::Silence) => break over,
            _ => {}
        }
    };
    assert_eq!((told, over), (Some(ENHANCE_YOUR_CALM), Event::Closed));
    assert!(begun.elapsed() >= Duration::from_millis(250));
}

/// RFC 9113 §10.5.
#[test]
fn who_asks_for_nothing_may_do_so_a_while() {
    let origin = Origin::saying("here");
    let edge = Edge::before(&origin);
    let idle: [(u8, &[u8], usize); 5] = [
        (PING, b"whatever", 150),
        (SETTINGS, &[0, 3, 0, 0, 0, 100], 150),
        (PRIORITY, &[0, 0, 0, 0, 255], 150),
        (0xfe, b"what nobody knows", 150),
        (WINDOW_UPDATE, &[0, 0, 0, 1], 10_000),
    ];
    for (told, (kind, payload, some)) in idle.into_iter().enumerate() {
        let mut frames = Frames::connect(edge.web);
        let stream = u32::from(kind == PRIORITY);
        (0..some).for_each(|_| frames.frame(kind, 0, stream, payload));
        let asked = frames.request(ASK, None);
        assert_eq!(frames.end(asked), End::Status(200), "after some of {kind}");

        (0..30 * some).for_each(|_| frames.frame(kind, 0, stream, payload));
        edge.await_metric("lakh_bad_requests_total", (told + 1) as f64);
        let asked = frames.request(ASK, None);
        assert_eq!(frames.end(asked), End::Refused, "after many of {kind}");
    }
}
