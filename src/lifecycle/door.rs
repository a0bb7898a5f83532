//! What is listened on, and for whom.

use crate::listen::tls::Listening;
use crate::listen::{Access, Address};
use crate::runtime::Runtime;
use std::sync::Arc;

/// Connections to the admin listener: few, and never crowded out by the public's.
const ADMIN_CONNECTIONS: usize = 256;

/// What a connection through a door is for.
#[derive(Clone)]
pub enum Door {
    Web(Arc<Listening>),
    Admin,
}

impl Door {
    pub fn name(&self) -> &str {
        match self {
            Door::Web(listening) => &listening.settings.name,
            Door::Admin => "admin",
        }
    }

    pub fn is_admin(&self) -> bool {
        matches!(self, Door::Admin)
    }

    /// Of the file, where it is a Unix socket. None: it can't be one.
    pub fn access(&self) -> Option<&Access> {
        match self {
            Door::Web(listening) => Some(&listening.settings.access),
            Door::Admin => None,
        }
    }
}

/// All that a configuration has, with addresses.
pub fn wanted(runtime: &Runtime) -> Vec<(Address, Door)> {
    let mut wanted = Vec::new();
    for listening in &runtime.listeners {
        let (settings, door) = (&listening.settings, Door::Web(listening.clone()));
        let udp = settings.address.tcp().filter(|_| settings.http3);
        if let Some(address) = udp {
            wanted.push((Address::Udp(address), door.clone()));
        }
        let address = Address::Stream(settings.address.clone());
        wanted.push((address, door));
    }
    let admin = Address::Stream(runtime.config.admin.address.into());
    wanted.push((admin, Door::Admin));
    wanted
}

/// How many connections may be open.
pub struct Most {
    pub all: usize,
    pub per_address: usize,
    pub own: usize,
}

impl Most {
    pub fn of(door: &Door, runtime: &Runtime) -> Most {
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
