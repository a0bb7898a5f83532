//! What operators have ordered of a running process: it outlives an upgrade by being told to the one that takes over.

use super::Foundation;
use crate::upstream::ByHand as OfServer;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Bans that are handed over, the longest first: all of it is one variable of the environment, of which the kernel
/// takes 128 KiB.
const MOST_BANS: usize = 500;

#[derive(Default, Deserialize, Serialize)]
pub struct ByHand {
    servers: Vec<OfServer>,
    bans: Vec<KeptOut>,
}

#[derive(Deserialize, Serialize)]
struct KeptOut {
    address: IpAddr,
    left: Duration,
}

impl Foundation {
    pub fn by_hand(&self) -> ByHand {
        let bans = self.bans.list(Instant::now()).into_iter();
        let by_hand = bans.filter(|ban| ban.offence.is_none());
        let kept_out = by_hand.map(|ban| KeptOut {
            address: ban.address,
            left: ban.left,
        });
        ByHand {
            servers: self.registry.by_hand(),
            bans: kept_out.take(MOST_BANS).collect(),
        }
    }

    /// As it was for the process before.
    pub fn take_by_hand(&self, said: &ByHand) {
        self.registry.take_by_hand(&said.servers);
        for KeptOut { address, left } in &said.bans {
            self.bans.ban(*address, *left, Instant::now());
        }
    }
}
