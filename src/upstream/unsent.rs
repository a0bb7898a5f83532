//! How much of what is sent to a server waits in this machine's kernel. By itself the kernel takes megabytes of a
//! request that its server does not read yet: its client has sent the last byte long before, and waits for an answer
//! that nobody has begun to think about.

use socket2::SockRef;
use std::os::fd::AsFd;

/// Bytes beyond those that are on their way.
const MOST: u32 = 256 << 10;

/// For a socket of TCP. Where that can't be had requests pass all the same.
pub fn hold_little(socket: &impl AsFd) {
    let _ = SockRef::from(socket).set_tcp_notsent_lowat(MOST);
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpSocket;

    #[test]
    fn the_kernel_is_told() {
        let socket = TcpSocket::new_v4().expect("a socket");
        hold_little(&socket);
        let most = SockRef::from(&socket).tcp_notsent_lowat();
        assert_eq!(most.expect("it can be asked"), MOST);
    }
}
