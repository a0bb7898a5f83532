//! Listening sockets, and the loop that accepts on one.

use super::quic::{Incoming, Socket};
use std::fmt;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// Connections that the kernel may hold for us; it caps this itself (`somaxconn`).
const BACKLOG: u32 = 4096;

/// Where clients connect.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    Tcp(SocketAddr),
    /// HTTP/3.
    Udp(SocketAddr),
}

/// A bound address, not yet accepting.
pub struct Listener {
    pub name: String,
    pub address: Address,
    bound: Bound,
}

enum Bound {
    Tcp(TcpListener),
    Udp(Arc<Socket>),
}

/// A connection that has come in.
pub enum Arrival {
    Tcp(TcpStream, SocketAddr),
    /// Before its handshake.
    Quic(Box<Incoming>, Arc<Socket>),
}

impl Listener {
    /// Binds at once or fails at once: nothing is retried behind the operator's back.
    pub fn tcp(name: &str, address: SocketAddr) -> io::Result<Listener> {
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
            address: Address::Tcp(socket.local_addr()?),
            bound: Bound::Tcp(socket),
        })
    }

    /// Of a socket that was listened on before.
    pub fn adopted(name: &str, socket: std::net::TcpListener) -> io::Result<Listener> {
        socket.set_nonblocking(true)?;
        Ok(Listener {
            name: name.to_owned(),
            address: Address::Tcp(socket.local_addr()?),
            bound: Bound::Tcp(TcpListener::from_std(socket)?),
        })
    }

    /// Of TCP, its socket once more: open for as long as either is.
    pub fn heirloom(&self) -> Option<io::Result<OwnedFd>> {
        match &self.bound {
            Bound::Tcp(socket) => Some(socket.as_fd().try_clone_to_owned()),
            Bound::Udp(_) => None,
        }
    }

    /// Of a socket that was bound to `address`.
    pub fn quic(name: &str, address: SocketAddr, socket: Arc<Socket>) -> Listener {
        Listener {
            name: name.to_owned(),
            address: Address::Udp(address),
            bound: Bound::Udp(socket),
        }
    }

    /// Where HTTP/3 is spoken.
    pub fn socket(&self) -> Option<&Arc<Socket>> {
        match &self.bound {
            Bound::Udp(socket) => Some(socket),
            Bound::Tcp(_) => None,
        }
    }

    /// Accepts until this future is dropped. `admit` gives a connection its place, or none;
    /// `serve` gets it with that.
    pub async fn accept<P>(
        self,
        admit: impl Fn(IpAddr) -> Option<P>,
        refused: impl Fn(),
        serve: impl Fn(Arrival, P),
    ) {
        loop {
            let arrival = match &self.bound {
                Bound::Tcp(socket) => self.accepted(socket.accept()).await,
                Bound::Udp(socket) => match socket.accept().await {
                    Some(incoming) => Some(Arrival::Quic(Box::new(incoming), socket.clone())),
                    None => return,
                },
            };
            let Some(arrival) = arrival else { continue };
            match admit(arrival.peer().ip()) {
                Some(place) => serve(arrival, place),
                None => {
                    refused();
                    arrival.refuse();
                }
            }
        }
    }

    async fn accepted(
        &self,
        accepting: impl Future<Output = io::Result<(TcpStream, SocketAddr)>>,
    ) -> Option<Arrival> {
        match accepting.await {
            Ok((stream, peer)) => {
                // Without it a small answer waits for the client's ACK; failing is not worth a refusal.
                let _ = stream.set_nodelay(true);
                Some(Arrival::Tcp(stream, peer))
            }
            Err(e) => {
                self.after_error(&e).await;
                None
            }
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

impl Arrival {
    pub fn peer(&self) -> SocketAddr {
        match self {
            Arrival::Tcp(_, peer) => *peer,
            Arrival::Quic(incoming, _) => incoming.remote_address(),
        }
    }

    fn refuse(self) {
        match self {
            // Closed, it is.
            Arrival::Tcp(..) => {}
            Arrival::Quic(incoming, _) => incoming.refuse(),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(address) => write!(f, "{address}"),
            Address::Udp(address) => write!(f, "{address} (UDP)"),
        }
    }
}
