//! How much of what is sent waits in this machine's kernel. By itself the kernel takes megabytes, and says that
//! there is room again when a third of them is gone.
//!
//! Towards a server that means: a request's client has sent the last byte long before, and waits for an answer that
//! nobody has begun to think about. Towards a client: one that reads steadily, but slowly, takes nothing more for
//! minutes, as far as can be seen here.

use socket2::SockRef;
use std::os::fd::AsFd;

/// Bytes beyond those that are on their way.
#[derive(Clone, Copy)]
pub enum Most {
    ToServers = 256 << 10,
    ToClients = 128 << 10,
}

/// For a socket of TCP; who connects to a listening one gets the same. Where that can't be had all is sent the same.
pub fn hold_little(socket: &impl AsFd, most: Most) {
    let _ = SockRef::from(socket).set_tcp_notsent_lowat(most as u32);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn the_kernel_is_told_and_tells_those_who_come() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        hold_little(&listener, Most::ToClients);
        let address = listener.local_addr().expect("its address");
        let _client = TcpStream::connect(address).expect("connected");
        let (accepted, _) = listener.accept().expect("somebody has come");
        let most = SockRef::from(&accepted).tcp_notsent_lowat();
        assert_eq!(most.expect("it can be asked"), Most::ToClients as u32);
    }
}
