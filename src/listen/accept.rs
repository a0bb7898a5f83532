//! Listening sockets, and the loop that accepts on one.

use super::quic::{self, Incoming};
use super::settings::Access;
use super::socket::Socket;
use super::unix::{self, SocketFile};
use crate::endpoint::Endpoint;
use crate::unsent::{self, Most};
use socket2::{Domain, SockRef, Type};
use std::fmt;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpSocket, UnixListener};

/// Connections that the kernel may hold for us; it caps this itself (`somaxconn`).
const BACKLOG: u32 = 4096;

/// Whom those count as who come by a Unix socket: they are on this machine, and have no address.
const LOCAL: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// From one line about connections that can't be accepted to the next.
const TELL_AGAIN: Duration = Duration::from_secs(10);

/// Where clients connect.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    Stream(Endpoint),
    /// HTTP/3.
    Udp(SocketAddr),
}

/// A bound address, not yet accepting.
pub struct Listener {
    pub name: String,
    pub address: Address,
    bound: Bound,
    /// Of a Unix socket.
    pub file: Option<SocketFile>,
    /// Where the socket of HTTP/3 is to go: until then it is at another address, on the same port.
    moves: Option<UdpSocket>,
}

enum Bound {
    Tcp(TcpListener),
    Unix(UnixListener),
    Udp(Arc<quic::Socket>),
}

/// A socket that was listened on before this process began.
pub enum Given {
    Tcp(std::net::TcpListener),
    /// Whether the edge before had made its file, and so it is to be removed at the end.
    Unix(std::os::unix::net::UnixListener, bool),
}

/// A listening socket for the process that comes after.
pub struct Heirloom {
    pub socket: OwnedFd,
    /// See `Given`.
    pub owns_file: bool,
}

impl Heirloom {
    pub fn try_clone(&self) -> io::Result<Heirloom> {
        let (socket, owns_file) = (self.socket.try_clone()?, self.owns_file);
        Ok(Heirloom { socket, owns_file })
    }
}

/// Whether a port is free, or had by sockets that `share` it until they close.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Port {
    Free,
    Shared,
}

/// Lets others be bound to the port of this socket, on other addresses, if they share it too: SO_REUSEPORT,
/// socket(7).
pub fn share(socket: &impl AsFd, shares: bool) -> io::Result<()> {
    SockRef::from(socket).set_reuse_port(shares)
}

/// For HTTP/3.
pub fn udp(address: SocketAddr, port: Port) -> io::Result<UdpSocket> {
    let socket = socket2::Socket::new(Domain::for_address(address), Type::DGRAM, None)?;
    socket.set_reuse_port(port == Port::Shared)?;
    socket.bind(&address.into())?;
    share(&socket, false)?;
    Ok(socket.into())
}

/// A connection that has come in.
pub enum Arrival {
    Stream(Socket, SocketAddr),
    /// Before its handshake.
    Quic(Box<Incoming>, Arc<quic::Socket>),
}

impl Listener {
    /// Binds at once or fails at once: nothing is retried behind the operator's back.
    pub fn tcp(name: &str, address: SocketAddr, port: Port) -> io::Result<Listener> {
        let socket = if address.is_ipv4() {
            TcpSocket::new_v4()
        } else {
            TcpSocket::new_v6()
        }?;
        // So that a restart does not wait for old connections to leave TIME_WAIT.
        socket.set_reuseaddr(true)?;
        socket.set_reuseport(port == Port::Shared)?;
        socket.bind(address)?;
        let socket = socket.listen(BACKLOG)?;
        unsent::hold_little(&socket, Most::ToClients);
        share(&socket, false)?;
        Ok(Listener {
            name: name.to_owned(),
            address: Address::Stream(socket.local_addr()?.into()),
            bound: Bound::Tcp(socket),
            file: None,
            moves: None,
        })
    }

    /// For those on this machine whom `access` lets in.
    pub fn unix(name: &str, path: &str, access: &Access) -> io::Result<Listener> {
        let (socket, file) = unix::listen(Path::new(path), access, BACKLOG)?;
        Ok(Listener {
            name: name.to_owned(),
            address: Address::Stream(Endpoint::Unix(path.into())),
            bound: Bound::Unix(socket),
            file: Some(file),
            moves: None,
        })
    }

    /// Of a socket that was listened on at `endpoint` before.
    pub fn adopted(name: &str, endpoint: &Endpoint, socket: Given) -> io::Result<Listener> {
        let (bound, file) = match socket {
            Given::Tcp(socket) => {
                socket.set_nonblocking(true)?;
                unsent::hold_little(&socket, Most::ToClients);
                (Bound::Tcp(TcpListener::from_std(socket)?), None)
            }
            Given::Unix(socket, owns_file) => {
                socket.set_nonblocking(true)?;
                let file = match endpoint {
                    Endpoint::Unix(path) if owns_file => {
                        Some(SocketFile::inherited(Path::new(&**path))?)
                    }
                    _ => None,
                };
                (Bound::Unix(UnixListener::from_std(socket)?), file)
            }
        };
        Ok(Listener {
            name: name.to_owned(),
            address: Address::Stream(endpoint.clone()),
            bound,
            file,
            moves: None,
        })
    }

    /// But of HTTP/3, its socket once more: open for as long as either is.
    pub fn heirloom(&self) -> Option<io::Result<Heirloom>> {
        let socket = match &self.bound {
            Bound::Tcp(socket) => socket.as_fd(),
            Bound::Unix(socket) => socket.as_fd(),
            Bound::Udp(_) => return None,
        };
        let owns_file = self.file.is_some();
        Some(
            socket
                .try_clone_to_owned()
                .map(|socket| Heirloom { socket, owns_file }),
        )
    }

    /// Of a socket that is bound to `address`.
    pub fn quic(name: &str, address: SocketAddr, socket: Arc<quic::Socket>) -> Listener {
        Listener {
            name: name.to_owned(),
            address: Address::Udp(address),
            bound: Bound::Udp(socket),
            file: None,
            moves: None,
        }
    }

    /// Of one whose connections are to go on by another socket, which is bound to `address`.
    pub fn moved(
        name: &str,
        address: SocketAddr,
        socket: Arc<quic::Socket>,
        to: UdpSocket,
    ) -> Listener {
        Listener {
            moves: Some(to),
            ..Listener::quic(name, address, socket)
        }
    }

    /// To be called before it accepts.
    pub fn settle(&mut self) -> io::Result<()> {
        match (&self.bound, self.moves.take()) {
            (Bound::Udp(socket), Some(to)) => socket.move_to(to),
            _ => Ok(()),
        }
    }

    /// Where HTTP/3 is spoken.
    pub fn socket(&self) -> Option<&Arc<quic::Socket>> {
        match &self.bound {
            Bound::Udp(socket) => Some(socket),
            Bound::Tcp(_) | Bound::Unix(_) => None,
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
        let mut told = None;
        loop {
            let arrival = match &self.bound {
                Bound::Tcp(socket) => {
                    let tcp = |(stream, peer)| (Socket::Tcp(stream), peer);
                    self.accepted(socket.accept(), tcp).await
                }
                Bound::Unix(socket) => {
                    let unix = |(stream, _)| (Socket::Unix(stream), LOCAL);
                    self.accepted(socket.accept(), unix).await
                }
                Bound::Udp(socket) => match socket.accept().await {
                    Some(incoming) => Ok(Arrival::Quic(Box::new(incoming), socket.clone())),
                    None => return,
                },
            };
            let arrival = match arrival {
                Ok(arrival) => arrival,
                Err(e) => {
                    self.after_error(&e, &mut told).await;
                    continue;
                }
            };
            match admit(arrival.peer().ip()) {
                Some(place) => serve(arrival, place),
                None => {
                    refused();
                    arrival.refuse();
                }
            }
        }
    }

    async fn accepted<T>(
        &self,
        accepting: impl Future<Output = io::Result<T>>,
        socket_and_peer: impl Fn(T) -> (Socket, SocketAddr),
    ) -> io::Result<Arrival> {
        let (socket, peer) = socket_and_peer(accepting.await?);
        if let Socket::Tcp(stream) = &socket {
            // Without it a small answer waits for the client's ACK; failing is not worth a refusal.
            let _ = stream.set_nodelay(true);
        }
        Ok(Arrival::Stream(socket, peer))
    }

    /// Out of file descriptors: wait for some to be closed rather than spin. A client that left
    /// before it was accepted needs no wait. `told`: when that was logged last.
    async fn after_error(&self, e: &io::Error, told: &mut Option<Instant>) {
        if matches!(
            e.raw_os_error(),
            Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::ENOBUFS)
        ) {
            if told.is_none_or(|told| told.elapsed() >= TELL_AGAIN) {
                *told = Some(Instant::now());
                tracing::error!(listener = %self.name, error = %e, "accept failed; raise the limit of open files");
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

impl Arrival {
    pub fn peer(&self) -> SocketAddr {
        match self {
            Arrival::Stream(_, peer) => *peer,
            Arrival::Quic(incoming, _) => incoming.remote_address(),
        }
    }

    fn refuse(self) {
        match self {
            // Closed, it is.
            Arrival::Stream(..) => {}
            Arrival::Quic(incoming, _) => incoming.refuse(),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Stream(endpoint) => write!(f, "{endpoint}"),
            Address::Udp(address) => write!(f, "{address} (UDP)"),
        }
    }
}
