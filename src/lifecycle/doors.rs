//! Listening addresses, opened and closed while the process runs.

use crate::config::Config;
use crate::listen::{Caps, Listener, Place, bind};
use crate::runtime::{Foundation, Runtime};
use arc_swap::ArcSwap;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;

/// Connections to the admin listener: few, and never crowded out by the public's.
const ADMIN_CONNECTIONS: usize = 256;

/// What a connection through a door is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    Web { http2: bool },
    Admin,
}

/// A connection that came in.
pub struct Visitor {
    pub door: Door,
    pub stream: TcpStream,
    pub peer: SocketAddr,
    pub place: Place,
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
    admin: bool,
    http2: Arc<AtomicBool>,
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

    /// Binds what `config` wants and is not open. Nothing is accepted, and nothing closed, until
    /// `apply`.
    pub fn bind(&self, config: &Config) -> Result<Bound, String> {
        bind_all(config, |address| self.open.contains_key(&address))
    }

    /// Opens the new doors and closes those that left the configuration.
    pub fn apply(&mut self, bound: Bound) {
        self.open
            .retain(|address, opened| match bound.wanted.get(address) {
                Some(door) if (*door == Door::Admin) == opened.admin => {
                    opened
                        .http2
                        .store(*door == Door::Web { http2: true }, Ordering::Relaxed);
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
        let (admin, web) = fresh
            .into_iter()
            .partition(|(_, door)| *door == Door::Admin);
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
            if !opened.admin {
                opened.accepting.abort();
            }
            opened.admin
        });
    }

    fn accept(&self, listener: Listener, door: Door) -> Opened {
        let admin = door == Door::Admin;
        let http2 = Arc::new(AtomicBool::new(door == Door::Web { http2: true }));
        let caps = if admin {
            &self.admin_caps
        } else {
            &self.foundation.caps
        }
        .clone();
        let current = self.current.clone();
        let admit = move || match admin {
            true => (ADMIN_CONNECTIONS, ADMIN_CONNECTIONS),
            false => {
                let runtime = current.load();
                (
                    runtime.limits.connections,
                    runtime.limits.connections_per_address,
                )
            }
        };
        let refused = self.foundation.metrics.connections_refused.clone();
        let (serve, speaks) = (self.serve.clone(), http2.clone());
        let serve = move |stream, peer, place| {
            let door = match admin {
                true => Door::Admin,
                false => Door::Web {
                    http2: speaks.load(Ordering::Relaxed),
                },
            };
            serve(Visitor {
                door,
                stream,
                peer,
                place,
            });
        };
        let accepting = tokio::spawn(listener.accept(caps, admit, move || refused.inc(), serve));
        Opened {
            admin,
            http2,
            accepting: accepting.abort_handle(),
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

fn bind_all(config: &Config, is_open: impl Fn(SocketAddr) -> bool) -> Result<Bound, String> {
    let admin = ("admin", config.admin.address, Door::Admin);
    let web = config
        .listeners
        .iter()
        .map(|l| (l.name.as_str(), l.address, Door::Web { http2: l.http2 }));
    let mut bound = Bound {
        fresh: Vec::new(),
        wanted: HashMap::new(),
    };
    for (name, address, door) in web.chain([admin]) {
        bound.wanted.insert(address, door);
        if !is_open(address) {
            let listener = bind(name, address).map_err(|e| cannot_listen(name, address, &e))?;
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
