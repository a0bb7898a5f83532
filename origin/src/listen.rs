//! Where people come in, and what their connections are told.

use socket2::SockRef;
use std::net::SocketAddr;
use std::{io, time::Duration};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// Connections that may wait to be accepted: as many as come when an edge passes on a crowd.
const BACKLOG: u32 = 4096;

/// Bytes that the kernel takes of what is sent before it is read, of each connection. By itself it takes megabytes of
/// uploads that wait for their turn, whose clients would have sent their last byte long before.
const UNREAD: u32 = 64 << 10;

/// Who takes nothing for so long of what is sent is gone. As long as an upload may take.
pub const MOST_SILENCE: Duration = Duration::from_secs(300);

pub fn on(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    socket.set_reuseaddr(true)?;
    socket.set_recv_buffer_size(UNREAD)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// What can't be told a connection it does without.
pub fn prepare(connection: &TcpStream, most_silence: Duration) {
    // An answer's head and body are two writes; Nagle's algorithm would hold back the second.
    let _ = connection.set_nodelay(true);
    // Whoever reads a large file has a place and a part of it in memory, and would keep both by not reading on:
    // what is not taken, by whoever still acknowledges that, is given up after this too. RFC 5482; tcp(7).
    let _ = SockRef::from(connection).set_tcp_user_timeout(Some(most_silence));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::ErrorKind;
    use tokio::io::AsyncWriteExt;
    use tokio::time;

    #[tokio::test]
    async fn who_takes_nothing_is_gone_after_a_while() {
        let listener = on(([127, 0, 0, 1], 0).into()).expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let silent = TcpStream::connect(address).await.expect("it listens");
        let (mut connection, _) = listener.accept().await.expect("it came");
        prepare(&connection, Duration::from_secs(1));
        let sending = async {
            loop {
                if let Err(error) = connection.write_all(&[0; 65_536]).await {
                    return error.kind();
                }
            }
        };
        let ended = time::timeout(Duration::from_secs(60), sending).await;
        assert_eq!(ended.expect("it ends"), ErrorKind::TimedOut);
        drop(silent);
    }
}
