//! A port that somebody has already: a listener of ours that is about to close, or another process.

use crate::endpoint::Endpoint;
use crate::listen::{Address, share};
use std::io;
use std::os::fd::OwnedFd;

/// Sockets that are about to close. While this lives another one can be bound to their port, on an address
/// that includes theirs or is included: so nobody is turned away before it is known that all can be had.
pub struct Yielding(Vec<OwnedFd>);

impl Yielding {
    pub fn begin(sockets: Vec<OwnedFd>) -> Yielding {
        // One that doesn't has the other be refused, and that is told.
        sockets.iter().for_each(|socket| drop(share(socket, true)));
        Yielding(sockets)
    }
}

impl Drop for Yielding {
    fn drop(&mut self) {
        self.0.iter().for_each(|socket| drop(share(socket, false)));
    }
}

/// Whether both can't be had at once, unless they are addresses of their own.
pub fn share_port(one: &Address, other: &Address) -> bool {
    match (one, other) {
        (Address::Udp(one), Address::Udp(other)) => one.port() == other.port(),
        (Address::Stream(Endpoint::Tcp(one)), Address::Stream(Endpoint::Tcp(other))) => {
            one.port() == other.port()
        }
        _ => false,
    }
}

pub fn is_busy(e: &io::Error) -> bool {
    e.kind() == io::ErrorKind::AddrInUse
}

pub fn cannot_listen(name: &str, address: &Address, e: &io::Error) -> String {
    let is_file = matches!(address, Address::Stream(Endpoint::Unix(_)));
    let hint = match e.kind() {
        io::ErrorKind::NotFound if is_file => "; there is no such folder: make it",
        io::ErrorKind::PermissionDenied if is_file => {
            "; its folder must be this user's to write, and so must a socket that is there already"
        }
        io::ErrorKind::AddrInUse => {
            "; another process has it: stop that one, or choose another address"
        }
        io::ErrorKind::PermissionDenied => "; ports below 1024 need root or CAP_NET_BIND_SERVICE",
        io::ErrorKind::AddrNotAvailable => "; this machine has no such address",
        _ => "",
    };
    format!("listener {name} can't listen on {address}: {e}{hint}")
}
