//! A client over HTTP/3.

use super::{Ask, PATIENCE, Reply, Trust};
use bytes::{Buf, Bytes};
use h3::client::{RequestStream, SendRequest};
use h3_quinn::{BidiStream, OpenStreams};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ReadError, ReadToEndError};
use std::future::poll_fn;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

/// A connection, which lives on a thread of its own.
pub struct Http3 {
    quic: quinn::Connection,
    endpoint: quinn::Endpoint,
    requests: SendRequest<OpenStreams, Bytes>,
    /// Ends with the connection, and says how.
    driver: Option<JoinHandle<h3::error::ConnectionError>>,
    runtime: Runtime,
}

/// A request under way.
pub struct Asked<'a> {
    pub stream: RequestStream<BidiStream<Bytes>, Bytes>,
    runtime: &'a Runtime,
}

type Result<T> = std::result::Result<T, h3::error::StreamError>;

impl Http3 {
    #[track_caller]
    pub fn connect(address: SocketAddr, trust: &Trust, name: &str) -> Http3 {
        Http3::try_connect(address, trust, name).expect("a handshake")
    }

    pub fn try_connect(
        address: SocketAddr,
        trust: &Trust,
        name: &str,
    ) -> std::result::Result<Http3, Box<dyn std::error::Error + Send + Sync>> {
        Http3::open(address, trust, name, false)
    }

    /// Asks before the handshake is whole. None: no session of before lets it.
    pub fn come_back_early(address: SocketAddr, trust: &Trust, name: &str) -> Option<Http3> {
        Http3::open(address, trust, name, true).ok()
    }

    fn open(
        address: SocketAddr,
        trust: &Trust,
        name: &str,
        early: bool,
    ) -> std::result::Result<Http3, Box<dyn std::error::Error + Send + Sync>> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a thread");
        let (endpoint, quic, requests, driver) = runtime.block_on(async {
            let mut endpoint =
                quinn::Endpoint::client((Ipv4Addr::LOCALHOST, 0).into()).expect("a socket");
            let mut tls = rustls::ClientConfig::clone(&trust.offering(&["h3"]).0);
            tls.enable_early_data = early;
            let tls = QuicClientConfig::try_from(tls).expect("TLS 1.3");
            endpoint.set_default_client_config(quinn::ClientConfig::new(Arc::new(tls)));
            let connecting = endpoint.connect(address, name).expect("a name");
            let quic = match early {
                false => within(connecting).await?,
                true => match connecting.into_0rtt() {
                    Ok((quic, _)) => quic,
                    Err(_) => return Err("no session that lets it".into()),
                },
            };
            let http = h3_quinn::Connection::new(quic.clone());
            let (mut driver, requests) = within(h3::client::new(http)).await?;
            let driver = tokio::spawn(async move { poll_fn(|cx| driver.poll_close(cx)).await });
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>((endpoint, quic, requests, driver))
        })?;
        Ok(Http3 {
            quic,
            endpoint,
            requests,
            driver: Some(driver),
            runtime,
        })
    }

    /// From another port from here on, as after a change of networks.
    pub fn move_away(&self) {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        self.runtime
            .block_on(async { self.endpoint.rebind(socket) })
            .expect("a socket");
    }

    pub fn address(&self) -> IpAddr {
        self.endpoint.local_addr().expect("it is bound").ip()
    }

    #[track_caller]
    pub fn send(&mut self, ask: &Ask) -> Reply {
        self.try_send(ask).expect("a whole answer")
    }

    pub fn try_send(&mut self, ask: &Ask) -> Result<Reply> {
        let mut asked = self.try_begin(ask)?;
        // An edge that refuses a body says why; that the rest can't be sent does not matter.
        let _ = asked.send(&ask.body).and_then(|()| asked.finish());
        asked.reply()
    }

    /// Sends the head.
    #[track_caller]
    pub fn begin(&mut self, ask: &Ask) -> Asked<'_> {
        self.try_begin(ask).expect("a stream")
    }

    pub fn try_begin(&mut self, ask: &Ask) -> Result<Asked<'_>> {
        let mut request = http::Request::builder()
            .method(ask.method.as_str())
            .uri(format!("https://{}{}", ask.host, ask.target));
        for (name, value) in &ask.fields {
            request = request.header(name, value);
        }
        let request = request.body(()).expect("a valid request");
        let sent = within(self.requests.send_request(request));
        Ok(Asked {
            stream: self.runtime.block_on(sent)?,
            runtime: &self.runtime,
        })
    }

    /// All of them at once; answers in order.
    pub fn at_once(&mut self, asks: &[Ask]) -> Vec<Reply> {
        let mut begun = Vec::new();
        for ask in asks {
            let mut asked = self.try_begin(ask).expect("a stream");
            asked.finish().expect("no body");
            begun.push(asked.stream);
        }
        let replies = begun.into_iter().map(|stream| {
            let mut asked = Asked {
                stream,
                runtime: &self.runtime,
            };
            asked.reply().expect("a whole answer")
        });
        replies.collect()
    }

    /// Begins a stream with these bytes, and goes on with `filler` until no more of it is wanted; gives
    /// how much was taken.
    pub fn fill_stream(&self, begin: &[u8], filler: usize) -> usize {
        self.runtime.block_on(within(async {
            let (mut stream, _answer) = self.quic.open_bi().await.expect("a stream");
            stream.write_all(begin).await.expect("taken");
            let (part, mut taken) = ([0; 1000], 0);
            while taken < filler {
                match stream.write(&part).await {
                    Ok(n) => taken += n,
                    Err(_) => break,
                }
            }
            taken
        }))
    }

    /// The connection itself.
    pub fn quic(&self) -> quinn::Connection {
        self.quic.clone()
    }

    /// What comes back on a stream of these bytes, or the code that it is reset with.
    pub fn exchange(&self, bytes: &[u8]) -> std::result::Result<Vec<u8>, u64> {
        self.runtime.block_on(within(async {
            let (mut stream, mut answer) = self.quic.open_bi().await.expect("a stream");
            stream.write_all(bytes).await.expect("taken");
            stream.finish().expect("it is open");
            match answer.read_to_end(1 << 20).await {
                Ok(answer) => Ok(answer),
                Err(ReadToEndError::Read(ReadError::Reset(code))) => Err(code.into_inner()),
                Err(e) => panic!("{e}"),
            }
        }))
    }

    /// How the connection ended, once it has.
    pub fn ended(&mut self) -> h3::error::ConnectionError {
        let driver = self.driver.take().expect("asked once");
        self.runtime.block_on(within(driver)).expect("no panic")
    }
}

impl Asked<'_> {
    pub fn send(&mut self, body: &[u8]) -> Result<()> {
        for part in body.chunks(100_000) {
            let sent = self.stream.send_data(Bytes::copy_from_slice(part));
            self.runtime.block_on(within(sent))?;
        }
        Ok(())
    }

    /// Until nothing more is taken for this long.
    pub fn send_for(&mut self, time: Duration) {
        let part = Bytes::from_static(&[0; 16 << 10]);
        loop {
            let sending = self.stream.send_data(part.clone());
            let sent = async { tokio::time::timeout(time, sending).await };
            match self.runtime.block_on(sent) {
                Ok(sent) => sent.expect("it is open"),
                Err(_) => return,
            }
        }
    }

    pub fn finish(&mut self) -> Result<()> {
        self.runtime.block_on(within(self.stream.finish()))
    }

    /// Waits for the answer's head.
    pub fn head(&mut self) -> Result<Reply> {
        let head = self.runtime.block_on(within(self.stream.recv_response()))?;
        let field = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            (name.to_string(), value)
        };
        Ok(Reply {
            status: head.status().as_u16(),
            fields: head.headers().iter().map(field).collect(),
            body: Vec::new(),
        })
    }

    /// The next part of the answer's body.
    pub fn part(&mut self) -> Result<Option<Bytes>> {
        let part = self.runtime.block_on(within(self.stream.recv_data()))?;
        Ok(part.map(|mut part| part.copy_to_bytes(part.remaining())))
    }

    /// What follows the answer's body.
    pub fn trailers(&mut self) -> Result<Option<http::HeaderMap>> {
        self.runtime.block_on(within(self.stream.recv_trailers()))
    }

    /// What is left of the answer.
    pub fn reply(&mut self) -> Result<Reply> {
        let mut reply = self.head()?;
        while reply.status < 200 {
            reply = self.head()?;
        }
        while let Some(part) = self.part()? {
            reply.body.extend_from_slice(&part);
        }
        Ok(reply)
    }

    /// Wants no answer any more.
    pub fn cancel(&mut self) {
        let code = h3::error::Code::H3_REQUEST_CANCELLED;
        self.stream.stop_stream(code);
        self.stream.stop_sending(code);
    }
}

async fn within<T>(work: impl Future<Output = T>) -> T {
    let done = tokio::time::timeout(PATIENCE, work).await;
    done.expect("it takes no longer")
}
