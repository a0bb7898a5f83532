//! Listening addresses, opened and closed while the process runs.

use super::inherited::Inherited;
use crate::endpoint::Endpoint;
use crate::listen::quic::Socket;
use crate::listen::tls::Listening;
use crate::listen::{Address, Arrival, Caps, Heirloom, Listener, Places, SocketFile};
use crate::runtime::{Foundation, Runtime};
use arc_swap::ArcSwap;
use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::AbortHandle;

/// Connections to the admin listener: few, and never crowded out by the public's.
const ADMIN_CONNECTIONS: usize = 256;

/// What a connection through a door is for.
#[derive(Clone)]
pub enum Door {
    Web(Arc<Listening>),
    Admin,
}

impl Door {
    fn is_admin(&self) -> bool {
        matches!(self, Door::Admin)
    }

    /// Of the file, where it is a Unix socket.
    fn socket_mode(&self) -> u32 {
        match self {
            Door::Web(listening) => listening.settings.socket_mode,
            Door::Admin => 0,
        }
    }
}

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
            wanted: HashMap::new(),
            late: false,
        };
        let takes_over = !inherited.is_empty();
        for (name, address, door) in wanted(runtime) {
            bound.wanted.insert(address.clone(), door.clone());
            if self.open.contains_key(&address) {
                continue;
            }
            match self.listener(name, &address, &door, inherited) {
                Ok(listener) => bound.fresh.push((listener, door)),
                Err(e) if takes_over && is_busy(&e) && matches!(address, Address::Udp(_)) => {
                    bound.late = true;
                }
                Err(e) => return Err(cannot_listen(name, &address, &e)),
            }
        }
        Ok(bound)
    }

    pub fn is_late(&self) -> bool {
        self.late
    }

    /// Opens what somebody else had at the start, once they have let go of it.
    pub fn open_late(&mut self, runtime: &Runtime) {
        if let Ok(bound) = self.bind(runtime) {
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
        self.resting.retain(|_, socket| socket.is_used());
    }

    /// Lets operators look while the first clients still wait.
    pub fn apply_admin(&mut self, bound: &mut Bound) {
        let fresh = std::mem::take(&mut bound.fresh);
        let (admin, web) = fresh.into_iter().partition(|(_, door)| door.is_admin());
        bound.fresh = web;
        self.open_all(admin);
    }

    fn open_all(&mut self, fresh: Vec<(Listener, Door)>) {
        for (listener, door) in fresh {
            tracing::info!(listener = %listener.name, address = %listener.address, "listening");
            let address = listener.address.clone();
            if let Some(socket) = self.resting.remove(&address) {
                socket.listen(true);
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
        name: &str,
        address: &Address,
        door: &Door,
        inherited: &mut Inherited,
    ) -> io::Result<Listener> {
        match (address, door) {
            (Address::Udp(at), Door::Web(listening)) => {
                let crypto = listening.tls.as_ref().and_then(|tls| tls.quic());
                let crypto = crypto.expect("HTTP/3 is wanted, so it is spoken");
                let socket = match self.resting.get(address) {
                    Some(socket) => socket.clone(),
                    None => Socket::bind(*at, crypto)?,
                };
                Ok(Listener::quic(name, *at, socket))
            }
            (Address::Udp(_), Door::Admin) => unreachable!("it is asked over TCP"),
            (Address::Stream(endpoint), _) => match (inherited.take(endpoint), endpoint) {
                (Some(socket), _) => Listener::adopted(name, endpoint, socket),
                (None, Endpoint::Tcp(address)) => Listener::tcp(name, *address),
                (None, Endpoint::Unix(path)) => Listener::unix(name, path, door.socket_mode()),
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
    /// In the next configuration too, perhaps otherwise.
    fn stay(&self, door: &Door) {
        self.door.store(Arc::new(door.clone()));
        if let Some(file) = &self.file
            && let Err(e) = file.set_mode(door.socket_mode())
        {
            tracing::warn!(
                "the permissions of a listener's socket can't be changed, and stay as they are; see who owns its folder: {e}"
            );
        }
    }
}

/// How many connections may be open.
struct Most {
    all: usize,
    per_address: usize,
    own: usize,
}

impl Most {
    fn of(door: &Door, runtime: &Runtime) -> Most {
        match door {
            Door::Admin => Most {
                all: ADMIN_CONNECTIONS,
                per_address: ADMIN_CONNECTIONS,
                own: ADMIN_CONNECTIONS,
            },
            Door::Web(listener) => Most {
                all: runtime.limits.connections,
                per_address: match &listener.settings {
                    // All come from the proxy; whose they are is read first.
                    settings if settings.proxy_protocol => usize::MAX,
                    // All count as one.
                    settings if settings.address.tcp().is_none() => usize::MAX,
                    _ => runtime.limits.connections_per_address,
                },
                own: listener.settings.connections.unwrap_or(usize::MAX),
            },
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

/// All that a configuration has, with names and addresses.
fn wanted(runtime: &Runtime) -> Vec<(&str, Address, Door)> {
    let mut wanted = Vec::new();
    for listening in &runtime.listeners {
        let (settings, door) = (&listening.settings, Door::Web(listening.clone()));
        let udp = settings.address.tcp().filter(|_| settings.http3);
        if let Some(address) = udp {
            wanted.push((&*settings.name, Address::Udp(address), door.clone()));
        }
        let address = Address::Stream(settings.address.clone());
        wanted.push((&*settings.name, address, door));
    }
    let admin = Address::Stream(runtime.config.admin.address.into());
    wanted.push(("admin", admin, Door::Admin));
    wanted
}

fn is_busy(e: &io::Error) -> bool {
    e.kind() == io::ErrorKind::AddrInUse
}

fn cannot_listen(name: &str, address: &Address, e: &io::Error) -> String {
    let is_file = matches!(address, Address::Stream(Endpoint::Unix(_)));
    let hint = match e.kind() {
        io::ErrorKind::NotFound if is_file => "; there is no such folder: make it",
        io::ErrorKind::PermissionDenied if is_file => {
            "; its folder must be this user's to write, and so must a socket that is there already"
        }
        io::ErrorKind::AddrInUse => {
            "; another process has it: stop that one, or choose another address"
        }
        io::ErrorKind::PermissionDenied => "; ports below 1024 need root or CAP_NET_BIND_SERVICE",
        io::ErrorKind::AddrNotAvailable => "; this machine has no such address",
        _ => "",
    };
    format!("listener {name} can't listen on {address}: {e}{hint}")
}
