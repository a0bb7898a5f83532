//! HTTP/2 frame by frame, so that what no library would send can be sent. RFC 9113, RFC 7541.

use crate::harness::PATIENCE;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PUSH_PROMISE: u8 = 5;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 1;
pub const ACK: u8 = 1;
pub const END_HEADERS: u8 = 4;
pub const PADDED: u8 = 8;
pub const PRIORITIZED: u8 = 0x20;

pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What became of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Status(u16),
    /// RST_STREAM or GOAWAY, or the connection was closed.
    Refused,
}

/// What the edge says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Names and values.
    Settings(Vec<(u16, u32)>),
    SettingsTaken,
    Pong(Vec<u8>),
    Head {
        stream: u32,
        status: u16,
        ends: bool,
    },
    Data {
        stream: u32,
        length: usize,
        ends: bool,
    },
    Reset {
        stream: u32,
        code: u32,
    },
    GoAway {
        code: u32,
    },
    Closed,
    /// Nothing, for as long as a test waits.
    Silence,
    Other,
}

pub struct Frames {
    stream: TcpStream,
    next: u32,
    /// The edge has closed the connection, or reads no more of it.
    is_deaf: bool,
}

impl Frames {
    /// Says nothing yet.
    pub fn open(address: SocketAddr) -> Frames {
        let stream = TcpStream::connect(address).expect("a connection");
        stream
            .set_read_timeout(Some(PATIENCE))
            .and_then(|()| stream.set_write_timeout(Some(PATIENCE)))
            .expect("a socket has options");
        Frames {
            stream,
            next: 1,
            is_deaf: false,
        }
    }

    pub fn connect(address: SocketAddr) -> Frames {
        let mut frames = Frames::open(address);
        frames.send(PREFACE);
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
    pub fn end(&mut self, of: u32) -> End {
        let mut answered = End::Refused;
        loop {
            let ended = match self.event() {
                Event::Closed | Event::Silence => return End::Refused,
                Event::GoAway { code } if code != 0 => return End::Refused,
                Event::Reset { stream, .. } => stream == of,
                Event::Head {
                    stream,
                    status,
                    ends,
                } if stream == of => {
                    if answered == End::Refused {
                        answered = End::Status(status);
                    }
                    ends
                }
                Event::Data { stream, ends, .. } => stream == of && ends,
                _ => false,
            };
            if ended {
                return answered;
            }
        }
    }

    /// The next thing that the edge says. What it wants to be acknowledged is.
    pub fn event(&mut self) -> Event {
        let (kind, flags, stream, payload) = match self.read() {
            Ok(frame) => frame,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Event::Silence,
            Err(_) => return Event::Closed,
        };
        let word = |at: usize| u32::from_be_bytes([0, 1, 2, 3].map(|i| payload[at + i]));
        let (acknowledges, ends) = (flags & ACK != 0, flags & END_STREAM != 0);
        match kind {
            SETTINGS if acknowledges => Event::SettingsTaken,
            SETTINGS => {
                self.frame(SETTINGS, ACK, 0, &[]);
                let name = |at: usize| u16::from_be_bytes([payload[at], payload[at + 1]]);
                let settings = (0..payload.len()).step_by(6);
                Event::Settings(settings.map(|at| (name(at), word(at + 2))).collect())
            }
            PING if acknowledges => Event::Pong(payload),
            PING => {
                self.frame(PING, ACK, 0, &payload);
                Event::Other
            }
            GOAWAY => Event::GoAway { code: word(4) },
            RST_STREAM => Event::Reset {
                stream,
                code: word(0),
            },
            HEADERS => Event::Head {
                stream,
                status: status_of(&payload),
                ends,
            },
            DATA => Event::Data {
                stream,
                length: payload.len(),
                ends,
            },
            _ => Event::Other,
        }
    }

    pub fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let length = (payload.len() as u32).to_be_bytes();
        let mut frame = length[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        self.send(&frame);
    }

    /// One that the edge has refused may be closed already.
    pub fn send(&mut self, bytes: &[u8]) {
        self.is_deaf = self.is_deaf || self.stream.write_all(bytes).is_err();
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
pub fn block(fields: &[(&[u8], &[u8])]) -> Vec<u8> {
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
