//! WebSockets frame by frame, as the Autobahn suite goes through them: whatever a client sends, the server
//! behind the edge answers as if there were no edge.

use crate::harness::PATIENCE;
use crate::websocket::Echo;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;
const FIN: u8 = 0x80;

/// A client's frame: RFC 6455 §5.2.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    let masked = payload.iter().zip(mask.iter().cycle()).map(|(b, m)| b ^ m);
    [
        head(first, payload.len(), 0x80),
        mask.to_vec(),
        masked.collect(),
    ]
    .concat()
}

fn head(first: u8, length: usize, mask: u8) -> Vec<u8> {
    let length = match length {
        ..126 => vec![mask | length as u8],
        126..65536 => [&[mask | 126][..], &(length as u16).to_be_bytes()].concat(),
        _ => [&[mask | 127][..], &(length as u64).to_be_bytes()].concat(),
    };
    [vec![first], length].concat()
}

fn whole(opcode: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
    frame(FIN | opcode, payload.as_ref())
}

fn part(opcode: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
    frame(opcode, payload.as_ref())
}

fn close(code: u16) -> Vec<u8> {
    whole(CLOSE, code.to_be_bytes())
}

/// What is sent after the handshake; each ends with a Close, or breaks a rule before it.
fn cases() -> Vec<(String, Vec<u8>)> {
    let mut cases = Vec::new();
    let mut case = |name: &str, frames: &[Vec<u8>]| {
        let sent = [&frames.concat()[..], &close(1000)].concat();
        cases.push((name.to_owned(), sent));
    };
    for length in [0, 125, 126, 127, 128, 65_535, 65_536, 300_000] {
        let name = |kind: &str| format!("{kind} of {length}");
        case(&name("text"), &[whole(TEXT, vec![b'*'; length])]);
        case(&name("binary"), &[whole(BINARY, vec![0xfe; length])]);
    }
    case("empty ping", &[whole(PING, "")]);
    case("ping with text", &[whole(PING, "hello"), whole(TEXT, "a")]);
    case("largest ping", &[whole(PING, [0xfe; 125])]);
    case("ping too large", &[whole(PING, [0xfe; 126])]);
    case("ten pings", &vec![whole(PING, "x"); 10]);
    case("unasked pong", &[whole(PONG, "x"), whole(PING, "y")]);
    for bits in 1..8 {
        let broken = frame(FIN | bits << 4 | TEXT, b"reserved");
        case(
            &format!("reserved bits {bits}"),
            &[whole(TEXT, "ok"), broken],
        );
    }
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        let unknown = frame(FIN | opcode, b"");
        case(&format!("opcode {opcode}"), &[whole(TEXT, "ok"), unknown]);
    }
    case("fragmented ping", &[part(PING, "a"), whole(0, "b")]);
    case(
        "fragmented text",
        &[part(TEXT, "a"), part(0, "b"), whole(0, "c")],
    );
    let between = [
        part(TEXT, "a"),
        whole(PING, "now"),
        part(0, "b"),
        whole(0, ""),
    ];
    case("ping between fragments", &between);
    case(
        "continuation of nothing",
        &[whole(0, "a"), whole(TEXT, "b")],
    );
    case("text within text", &[part(TEXT, "a"), whole(TEXT, "b")]);
    case(
        "text without a mask",
        &[head(FIN | TEXT, 2, 0), b"hi".to_vec()],
    );
    case(
        "text that is no UTF-8",
        &[whole(TEXT, b"\xce\xba\xe1\xbd\xb9\xcf\x83\xed\xa0\x80")],
    );
    case(
        "UTF-8 cut between fragments",
        &[part(TEXT, b"\xe2\x82"), whole(0, b"\xac")],
    );
    case("a letter that is never whole", &[whole(TEXT, b"\xe2\x82")]);
    case("a noncharacter", &[whole(TEXT, "\u{ffff}")]);
    case("close alone", &[]);
    case("close without a code", &[whole(CLOSE, "")]);
    case("close of one byte", &[whole(CLOSE, "a")]);
    case("close with a reason", &[whole(CLOSE, b"\x03\xe8bye")]);
    case(
        "close with a broken reason",
        &[whole(CLOSE, b"\x03\xe8\xff")],
    );
    case(
        "close with the longest reason",
        &[whole(CLOSE, [&[3, 0xe8][..], &[b'*'; 123]].concat())],
    );
    case(
        "close too long",
        &[whole(CLOSE, [&[3, 0xe8][..], &[b'*'; 124]].concat())],
    );
    case("text after close", &[close(1000), whole(TEXT, "late")]);
    for code in [
        999, 1001, 1003, 1004, 1005, 1006, 1007, 1011, 1015, 2999, 3000, 4999, 5000, 65_535,
    ] {
        case(&format!("close with {code}"), &[close(code)]);
    }
    cases
}

/// All that a server at `address` says to these bytes, to its end.
fn said(address: SocketAddr, sent: &[u8], at_once: usize) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).expect("a connection");
    stream.set_nodelay(true).expect("a socket has options");
    stream
        .set_read_timeout(Some(PATIENCE))
        .expect("a socket has options");
    let handshake = "GET / HTTP/1.1\r\nHost: edge.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                     Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(handshake.as_bytes()).expect("sent");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut one = [0];
        stream.read_exact(&mut one).expect("an answer");
        head.push(one[0]);
    }
    assert!(head.starts_with(b"HTTP/1.1 101 "));
    let mut writer = stream.try_clone().expect("one more of it");
    let (sent, mut said) = (sent.to_vec(), Vec::new());
    let writing = std::thread::spawn(move || {
        // Who is told off for what was sent may not take the rest.
        let _ = sent
            .chunks(at_once)
            .try_for_each(|part| writer.write_all(part));
    });
    // A reset is an end too.
    let _ = stream.read_to_end(&mut said);
    writing.join().expect("no panic");
    said
}

#[test]
fn a_server_answers_through_the_edge_as_it_does_directly() {
    let echo = Echo::start();
    let edge = echo.edge("");
    for (name, sent) in cases() {
        // At once, and byte by byte where that is not long.
        for at_once in [sent.len(), 1] {
            if at_once == 1 && sent.len() > 1000 {
                continue;
            }
            let direct = said(echo.address, &sent, at_once);
            let through = said(edge.web, &sent, at_once);
            assert!(through == direct, "{name}: {through:?} and not {direct:?}");
        }
    }
}
