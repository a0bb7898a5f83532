//! Free ports, from below the range that the kernel takes for outgoing connections: between
//! finding one free and the edge binding it, no client's socket can get it.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

const FIRST: u16 = 10_000;
const COUNT: u16 = 22_000;

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

/// Goes round, from a place that differs between processes.
fn next(n: u16) -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let place = (std::process::id() as u16).wrapping_mul(997);
    let taken = NEXT.fetch_add(n, Ordering::Relaxed);
    (place.wrapping_add(taken)) % (COUNT - n)
}
