//! A client of HTTP/2 that sends and reads part by part.

use super::{Ask, PATIENCE, Reply, Trust, eventually};
use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, StatusCode};
use rustls::pki_types::ServerName;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

/// A connection, which is looked after by a thread of its own.
pub struct Http2 {
    requests: SendRequest<Bytes>,
    scheme: &'static str,
    runtime: Runtime,
}

/// A request under way.
pub struct Streaming<'a> {
    sending: SendStream<Bytes>,
    answer: Option<ResponseFuture>,
    body: Option<RecvStream>,
    runtime: &'a Runtime,
}

type Result<T> = std::result::Result<T, h2::Error>;

impl Http2 {
    /// Without TLS, with prior knowledge.
    #[track_caller]
    pub fn connect(address: SocketAddr) -> Http2 {
        let runtime = thread();
        let stream = runtime.block_on(within(TcpStream::connect(address)));
        Http2::begin_on(stream.expect("a connection"), "http", runtime)
    }

    /// Chosen inside TLS, with a server of this name.
    #[track_caller]
    pub fn connect_tls(address: SocketAddr, trust: &Trust, name: &str) -> Http2 {
        let runtime = thread();
        let stream = runtime.block_on(within(async {
            let tcp = TcpStream::connect(address).await.expect("a connection");
            let connector = tokio_rustls::TlsConnector::from(trust.offering(&["h2"]).0);
            let name = ServerName::try_from(name.to_owned()).expect("a name");
            connector.connect(name, tcp).await.expect("a handshake")
        }));
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        Http2::begin_on(stream, "https", runtime)
    }

    fn begin_on(
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        scheme: &'static str,
        runtime: Runtime,
    ) -> Http2 {
        let shaken = runtime.block_on(within(h2::client::handshake(stream)));
        let (requests, connection) = shaken.expect("a connection of HTTP/2");
        runtime.spawn(connection);
        Http2 {
            requests,
            scheme,
            runtime,
        }
    }

    /// Sends the head; what body there is comes after.
    #[track_caller]
    pub fn begin(&self, ask: &Ask) -> Streaming<'_> {
        self.start(ask, false)
    }

    /// Sends a request without a body.
    #[track_caller]
    pub fn ask(&self, ask: &Ask) -> Streaming<'_> {
        self.start(ask, true)
    }

    /// Asks for a WebSocket: RFC 8441 §4.
    #[track_caller]
    pub fn websocket(&self, ask: &Ask) -> Streaming<'_> {
        let mut requests = self.ready();
        eventually("the edge says that it takes WebSockets", || {
            requests.is_extended_connect_protocol_enabled()
        });
        let mut request = self.request(ask);
        *request.method_mut() = http::Method::CONNECT;
        request
            .extensions_mut()
            .insert(h2::ext::Protocol::from_static("websocket"));
        let (answer, sending) = requests.send_request(request, false).expect("a stream");
        self.streaming(answer, sending)
    }

    #[track_caller]
    fn start(&self, ask: &Ask, ends: bool) -> Streaming<'_> {
        let started = self.ready().send_request(self.request(ask), ends);
        let (answer, sending) = started.expect("a stream");
        self.streaming(answer, sending)
    }

    fn request(&self, ask: &Ask) -> http::Request<()> {
        let mut request = http::Request::builder()
            .method(ask.method.as_str())
            .uri(format!("{}://{}{}", self.scheme, ask.host, ask.target));
        for (name, value) in &ask.fields {
            request = request.header(name, value);
        }
        request.body(()).expect("a valid request")
    }

    fn ready(&self) -> SendRequest<Bytes> {
        let ready = within(self.requests.clone().ready());
        self.runtime.block_on(ready).expect("a connection")
    }

    fn streaming(&self, answer: ResponseFuture, sending: SendStream<Bytes>) -> Streaming<'_> {
        Streaming {
            sending,
            answer: Some(answer),
            body: None,
            runtime: &self.runtime,
        }
    }
}

impl Streaming<'_> {
    /// All of it, as the edge takes it.
    pub fn send(&mut self, part: &[u8]) -> Result<()> {
        let mut left = Bytes::copy_from_slice(part);
        self.runtime.block_on(within(async {
            while !left.is_empty() {
                self.sending.reserve_capacity(left.len());
                let room = poll_fn(|cx| self.sending.poll_capacity(cx)).await;
                let room = room.ok_or(Reason::STREAM_CLOSED)??;
                let now = left.split_to(room.min(left.len()));
                self.sending.send_data(now, false)?;
            }
            Ok(())
        }))
    }

    /// As much of `most` bytes as is taken in this time.
    pub fn send_for(&mut self, time: Duration, most: usize) -> usize {
        let (part, mut sent) = ([0; 16 << 10], 0);
        let sending = async {
            while sent < most {
                self.sending.reserve_capacity(part.len());
                let Some(Ok(room)) = poll_fn(|cx| self.sending.poll_capacity(cx)).await else {
                    return;
                };
                let now = Bytes::copy_from_slice(&part[..room.min(part.len())]);
                sent += now.len();
                if self.sending.send_data(now, false).is_err() {
                    return;
                }
            }
        };
        // That nothing more is taken is what is waited for.
        let _ = self
            .runtime
            .block_on(async { tokio::time::timeout(time, sending).await });
        sent
    }

    pub fn end(&mut self) -> Result<()> {
        self.sending.send_data(Bytes::new(), true)
    }

    /// Waits for the next answer before the answer; None where that itself is next.
    pub fn interim(&mut self) -> Result<Option<Reply>> {
        let answer = self.answer.as_mut().expect("its head was not asked for");
        let next = poll_fn(|cx| answer.poll_informational(cx));
        let next = self.runtime.block_on(within(next)).transpose()?;
        Ok(next.map(|head| reply(head.status(), head.headers())))
    }

    /// Waits for the answer's head.
    pub fn head(&mut self) -> Result<Reply> {
        let answer = self.answer.take().expect("asked once");
        let (head, body) = self.runtime.block_on(within(answer))?.into_parts();
        self.body = Some(body);
        Ok(reply(head.status, &head.headers))
    }

    /// Whether the answer ended with its head.
    pub fn is_over(&mut self) -> bool {
        self.stream().is_end_stream()
    }

    /// The next part of the answer's body.
    pub fn part(&mut self) -> Result<Option<Bytes>> {
        let body = self.body.as_mut().expect("its head was asked for");
        let Some(part) = self.runtime.block_on(within(body.data())).transpose()? else {
            return Ok(None);
        };
        body.flow_control().release_capacity(part.len())?;
        Ok(Some(part))
    }

    /// What comes after the body.
    pub fn trailers(&mut self) -> Result<Option<HeaderMap>> {
        let body = self.body.as_mut().expect("its head was asked for");
        self.runtime.block_on(within(body.trailers()))
    }

    /// Wants no answer any more.
    pub fn cancel(mut self) {
        self.sending.send_reset(Reason::CANCEL);
    }

    fn stream(&mut self) -> &mut RecvStream {
        self.body.as_mut().expect("its head was asked for")
    }
}

fn reply(status: StatusCode, fields: &HeaderMap) -> Reply {
    let field = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        (name.to_string(), value)
    };
    Reply {
        status: status.as_u16(),
        fields: fields.iter().map(field).collect(),
        body: Vec::new(),
    }
}

fn thread() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a thread")
}

async fn within<T>(work: impl Future<Output = T>) -> T {
    let done = tokio::time::timeout(PATIENCE, work).await;
    done.expect("it takes no longer")
}
