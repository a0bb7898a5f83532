//! Listening addresses, opened and closed while the process runs.

use super::busy::{Yielding, cannot_listen, is_busy, share_port};
use super::door::{Door, Most, wanted};
use super::inherited::Inherited;
use crate::endpoint::Endpoint;
use crate::listen::quic::Socket;
use crate::listen::{Address, Arrival, Caps, Heirloom, Listener, Places, Port, SocketFile, udp};
use crate::runtime::{Foundation, Runtime};
use arc_swap::ArcSwap;
use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::AbortHandle;

/// From one look for sockets that nobody uses any more to the next.
const LOOK: Duration = Duration::from_millis(100);

/// A connection that came in.
pub struct Visitor {
    pub door: Door,
    pub arrival: Arrival,
    pub places: Places,
}

/// All open doors. Dropped, they close; connections that came in stay.
pub struct Doors {
    open: HashMap<Address, Opened>,
    /// Closed ones that connections still come and go by: opened again, they are used again.
    resting: HashMap<Address, Arc<Socket>>,
    current: Arc<ArcSwap<Runtime>>,
    foundation: Arc<Foundation>,
    admin_caps: Arc<Caps>,
    /// An address for HTTP/3 is still the process's that was before.
    late: bool,
    serve: Arc<dyn Fn(Visitor) + Send + Sync>,
}

struct Opened {
    door: Arc<ArcSwap<Door>>,
    accepting: AbortHandle,
    /// Of HTTP/3.
    socket: Option<Arc<Socket>>,
    /// But of HTTP/3, for whoever is to listen here after us.
    heirloom: Option<io::Result<Heirloom>>,
    /// Of a Unix socket.
    file: Option<SocketFile>,
}

/// Sockets bound for a configuration that is not in force yet.
pub struct Bound {
    fresh: Vec<(Listener, Door)>,
    wanted: HashMap<Address, Door>,
    late: bool,
}

impl Bound {
    fn has(&self, socket: &Arc<Socket>) -> bool {
        let mut sockets = self
            .fresh
            .iter()
            .filter_map(|(listener, _)| listener.socket());
        sockets.any(|fresh| Arc::ptr_eq(fresh, socket))
    }
}

impl Doors {
    pub fn new(
        current: Arc<ArcSwap<Runtime>>,
        foundation: Arc<Foundation>,
        serve: impl Fn(Visitor) + Send + Sync + 'static,
    ) -> Doors {
        Doors {
            open: HashMap::new(),
            resting: HashMap::new(),
            current,
            foundation,
            admin_caps: Caps::new(),
            late: false,
            serve: Arc::new(serve),
        }
    }

    /// Binds what `runtime` wants and is not open. Nothing is accepted, and nothing closed, until
    /// `apply`.
    pub fn bind(&self, runtime: &Runtime) -> Result<Bound, String> {
        self.bind_with(runtime, &mut Inherited::default())
    }

    /// As `bind`, on sockets that are there already where they are. Whom they come from may still speak
    /// HTTP/3, whose connections can't be shared: those doors open later, by `open_late`.
    pub fn bind_with(&self, runtime: &Runtime, inherited: &mut Inherited) -> Result<Bound, String> {
        let mut bound = Bound {
            fresh: Vec::new(),
            wanted: wanted(runtime).into_iter().collect(),
            late: false,
        };
        let takes_over = !inherited.is_empty() || self.late;
        for (address, door) in wanted(runtime) {
            if self.open.contains_key(&address) {
                continue;
            }
            match self.bind_one(&address, &door, &bound, inherited) {
                Ok(listener) => bound.fresh.push((listener, door)),
                Err(e) if takes_over && is_busy(&e) && matches!(address, Address::Udp(_)) => {
                    bound.late = true;
                }
                Err(e) => return Err(cannot_listen(door.name(), &address, &e)),
            }
        }
        Ok(bound)
    }

    /// If need be, on a port that is still had by sockets of ours which nobody wants any more.
    fn bind_one(
        &self,
        address: &Address,
        door: &Door,
        bound: &Bound,
        inherited: &mut Inherited,
    ) -> io::Result<Listener> {
        let refused = match self.listener(address, door, inherited, Port::Free) {
            Err(e) if is_busy(&e) => e,
            done => return done,
        };
        let leaves = |of: &Address| share_port(of, address) && !bound.wanted.contains_key(of);
        let open = self.open.iter().filter(|(of, _)| leaves(of));
        let resting = self.resting.iter().filter(|(of, _)| leaves(of));
        match address {
            Address::Udp(at) => {
                let open = open.filter_map(|(_, opened)| opened.socket.as_ref());
                let leaving: Vec<_> = open.chain(resting.map(|(_, socket)| socket)).collect();
                if leaving.is_empty() {
                    return Err(refused);
                }
                let copies = leaving.iter().filter_map(|socket| socket.copy().ok());
                let _yielding = Yielding::begin(copies.collect());
                // Its connections can go on by one other socket.
                match leaving.iter().find(|socket| !bound.has(socket)) {
                    Some(socket) => {
                        let (socket, to) = (Arc::clone(socket), udp(*at, Port::Shared)?);
                        Ok(Listener::moved(door.name(), *at, socket, to))
                    }
                    None => self.listener(address, door, inherited, Port::Shared),
                }
            }
            Address::Stream(_) => {
                let mut leaving = inherited.copies(leaves);
                leaving.extend(open.filter_map(|(_, opened)| opened.copy()));
                if leaving.is_empty() {
                    return Err(refused);
                }
                let _yielding = Yielding::begin(leaving);
                self.listener(address, door, inherited, Port::Shared)
            }
        }
    }

    pub fn is_late(&self) -> bool {
        self.late
    }

    /// Opens what somebody else had at the start, once they have let go of it.
    pub fn open_late(&mut self, runtime: &Runtime) {
        if let Ok(bound) = self.bind(runtime)
            && !bound.fresh.is_empty()
        {
            self.apply(bound);
        }
    }

    /// All that is listened on but for HTTP/3, for another process to listen there too.
    pub fn heirlooms(&self) -> Result<Vec<Heirloom>, String> {
        let copy = |heirloom: &io::Result<Heirloom>| match heirloom {
            Ok(heirloom) => heirloom.try_clone().map_err(|e| e.to_string()),
            Err(e) => Err(e.to_string()),
        };
        let sockets = self
            .open
            .values()
            .filter_map(|opened| opened.heirloom.as_ref());
        let copies: Result<Vec<_>, _> = sockets.map(copy).collect();
        copies.map_err(|why| format!("a listening socket can't be passed on: {why}"))
    }

    /// Opens the new doors and closes those that left the configuration.
    pub fn apply(&mut self, bound: Bound) {
        let stays = |address: &Address, opened: &mut Opened| match bound.wanted.get(address) {
            Some(door) if door.is_admin() == opened.door.load().is_admin() => {
                opened.stay(door);
                true
            }
            _ => false,
        };
        self.close_unless(stays);
        self.open_all(bound.fresh);
        self.late = bound.late;
        for (address, door) in &bound.wanted {
            if let (Address::Udp(_), Door::Web(listening)) = (address, door)
                && let Some(tls) = &listening.tls
            {
                tls.set_late(!self.open.contains_key(address));
            }
        }
        self.resting.retain(|_, socket| socket.is_used());
    }

    /// Lets go of each socket that was closed once nobody uses it, for another process to listen there; for
    /// as long as this is waited for.
    pub async fn let_go(&mut self) -> Infallible {
        loop {
            self.resting.retain(|_, socket| socket.is_used());
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Lets operators look while the first clients still wait.
    pub fn apply_admin(&mut self, bound: &mut Bound) {
        let fresh = std::mem::take(&mut bound.fresh);
        let (admin, web) = fresh.into_iter().partition(|(_, door)| door.is_admin());
        bound.fresh = web;
        self.open_all(admin);
    }

    fn open_all(&mut self, fresh: Vec<(Listener, Door)>) {
        for (mut listener, door) in fresh {
            tracing::info!(listener = %listener.name, address = %listener.address, "listening");
            let address = listener.address.clone();
            if let Err(e) = listener.settle() {
                tracing::error!(%address, "HTTP/3 stays on the address before; restart the edge: {e}");
            }
            if let Some(socket) = listener.socket() {
                socket.listen(true);
                self.resting
                    .retain(|_, resting| !Arc::ptr_eq(resting, socket));
            }
            let opened = self.accept(listener, door);
            self.open.insert(address, opened);
        }
    }

    /// Takes no more clients; operators may still look.
    pub fn close_web(&mut self) {
        self.close_unless(|_, opened| opened.door.load().is_admin());
    }

    /// What was closed last is still to be told to those who came over UDP.
    pub async fn farewell(&self, limit: Duration) {
        for socket in self.resting.values() {
            socket.farewell(limit).await;
        }
    }

    fn close_unless(&mut self, stays: impl Fn(&Address, &mut Opened) -> bool) {
        let leaves = |address: &Address, opened: &mut Opened| !stays(address, opened);
        for (address, opened) in self.open.extract_if(leaves) {
            opened.accepting.abort();
            if let Some(socket) = opened.socket {
                socket.listen(false);
                self.resting.insert(address, socket);
            }
        }
    }

    /// Another process listens here now. Operators who are being answered get their answers.
    pub async fn close(&mut self, patience: Duration) {
        for file in self.open.values_mut().filter_map(|o| o.file.as_mut()) {
            file.leave();
        }
        self.close_unless(|_, _| false);
        let _ = tokio::time::timeout(patience, self.admin_caps.emptied()).await;
    }

    fn listener(
        &self,
        address: &Address,
        door: &Door,
        inherited: &mut Inherited,
        port: Port,
    ) -> io::Result<Listener> {
        let name = door.name();
        match (address, door) {
            (Address::Udp(at), Door::Web(listening)) => {
                let crypto = listening.tls.as_ref().and_then(|tls| tls.quic());
                let crypto = crypto.expect("HTTP/3 is wanted, so it is spoken");
                let socket = match self.resting.get(address) {
                    Some(socket) => socket.clone(),
                    None => Socket::new(udp(*at, port)?, crypto)?,
                };
                Ok(Listener::quic(name, *at, socket))
            }
            (Address::Udp(_), Door::Admin) => unreachable!("it is asked over TCP"),
            (Address::Stream(endpoint), _) => match (inherited.take(endpoint), endpoint) {
                (Some(socket), _) => Listener::adopted(name, endpoint, socket),
                (None, Endpoint::Tcp(address)) => Listener::tcp(name, *address, port),
                (None, Endpoint::Unix(path)) => {
                    let access = door.access().expect("the admin listener is no file");
                    Listener::unix(name, path, access)
                }
            },
        }
    }

    fn accept(&self, mut listener: Listener, door: Door) -> Opened {
        let caps = match door {
            Door::Admin => &self.admin_caps,
            Door::Web(_) => &self.foundation.caps,
        };
        let (caps, own) = (caps.clone(), Caps::new());
        let door = Arc::new(ArcSwap::from_pointee(door));
        let (current, now) = (self.current.clone(), door.clone());
        let admit = move |address| {
            let most = Most::of(&now.load(), &current.load());
            Some(Places {
                all: caps.enter(address, most.all, most.per_address)?,
                own: own.enter(address, most.own, usize::MAX)?,
            })
        };
        let refused = self.foundation.metrics.connections_refused.clone();
        let (serve, now) = (self.serve.clone(), door.clone());
        let serve = move |arrival, places| {
            serve(Visitor {
                door: Door::clone(&now.load()),
                arrival,
                places,
            });
        };
        let (socket, heirloom) = (listener.socket().cloned(), listener.heirloom());
        let mut file = listener.file.take();
        if let Some(file) = &mut file {
            file.take_over();
        }
        let accepting = tokio::spawn(listener.accept(admit, move || refused.inc(), serve));
        Opened {
            door,
            accepting: accepting.abort_handle(),
            socket,
            heirloom,
            file,
        }
    }
}

impl Opened {
    /// But of HTTP/3.
    fn copy(&self) -> Option<OwnedFd> {
        let heirloom = self.heirloom.as_ref()?.as_ref().ok()?;
        heirloom.socket.try_clone().ok()
    }

    /// In the next configuration too, perhaps otherwise.
    fn stay(&self, door: &Door) {
        self.door.store(Arc::new(door.clone()));
        if let (Some(file), Some(access)) = (&self.file, door.access())
            && let Err(e) = file.open_to(access)
        {
            tracing::warn!(
                "who may open a listener's socket can't be changed, and stays as it is; see who owns its folder: {e}"
            );
        }
    }
}

impl Drop for Doors {
    fn drop(&mut self) {
        self.open
            .values()
            .for_each(|opened| opened.accepting.abort());
    }
}
