//! A path of UDP whose way back can be held up, so that no handshake over it comes to its end.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{JoinHandle, spawn};
use std::time::Duration;

/// How often it is looked whether it is over.
const TICK: Duration = Duration::from_millis(50);

pub struct Relay {
    /// Where its one client sends to.
    pub address: SocketAddr,
    path: Arc<Path>,
    ways: Vec<JoinHandle<()>>,
}

struct Path {
    near: UdpSocket,
    far: UdpSocket,
    client: Mutex<Option<SocketAddr>>,
    is_held: Mutex<bool>,
    changed: Condvar,
    is_over: AtomicBool,
}

impl Relay {
    pub fn before(edge: SocketAddr) -> Relay {
        let bind = || {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
            let set = socket.set_read_timeout(Some(TICK));
            set.map(|()| socket).expect("a socket has options")
        };
        let (near, far) = (bind(), bind());
        far.connect(edge).expect("an address");
        let address = near.local_addr().expect("it is bound");
        let path = Arc::new(Path {
            near,
            far,
            client: Mutex::default(),
            is_held: Mutex::default(),
            changed: Condvar::new(),
            is_over: AtomicBool::new(false),
        });
        let (there, back) = (path.clone(), path.clone());
        Relay {
            address,
            path,
            ways: vec![spawn(move || there.there()), spawn(move || back.back())],
        }
    }

    pub fn hold(&self) {
        *self.path.is_held.lock().expect("no thread panics with it") = true;
    }

    pub fn release(&self) {
        *self.path.is_held.lock().expect("no thread panics with it") = false;
        self.path.changed.notify_all();
    }
}

impl Path {
    fn there(&self) {
        let mut packet = [0; 65_536];
        while !self.is_over.load(Ordering::Relaxed) {
            if let Ok((n, from)) = self.near.recv_from(&mut packet) {
                *self.client.lock().expect("no thread panics with it") = Some(from);
                // What is lost is sent again.
                let _ = self.far.send(&packet[..n]);
            }
        }
    }

    fn back(&self) {
        let mut packet = [0; 65_536];
        while !self.is_over.load(Ordering::Relaxed) {
            let Ok(n) = self.far.recv(&mut packet) else {
                continue;
            };
            let held = self.is_held.lock().expect("no thread panics with it");
            drop(self.changed.wait_while(held, |held| *held));
            let client = *self.client.lock().expect("no thread panics with it");
            if let Some(client) = client {
                let _ = self.near.send_to(&packet[..n], client);
            }
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.path.is_over.store(true, Ordering::Relaxed);
        self.release();
        for way in self.ways.drain(..) {
            // One that has panicked has failed the test by itself.
            let _ = way.join();
        }
    }
}
