//! Listening sockets, and the loop that accepts on one.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// Connections that the kernel may hold for us; it caps this itself (`somaxconn`).
const BACKLOG: u32 = 4096;

/// A bound address, not yet accepting.
pub struct Listener {
    pub name: String,
    pub address: SocketAddr,
    socket: TcpListener,
}

/// Listens on a socket that was bound before.
pub fn adopt(name: &str, socket: std::net::TcpListener) -> io::Result<Listener> {
    socket.set_nonblocking(true)?;
    Ok(Listener {
        name: name.to_owned(),
        address: socket.local_addr()?,
        socket: TcpListener::from_std(socket)?,
    })
}

/// Binds at once or fails at once: nothing is retried behind the operator's back.
pub fn bind(name: &str, address: SocketAddr) -> io::Result<Listener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    }?;
    // So that a restart does not wait for old connections to leave TIME_WAIT.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    let socket = socket.listen(BACKLOG)?;
    Ok(Listener {
        name: name.to_owned(),
        address: socket.local_addr()?,
        socket,
    })
}

impl Listener {
    /// Its socket once more: open for as long as either is.
    pub fn socket(&self) -> io::Result<OwnedFd> {
        self.socket.as_fd().try_clone_to_owned()
    }

    /// Accepts until this future is dropped. `admit` gives a connection its place, or none;
    /// `serve` gets it with that.
    pub async fn accept<P>(
        self,
        admit: impl Fn(IpAddr) -> Option<P>,
        refused: impl Fn(),
        serve: impl Fn(TcpStream, SocketAddr, P),
    ) {
        loop {
            let (stream, peer) = match self.socket.accept().await {
                Ok(accepted) => accepted,
                Err(e) => {
                    self.after_error(&e).await;
                    continue;
                }
            };
            let Some(place) = admit(peer.ip()) else {
                refused();
                continue;
            };
            // Without it a small answer waits for the client's ACK; failing is not worth a refusal.
            let _ = stream.set_nodelay(true);
            serve(stream, peer, place);
        }
    }

    /// Out of file descriptors: wait for some to be closed rather than spin. A client that left
    /// before it was accepted needs no wait.
    async fn after_error(&self, e: &io::Error) {
        if matches!(
            e.raw_os_error(),
            Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::ENOBUFS)
        ) {
            tracing::error!(listener = %self.name, error = %e, "accept failed; raise the limit of open files");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}
