//! Free ports, from below the range that the kernel takes for outgoing connections: between
//! finding one free and the edge binding it, no client's socket can get it.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};

const FIRST: u16 = 10_000;
const COUNT: u32 = 22_000;

/// `n` neighbouring ports; the first of them.
pub fn free_ports(n: u16) -> u16 {
    for _ in 0..COUNT {
        let first = FIRST + next(n);
        if (first..first + n).all(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()) {
            return first;
        }
    }
    panic!("no {n} neighbouring ports are free");
}

pub fn free_address() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, free_ports(1)).into()
}

/// An open socket on a port that nobody else has.
pub fn listen() -> TcpListener {
    let bind = |_| TcpListener::bind((Ipv4Addr::LOCALHOST, FIRST + next(1))).ok();
    (0..COUNT).find_map(bind).expect("some port is free")
}

/// The first of `n` places that nobody else in this process has. Goes round, from a beginning
/// that differs between processes.
fn next(n: u16) -> u16 {
    static TAKEN: AtomicU32 = AtomicU32::new(0);
    let beginning = std::process::id().wrapping_mul(997) % COUNT;
    let place = (beginning + TAKEN.fetch_add(n.into(), Ordering::Relaxed)) % COUNT;
    u16::try_from(place).expect("less than COUNT")
}
