//! Listening sockets that are open before the process starts: by systemd (socket activation,
//! sd_listen_fds(3)), or by the edge before (`lakh upgrade`).

use listenfd::ListenFd;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::RawFd;

/// The first one's descriptor; the others follow. sd_listen_fds(3).
pub const FIRST: RawFd = 3;
/// How many there are.
pub const COUNT: &str = "LISTEN_FDS";
/// Whose they are, where that is said.
pub const OWNER: &str = "LISTEN_PID";

/// Those that nobody listens on yet.
#[derive(Default)]
pub struct Inherited(Vec<(SocketAddr, TcpListener)>);

impl Inherited {
    /// To be asked once: from then on they are this process's own.
    pub fn of_environment() -> Inherited {
        let mut given = ListenFd::from_env();
        let sockets = (0..given.len()).filter_map(|n| match given.take_tcp_listener(n) {
            Ok(socket) => {
                let socket = socket?;
                Some((socket.local_addr().ok()?, socket))
            }
            Err(e) => {
                tracing::warn!("socket {n} of {COUNT} is not used: {e}");
                None
            }
        });
        Inherited(sockets.collect())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn take(&mut self, address: SocketAddr) -> Option<TcpListener> {
        let found = self.0.iter().position(|(of, _)| *of == address)?;
        Some(self.0.swap_remove(found).1)
    }

    /// Closes what no listener has taken.
    pub fn close(self) {
        for (address, _) in self.0 {
            tracing::warn!("{address} was open already, but no listener has this address: closed");
        }
    }
}
