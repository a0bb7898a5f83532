//! HTTP/2: with prior knowledge, or chosen inside TLS.

use super::{Ask, PATIENCE, Reply};
use bytes::Bytes;
use rustls::pki_types::ServerName;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};

/// Sends the request on a connection of its own.
#[track_caller]
pub fn h2c(address: SocketAddr, ask: &Ask) -> Reply {
    block_on(async { exchange(connect(address).await, ask, "http").await })
}

/// The same inside TLS; the host that is asked for is the server's name.
#[track_caller]
pub fn h2(address: SocketAddr, config: &Arc<rustls::ClientConfig>, ask: &Ask) -> Reply {
    block_on(async {
        let mut config = rustls::ClientConfig::clone(config);
        config.alpn_protocols = vec![b"h2".to_vec()];
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let name = ServerName::try_from(ask.host.clone()).expect("a name");
        let stream = connector.connect(name, connect(address).await).await;
        let stream = stream.expect("a handshake");
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        exchange(stream, ask, "https").await
    })
}

#[track_caller]
fn block_on(exchange: impl Future<Output = Result<Reply, h2::Error>>) -> Reply {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let whole = async { tokio::time::timeout(PATIENCE, exchange).await };
    let reply = runtime.expect("an event loop").block_on(whole);
    reply.expect("an answer in time").expect("a whole answer")
}

async fn connect(address: SocketAddr) -> tokio::net::TcpStream {
    let stream = tokio::net::TcpStream::connect(address)
        .await
        .expect("a connection");
    stream.set_nodelay(true).expect("a socket has options");
    stream
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    ask: &Ask,
    scheme: &str,
) -> Result<Reply, h2::Error> {
    let (client, connection) = h2::client::handshake(stream).await?;
    tokio::spawn(connection);
    let mut request = http::Request::builder()
        .method(ask.method.as_str())
        .uri(format!("{scheme}://{}{}", ask.host, ask.target));
    for (name, value) in &ask.fields {
        request = request.header(name, value);
    }
    let request = request.body(()).expect("a valid request");
    let mut client = client.ready().await?;
    let (answer, mut sending) = client.send_request(request, ask.body.is_empty())?;
    send(&mut sending, &ask.body).await?;
    read(answer.await?).await
}

/// All of it, or as much as the edge takes: it may have answered already.
async fn send(stream: &mut h2::SendStream<Bytes>, body: &[u8]) -> Result<(), h2::Error> {
    let mut left = Bytes::copy_from_slice(body);
    while !left.is_empty() {
        stream.reserve_capacity(left.len());
        let Some(room) = std::future::poll_fn(|cx| stream.poll_capacity(cx)).await else {
            return Ok(());
        };
        let part = left.split_to(room?.min(left.len()));
        stream.send_data(part, left.is_empty())?;
    }
    Ok(())
}

async fn read(answer: http::Response<h2::RecvStream>) -> Result<Reply, h2::Error> {
    let (head, mut stream) = answer.into_parts();
    let mut body = Vec::new();
    while let Some(data) = stream.data().await {
        let data = data?;
        stream.flow_control().release_capacity(data.len())?;
        body.extend_from_slice(&data);
    }
    let field = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        (
            name.to_string(),
            String::from_utf8_lossy(value.as_bytes()).into_owned(),
        )
    };
    let fields = head.headers.iter().map(field).collect();
    Ok(Reply {
        status: head.status.as_u16(),
        fields,
        body,
    })
}
