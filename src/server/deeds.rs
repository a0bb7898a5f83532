//! What the admin API has done by others: it knows neither the requests' way nor the doors.

use crate::admin::{Deed, Deeds};
use crate::lifecycle::{Doors, Reload, hand_over, spawns};
use crate::proxy::{Edge, Inquiry, explain};
use serde::Serialize;
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// For whoever has the doors. They come one after the other, with those of signals.
pub struct Order {
    pub what: What,
    /// Whoever asked may have left.
    answer: oneshot::Sender<Result<Value, String>>,
}

#[derive(Clone, Copy)]
pub enum What {
    /// Only to say what a reload would change.
    Look,
    Reload,
    Upgrade,
}

impl Order {
    /// True when another process serves now.
    pub async fn run(self, reload: &Reload, doors: &mut Doors) -> bool {
        let done = match self.what {
            What::Look => reload.look(doors).await.and_then(|done| value(&done)),
            What::Reload => reload.reload(doors).await.and_then(|done| value(&done)),
            What::Upgrade => upgrade(reload, doors).await.map(|pid| json!({"pid": pid})),
        };
        let is_over = matches!(self.what, What::Upgrade) && done.is_ok();
        let _ = self.answer.send(done);
        is_over
    }
}

/// The id of the process that serves from here on. What can't be leaves all as it was.
pub async fn upgrade(reload: &Reload, doors: &Doors) -> Result<u32, String> {
    let config = &reload.current.load_full().config;
    let supervised = spawns(config, &reload.foundation);
    let handed_over = match supervised.first() {
        Some((upstream, _)) => Err(format!(
            "upstream {upstream} is of processes that this one supervises (`spawn`), and they end with it; \
             have them supervised by something else, or restart"
        )),
        None => match doors.heirlooms() {
            Ok(sockets) => hand_over(sockets, &reload.foundation.by_hand()).await,
            Err(why) => Err(why),
        },
    };
    match &handed_over {
        Ok(pid) => tracing::info!(pid, "the new process serves; this one drains"),
        Err(why) => tracing::error!("upgrade failed, and this process goes on: {why}"),
    }
    handed_over
}

/// Orders are for whoever has the doors.
pub fn deeds(edge: Arc<Edge>) -> (Deeds, mpsc::Receiver<Order>) {
    let (orders, told) = mpsc::channel(8);
    let explain: Deed = Arc::new(move |inquiry| {
        let edge = edge.clone();
        Box::pin(async move {
            let inquiry: Inquiry = serde_json::from_value(inquiry).map_err(|e| e.to_string())?;
            value(&explain(&edge, &inquiry).await?)
        })
    });
    let deeds = Deeds {
        explain,
        reload: ordering(orders.clone(), What::Reload),
        validate: ordering(orders.clone(), What::Look),
        upgrade: ordering(orders, What::Upgrade),
    };
    (deeds, told)
}

fn ordering(orders: mpsc::Sender<Order>, what: What) -> Deed {
    Arc::new(move |_| {
        let orders = orders.clone();
        Box::pin(async move {
            let (answer, done) = oneshot::channel();
            let order = Order { what, answer };
            let stopping = || "the edge is stopping".to_owned();
            orders.send(order).await.map_err(|_| stopping())?;
            done.await.map_err(|_| stopping())?
        })
    })
}

fn value(said: &impl Serialize) -> Result<Value, String> {
    serde_json::to_value(said).map_err(|e| e.to_string())
}
