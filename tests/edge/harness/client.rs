//! An HTTP/1.1 client that shows exactly what was on the wire.

use super::{Edge, PATIENCE};
use std::fmt::Display;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

/// A request to be sent.
#[derive(Clone, Debug)]
pub struct Ask {
    pub method: String,
    pub target: String,
    pub host: String,
    pub fields: Vec<(String, String)>,
    pub body: Vec<u8>,
    chunked: bool,
    from: Option<IpAddr>,
}

/// A whole answer.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    pub fields: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// A connection.
pub struct Client {
    stream: TcpStream,
    /// What is spoken on it, if anything.
    tls: Option<Box<rustls::ClientConnection>>,
    input: Vec<u8>,
}

pub fn ask(method: &str, target: &str) -> Ask {
    Ask {
        method: method.into(),
        target: target.into(),
        host: "edge.test".into(),
        fields: Vec::new(),
        body: Vec::new(),
        chunked: false,
        from: None,
    }
}

pub fn get(target: &str) -> Ask {
    ask("GET", target)
}

pub fn head(target: &str) -> Ask {
    ask("HEAD", target)
}

pub fn post(target: &str, body: impl AsRef<[u8]>) -> Ask {
    let mut post = ask("POST", target);
    post.body = body.as_ref().to_vec();
    post.with("content-length", body.as_ref().len())
}

/// Of an operator, to the admin listener.
pub fn order_to(target: &str, order: impl AsRef<[u8]>) -> Ask {
    let order = post(target, order).host("localhost");
    order.with("content-type", "application/json")
}

impl Ask {
    pub fn with(mut self, name: &str, value: impl Display) -> Ask {
        self.fields.push((name.into(), value.to_string()));
        self
    }

    pub fn host(mut self, host: &str) -> Ask {
        self.host = host.into();
        self
    }

    /// The body in chunks, without a length.
    pub fn chunked(mut self) -> Ask {
        self.fields.retain(|(name, _)| name != "content-length");
        self.chunked = true;
        self.with("transfer-encoding", "chunked")
    }

    /// The client's own address, of 127.0.0.0/8.
    pub fn from(mut self, address: &str) -> Ask {
        self.from = Some(address.parse().expect("an address"));
        self
    }

    /// On a connection of its own.
    #[track_caller]
    pub fn send(&self, edge: &Edge) -> Reply {
        let mut client = match self.from {
            Some(address) => Client::connect_from(address, edge.web),
            None => Client::connect(edge.web),
        };
        self.on(&mut client)
    }

    #[track_caller]
    pub fn on(&self, client: &mut Client) -> Reply {
        match self.try_on(client) {
            Ok(reply) => reply,
            Err(e) => panic!("{} {}: no whole answer: {e}", self.method, self.target),
        }
    }

    pub fn try_on(&self, client: &mut Client) -> io::Result<Reply> {
        client.try_send(self.wire())?;
        client.try_reply(&self.method)
    }

    pub fn wire(&self) -> Vec<u8> {
        let mut wire = format!(
            "{} {} HTTP/1.1\r\nHost: {}\r\n",
            self.method, self.target, self.host
        );
        for (name, value) in &self.fields {
            wire += &format!("{name}: {value}\r\n");
        }
        let mut wire = (wire + "\r\n").into_bytes();
        if !self.chunked {
            wire.extend_from_slice(&self.body);
            return wire;
        }
        for chunk in self.body.chunks(10_000) {
            wire.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            wire.extend_from_slice(chunk);
            wire.extend_from_slice(b"\r\n");
        }
        wire.extend_from_slice(b"0\r\n\r\n");
        wire
    }
}

impl Client {
    pub fn connect(address: SocketAddr) -> Client {
        Client::new(TcpStream::connect(address).expect("a connection"))
    }

    /// Reads wait no longer than `limit`.
    pub fn try_connect(address: SocketAddr, limit: Duration) -> io::Result<Client> {
        let client = Client::new(TcpStream::connect(address)?);
        client.stream.set_read_timeout(Some(limit))?;
        Ok(client)
    }

    pub fn connect_from(source: IpAddr, address: SocketAddr) -> Client {
        let connect = async {
            let socket = tokio::net::TcpSocket::new_v4()?;
            socket.bind((source, 0).into())?;
            socket.connect(address).await?.into_std()
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let stream = runtime
            .expect("an event loop")
            .block_on(connect)
            .expect("a connection");
        stream.set_nonblocking(false).expect("a socket can block");
        Client::new(stream)
    }

    pub fn new(stream: TcpStream) -> Client {
        stream.set_nodelay(true).expect("a socket has options");
        stream
            .set_read_timeout(Some(PATIENCE))
            .expect("a socket has options");
        stream
            .set_write_timeout(Some(PATIENCE))
            .expect("a socket has options");
        Client {
            stream,
            tls: None,
            input: Vec::new(),
        }
    }

    /// Where it comes from.
    pub fn local(&self) -> SocketAddr {
        self.stream.local_addr().expect("a connection has two ends")
    }

    /// Speaks TLS from here on, once the handshake is done. An error where it fails.
    pub fn secure(mut self, mut tls: rustls::ClientConnection) -> io::Result<Client> {
        while tls.is_handshaking() {
            tls.complete_io(&mut self.stream)?;
        }
        self.tls = Some(Box::new(tls));
        Ok(self)
    }

    /// What was agreed on.
    #[track_caller]
    pub fn tls(&self) -> &rustls::ClientConnection {
        self.tls.as_ref().expect("it is a client inside TLS")
    }

    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match &mut self.tls {
            Some(tls) => rustls::Stream::new(&mut **tls, &mut self.stream).read(into),
            None => self.stream.read(into),
        }
    }

    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        match &mut self.tls {
            Some(tls) => rustls::Stream::new(&mut **tls, &mut self.stream).write(from),
            None => self.stream.write(from),
        }
    }

    #[track_caller]
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).expect("the edge takes what is sent");
    }

    /// An edge that refuses a body answers without reading all of it; what can't be sent then
    /// says nothing, the answer does.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        let mut left = bytes.as_ref();
        while !left.is_empty() {
            match self.write(left) {
                Ok(n) => left = &left[n..],
                Err(e)
                    if matches!(e.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) =>
                {
                    return Ok(());
                }
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// The answer to a request by `method`, which says whether there is a body.
    #[track_caller]
    pub fn reply(&mut self, method: &str) -> Reply {
        self.try_reply(method).expect("a whole answer")
    }

    pub fn try_reply(&mut self, method: &str) -> io::Result<Reply> {
        let mut reply = self.read_head()?;
        while reply.status == 100 {
            reply = self.read_head()?;
        }
        let bodiless = method == "HEAD" || matches!(reply.status, 101 | 204 | 304);
        if !bodiless {
            reply.body = self.read_body(&reply)?;
        }
        Ok(reply)
    }

    /// As much as comes at once; 0 at an end that was said.
    pub fn read_some(&mut self) -> io::Result<usize> {
        self.read(&mut [0; 64 << 10])
    }

    /// Status and fields; the body stays to be read.
    pub fn read_head(&mut self) -> io::Result<Reply> {
        let end = loop {
            if let Some(at) = self.input.windows(4).position(|w| w == b"\r\n\r\n") {
                break at + 4;
            }
            self.fill()?;
        };
        let head: Vec<u8> = self.input.drain(..end).collect();
        Reply::parse(&String::from_utf8_lossy(&head))
    }

    /// Bytes as they come, `n` of them.
    pub fn read_exactly(&mut self, n: usize) -> io::Result<Vec<u8>> {
        while self.input.len() < n {
            self.fill()?;
        }
        Ok(self.input.drain(..n).collect())
    }

    /// The data of the next chunk; empty for the last.
    pub fn read_chunk(&mut self) -> io::Result<Vec<u8>> {
        let line = loop {
            if let Some(at) = self.input.windows(2).position(|w| w == b"\r\n") {
                break self.input.drain(..at + 2).collect::<Vec<_>>();
            }
            self.fill()?;
        };
        let line = String::from_utf8_lossy(&line).trim().to_owned();
        let bad = |_| io::Error::new(ErrorKind::InvalidData, format!("chunk size {line:?}"));
        let mut chunk = self.read_exactly(usize::from_str_radix(&line, 16).map_err(bad)? + 2)?;
        chunk.truncate(chunk.len() - 2);
        Ok(chunk)
    }

    /// Whether the edge closes the connection, having sent no more than what was read.
    pub fn closes(&mut self) -> bool {
        self.closes_within(PATIENCE)
    }

    pub fn closes_within(&mut self, limit: Duration) -> bool {
        self.stream
            .set_read_timeout(Some(limit))
            .expect("a socket has options");
        match self.read(&mut [0; 64]) {
            Ok(n) => n == 0 && self.input.is_empty(),
            Err(e) => e.kind() == ErrorKind::ConnectionReset,
        }
    }

    /// Whether something is there to be read, or the end, before `limit`.
    pub fn has_answer_within(&self, limit: Duration) -> bool {
        self.stream
            .set_read_timeout(Some(limit))
            .expect("a socket has options");
        let peeked = self.stream.peek(&mut [0]);
        self.stream
            .set_read_timeout(Some(PATIENCE))
            .expect("a socket has options");
        !peeked.is_err_and(|e| matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut))
    }

    /// No more will be sent; answers can still be read.
    pub fn end(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
            tls.write_tls(&mut self.stream).expect("a short write");
        }
        self.stream
            .shutdown(std::net::Shutdown::Write)
            .expect("a connection can be half closed");
    }

    fn read_body(&mut self, reply: &Reply) -> io::Result<Vec<u8>> {
        if reply
            .field("transfer-encoding")
            .is_some_and(|coding| coding == "chunked")
        {
            let mut body = Vec::new();
            loop {
                match self.read_chunk()? {
                    chunk if chunk.is_empty() => return Ok(body),
                    chunk => body.extend_from_slice(&chunk),
                }
            }
        }
        if let Some(length) = reply.field("content-length") {
            return self.read_exactly(length.parse().expect("a number"));
        }
        while self.fill().is_ok() {}
        Ok(std::mem::take(&mut self.input))
    }

    fn fill(&mut self) -> io::Result<()> {
        let mut some = vec![0; 64 << 10];
        match self.read(&mut some)? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            n => {
                self.input.extend_from_slice(&some[..n]);
                Ok(())
            }
        }
    }
}

impl Reply {
    fn parse(head: &str) -> io::Result<Reply> {
        let bad = || io::Error::new(ErrorKind::InvalidData, format!("not an answer: {head:?}"));
        let mut lines = head.trim_end().split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1));
        let status = status.and_then(|s| s.parse().ok()).ok_or_else(bad)?;
        let field = |line: &str| {
            let (name, value) = line.split_once(':')?;
            Some((name.to_ascii_lowercase(), value.trim().to_owned()))
        };
        let fields = lines.map(field).collect::<Option<_>>().ok_or_else(bad)?;
        Ok(Reply {
            status,
            fields,
            body: Vec::new(),
        })
    }

    /// The first field of this name.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.all(name).first().copied()
    }

    pub fn all(&self, name: &str) -> Vec<&str> {
        self.fields
            .iter()
            .filter(|(n, _)| n == name)
            .map(|(_, v)| v.as_str())
            .collect()
    }

    /// The field's value; it must be there once.
    #[track_caller]
    pub fn the(&self, name: &str) -> &str {
        let values = self.all(name);
        assert_eq!(values.len(), 1, "`{name}` is there once in {self:?}");
        values[0]
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {:?}", self.text()))
    }

    /// Fails unless the status is this one.
    #[track_caller]
    pub fn expect(self, status: u16) -> Reply {
        let start = String::from_utf8_lossy(&self.body[..self.body.len().min(300)]);
        assert_eq!(self.status, status, "{:?} {start}", self.fields);
        self
    }

    /// Fails unless it is a problem that the edge itself tells of, and in the usual form.
    #[track_caller]
    pub fn expect_problem(self, status: u16) -> Reply {
        let reply = self.expect(status);
        assert_eq!(reply.the("content-type"), "application/problem+json");
        let (id, problem) = (reply.the("x-request-id"), reply.json());
        assert!(!id.is_empty());
        assert_eq!(problem["status"], status);
        for member in ["type", "title", "detail"] {
            let text = problem[member].as_str();
            assert!(
                text.is_some_and(|text| !text.is_empty()),
                "{member} in {problem}"
            );
        }
        reply
    }

    /// What this edge's cache did: `hit; ttl=3`, `fwd=miss; stored`, without the name.
    #[track_caller]
    pub fn cache_status(&self) -> &str {
        let status = self.the("cache-status");
        let rest = status.strip_prefix("lakh; ");
        rest.unwrap_or_else(|| panic!("{status:?} does not begin with lakh"))
    }

    /// Whether nothing was fetched for it. A client that asks again right after the last byte may
    /// still join the fill that brought it.
    #[track_caller]
    pub fn is_hit(&self) -> bool {
        let status = self.cache_status();
        status
            .split("; ")
            .any(|word| word == "hit" || word == "collapsed")
    }
}
