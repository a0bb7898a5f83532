//! Listening sockets that are open before the process starts: by systemd (socket activation,
//! sd_listen_fds(3)), or by the edge before (`lakh upgrade`).

use crate::endpoint::Endpoint;
use crate::listen::{Address, Given};
use listenfd::ListenFd;
use std::io;
use std::os::fd::{AsFd, OwnedFd, RawFd};

/// The first one's descriptor; the others follow. sd_listen_fds(3).
pub const FIRST: RawFd = 3;
/// How many there are.
pub const COUNT: &str = "LISTEN_FDS";
/// Whose they are, where that is said.
pub const OWNER: &str = "LISTEN_PID";
/// What each is called, with colons between; sd_listen_fds_with_names(3).
pub const NAMES: &str = "LISTEN_FDNAMES";
/// So is a Unix socket called whose file is the edge's own, and others are not.
pub const OWNS_FILE: &str = "lakh-owns-file";

/// Those that nobody listens on yet.
#[derive(Default)]
pub struct Inherited(Vec<(Endpoint, Given)>);

impl Inherited {
    /// To be asked once: from then on they are this process's own.
    pub fn of_environment() -> Inherited {
        let names = std::env::var(NAMES).unwrap_or_default();
        let mut names = names.split(':');
        let mut given = ListenFd::from_env();
        let sockets = (0..given.len()).filter_map(|n| {
            let owns_file = names.next() == Some(OWNS_FILE);
            match take(&mut given, n, owns_file) {
                Ok(socket) => Some(socket),
                Err(e) => {
                    tracing::warn!("socket {n} of {COUNT} is not used: {e}");
                    None
                }
            }
        });
        Inherited(sockets.collect())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn take(&mut self, endpoint: &Endpoint) -> Option<Given> {
        let found = self.0.iter().position(|(of, _)| of == endpoint)?;
        Some(self.0.swap_remove(found).1)
    }

    /// Of those at such addresses, which stay here too.
    pub fn copies(&self, are_such: impl Fn(&Address) -> bool) -> Vec<OwnedFd> {
        let copy = |(endpoint, given): &(Endpoint, Given)| match given {
            Given::Tcp(socket) if are_such(&Address::Stream(endpoint.clone())) => {
                socket.as_fd().try_clone_to_owned().ok()
            }
            _ => None,
        };
        self.0.iter().filter_map(copy).collect()
    }

    /// Closes what no listener has taken.
    pub fn close(self) {
        for (endpoint, _) in self.0 {
            tracing::warn!("{endpoint} was open already, but no listener has this address: closed");
        }
    }
}

fn take(given: &mut ListenFd, n: usize, owns_file: bool) -> io::Result<(Endpoint, Given)> {
    let none = || io::Error::other("it was taken already");
    // What is of neither kind stays where it is, and is told of as no Unix socket.
    if let Ok(socket) = given.take_tcp_listener(n) {
        let socket = socket.ok_or_else(none)?;
        return Ok((socket.local_addr()?.into(), Given::Tcp(socket)));
    }
    let socket = given.take_unix_listener(n)?.ok_or_else(none)?;
    let address = socket.local_addr()?;
    let path = address.as_pathname().and_then(|path| path.to_str());
    let path = path.ok_or_else(|| io::Error::other("it has no path"))?;
    let endpoint = Endpoint::unix(path).map_err(io::Error::other)?;
    Ok((endpoint, Given::Unix(socket, owns_file)))
}
