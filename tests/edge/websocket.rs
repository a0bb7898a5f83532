//! WebSockets, by a client and a server that speak nothing else.

use crate::harness::{Client, Edge, PATIENCE, eventually};
use futures_core::Stream;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, accept_async, client_async};

pub type Socket = WebSocketStream<TcpStream>;

/// Sends back every message; remembers how each socket was closed.
pub struct Echo {
    pub address: SocketAddr,
    closed: Arc<Mutex<Vec<Option<CloseCode>>>>,
    runtime: Runtime,
}

impl Echo {
    pub fn start() -> Echo {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a thread");
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"));
        let listener = listener.expect("a port");
        let address = listener.local_addr().expect("bound");
        let closed: Arc<Mutex<Vec<_>>> = Arc::default();
        let noted = Arc::clone(&closed);
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let noted = Arc::clone(&noted);
                tokio::spawn(async move {
                    if let Ok(socket) = accept_async(stream).await {
                        let code = echo(socket).await;
                        noted.lock().expect("no panic with it").push(code);
                    }
                });
            }
        });
        Echo {
            address,
            closed,
            runtime,
        }
    }

    pub fn edge(&self, more: &str) -> Edge {
        let text = self.config(more);
        Edge::start(&text, &[])
    }

    /// How many have ended with this code.
    pub fn ended(&self, code: Option<CloseCode>) -> usize {
        let closed = self.closed.lock().expect("no panic with it");
        closed.iter().filter(|how| **how == code).count()
    }

    fn config(&self, more: &str) -> String {
        self.config_with("", more)
    }

    /// `pinged`: more of the upstream.
    fn config_with(&self, pinged: &str, more: &str) -> String {
        format!(
            "
process: {{drain: 60s}}
upstreams: {{app: {{servers: [{}]{pinged}}}}}
routes: [{{name: all, match: {{path: /*}}, upstream: app{more}}}]
",
            self.address
        )
    }

    pub fn open(&self, edge: &Edge) -> Result<Socket, Error> {
        self.within(async {
            let stream = TcpStream::connect(edge.web).await?;
            Ok(client_async("ws://edge.test/", stream).await?.0)
        })
    }

    pub fn says(&self, socket: &mut Socket, text: &str) {
        self.within(socket.send_now(Message::text(text)));
        let reply = self.within(next(socket)).expect("a reply").expect("whole");
        assert_eq!(reply, Message::text(text));
    }

    /// What a server answers the edge comes along, as what nobody asked for may: RFC 6455 §5.5.3.
    fn says_among_pongs(&self, socket: &mut Socket, text: &str) {
        self.within(socket.send_now(Message::text(text)));
        loop {
            let reply = self.within(next(socket)).expect("a reply").expect("whole");
            if !reply.is_ping() && !reply.is_pong() {
                return assert_eq!(reply, Message::text(text));
            }
        }
    }

    fn within<T>(&self, work: impl Future<Output = T>) -> T {
        let limited = async { tokio::time::timeout(PATIENCE, work).await };
        self.runtime.block_on(limited).expect("it takes no longer")
    }
}

/// What `futures` has as an extension.
trait SendNow {
    async fn send_now(&mut self, message: Message);
}

impl SendNow for Socket {
    async fn send_now(&mut self, message: Message) {
        use futures_sink::Sink;
        poll_fn(|cx| Pin::new(&mut *self).poll_ready(cx))
            .await
            .expect("room");
        Pin::new(&mut *self).start_send(message).expect("taken");
        poll_fn(|cx| Pin::new(&mut *self).poll_flush(cx))
            .await
            .expect("sent");
    }
}

async fn next(socket: &mut Socket) -> Option<Result<Message, Error>> {
    poll_fn(|cx| Pin::new(&mut *socket).poll_next(cx)).await
}

async fn echo(mut socket: Socket) -> Option<CloseCode> {
    loop {
        match next(&mut socket).await? {
            Ok(Message::Close(frame)) => {
                while let Some(Ok(_)) = next(&mut socket).await {}
                return frame.map(|frame| frame.code);
            }
            Ok(message) => socket.send_now(message).await,
            Err(_) => return None,
        }
    }
}

#[test]
fn a_drain_closes_with_going_away_on_both_sides() {
    let echo = Echo::start();
    let mut edge = echo.edge("");
    let mut sockets: Vec<_> = (0..20).map(|_| echo.open(&edge).expect("open")).collect();
    for (n, socket) in sockets.iter_mut().enumerate() {
        echo.says(socket, &"text".repeat(n * 1000));
    }
    edge.sigterm();
    for socket in &mut sockets {
        let last = echo.within(next(socket)).expect("a Close").expect("whole");
        let Message::Close(Some(frame)) = last else {
            panic!("{last:?} is no Close");
        };
        assert_eq!(frame.code, CloseCode::Away);
        assert!(echo.within(next(socket)).is_none_or(|end| end.is_err()));
    }
    assert_eq!(edge.await_exit().code(), Some(0));
    eventually("the server was told the same", || {
        let closed = echo.closed.lock().expect("no panic with it");
        closed.len() == 20 && closed.iter().all(|code| *code == Some(CloseCode::Away))
    });
}

#[test]
fn a_route_bounds_how_many_are_open() {
    let echo = Echo::start();
    let edge = echo.edge(", websockets: 2");
    let mut first = echo.open(&edge).expect("open");
    let second = echo.open(&edge).expect("open");
    match echo.open(&edge) {
        Err(Error::Http(reply)) => assert_eq!(reply.status().as_u16(), 503),
        other => panic!("{other:?}"),
    }
    echo.says(&mut first, "still here");
    drop(second);
    edge.await_metric("lakh_route_websockets", 1.0);
    let mut third = echo.open(&edge).expect("there is room again");
    echo.says(&mut third, "hello");
    edge.await_metric("lakh_refused_total{reason=\"concurrency\"}", 1.0);
}

#[test]
fn one_survives_a_hundred_reloads() {
    let echo = Echo::start();
    let edge = echo.edge("");
    let mut socket = echo.open(&edge).expect("open");
    for n in 0..100 {
        edge.reload(&echo.config(&format!(", timeout: {}s", n + 1)));
        echo.says(&mut socket, &n.to_string());
    }
}

#[test]
fn who_answers_pings_stays_and_who_does_not_is_closed() {
    let echo = Echo::start();
    let patient = echo.config_with(", timeouts: {websocket_ping: 3s}", "");
    let edge = Edge::start(&patient, &[]);
    let mut socket = echo.open(&edge).expect("open");
    echo.says(&mut socket, "first");
    for _ in 0..2 {
        // Whoever reads answers: so the client does here, and so does the server.
        let asked = echo
            .within(next(&mut socket))
            .expect("open")
            .expect("whole");
        assert!(asked.is_ping() || asked.is_pong(), "{asked:?}");
    }
    echo.says_among_pongs(&mut socket, "still here");

    edge.reload(&echo.config_with(", timeouts: {websocket_ping: 300ms}", ""));
    let mut silent = Client::connect(edge.web);
    silent.send(
        "GET / HTTP/1.1\r\nHost: edge.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    assert_eq!(silent.read_head().expect("an answer").status, 101);
    assert_eq!(silent.read_exactly(2).expect("a Ping"), [0x89, 0]);
    // What the server has answered may come still.
    let end = loop {
        match silent.read_some() {
            Ok(1..) => {}
            end => break end,
        }
    };
    assert!(matches!(end, Ok(0)), "it is closed: {end:?}");
    echo.says_among_pongs(&mut socket, "those of before are asked as before");
}
