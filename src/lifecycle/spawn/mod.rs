//! Supervised pools: processes that Lakh starts, watches, starts again and stops.
//!
//! The composition root owns the one `Supervisor` and applies each configuration to it; what it
//! runs are ordinary servers to the `upstream` room. No process may outlive Lakh, however Lakh
//! ends, and one that can't run must never be started in a hot loop.

mod board;
mod keeper;
mod process;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

pub use board::Supervised;
use board::{Desk, Instance};
use keeper::{Keeper, end_by, keep};

use crate::observe::Metrics;
use crate::upstream::SpawnSettings;
use crate::upstream::spawn_ports;

/// From SIGTERM to SIGKILL for a process that left the configuration.
const LEAVE_GRACE: Duration = Duration::from_secs(10);

/// Runs the processes on a thread of its own that lives as long as they do.
///
/// The kernel ends them when the thread that forked them ends (`PR_SET_PDEATHSIG` looks at the
/// thread, not at the process), so a worker thread of some runtime would be the wrong parent.
/// Dropped, it stops them as `stop` does, without anybody waiting.
pub struct Supervisor {
    orders: mpsc::UnboundedSender<Order>,
    desk: Arc<Desk>,
}

/// Each carries whom to tell that it is done.
enum Order {
    Apply(Vec<(String, SpawnSettings)>, oneshot::Sender<()>),
    Stop(Duration, oneshot::Sender<()>),
}

/// All keepers; only the supervisor's thread has it.
struct Crew {
    desk: Arc<Desk>,
    keepers: HashMap<Instance, Keeper>,
    leaving: Vec<(u16, Keeper)>,
}

impl Supervisor {
    pub fn new(metrics: Arc<Metrics>) -> Supervisor {
        let desk = Arc::new(Desk::new(metrics));
        let (orders, inbox) = mpsc::unbounded_channel();
        let crew = Crew {
            desk: desk.clone(),
            keepers: HashMap::new(),
            leaving: Vec::new(),
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a process that serves may have one more event loop");
        std::thread::Builder::new()
            .name("lakh-supervisor".into())
            .spawn(move || runtime.block_on(crew.work(inbox)))
            .expect("a process that serves may start one more thread");
        Supervisor { orders, desk }
    }

    /// Starts what is new, stops what left, and leaves alone what stays. Returns when all of it
    /// is under way; a process on the port of one that leaves starts when that one has ended.
    pub async fn apply(&self, wanted: Vec<(String, SpawnSettings)>) {
        self.order(|done| Order::Apply(wanted, done)).await;
    }

    /// Stops all processes: SIGTERM now, SIGKILL after `grace`. Returns when all have ended.
    pub async fn stop(&self, grace: Duration) {
        self.order(|done| Order::Stop(grace, done)).await;
    }

    pub fn status(&self) -> Vec<Supervised> {
        self.desk.shown()
    }

    async fn order(&self, order: impl FnOnce(oneshot::Sender<()>) -> Order) {
        let (done, told) = oneshot::channel();
        self.orders
            .send(order(done))
            .expect("the supervisor's thread lives as long as this");
        told.await.expect("the supervisor answers every order");
    }
}

impl Crew {
    async fn work(mut self, mut orders: mpsc::UnboundedReceiver<Order>) {
        while let Some(order) = orders.recv().await {
            let done = match order {
                Order::Apply(wanted, done) => {
                    self.apply(&wanted);
                    done
                }
                Order::Stop(grace, done) => {
                    self.stop(grace).await;
                    done
                }
            };
            // Whoever asked may have stopped waiting.
            let _ = done.send(());
        }
        self.stop(LEAVE_GRACE).await;
    }

    fn apply(&mut self, wanted: &[(String, SpawnSettings)]) {
        let wanted: HashSet<Instance> = wanted.iter().flat_map(instances).collect();
        self.dismiss(LEAVE_GRACE, |instance| !wanted.contains(instance));
        for instance in wanted {
            if !self.keepers.contains_key(&instance) {
                let keeper = self.hire(instance.clone());
                self.keepers.insert(instance, keeper);
            }
        }
    }

    async fn stop(&mut self, grace: Duration) {
        self.dismiss(grace, |_| true);
        for (_, keeper) in &self.leaving {
            end_by(keeper, Instant::now() + grace);
        }
        for (_, keeper) in self.leaving.drain(..) {
            keeper.closed().await;
        }
    }

    fn dismiss(&mut self, grace: Duration, leaves: impl Fn(&Instance) -> bool) {
        self.leaving.retain(|(_, keeper)| !keeper.is_closed());
        for (instance, keeper) in self.keepers.extract_if(|instance, _| leaves(instance)) {
            end_by(&keeper, Instant::now() + grace);
            self.leaving.push((instance.port, keeper));
        }
    }

    fn hire(&self, instance: Instance) -> Keeper {
        let same_port = self
            .leaving
            .iter()
            .filter(|(port, _)| *port == instance.port);
        let before: Vec<Keeper> = same_port.map(|(_, keeper)| keeper.clone()).collect();
        let (keeper, asked) = watch::channel(None);
        tokio::spawn(keep(instance, before, asked, self.desk.clone()));
        keeper
    }
}

fn instances((upstream, spawn): &(String, SpawnSettings)) -> impl Iterator<Item = Instance> {
    spawn_ports(spawn).map(|port| Instance {
        upstream: upstream.clone(),
        port,
        command: spawn.command.clone(),
    })
}
