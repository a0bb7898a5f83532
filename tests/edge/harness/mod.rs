//! What tests are written with: an edge, an origin, clients, and waiting.

mod acme;
mod browser;
mod client;
mod edge;
mod folder;
mod grpc;
mod h2c;
mod http2;
mod http3;
mod origin;
mod ports;
mod redis;
mod relay;
mod secured;
pub mod staples;
/// Keys made at run time, and what is signed with them: as the unit tests have them.
#[path = "../../../src/guard/auth/fixtures.rs"]
pub mod tokens;
mod trust;

pub use acme::{Acme, Fault};
pub use browser::Browser;
pub use client::{Ask, Client, Reply, ask, get, head, order_to, post};
pub use edge::{ADMIN_TOKEN, Edge, binary, lakh, lakh_origin};
pub use folder::Folder;
pub use grpc::{Calls, GrpcServer, framed};
pub use h2c::{h2, h2c};
pub use http2::{Http2, Streaming};
pub use http3::{Asked, Http3};
pub use origin::{Answer, Gate, Origin, Seen, Step};
pub use ports::free_address;
pub use redis::Redis;
pub use relay::Relay;
pub use secured::{Authority, Handshake, Identity, Secured, behind_tls};
pub use trust::Trust;

use std::time::{Duration, Instant};

/// The longest that anything may take before a test fails.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// Waits until `holds`; fails with `what` when it never does.
#[track_caller]
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "never came true: {what}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// Does `work` on `n` threads at once and gives the results in order.
pub fn at_once<T: Send>(n: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let together = std::sync::Barrier::new(n);
    std::thread::scope(|scope| {
        let (work, together) = (&work, &together);
        let start = |i| {
            scope.spawn(move || {
                together.wait();
                work(i)
            })
        };
        let threads: Vec<_> = (0..n).map(start).collect();
        let join = |t: std::thread::ScopedJoinHandle<'_, T>| t.join().expect("no thread panics");
        threads.into_iter().map(join).collect()
    })
}

/// Bytes that compress badly and repeat nowhere near; the same for the same `seed`.
pub fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        bytes.extend_from_slice(&next());
    }
    bytes.truncate(len);
    bytes
}
