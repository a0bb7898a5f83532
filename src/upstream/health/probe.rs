//! Active health: one task per server that asks it, again and again, how it is.
//!
//! The registry starts `watch` for a server when a configuration with a health check takes
//! effect, and aborts it when one without takes its place. A probe must never wait longer than its
//! deadline, nor use a connection that requests use.

use crate::endpoint::Endpoint;
use crate::upstream::Time;
use crate::upstream::announce;
use crate::upstream::client::send_without_body;
use crate::upstream::random::jittered;
use crate::upstream::server::Server;
use crate::upstream::settings::{HealthCheckSettings, Probe};
use crate::upstream::transport::{Protocol, Transport};
use bytes::Bytes;
use http::header::{ACCEPT, CONNECTION, CONTENT_TYPE, HOST, TE, USER_AGENT};
use http::{Method, StatusCode};
use pingora::ErrorType;
use pingora::connectors::http::Connector;
use pingora::http::RequestHeader;
use pingora::protocols::http::client::HttpSession;
use pingora::upstreams::peer::HttpPeer;
use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// So much of a body is searched for the expected text.
const SEARCHED: usize = 64 << 10;

/// `grpc.health.v1.HealthCheckRequest` for the whole server: an empty message in its frame.
const GRPC_REQUEST: &[u8] = &[0, 0, 0, 0, 0];

/// `HealthCheckResponse { status: SERVING }` in its frame.
const GRPC_SERVING: &[u8] = &[0, 0, 0, 0, 2, 8, 1];

/// Probes a server until the task is aborted.
pub async fn watch(
    server: Arc<Server>,
    check: HealthCheckSettings,
    transport: Transport,
    connector: Arc<Connector>,
) {
    // The first probe comes at once, to find a dead server early; a random wait after it keeps
    // the probes of many servers, and of many edges, from coming together.
    let mut spread = (0.0, 1.0);
    loop {
        let result = probe(&connector, &server.address, &check, &transport).await;
        let wait = server.probed(result, Time::now());
        pause(&server, jittered(wait, spread.0, spread.1)).await;
        spread = (0.9, 1.1);
    }
}

async fn pause(server: &Server, wait: Duration) {
    tokio::select! {
        _ = sleep(wait) => {}
        _ = server.suspected.notified() => {}
    }
}

async fn probe(
    connector: &Connector,
    address: &Endpoint,
    check: &HealthCheckSettings,
    transport: &Transport,
) -> Result<(), String> {
    let asked = async {
        match check.protocol {
            Probe::Tcp => tcp(address, transport).await,
            Probe::Http => http(connector, address, check, transport).await,
            Probe::Grpc => grpc(connector, address, transport).await,
        }
    };
    timeout(check.timeout, asked)
        .await
        .unwrap_or_else(|_| Err(format!("no answer within {:?}", check.timeout)))
}

/// It takes connections.
async fn tcp(address: &Endpoint, transport: &Transport) -> Result<(), String> {
    let version = transport.proxy_protocol;
    let header = version.map_or_else(Vec::new, |version| version.header(None));
    let connected = announce::connect(address, &header).await;
    connected.map(drop).map_err(failed("connect"))
}

/// It answers with a status, and with a text if one is expected.
async fn http(
    connector: &Connector,
    address: &Endpoint,
    check: &HealthCheckSettings,
    transport: &Transport,
) -> Result<(), String> {
    let mut session = connect(connector, transport.peer(address, None)).await?;
    let mut request = head(Method::GET, &check.path, address)?;
    insert(&mut request, ACCEPT, "*/*")?;
    if let HttpSession::H1(_) = session {
        insert(&mut request, CONNECTION, "close")?;
    }
    let status = exchange(&mut session, request, None).await?;
    if !check.status.contains(&status.as_u16()) {
        return Err(format!("status {}", status.as_u16()));
    }
    let Some(text) = &check.body else {
        return Ok(());
    };
    let body = body(&mut session).await?;
    match memchr::memmem::find(&body, text.as_bytes()) {
        Some(_) => Ok(()),
        None => Err(format!("the body has no `{text}` in it")),
    }
}

/// The service of <https://grpc.io/docs/guides/health-checking/> says that it serves.
async fn grpc(
    connector: &Connector,
    address: &Endpoint,
    transport: &Transport,
) -> Result<(), String> {
    let over_http2 = Transport {
        protocol: match transport.tls {
            Some(_) => Protocol::Http2,
            None => Protocol::H2c,
        },
        ..transport.clone()
    };
    let mut session = connect(connector, over_http2.peer(address, None)).await?;
    let mut request = head(Method::POST, "/grpc.health.v1.Health/Check", address)?;
    insert(&mut request, CONTENT_TYPE, "application/grpc")?;
    insert(&mut request, TE, "trailers")?;
    let status = exchange(
        &mut session,
        request,
        Some(Bytes::from_static(GRPC_REQUEST)),
    )
    .await?;
    let fields = session.response_header().map(|head| &head.headers);
    if let Some(code) = fields.and_then(|fields| fields.get("grpc-status"))
        && code != "0"
    {
        return Err(format!(
            "gRPC status {}",
            code.to_str().unwrap_or("unknown")
        ));
    }
    if status != StatusCode::OK {
        return Err(format!("status {}", status.as_u16()));
    }
    match body(&mut session).await? == GRPC_SERVING {
        true => Ok(()),
        false => Err("the health service does not say SERVING".into()),
    }
}

async fn connect(connector: &Connector, peer: HttpPeer) -> Result<HttpSession, String> {
    let connected = connector.get_http_session(&peer).await;
    connected
        .map(|(session, _)| session)
        .map_err(|e| not_connected(&e))
}

/// What rustls has against a server is in Pingora's context, behind its own words.
fn not_connected(e: &pingora::Error) -> String {
    let context = e.context.as_ref().map_or("", |context| context.as_str());
    match e.etype() {
        ErrorType::TLSHandshakeFailure => {
            let why = context
                .rsplit_once("cause: ")
                .map_or(context, |(_, why)| why);
            format!("TLS handshake: {why}")
        }
        _ => format!("connect: {}", e.root_cause()),
    }
}

fn head(method: Method, path: &str, address: &Endpoint) -> Result<RequestHeader, String> {
    let head = RequestHeader::build(method, path.as_bytes(), None);
    let mut head = head.map_err(failed("health_check.path"))?;
    insert(&mut head, HOST, &host(address))?;
    insert(&mut head, USER_AGENT, "lakh-health")?;
    Ok(head)
}

/// A file is no host; what is behind it is on this machine.
fn host(address: &Endpoint) -> String {
    let address = address.tcp();
    address.map_or_else(|| "localhost".to_owned(), |address| address.to_string())
}

fn insert(head: &mut RequestHeader, name: http::HeaderName, value: &str) -> Result<(), String> {
    head.insert_header(name, value).map_err(failed("request"))
}

async fn exchange(
    session: &mut HttpSession,
    request: RequestHeader,
    body: Option<Bytes>,
) -> Result<StatusCode, String> {
    let request = Box::new(request);
    let sent = match body {
        None => send_without_body(session, request).await,
        Some(body) => {
            let sent = session.write_request_header(request).await;
            sent.map_err(said("send"))?;
            session.write_request_body(body, true).await
        }
    };
    sent.map_err(said("send"))?;
    session
        .read_response_header()
        .await
        .map_err(said("no answer"))?;
    let head = session.response_header();
    head.map(|head| head.status)
        .ok_or_else(|| "no answer".into())
}

/// To its end, or as much of it as is searched.
async fn body(session: &mut HttpSession) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    while let Some(chunk) = session.read_response_body().await.map_err(said("body"))? {
        body.extend_from_slice(&chunk);
        if body.len() > SEARCHED {
            break;
        }
    }
    Ok(body)
}

fn failed<E: Display>(what: &'static str) -> impl Fn(E) -> String {
    move |why| format!("{what}: {why}")
}

/// As `failed`, without what Pingora adds for programmers.
fn said(what: &'static str) -> impl Fn(Box<pingora::Error>) -> String {
    move |e| match e.etype() {
        ErrorType::ConnectionClosed => format!("{what}: the connection was closed"),
        ErrorType::InvalidHTTPHeader => "the answer is not HTTP".into(),
        _ => format!("{what}: {}", e.root_cause()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    async fn probe_of(address: &Endpoint, check: &HealthCheckSettings) -> Result<(), String> {
        probe_over(address, check, &Transport::default()).await
    }

    async fn probe_over(
        address: &Endpoint,
        check: &HealthCheckSettings,
        transport: &Transport,
    ) -> Result<(), String> {
        probe(&Connector::new(None), address, check, transport).await
    }

    fn check() -> HealthCheckSettings {
        let timeout = Duration::from_millis(300);
        HealthCheckSettings {
            timeout,
            status: vec![200, 204],
            ..Default::default()
        }
    }

    /// Answers one connection with `answer` after its request; gives the request.
    async fn origin(answer: &'static str) -> (Endpoint, tokio::task::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = Endpoint::Tcp(listener.local_addr().expect("it is bound"));
        let task = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("the probe connects");
            let mut request = vec![0; 1024];
            let length = stream.read(&mut request).await.expect("the probe asks");
            stream
                .write_all(answer.as_bytes())
                .await
                .expect("the probe listens");
            String::from_utf8(request[..length].to_vec()).expect("text")
        });
        (address, task)
    }

    #[tokio::test]
    async fn a_probe_asks_politely() {
        let (address, request) = origin("HTTP/1.1 204 No Content\r\n\r\n").await;
        assert_eq!(probe_of(&address, &check()).await, Ok(()));
        let request = request.await.expect("the origin ran");
        assert!(request.starts_with("GET /health HTTP/1.1\r\n"), "{request}");
        assert!(
            request.contains(&format!("\r\nHost: {address}\r\n")),
            "{request}"
        );
        assert!(
            request.ends_with("\r\nConnection: close\r\n\r\n"),
            "{request}"
        );
    }

    #[tokio::test]
    async fn what_is_wrong_is_said() {
        for (answer, why) in [
            ("HTTP/1.1 503 Service Unavailable\r\n\r\n", "status 503"),
            ("SSH-2.0-OpenSSH_9.6\r\n", "the answer is not HTTP"),
            ("HTTP/1.1 ", "no answer: the connection was closed"),
        ] {
            let (address, _origin) = origin(answer).await;
            assert_eq!(
                probe_of(&address, &check()).await,
                Err(why.into()),
                "{answer}"
            );
        }
    }

    #[tokio::test]
    async fn nobody_there_is_said() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = Endpoint::Tcp(listener.local_addr().expect("it is bound"));
        drop(listener);
        let why = probe_of(&address, &check())
            .await
            .expect_err("nobody listens");
        assert!(why.starts_with("connect: Connection refused"), "{why}");
    }

    #[tokio::test]
    async fn a_silent_server_meets_the_deadline() {
        // The kernel accepts; nobody ever answers.
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = Endpoint::Tcp(listener.local_addr().expect("it is bound"));
        let why = probe_of(&address, &check())
            .await
            .expect_err("nobody answers");
        assert_eq!(why, "no answer within 300ms");
    }

    /// An HTTP/2 server that answers everything with this body; gives the paths it was asked for.
    async fn h2_origin(body: &'static [u8]) -> (Endpoint, tokio::task::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = Endpoint::Tcp(listener.local_addr().expect("it is bound"));
        let task = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.expect("the probe connects");
            let mut connection = h2::server::handshake(stream).await.expect("HTTP/2");
            let (request, mut respond) = connection
                .accept()
                .await
                .expect("the probe asks")
                .expect("a request");
            let mut send = respond
                .send_response(http::Response::new(()), false)
                .expect("the probe listens");
            send.send_data(Bytes::from_static(body), true)
                .expect("the probe listens");
            // Until the probe has left.
            while connection.accept().await.is_some() {}
            request.uri().path().to_owned()
        });
        (address, task)
    }

    #[tokio::test]
    async fn a_grpc_server_says_whether_it_serves() {
        let grpc = HealthCheckSettings {
            protocol: Probe::Grpc,
            ..check()
        };
        let (address, asked) = h2_origin(GRPC_SERVING).await;
        assert_eq!(probe_of(&address, &grpc).await, Ok(()));
        assert_eq!(asked.await.expect("it ran"), "/grpc.health.v1.Health/Check");
        let (address, _asked) = h2_origin(&[0, 0, 0, 0, 2, 8, 2]).await;
        let why = probe_of(&address, &grpc).await;
        assert_eq!(why, Err("the health service does not say SERVING".into()));
    }

    #[tokio::test]
    async fn an_h2c_upstream_is_probed_in_h2c_and_a_body_is_searched() {
        let (h2c, check) = (
            Transport {
                protocol: Protocol::H2c,
                ..Transport::default()
            },
            HealthCheckSettings {
                body: Some("all well".into()),
                ..check()
            },
        );
        let (address, asked) = h2_origin(b"{status: all well}").await;
        assert_eq!(probe_over(&address, &check, &h2c).await, Ok(()));
        assert_eq!(asked.await.expect("it ran"), "/health");
        let (address, _asked) = h2_origin(b"degraded").await;
        let why = probe_over(&address, &check, &h2c).await;
        assert_eq!(why, Err("the body has no `all well` in it".into()));
    }
}
