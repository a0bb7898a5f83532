//! gRPC: a server that does what the method's name says, and a client. Messages are plain bytes.

use super::{Ask, Http2, Reply, Streaming, ask, ports};
use bytes::{BufMut, Bytes, BytesMut};
use h2::server::{Connection, SendResponse};
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, HeaderValue, Request, Response};
use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

/// Speaks HTTP/2 with prior knowledge. Its methods:
/// - `Echo` sends each message back as it comes;
/// - `Join` sends all of them back as one, when no more come;
/// - `Count` is told `N SIZE`, and sends so many messages of so many bytes, which begin with their number;
/// - `Refuse` answers with a status at once, whatever is asked;
/// - `Hang` never answers.
pub struct GrpcServer {
    pub address: SocketAddr,
    seen: Arc<Noted>,
    _runtime: Runtime,
}

#[derive(Default)]
struct Noted {
    heads: Mutex<Vec<HeaderMap>>,
    /// Of calls that clients wanted no more.
    resets: Mutex<Vec<Reason>>,
    sent: AtomicUsize,
    connections: AtomicUsize,
    /// Refuses each call before it looks at it.
    is_leaving: bool,
}

impl GrpcServer {
    pub fn start() -> GrpcServer {
        GrpcServer::with(Noted::default())
    }

    /// One that begins no call: REFUSED_STREAM.
    pub fn leaving() -> GrpcServer {
        GrpcServer::with(Noted {
            is_leaving: true,
            ..Noted::default()
        })
    }

    fn with(noted: Noted) -> GrpcServer {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a thread");
        let listener = ports::listen();
        let address = listener.local_addr().expect("it is bound");
        listener
            .set_nonblocking(true)
            .expect("a socket has options");
        let seen = Arc::new(noted);
        let noted = seen.clone();
        runtime.spawn(async move {
            let listener = TcpListener::from_std(listener).expect("a listener");
            while let Ok((stream, _)) = listener.accept().await {
                noted.connections.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(connection(stream, noted.clone()));
            }
        });
        GrpcServer {
            address,
            seen,
            _runtime: runtime,
        }
    }

    /// Of all calls so far.
    pub fn heads(&self) -> Vec<HeaderMap> {
        self.seen.heads.lock().expect("nobody panics").clone()
    }

    /// How calls ended that clients wanted no more.
    pub fn resets(&self) -> Vec<Reason> {
        self.seen.resets.lock().expect("nobody panics").clone()
    }

    /// Bytes of messages that were taken from it.
    pub fn sent(&self) -> usize {
        self.seen.sent.load(Ordering::SeqCst)
    }

    pub fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }
}

async fn connection(stream: TcpStream, noted: Arc<Noted>) {
    let Ok(connection) = h2::server::handshake(stream).await else {
        return;
    };
    let mut connection: Connection<TcpStream, Bytes> = connection;
    while let Some(Ok((request, mut answer))) = connection.accept().await {
        let heads = &noted.heads;
        heads
            .lock()
            .expect("nobody panics")
            .push(request.headers().clone());
        if noted.is_leaving {
            answer.send_reset(Reason::REFUSED_STREAM);
            continue;
        }
        let noted = noted.clone();
        tokio::spawn(async move {
            if let Err(e) = serve(request, answer, &noted).await {
                let reason = e.reason().unwrap_or(Reason::INTERNAL_ERROR);
                noted.resets.lock().expect("nobody panics").push(reason);
            }
        });
    }
}

async fn serve(
    request: Request<RecvStream>,
    mut answer: SendResponse<Bytes>,
    noted: &Noted,
) -> Result<(), h2::Error> {
    let (head, mut body) = request.into_parts();
    let mut messages = Messages::default();
    let method = head.uri.path().rsplit('/').next().unwrap_or_default();
    if method == "Hang" {
        let reason = poll_fn(|cx| answer.poll_reset(cx)).await?;
        return Err(reason.into());
    }
    if method == "Refuse" {
        let refusal = refusal();
        return answer.send_response(refusal, true).map(drop);
    }
    let mut sending = answer.send_response(begun(), false)?;
    match method {
        "Echo" => {
            while let Some(message) = messages.next(&mut body).await? {
                send(&mut sending, &message, noted).await?;
            }
        }
        "Join" => {
            let mut all = Vec::new();
            while let Some(message) = messages.next(&mut body).await? {
                all.extend_from_slice(&message);
            }
            send(&mut sending, &all, noted).await?;
        }
        "Count" => {
            let asked = messages.next(&mut body).await?.unwrap_or_default();
            let asked = String::from_utf8_lossy(&asked).into_owned();
            let (n, size) = asked.split_once(' ').expect("`N SIZE`");
            let (n, size): (usize, usize) = (n.parse().expect("N"), size.parse().expect("SIZE"));
            for i in 0..n {
                let mut message = format!("{i} ").into_bytes();
                message.resize(size, b'.');
                send(&mut sending, &message, noted).await?;
            }
        }
        _ => panic!("no such method: {method}"),
    }
    sending.send_trailers(HeaderMap::from_iter([
        (
            "grpc-status".parse().expect("a name"),
            "0".parse().expect("a value"),
        ),
        (
            "x-trailer".parse().expect("a name"),
            HeaderValue::from_static("was here"),
        ),
    ]))
}

fn begun() -> Response<()> {
    Response::builder()
        .header("content-type", "application/grpc+test")
        .header("x-head", "was here")
        .body(())
        .expect("a head")
}

fn refusal() -> Response<()> {
    Response::builder()
        .header("content-type", "application/grpc+test")
        .header("grpc-status", "5")
        .header("grpc-message", "no such thing: 100%25")
        .header("x-details-bin", "AAEC")
        .body(())
        .expect("a head")
}

async fn send(
    stream: &mut SendStream<Bytes>,
    message: &[u8],
    noted: &Noted,
) -> Result<(), h2::Error> {
    let mut left = framed(message);
    while !left.is_empty() {
        stream.reserve_capacity(left.len());
        let Some(room) = poll_fn(|cx| stream.poll_capacity(cx)).await else {
            return Err(poll_fn(|cx| stream.poll_reset(cx)).await?.into());
        };
        let room = room?;
        let part = left.split_to(room.min(left.len()));
        noted.sent.fetch_add(part.len(), Ordering::SeqCst);
        stream.send_data(part, false)?;
    }
    Ok(())
}

/// A message in its frame, as it is sent.
pub fn framed(message: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(5 + message.len());
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len()).expect("a small message"));
    frame.put_slice(message);
    frame.freeze()
}

/// What has come of a body.
#[derive(Default)]
struct Messages(BytesMut);

impl Messages {
    async fn next(&mut self, body: &mut RecvStream) -> Result<Option<Bytes>, h2::Error> {
        loop {
            if let Some(message) = self.take() {
                return Ok(Some(message));
            }
            let Some(part) = body.data().await.transpose()? else {
                return Ok(None);
            };
            body.flow_control().release_capacity(part.len())?;
            self.0.extend_from_slice(&part);
        }
    }

    fn take(&mut self) -> Option<Bytes> {
        let length = u32::from_be_bytes(*self.0.get(1..)?.first_chunk()?) as usize;
        (self.0.len() >= 5 + length).then(|| self.0.split_to(5 + length).freeze().slice(5..))
    }
}

/// A client's connection.
pub struct Calls(pub Http2);

/// A call under way.
pub struct Call<'a> {
    pub stream: Streaming<'a>,
    messages: Messages,
}

impl Calls {
    /// A head as gRPC's clients send it.
    pub fn to(method: &str) -> Ask {
        ask("POST", &format!("/test.Test/{method}"))
            .with("content-type", "application/grpc+test")
            .with("te", "trailers")
    }

    #[track_caller]
    pub fn begin(&self, ask: &Ask) -> Call<'_> {
        Call {
            stream: self.0.begin(ask),
            messages: Messages::default(),
        }
    }

    /// Sends these messages and no more.
    #[track_caller]
    pub fn call(&self, ask: &Ask, messages: &[&[u8]]) -> Call<'_> {
        let mut call = self.begin(ask);
        for message in messages {
            call.send(message);
        }
        call.stream.end().expect("a stream that is open");
        call
    }
}

impl Call<'_> {
    #[track_caller]
    pub fn send(&mut self, message: &[u8]) {
        self.stream.send(&framed(message)).expect("it is taken");
    }

    #[track_caller]
    pub fn head(&mut self) -> Reply {
        self.stream.head().expect("a head")
    }

    /// None after the last.
    #[track_caller]
    pub fn message(&mut self) -> Option<Bytes> {
        loop {
            if let Some(message) = self.messages.take() {
                return Some(message);
            }
            match self.stream.part().expect("an answer that goes on") {
                Some(part) => self.messages.0.extend_from_slice(&part),
                None => {
                    assert!(self.messages.0.is_empty(), "a message that broke off");
                    return None;
                }
            }
        }
    }

    #[track_caller]
    pub fn trailers(&mut self) -> Option<HeaderMap> {
        self.stream.trailers().expect("an end")
    }
}
