use super::*;
use tokio::io::AsyncWriteExt;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

const LIMITS: ConnLimits = ConnLimits {
    idle: Duration::from_secs(5),
    header: Duration::from_secs(5),
    header_size: 1024,
    send: Duration::from_secs(5),
    min_body_rate: 240,
};

async fn pair() -> (TcpStream, Conn) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("its address");
    let client = TcpStream::connect(address).await.expect("connected");
    let (io, peer) = listener.accept().await.expect("accepted");
    (client, Conn::new(io, peer, Entry::plain("web")))
}

async fn read(conn: &mut Conn, n: usize) -> String {
    let mut bytes = vec![0; n];
    conn.read_exact(&mut bytes).await.expect("so many bytes");
    String::from_utf8(bytes).expect("text")
}

#[tokio::test]
async fn each_request_gets_its_own_bytes_and_no_more() {
    let (mut client, mut conn) = pair().await;
    let first = "POST /1 HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc";
    let second = "GET /2 HTTP/1.1\r\nHost: h\r\n\r\n";
    client
        .write_all(format!("{first}\r\n{second}").as_bytes())
        .await
        .expect("sent");
    assert_eq!(conn.begin(&LIMITS).await, Begun::Request);
    assert_eq!(read(&mut conn, first.len()).await, first);
    let mut more = [0; 1];
    let nothing = std::future::poll_fn(|cx| {
        let mut buf = ReadBuf::new(&mut more);
        Poll::Ready(Pin::new(&mut conn).poll_read(cx, &mut buf).is_pending())
    });
    assert!(nothing.await, "the second request is not the first one's");
    assert_eq!(conn.begin(&LIMITS).await, Begun::Request);
    assert_eq!(read(&mut conn, second.len()).await, second);
}

#[tokio::test]
async fn a_client_that_leaves_is_seen_between_requests() {
    let (mut client, mut conn) = pair().await;
    let request = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
    client.write_all(request.as_bytes()).await.expect("sent");
    assert_eq!(conn.begin(&LIMITS).await, Begun::Request);
    read(&mut conn, request.len()).await;
    drop(client);
    assert_eq!(conn.read(&mut [0; 8]).await.expect("an end"), 0);
}

#[tokio::test]
async fn heads_that_are_refused() {
    for (sent, begun) in [
        (
            &b"GET / HTTP/1.1\nHost: h\n\n"[..],
            Begun::Malformed(Malformed("a line that ends without CR")),
        ),
        (&[b'a'; 2000], Begun::TooLarge),
        (
            b"GET / HTTP\r\n\r\n",
            Begun::Malformed(Malformed("the head is not HTTP/1")),
        ),
        (b"INVALID CONNECTION PREFACE\r\n\r\n", Begun::Stranger),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Begun::Http2),
    ] {
        let (mut client, mut conn) = pair().await;
        client.write_all(sent).await.expect("sent");
        assert_eq!(conn.begin(&LIMITS).await, begun);
    }
}

#[tokio::test]
async fn a_plain_request_is_answered_here_and_the_next_one_is_not() {
    let (mut client, mut conn) = pair().await;
    let plain = "GET /1 HTTP/1.1\r\nHost: h\r\n\r\n";
    let other = "POST /2 HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx";
    let all = [plain, plain, other].concat();
    client.write_all(all.as_bytes()).await.expect("sent");
    assert_eq!(conn.begin(&LIMITS).await, Begun::Request);
    assert_eq!(conn.plain(), Some(plain.as_bytes()));
    assert!(conn.next_plain(LIMITS.header_size));
    assert!(!conn.next_plain(LIMITS.header_size));
    conn.send(b"head ", Bytes::from_static(b"body"))
        .expect("sent");
    conn.sent().await.expect("sent");
    assert_eq!(conn.begin(&LIMITS).await, Begun::Request);
    assert_eq!(conn.plain(), None);
    assert_eq!(read(&mut conn, other.len()).await, other);
    let mut got = [0; 9];
    client.read_exact(&mut got).await.expect("read");
    assert_eq!(&got, b"head body");
}

#[tokio::test]
async fn who_reads_too_slowly_is_given_up() {
    let (_client, mut conn) = pair().await;
    conn.send(b"head", vec![b'x'; 64 << 20].into())
        .expect("sent");
    conn.patience = Duration::from_millis(20);
    let sent = conn.sent().await;
    assert_eq!(
        sent.expect_err("nobody reads").kind(),
        io::ErrorKind::TimedOut
    );
}

#[tokio::test]
async fn a_slow_head_has_one_deadline() {
    let (mut client, mut conn) = pair().await;
    client.write_all(b"GET / HT").await.expect("sent");
    let limits = ConnLimits {
        header: Duration::from_millis(20),
        ..LIMITS
    };
    assert_eq!(conn.begin(&limits).await, Begun::TimedOut);
}

#[tokio::test]
async fn small_writes_leave_together_and_large_ones_in_order() {
    let (mut client, mut conn) = pair().await;
    let large = vec![b'x'; 300_000];
    let write = async {
        conn.write_all(b"head ").await.expect("written");
        conn.write_all(&large).await.expect("written");
        conn.write_all(b" tail").await.expect("written");
        AsyncWriteExt::shutdown(&mut conn).await.expect("closed");
    };
    let mut got = Vec::new();
    let (_, n) = tokio::join!(write, client.read_to_end(&mut got));
    assert_eq!(n.expect("read"), large.len() + 10);
    assert!(got.starts_with(b"head x") && got.ends_with(b"x tail"));
}
