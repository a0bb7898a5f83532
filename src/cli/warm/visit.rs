//! One request through the edge, read to its end and thrown away.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// For the connection, and for each part of the answer. An origin may take its time on a miss.
const PATIENCE: Duration = Duration::from_secs(30);
const MAX_HEAD: usize = 64 << 10;
const MAX_LINE: u64 = 4 << 10;

/// A URL, as it is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub host: String,
    /// Path and query.
    pub path: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Stored now.
    Stored,
    /// It was there before.
    Hit,
    /// Answered, and not for the cache to keep.
    NotStored,
    /// Why.
    Failed(String),
}

impl Target {
    /// `http://host/path?query`, or why it is none.
    pub fn parse(url: &str) -> Result<Target, String> {
        let wrong = || format!("`{url}` is not a URL; write http://shop.example/path");
        let parsed: http::Uri = url.parse().map_err(|_| wrong())?;
        let authority = parsed.authority().ok_or_else(wrong)?;
        let known = matches!(parsed.scheme_str(), Some("http" | "https"));
        if !known || authority.as_str().contains('@') {
            return Err(wrong());
        }
        let path = parsed.path_and_query().map_or("/", |path| path.as_str());
        let slash = if path.starts_with('/') { "" } else { "/" };
        Ok(Target {
            host: authority.to_string(),
            path: format!("{slash}{path}"),
        })
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}", self.host, self.path)
    }
}

pub fn visit(edge: SocketAddr, target: &Target) -> Outcome {
    match fetch(edge, target, &mut io::sink()) {
        Ok(head) if head.status < 400 => head.outcome(),
        Ok(head) => Outcome::Failed(format!("status {}", head.status)),
        Err(e) => Outcome::Failed(told(&e)),
    }
}

fn told(e: &io::Error) -> String {
    match e.kind() {
        ErrorKind::UnexpectedEof => "the answer broke off".into(),
        ErrorKind::WouldBlock | ErrorKind::TimedOut => {
            format!("no answer for {} s", PATIENCE.as_secs())
        }
        _ => e.to_string(),
    }
}

/// What an answer's head says of how it goes on.
pub struct Head {
    pub status: u16,
    cache_status: String,
    framing: Framing,
}

#[derive(Clone, Copy)]
enum Framing {
    Nothing,
    Length(u64),
    Chunked,
    /// The connection's end is the body's.
    ToTheEnd,
}

/// Writes the body to `body` and gives the head; an error when the body is not whole.
pub fn fetch(edge: SocketAddr, target: &Target, body: &mut impl Write) -> io::Result<Head> {
    let mut stream = TcpStream::connect_timeout(&edge, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    write!(
        stream,
        "GET {} HTTP/1.1\r\nhost: {}\r\nuser-agent: lakh-warm\r\naccept: */*\r\n\
         connection: close\r\n\r\n",
        target.path, target.host
    )?;
    let mut input = Vec::new();
    let head = loop {
        let head = read_head(&mut stream, &mut input)?;
        if head.status >= 200 {
            break head;
        }
    };
    read_body(head.framing, &input, &mut stream, body)?;
    Ok(head)
}

/// Leaves what follows the head in `input`.
fn read_head(stream: &mut impl Read, input: &mut Vec<u8>) -> io::Result<Head> {
    loop {
        if let Some(end) = memchr::memmem::find(input, b"\r\n\r\n") {
            let head = input.drain(..end + 4).collect::<Vec<_>>();
            return Head::parse(&head);
        }
        if input.len() > MAX_HEAD {
            return Err(no_http());
        }
        let mut some = [0; 4096];
        match stream.read(&mut some)? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            n => input.extend_from_slice(&some[..n]),
        }
    }
}

fn read_body(
    framing: Framing,
    begun: &[u8],
    stream: &mut impl Read,
    body: &mut impl Write,
) -> io::Result<()> {
    let mut rest = BufReader::new(begun.chain(stream));
    match framing {
        Framing::Nothing => Ok(()),
        Framing::Length(length) => copy(&mut rest, length, body),
        Framing::ToTheEnd => io::copy(&mut rest, body).map(drop),
        Framing::Chunked => loop {
            match chunk_size(&mut rest)? {
                0 => return Ok(()),
                size => copy(&mut rest, size, body)?,
            }
            copy(&mut rest, 2, &mut io::sink())?;
        },
    }
}

/// So many bytes, and no fewer.
fn copy(from: &mut impl Read, length: u64, to: &mut impl Write) -> io::Result<()> {
    match io::copy(&mut from.take(length), to)? {
        n if n == length => Ok(()),
        _ => Err(ErrorKind::UnexpectedEof.into()),
    }
}

fn chunk_size(from: &mut impl BufRead) -> io::Result<u64> {
    let mut line = Vec::new();
    from.take(MAX_LINE).read_until(b'\n', &mut line)?;
    match httparse::parse_chunk_size(&line) {
        Ok(httparse::Status::Complete((_, size))) => Ok(size),
        Ok(httparse::Status::Partial) => Err(ErrorKind::UnexpectedEof.into()),
        Err(_) => Err(no_http()),
    }
}

impl Head {
    fn parse(head: &[u8]) -> io::Result<Head> {
        let mut fields = [httparse::EMPTY_HEADER; 256];
        let mut answer = httparse::Response::new(&mut fields);
        answer.parse(head).map_err(|_| no_http())?;
        let field = |name: &str| {
            let found = answer.headers.iter();
            let mut found = found.filter(|field| field.name.eq_ignore_ascii_case(name));
            found
                .next_back()
                .map(|field| String::from_utf8_lossy(field.value))
        };
        let status = answer.code.ok_or_else(no_http)?;
        let framing = if status < 200 || matches!(status, 204 | 304) {
            Framing::Nothing
        } else if field("transfer-encoding").is_some() {
            Framing::Chunked
        } else if let Some(length) = field("content-length") {
            Framing::Length(length.parse().map_err(|_| no_http())?)
        } else {
            Framing::ToTheEnd
        };
        Ok(Head {
            status,
            // Of several, ours is the last: an origin may be a cache itself.
            cache_status: field("cache-status").unwrap_or_default().into_owned(),
            framing,
        })
    }

    fn outcome(&self) -> Outcome {
        let mut words = self.cache_status.split(';').map(str::trim);
        match words.find(|word| ["hit", "stored"].contains(word)) {
            Some("hit") => Outcome::Hit,
            Some(_) => Outcome::Stored,
            None => Outcome::NotStored,
        }
    }
}

fn no_http() -> io::Error {
    io::Error::new(ErrorKind::InvalidData, "what answers is no HTTP server")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        let parse = |url: &str| Target::parse(url).map(|target| target.to_string());
        assert_eq!(parse("http://h:81/a?b=c"), Ok("h:81/a?b=c".into()));
        assert_eq!(parse("https://shop.example"), Ok("shop.example/".into()));
        assert_eq!(parse("http://h?x"), Ok("h/?x".into()));
        for wrong in [
            "",
            "h/a",
            "/a",
            "ftp://h/a",
            "http://",
            "http://u@h/",
            "http://h/a b",
        ] {
            let why = parse(wrong).expect_err(wrong);
            assert!(why.contains("write http://"), "{why}");
        }
    }

    fn body(wire: &str) -> Result<(u16, String), ErrorKind> {
        let (mut stream, mut input) = (wire.as_bytes(), Vec::new());
        let head = read_head(&mut stream, &mut input).map_err(|e| e.kind())?;
        let mut body = Vec::new();
        read_body(head.framing, &input, &mut stream, &mut body).map_err(|e| e.kind())?;
        Ok((head.status, String::from_utf8(body).expect("text")))
    }

    #[test]
    fn a_body_is_whole_or_an_error() {
        let whole = |body: &str| Ok((200, body.to_owned()));
        for (wire, expected) in [
            ("Content-Length: 5\r\n\r\nhello", whole("hello")),
            (
                "Content-Length: 6\r\n\r\nhello",
                Err(ErrorKind::UnexpectedEof),
            ),
            (
                "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
                whole("hello"),
            ),
            (
                "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
                Err(ErrorKind::UnexpectedEof),
            ),
            (
                "Transfer-Encoding: chunked\r\n\r\n5\r\nhel",
                Err(ErrorKind::UnexpectedEof),
            ),
            ("\r\nhello", whole("hello")),
            ("Content-Length: x\r\n\r\n", Err(ErrorKind::InvalidData)),
        ] {
            assert_eq!(
                body(&format!("HTTP/1.1 200 OK\r\n{wire}")),
                expected,
                "{wire:?}"
            );
        }
        assert_eq!(body("HTTP/1.1 204 None\r\n\r\n"), Ok((204, String::new())));
        assert_eq!(body("SSH-2.0-x\r\n\r\n"), Err(ErrorKind::InvalidData));
        assert_eq!(body("HTTP/1.1 200"), Err(ErrorKind::UnexpectedEof));
    }

    #[test]
    fn the_edge_says_what_became_of_it() {
        let outcome = |status: &str| {
            let head = format!("HTTP/1.1 200 OK\r\nCache-Status: {status}\r\n\r\n");
            Head::parse(head.as_bytes()).expect("a head").outcome()
        };
        assert_eq!(outcome("lakh; hit; ttl=3"), Outcome::Hit);
        assert_eq!(outcome("lakh; fwd=miss; stored"), Outcome::Stored);
        assert_eq!(
            outcome("lakh; fwd=miss; detail=private"),
            Outcome::NotStored
        );
    }
}
