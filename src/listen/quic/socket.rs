//! A UDP socket that QUIC's connections come in by.

use super::STREAMS;
use crate::listen::Limits;
use quinn::{Endpoint, EndpointConfig, Incoming, ServerConfig, TokioRuntime, TransportConfig};
use quinn::{IdleTimeout, VarInt, crypto};
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::time::timeout;

/// Bytes of one request's body that its client may send ahead, of all that come on a connection, and of
/// answers that are kept until they are known to have arrived: with 100 ms to a client and back, so
/// much per second ten times.
const AHEAD: u32 = 512 << 10;
const AHEAD_OF_ALL: u32 = 1 << 20;
const UNCONFIRMED: u64 = 2 << 20;
/// From one sign of life to a client to the next, at most.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// Streams of settings and the like.
const CONTROL_STREAMS: u32 = 8;

/// Takes connections as long as it is told to; those that are open stay when it no longer does.
pub struct Socket {
    endpoint: Endpoint,
    /// Its secrets prove addresses, so that each process has one for all connections.
    base: ServerConfig,
    /// The endpoint's own, once more.
    socket: Mutex<UdpSocket>,
}

impl Socket {
    /// Of a UDP socket. `crypto`: what first packets are read with.
    pub fn new(
        socket: UdpSocket,
        crypto: Arc<dyn crypto::ServerConfig>,
    ) -> io::Result<Arc<Socket>> {
        let base = ServerConfig::with_crypto(crypto);
        let endpoint = Endpoint::new(
            EndpointConfig::default(),
            Some(base.clone()),
            socket.try_clone()?,
            Arc::new(TokioRuntime),
        )?;
        Ok(Arc::new(Socket {
            endpoint,
            base,
            socket: Mutex::new(socket),
        }))
    }

    /// Connections and all that comes go by this one from here on: another address, on the same port.
    pub fn move_to(&self, socket: UdpSocket) -> io::Result<()> {
        // Twice, because Quinn goes on reading the one before, yet not always hears that something came
        // there; so that is this one too.
        self.endpoint.rebind(socket.try_clone()?)?;
        self.endpoint.rebind(socket.try_clone()?)?;
        *self.socket() = socket;
        Ok(())
    }

    /// The same once more.
    pub fn copy(&self) -> io::Result<OwnedFd> {
        self.socket().as_fd().try_clone_to_owned()
    }

    fn socket(&self) -> MutexGuard<'_, UdpSocket> {
        self.socket.lock().expect("no code panics with it")
    }

    /// What `ip`, which clients sent to, is with the port. None: neither it nor the listener's own is known.
    pub(super) fn local(&self, ip: Option<IpAddr>) -> Option<SocketAddr> {
        let bound = self.endpoint.local_addr().ok()?;
        let ip = ip.or(Some(bound.ip()).filter(|ip| !ip.is_unspecified()))?;
        Some(SocketAddr::new(ip.to_canonical(), bound.port()))
    }

    /// None once it was closed.
    pub async fn accept(&self) -> Option<Incoming> {
        self.endpoint.accept().await
    }

    /// Takes no more connections, or takes them again.
    pub fn listen(&self, listens: bool) {
        let config = listens.then(|| self.base.clone());
        self.endpoint.set_server_config(config);
    }

    /// Whether some that came in by it are open.
    pub fn is_used(&self) -> bool {
        self.endpoint.open_connections() > 0
    }

    /// Until those who came by it know that their connections are closed, as far as that can be waited for.
    pub async fn farewell(&self, limit: Duration) {
        let _ = timeout(limit, self.endpoint.wait_idle()).await;
    }

    /// For one connection.
    pub(super) fn config(
        &self,
        crypto: Arc<dyn crypto::ServerConfig>,
        limits: &Limits,
    ) -> Arc<ServerConfig> {
        let mut config = self.base.clone();
        config.crypto = crypto;
        config.transport = Arc::new(transport(limits));
        Arc::new(config)
    }
}

/// A client that waits for its answer says nothing, and yet is not idle: it is asked for a sign of life in
/// time, RFC 9114 §5.1. Who asks for nothing is closed by whoever serves the connection.
fn transport(limits: &Limits) -> TransportConfig {
    let mut transport = TransportConfig::default();
    let idle = IdleTimeout::try_from(limits.idle_timeout).unwrap_or(VarInt::MAX.into());
    transport
        .max_concurrent_bidi_streams(STREAMS.into())
        .max_concurrent_uni_streams(CONTROL_STREAMS.into())
        .stream_receive_window(AHEAD.into())
        .receive_window(AHEAD_OF_ALL.into())
        .send_window(UNCONFIRMED)
        .datagram_receive_buffer_size(None)
        .max_idle_timeout(Some(idle))
        .keep_alive_interval(Some(KEEP_ALIVE.min(limits.idle_timeout / 3)));
    transport
}
