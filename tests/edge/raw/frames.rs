//! HTTP/2 frame by frame, so that what no library would send can be sent. RFC 9113, RFC 7541.

use crate::harness::PATIENCE;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;

const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

/// What became of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Status(u16),
    /// RST_STREAM or GOAWAY, or the connection was closed.
    Refused,
}

pub struct Frames {
    stream: TcpStream,
    next: u32,
}

impl Frames {
    pub fn connect(address: SocketAddr) -> Frames {
        let stream = TcpStream::connect(address).expect("a connection");
        stream
            .set_read_timeout(Some(PATIENCE))
            .expect("a socket has options");
        let mut frames = Frames { stream, next: 1 };
        let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
        frames.stream.write_all(preface).expect("sent");
        frames.frame(SETTINGS, 0, 0, &[]);
        frames
    }

    /// Sends a request on the next stream, and its body if there is one.
    pub fn request(&mut self, fields: &[(&[u8], &[u8])], body: Option<&[u8]>) -> u32 {
        let stream = self.next;
        self.next += 2;
        let ends = if body.is_none() { END_STREAM } else { 0 };
        self.frame(HEADERS, END_HEADERS | ends, stream, &block(fields));
        if let Some(body) = body {
            self.frame(DATA, END_STREAM, stream, body);
        }
        stream
    }

    /// How the stream ends.
    pub fn end(&mut self, stream: u32) -> End {
        let mut status = None;
        loop {
            let Ok((kind, flags, of, payload)) = self.read() else {
                return End::Refused;
            };
            match kind {
                SETTINGS if flags & ACK == 0 => self.frame(SETTINGS, ACK, 0, &[]),
                PING if flags & ACK == 0 => self.frame(PING, ACK, 0, &payload),
                GOAWAY if payload[4..8] != [0; 4] => return End::Refused,
                RST_STREAM if of == stream => return status.unwrap_or(End::Refused),
                HEADERS if of == stream => {
                    status = status.or(Some(End::Status(status_of(&payload))))
                }
                _ => {}
            }
            if of == stream && matches!(kind, HEADERS | DATA) && flags & END_STREAM != 0 {
                return status.unwrap_or(End::Refused);
            }
        }
    }

    /// One that the edge has refused may be closed already.
    fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let length = (payload.len() as u32).to_be_bytes();
        let mut frame = length[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        let _ = self.stream.write_all(&frame);
    }

    fn read(&mut self) -> io::Result<(u8, u8, u32, Vec<u8>)> {
        let mut head = [0; 9];
        self.stream.read_exact(&mut head)?;
        let [a, b, c, kind, flags, s @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        self.stream.read_exact(&mut payload)?;
        Ok((kind, flags, u32::from_be_bytes(s) & 0x7fff_ffff, payload))
    }
}

/// Literal fields without indexing, neither compressed: RFC 7541 §6.2.2.
fn block(fields: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            assert!(text.len() < 127, "one byte holds the length");
            block.push(text.len() as u8);
            block.extend(*text);
        }
    }
    block
}

/// The first field of an answer's head is its status: RFC 7541 appendix A has the usual ones.
fn status_of(block: &[u8]) -> u16 {
    const INDEXED: [u16; 7] = [200, 204, 206, 304, 400, 404, 500];
    match block[0] {
        first @ 0x88..=0x8e => INDEXED[usize::from(first - 0x88)],
        // Another one: in digits, each of five or six bits, or plain.
        _ => 0,
    }
}
