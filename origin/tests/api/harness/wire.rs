//! A way to a server on this machine, whose connections can be lost without a word.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{io, thread};

pub struct Wire {
    address: SocketAddr,
    cuts: Arc<AtomicUsize>,
}

impl Wire {
    pub fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let cuts = Arc::new(AtomicUsize::new(0));
        let counted = cuts.clone();
        thread::spawn(move || {
            for client in listener.incoming() {
                let (client, server) = (client?, TcpStream::connect(server)?);
                let ways = [(client.try_clone()?, server.try_clone()?), (server, client)];
                for (from, to) in ways {
                    let cuts = counted.clone();
                    thread::spawn(move || carry(from, to, &cuts));
                }
            }
            io::Result::Ok(())
        });
        Self { address, cuts }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What is open now stays open and passes nothing any more.
    pub fn cut(&self) {
        self.cuts.fetch_add(1, Ordering::Relaxed);
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream, cuts: &AtomicUsize) -> io::Result<()> {
    let uncut = cuts.load(Ordering::Relaxed);
    let mut buffer = [0; 4096];
    loop {
        let read = from.read(&mut buffer)?;
        let is_cut = cuts.load(Ordering::Relaxed) != uncut;
        match (read, is_cut) {
            (0, true) => return Ok(()),
            (0, false) => return to.shutdown(Shutdown::Both),
            (_, true) => {}
            (read, false) => to.write_all(&buffer[..read])?,
        }
    }
}
