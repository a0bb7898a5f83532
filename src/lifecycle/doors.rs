//! Listening addresses, opened and closed while the process runs.

use super::inherited::Inherited;
use crate::listen::tls::Listening;
use crate::listen::{Caps, Listener, Places, adopt, bind};
use crate::runtime::{Foundation, Runtime};
use arc_swap::ArcSwap;
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
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
}

/// A connection that came in.
pub struct Visitor {
    pub door: Door,
    pub stream: TcpStream,
    pub peer: SocketAddr,
    pub places: Places,
}

/// All open doors. Dropped, they close; connections that came in stay.
pub struct Doors {
    open: HashMap<SocketAddr, Opened>,
    current: Arc<ArcSwap<Runtime>>,
    foundation: Arc<Foundation>,
    admin_caps: Arc<Caps>,
    serve: Arc<dyn Fn(Visitor) + Send + Sync>,
}

struct Opened {
    door: Arc<ArcSwap<Door>>,
    /// For whoever is to listen here after us.
    socket: io::Result<OwnedFd>,
    accepting: AbortHandle,
}

/// Sockets bound for a configuration that is not in force yet.
pub struct Bound {
    fresh: Vec<(Listener, Door)>,
    wanted: HashMap<SocketAddr, Door>,
}

impl Doors {
    pub fn new(
        current: Arc<ArcSwap<Runtime>>,
        foundation: Arc<Foundation>,
        serve: impl Fn(Visitor) + Send + Sync + 'static,
    ) -> Doors {
        Doors {
            open: HashMap::new(),
            current,
            foundation,
            admin_caps: Caps::new(),
            serve: Arc::new(serve),
        }
    }

    /// Binds what `runtime` wants and is not open. Nothing is accepted, and nothing closed, until
    /// `apply`.
    pub fn bind(&self, runtime: &Runtime) -> Result<Bound, String> {
        self.bind_with(runtime, &mut Inherited::default())
    }

    /// As `bind`, on sockets that are there already where they are.
    pub fn bind_with(&self, runtime: &Runtime, inherited: &mut Inherited) -> Result<Bound, String> {
        bind_all(runtime, inherited, |address| {
            self.open.contains_key(&address)
        })
    }

    /// All that is listened on, for another process to listen there too.
    pub fn sockets(&self) -> Result<Vec<OwnedFd>, String> {
        let copy = |opened: &Opened| match &opened.socket {
            Ok(socket) => socket.try_clone().map_err(|e| e.to_string()),
            Err(e) => Err(e.to_string()),
        };
        let copies: Result<Vec<_>, _> = self.open.values().map(copy).collect();
        copies.map_err(|why| format!("a listening socket can't be passed on: {why}"))
    }

    /// Opens the new doors and closes those that left the configuration.
    pub fn apply(&mut self, bound: Bound) {
        self.open
            .retain(|address, opened| match bound.wanted.get(address) {
                Some(door) if door.is_admin() == opened.door.load().is_admin() => {
                    opened.door.store(Arc::new(door.clone()));
                    true
                }
                _ => {
                    opened.accepting.abort();
                    false
                }
            });
        self.open_all(bound.fresh);
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
            self.open
                .insert(listener.address, self.accept(listener, door));
        }
    }

    /// Takes no more clients; operators may still look.
    pub fn close_web(&mut self) {
        self.open.retain(|_, opened| {
            let admin = opened.door.load().is_admin();
            if !admin {
                opened.accepting.abort();
            }
            admin
        });
    }

    /// Another process listens here now. Operators who are being answered get their answers.
    pub async fn close(&mut self, patience: Duration) {
        self.open
            .drain()
            .for_each(|(_, opened)| opened.accepting.abort());
        let _ = tokio::time::timeout(patience, self.admin_caps.emptied()).await;
    }

    fn accept(&self, listener: Listener, door: Door) -> Opened {
        let socket = listener.socket();
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
        let serve = move |stream, peer, places| {
            serve(Visitor {
                door: Door::clone(&now.load()),
                stream,
                peer,
                places,
            });
        };
        let accepting = tokio::spawn(listener.accept(admit, move || refused.inc(), serve));
        Opened {
            door,
            socket,
            accepting: accepting.abort_handle(),
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
                per_address: match listener.settings.proxy_protocol {
                    // All come from the proxy; whose they are is read first.
                    true => usize::MAX,
                    false => runtime.limits.connections_per_address,
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

fn bind_all(
    runtime: &Runtime,
    inherited: &mut Inherited,
    is_open: impl Fn(SocketAddr) -> bool,
) -> Result<Bound, String> {
    let admin = ("admin", runtime.config.admin.address, Door::Admin);
    let web = runtime.listeners.iter().map(|listening| {
        let settings = &listening.settings;
        (
            settings.name.as_str(),
            settings.address,
            Door::Web(listening.clone()),
        )
    });
    let mut bound = Bound {
        fresh: Vec::new(),
        wanted: HashMap::new(),
    };
    for (name, address, door) in web.chain([admin]) {
        bound.wanted.insert(address, door.clone());
        if !is_open(address) {
            let listener = match inherited.take(address) {
                Some(socket) => adopt(name, socket),
                None => bind(name, address),
            };
            let listener = listener.map_err(|e| cannot_listen(name, address, &e))?;
            bound.fresh.push((listener, door));
        }
    }
    Ok(bound)
}

fn cannot_listen(name: &str, address: SocketAddr, e: &std::io::Error) -> String {
    let hint = match e.kind() {
        std::io::ErrorKind::AddrInUse => {
            "; another process has it: stop that one, or choose another address"
        }
        std::io::ErrorKind::PermissionDenied => {
            "; ports below 1024 need root or CAP_NET_BIND_SERVICE"
        }
        std::io::ErrorKind::AddrNotAvailable => "; this machine has no such address",
        _ => "",
    };
    format!("listener {name} can't listen on {address}: {e}{hint}")
}
