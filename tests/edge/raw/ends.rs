//! What has no body ends with its head: END_STREAM is on HEADERS, and no empty DATA follows. RFC 9113 §8.1.

use super::frames::{Event, Frames};
use crate::harness::{Answer, Edge, Origin};

const YAML: &str = "
upstreams: {app: {servers: [$0]}}
caches: {pages: {memory: 10MiB}}
routes:
  - {name: stored, match: {path: /stored/*}, upstream: app, cache: {in: pages}}
  - {name: all, match: {path: /plain/*}, upstream: app}
";

/// The answer's status, whether it ended with its head, and how many bytes came of its body.
fn answer(
    frames: &mut Frames,
    method: &str,
    path: &str,
    more: &[(&[u8], &[u8])],
) -> (u16, bool, usize) {
    let mut fields = vec![
        (&b":method"[..], method.as_bytes()),
        (b":scheme", b"http"),
        (b":path", path.as_bytes()),
        (b":authority", b"h"),
    ];
    fields.extend(more);
    let of = frames.request(&fields, None);
    let (mut answered, mut bytes) = ((0, false), 0);
    loop {
        match frames.event() {
            Event::Head {
                stream,
                status,
                ends,
            } if stream == of => {
                answered = (status, ends);
                if ends {
                    return (status, ends, bytes);
                }
            }
            Event::Data {
                stream,
                length,
                ends,
            } if stream == of => {
                bytes += length;
                if ends {
                    return (answered.0, answered.1, bytes);
                }
            }
            Event::Closed | Event::Silence | Event::Reset { .. } => {
                panic!("{method} {path}: no whole answer")
            }
            _ => {}
        }
    }
}

#[test]
fn a_stream_ends_with_a_head_that_nothing_follows() {
    let origin = Origin::start(|seen| match seen.path() {
        path if path.ends_with("/nothing") => {
            Answer::of(204, &[("cache-control", "max-age=60")], "")
        }
        path if path.ends_with("/empty") => Answer::of(200, &[("cache-control", "max-age=60")], ""),
        _ if seen.field("if-none-match").is_some() => Answer::of(304, &[("etag", "\"1\"")], ""),
        _ => Answer::of(
            200,
            &[("cache-control", "max-age=60"), ("etag", "\"1\"")],
            "hello",
        ),
    });
    let edge = Edge::start(YAML, &[&origin]);
    let mut frames = Frames::connect(edge.web);
    let known = (&b"if-none-match"[..], &b"\"1\""[..]);

    assert_eq!(
        answer(&mut frames, "GET", "/stored/a", &[]),
        (200, false, 5)
    );
    // While it comes nobody knows that it is empty.
    let (status, _, bytes) = answer(&mut frames, "GET", "/stored/empty", &[]);
    assert_eq!((status, bytes), (200, 0));
    let over = |status| (status, true, 0);
    for (method, path, more, expected) in [
        ("HEAD", "/stored/a", &[][..], over(200)),
        ("GET", "/stored/a", &[known], over(304)),
        ("HEAD", "/stored/b", &[], over(200)),
        ("GET", "/stored/nothing", &[], over(204)),
        ("GET", "/stored/nothing", &[], over(204)),
        ("GET", "/stored/empty", &[], over(200)),
        ("HEAD", "/plain/a", &[], over(200)),
        ("GET", "/plain/a", &[known], over(304)),
        ("GET", "/plain/nothing", &[], over(204)),
        ("DELETE", "/plain/nothing", &[], over(204)),
        ("HEAD", "/nowhere", &[], over(404)),
    ] {
        assert_eq!(
            answer(&mut frames, method, path, more),
            expected,
            "{method} {path}"
        );
    }
    assert_eq!(answer(&mut frames, "GET", "/plain/a", &[]), (200, false, 5));
}
