//! What operators have said of servers: it outlives reloads with the servers, and an upgrade by being
//! told to the process that takes over.

use super::Time;
use super::registry::Registry;
use crate::endpoint::Endpoint;
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

/// Of one server.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct ByHand {
    pub upstream: String,
    pub server: Endpoint,
    pub draining: bool,
    /// In the place of the configuration's.
    pub weight: Option<u32>,
}

impl Registry {
    /// Of the servers in force.
    pub fn by_hand(&self) -> Vec<ByHand> {
        let mut said = Vec::new();
        for pool in self.pools_in_force() {
            for server in pool.servers().iter() {
                let (draining, weight) = (server.is_drained(), server.weight_by_hand());
                if draining || weight.is_some() {
                    said.push(ByHand {
                        upstream: pool.name.to_string(),
                        server: server.address.clone(),
                        draining,
                        weight,
                    });
                }
            }
        }
        said
    }

    /// Has the servers in force be as they were for another process. One that is not there any more needs
    /// nothing.
    pub fn take_by_hand(&self, said: &[ByHand]) {
        for one in said {
            let (upstream, server) = (&one.upstream, &one.server);
            let pools = self.pools_in_force();
            let pool = pools.iter().find(|pool| *pool.name == **upstream);
            let found = pool.and_then(|pool| {
                let servers = pool.servers();
                let found = servers.iter().find(|known| known.address == *server);
                Some((pool, found?.clone()))
            });
            let Some((pool, known)) = found else {
                warn!(%upstream, %server, "what was said of it by hand is forgotten: it is not there");
                continue;
            };
            known.set_draining(one.draining, Time::now());
            known.weigh(one.weight);
            self.find(pool);
            info!(%upstream, %server, draining = one.draining, weight = ?one.weight, "as it was by hand");
        }
    }
}
