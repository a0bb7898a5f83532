//! Frames as no library sends them, and what the connection ends with. RFC 6455 §5 and §7.

use crate::devices::SOCKET;
use crate::harness::{Origin, PATIENCE};
use std::io::{Read, Write};
use std::net::TcpStream;

/// Masked by nothing, so that payloads are as they are read here.
const MASK: [u8; 4] = [0; 4];

const TEXT: u8 = 0x1;
const CLOSE: u8 = 0x8;

struct Connection(TcpStream);

impl Connection {
    /// With the answer's head.
    fn open(origin: &Origin, token: &str, version: &str) -> (Self, String) {
        let mut stream = TcpStream::connect(origin.address()).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        write!(
            stream,
            "GET {SOCKET} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\
             connection: upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: {version}\r\n\r\n"
        )
        .expect("it takes that");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).expect("a head");
            head.extend(byte);
        }
        let head = String::from_utf8(head).expect("a head is text");
        (Self(stream), head)
    }

    /// What a Close frame says; what else is told before is passed over.
    fn closed(&mut self) -> Vec<u8> {
        loop {
            let mut head = [0; 2];
            self.0.read_exact(&mut head).expect("a frame");
            let mut length = usize::from(head[1]);
            if length == 126 {
                let mut long = [0; 2];
                self.0.read_exact(&mut long).expect("a length");
                length = usize::from(u16::from_be_bytes(long));
            }
            let mut payload = vec![0; length];
            self.0.read_exact(&mut payload).expect("a payload");
            if head[0] & 0xf == CLOSE {
                return payload;
            }
        }
    }
}

fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).expect("a short one");
    let mut frame = vec![first];
    match u8::try_from(length) {
        Ok(length) if length < 126 => frame.push(0x80 | length),
        _ => {
            frame.push(0x80 | 126);
            frame.extend(length.to_be_bytes());
        }
    }
    frame.extend(MASK);
    frame.extend(payload);
    frame
}

#[test]
fn frames_that_can_t_be_taken_end_with_a_code_that_says_why() {
    let origin = Origin::start();
    let token = origin.register("ada@example.org");
    let long = [b'x'; 5_000];
    let halves = [frame(TEXT, &long[..3_000]), frame(0x80, &long[..3_000])].concat();
    for (what, sent, code) in [
        ("too long", frame(0x80 | TEXT, &long), 1009),
        ("too long in all", halves, 1009),
        ("no text", frame(0x80 | TEXT, b"\xff\xfe"), 1007),
        (
            "no text as a reason",
            frame(0x80 | CLOSE, b"\x03\xe8\xff"),
            1007,
        ),
        ("RSV1", frame(0xc0 | TEXT, b"x"), 1002),
        ("not masked", vec![0x80 | TEXT, 1, b'x'], 1002),
        ("an opcode of nothing", frame(0x83, b"x"), 1002),
        ("a continuation of nothing", frame(0x80, b"x"), 1002),
        ("a long ping", frame(0x89, &long[..126]), 1002),
        ("half a ping", frame(0x09, b"x"), 1002),
        (
            "a reserved code",
            frame(0x80 | CLOSE, &1005_u16.to_be_bytes()),
            1002,
        ),
        ("going", frame(0x80 | CLOSE, &1001_u16.to_be_bytes()), 1001),
    ] {
        let (mut connection, head) = Connection::open(&origin, &token, "13");
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
        connection.0.write_all(&sent).expect("it takes that");
        let said = connection.closed();
        assert_eq!(said[..2], u16::to_be_bytes(code), "{what}");
    }
    let (mut connection, _) = Connection::open(&origin, &token, "13");
    let nothing = frame(0x80 | CLOSE, b"");
    connection.0.write_all(&nothing).expect("it takes that");
    assert_eq!(connection.closed(), b"");
    assert_eq!(connection.0.read(&mut [0]).expect("an end"), 0);
    origin.wait_until("nobody listens", || {
        let metrics = origin.get("/metrics").text();
        metrics.contains("lakh_origin_hub_connections 0")
    });
}

#[test]
fn another_version_is_told_which_one_is_spoken() {
    let origin = Origin::start();
    let token = origin.register("ada@example.org");
    for version in ["12", "14", ""] {
        let (_, head) = Connection::open(&origin, &token, version);
        assert!(head.starts_with("HTTP/1.1 426"), "{head}");
        for field in ["sec-websocket-version: 13\r\n", "upgrade: websocket\r\n"] {
            assert!(head.contains(field), "{head}");
        }
    }
}
