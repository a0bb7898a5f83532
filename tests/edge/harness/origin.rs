//! An origin that does as a test tells it, also what no decent server does.

use super::PATIENCE;
use super::ports;
use std::fmt::Display;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Serves until it is dropped or stopped.
pub struct Origin {
    pub address: SocketAddr,
    inner: Arc<Inner>,
    accepting: Option<JoinHandle<()>>,
}

struct Inner {
    handler: Box<dyn Fn(&Seen) -> Answer + Send + Sync>,
    seen: Mutex<Vec<Seen>>,
    /// Of every connection ever; what has ended is closed, so none is kept here.
    open: Mutex<Vec<Weak<TcpStream>>>,
    stopping: AtomicBool,
}

/// A request that came whole.
#[derive(Clone, Debug)]
pub struct Seen {
    /// As it was on the wire.
    pub head: String,
    pub method: String,
    pub target: String,
    pub fields: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// What is sent for a request, step by step.
pub struct Answer(Vec<Step>);

pub enum Step {
    Send(Vec<u8>),
    Wait(Gate),
    /// As a slow server does.
    Dawdle(Duration),
    /// Sends back whatever comes, until the client ends.
    Echo,
    Close,
    /// Closes as a crashed host does: with RST.
    Reset,
}

/// Holds whoever waits until the test opens it.
#[derive(Clone, Default)]
pub struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Origin {
    pub fn start(handler: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> Origin {
        Origin::serve(ports::listen(), Box::new(handler))
    }

    /// The same text for every request.
    pub fn saying(text: &'static str) -> Origin {
        Origin::start(move |_| Answer::ok(text))
    }

    /// One on an address that an earlier one has left.
    pub fn start_on(
        address: SocketAddr,
        handler: impl Fn(&Seen) -> Answer + Send + Sync + 'static,
    ) -> Origin {
        let listener = TcpListener::bind(address).expect("nobody else has the address");
        Origin::serve(listener, Box::new(handler))
    }

    fn serve(listener: TcpListener, handler: Box<dyn Fn(&Seen) -> Answer + Send + Sync>) -> Origin {
        let address = listener
            .local_addr()
            .expect("a bound socket has an address");
        let inner = Arc::new(Inner {
            handler,
            seen: Mutex::default(),
            open: Mutex::default(),
            stopping: AtomicBool::new(false),
        });
        let accepting = std::thread::spawn({
            let inner = inner.clone();
            move || inner.accept(&listener)
        });
        Origin {
            address,
            inner,
            accepting: Some(accepting),
        }
    }

    /// All requests so far, but for health checks.
    pub fn seen(&self) -> Vec<Seen> {
        self.inner
            .seen()
            .iter()
            .filter(|seen| seen.path() != "/health")
            .cloned()
            .collect()
    }

    /// The only request so far.
    #[track_caller]
    pub fn the_request(&self) -> Seen {
        let seen = self.seen();
        assert_eq!(seen.len(), 1, "one request came: {:?}", targets(&seen));
        seen.into_iter().next().expect("it is there")
    }

    /// Requests so far, but for health checks.
    pub fn count(&self) -> usize {
        self.seen().len()
    }

    /// Connections that were ever made to it.
    pub fn connections(&self) -> usize {
        self.inner
            .open
            .lock()
            .expect("no thread panics with it")
            .len()
    }

    #[track_caller]
    pub fn await_requests(&self, n: usize) {
        super::eventually(&format!("{n} requests at the origin"), || self.count() >= n);
    }

    /// Closes all its connections and refuses new ones.
    pub fn stop(&mut self) {
        let Some(accepting) = self.accepting.take() else {
            return;
        };
        self.inner.stopping.store(true, Ordering::SeqCst);
        // Wakes it; if that fails it is gone already.
        let _ = TcpStream::connect(self.address);
        accepting.join().expect("accepting does not panic");
        for stream in self
            .inner
            .open
            .lock()
            .expect("no thread panics with it")
            .drain(..)
        {
            if let Some(stream) = stream.upgrade() {
                // The other side may have closed it.
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Inner {
    fn seen(&self) -> MutexGuard<'_, Vec<Seen>> {
        self.seen.lock().expect("no thread panics with it")
    }

    fn accept(self: Arc<Inner>, listener: &TcpListener) {
        for stream in listener.incoming().flatten() {
            if self.stopping.load(Ordering::SeqCst) {
                return;
            }
            let stream = Arc::new(stream);
            self.open
                .lock()
                .expect("no thread panics with it")
                .push(Arc::downgrade(&stream));
            let inner = self.clone();
            // A connection that breaks is what the test is about, or shows in what it asserts.
            std::thread::spawn(move || drop(inner.converse(&stream)));
        }
    }

    fn converse(&self, mut stream: &TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut input = Vec::new();
        loop {
            let seen = Seen::read(&mut stream, &mut input)?;
            self.seen().push(seen.clone());
            let Answer(steps) = (self.handler)(&seen);
            for step in steps {
                match step {
                    Step::Send(bytes) => stream.write_all(&bytes)?,
                    Step::Wait(gate) => gate.wait(),
                    Step::Dawdle(time) => dawdle(time),
                    Step::Echo => echo(&mut stream, &mut input)?,
                    Step::Close => return stream.shutdown(Shutdown::Both),
                    Step::Reset => return reset(stream),
                }
            }
        }
    }
}

impl Seen {
    fn read(stream: &mut &TcpStream, input: &mut Vec<u8>) -> io::Result<Seen> {
        let end = loop {
            if let Some(at) = input.windows(4).position(|w| w == b"\r\n\r\n") {
                break at + 4;
            }
            fill(stream, input)?;
        };
        let head = String::from_utf8_lossy(&input.drain(..end).collect::<Vec<_>>()).into_owned();
        let mut seen = Seen::parse(&head);
        if seen.field("expect") == Some("100-continue") {
            stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        seen.body = seen.read_body(stream, input)?;
        Ok(seen)
    }

    fn parse(head: &str) -> Seen {
        let mut lines = head.trim_end().split("\r\n");
        let mut words = lines
            .next()
            .unwrap_or_default()
            .split(' ')
            .map(str::to_owned);
        let field = |line: &str| {
            let (name, value) = line.split_once(':').unwrap_or((line, ""));
            (name.to_ascii_lowercase(), value.trim().to_owned())
        };
        Seen {
            head: head.to_owned(),
            method: words.next().unwrap_or_default(),
            target: words.next().unwrap_or_default(),
            fields: lines.map(field).collect(),
            body: Vec::new(),
        }
    }

    fn read_body(&self, stream: &mut &TcpStream, input: &mut Vec<u8>) -> io::Result<Vec<u8>> {
        if let Some(length) = self.field("content-length") {
            return take(stream, input, length.parse().expect("a number"));
        }
        let mut body = Vec::new();
        while self.field("transfer-encoding").is_some() {
            let mut line = Vec::new();
            while !line.ends_with(b"\r\n") {
                line.extend(take(stream, input, 1)?);
            }
            let line = String::from_utf8_lossy(&line).trim().to_owned();
            let size = usize::from_str_radix(&line, 16).map_err(|_| ErrorKind::InvalidData)?;
            let chunk = take(stream, input, size + 2)?;
            if size == 0 {
                break;
            }
            body.extend_from_slice(&chunk[..size]);
        }
        Ok(body)
    }

    pub fn path(&self) -> &str {
        self.target
            .split('?')
            .next()
            .expect("split gives one at least")
    }

    /// The first field of this name.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, v)| v.as_str())
    }

    /// The field's value; it must be there once.
    #[track_caller]
    pub fn the(&self, name: &str) -> &str {
        let mut values = self.fields.iter().filter(|(n, _)| n == name);
        let value = values
            .next()
            .unwrap_or_else(|| panic!("`{name}` is in {}", self.head));
        assert!(
            values.next().is_none(),
            "`{name}` is there once in {}",
            self.head
        );
        &value.1
    }
}

impl Answer {
    pub fn ok(body: impl AsRef<[u8]>) -> Answer {
        Answer::of(200, &[], body)
    }

    /// Framed by a length, where the status has a body.
    pub fn of(status: u16, fields: &[(&str, &str)], body: impl AsRef<[u8]>) -> Answer {
        let body = body.as_ref();
        let mut head = start_of_head(status, fields);
        if !matches!(status, 204 | 304) {
            head += &format!("content-length: {}\r\n", body.len());
        }
        let mut wire = (head + "\r\n").into_bytes();
        wire.extend_from_slice(body);
        Answer::raw(wire)
    }

    /// In several chunks.
    pub fn chunked(fields: &[(&str, &str)], body: &[u8]) -> Answer {
        let head = start_of_head(200, fields) + "transfer-encoding: chunked\r\n\r\n";
        let mut wire = head.into_bytes();
        for chunk in body.chunks((body.len() / 3).max(1)) {
            wire.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            wire.extend_from_slice(chunk);
            wire.extend_from_slice(b"\r\n");
        }
        wire.extend_from_slice(b"0\r\n\r\n");
        Answer::raw(wire)
    }

    /// Exactly these bytes.
    pub fn raw(bytes: impl AsRef<[u8]>) -> Answer {
        Answer(vec![Step::Send(bytes.as_ref().to_vec())])
    }

    /// What an answer to HEAD is: this one's head.
    pub fn without_body(mut self) -> Answer {
        if let Some(Step::Send(wire)) = self.0.first_mut() {
            let end = wire.windows(4).position(|w| w == b"\r\n\r\n");
            wire.truncate(end.expect("an answer has a head") + 4);
        }
        self
    }

    pub fn hang_up() -> Answer {
        Answer(vec![Step::Close])
    }

    pub fn then(mut self, step: Step) -> Answer {
        self.0.push(step);
        self
    }

    pub fn then_send(self, bytes: impl AsRef<[u8]>) -> Answer {
        self.then(Step::Send(bytes.as_ref().to_vec()))
    }

    /// Nothing is sent for so long.
    pub fn slowly(mut self, time: Duration) -> Answer {
        self.0.insert(0, Step::Dawdle(time));
        self
    }

    pub fn reset() -> Answer {
        Answer(vec![Step::Reset])
    }

    /// Nothing is sent until then.
    pub fn after(mut self, gate: &Gate) -> Answer {
        self.0.insert(0, Step::Wait(gate.clone()));
        self
    }
}

impl Gate {
    pub fn open(&self) {
        let (open, changed) = &*self.0;
        *open.lock().expect("no thread panics with it") = true;
        changed.notify_all();
    }

    pub fn is_open(&self) -> bool {
        *self.0.0.lock().expect("no thread panics with it")
    }

    fn wait(&self) {
        let (open, changed) = &*self.0;
        let open = open.lock().expect("no thread panics with it");
        let waited = changed.wait_timeout_while(open, PATIENCE * 2, |open| !*open);
        drop(waited.expect("no thread panics with it"));
    }
}

fn dawdle(time: Duration) {
    let until = Instant::now() + time;
    while let Some(left) = until.checked_duration_since(Instant::now()) {
        std::thread::park_timeout(left);
    }
}

fn start_of_head(status: u16, fields: &[(impl Display, impl Display)]) -> String {
    let mut head = format!("HTTP/1.1 {status} As Told\r\n");
    for (name, value) in fields {
        head += &format!("{name}: {value}\r\n");
    }
    head
}

fn echo(stream: &mut &TcpStream, input: &mut Vec<u8>) -> io::Result<()> {
    loop {
        stream.write_all(input)?;
        input.clear();
        fill(stream, input)?;
    }
}

fn reset(stream: &TcpStream) -> io::Result<()> {
    let at_once = libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    // SAFETY: the descriptor is open, and the option is a `linger` of the size given.
    let set = unsafe {
        libc::setsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_LINGER,
            (&raw const at_once).cast(),
            size_of::<libc::linger>() as libc::socklen_t,
        )
    };
    if set == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

fn take(stream: &mut &TcpStream, input: &mut Vec<u8>, n: usize) -> io::Result<Vec<u8>> {
    while input.len() < n {
        fill(stream, input)?;
    }
    Ok(input.drain(..n).collect())
}

fn fill(stream: &mut &TcpStream, input: &mut Vec<u8>) -> io::Result<()> {
    let mut some = vec![0; 64 << 10];
    match stream.read(&mut some)? {
        0 => Err(ErrorKind::UnexpectedEof.into()),
        n => {
            input.extend_from_slice(&some[..n]);
            Ok(())
        }
    }
}

fn targets(seen: &[Seen]) -> Vec<&str> {
    seen.iter().map(|seen| seen.target.as_str()).collect()
}
