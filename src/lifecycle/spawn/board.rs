//! What the supervisor's thread shows to others.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::observe::{Metrics, PoolMetrics};

/// A supervised process as the admin API shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Supervised {
    pub upstream: String,
    pub port: u16,
    /// None while it waits to be started again.
    pub pid: Option<u32>,
    pub restarts: u64,
}

pub struct Desk {
    metrics: Arc<Metrics>,
    board: Mutex<BTreeMap<Place, Supervised>>,
}

/// Upstream and port.
type Place = (String, u16);

/// One process to keep running. Changed in any part it is another one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Instance {
    pub upstream: String,
    pub port: u16,
    pub command: Vec<String>,
}

impl Instance {
    fn place(&self) -> Place {
        (self.upstream.clone(), self.port)
    }
}

impl Desk {
    pub fn new(metrics: Arc<Metrics>) -> Desk {
        Desk {
            metrics,
            board: Mutex::default(),
        }
    }

    pub fn shown(&self) -> Vec<Supervised> {
        self.board().values().cloned().collect()
    }

    pub fn metrics_of(&self, instance: &Instance) -> PoolMetrics {
        self.metrics.pool(&instance.upstream)
    }

    pub fn show(&self, instance: &Instance, change: impl FnOnce(&mut Supervised)) {
        let mut board = self.board();
        change(board.entry(instance.place()).or_insert_with(|| Supervised {
            upstream: instance.upstream.clone(),
            port: instance.port,
            pid: None,
            restarts: 0,
        }));
    }

    pub fn take_away(&self, instance: &Instance) {
        self.board().remove(&instance.place());
    }

    fn board(&self) -> MutexGuard<'_, BTreeMap<Place, Supervised>> {
        self.board
            .lock()
            .expect("nothing panics while it holds the board")
    }
}
