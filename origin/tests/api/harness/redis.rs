//! A real Redis, which forgets everything when it stops.

use super::PATIENCE;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

pub struct Redis {
    port: u16,
    process: Child,
}

impl Redis {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        drop(listener);
        let process = listening(port);
        Self { port, process }
    }

    pub fn url(&self) -> String {
        format!("redis://{}", self.address())
    }

    pub fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port).into()
    }

    pub fn stop(&mut self) {
        self.process.kill().expect("our own child");
        self.process.wait().expect("our own child");
    }

    pub fn start_again(&mut self) {
        self.process = listening(self.port);
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // It may have been stopped already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn listening(port: u16) -> Child {
    // It ends with the thread of its test at the latest.
    let process = Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "redis-server"])
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
        .args(["--save", "", "--appendonly", "no"])
        .stdout(Stdio::null())
        .spawn()
        .expect("redis-server starts");
    let start = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(start.elapsed() < PATIENCE, "Redis does not start");
        thread::park_timeout(Duration::from_millis(20));
    }
    process
}
