//! What the admin API has done by others: it knows neither the requests' way nor the doors.

use crate::admin::{Deed, Deeds};
use crate::lifecycle::{Doors, Reload, Reloaded};
use crate::proxy::{Edge, Inquiry, explain};
use serde::Serialize;
use serde_json::Value;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// Reloads come one after the other, with those of signals.
pub struct ReloadOrder {
    only_look: bool,
    answer: oneshot::Sender<Result<Reloaded, String>>,
}

impl ReloadOrder {
    pub async fn run(self, reload: &Reload, doors: &mut Doors) {
        let done = match self.only_look {
            true => reload.look().await,
            false => reload.reload(doors).await,
        };
        // Whoever asked may have left.
        let _ = self.answer.send(done);
    }
}

/// Orders to reload are for whoever has the doors.
pub fn deeds(edge: Arc<Edge>) -> (Deeds, mpsc::Receiver<ReloadOrder>) {
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
        reload: reloading(orders.clone(), false),
        validate: reloading(orders, true),
    };
    (deeds, told)
}

fn reloading(orders: mpsc::Sender<ReloadOrder>, only_look: bool) -> Deed {
    Arc::new(move |_| {
        let orders = orders.clone();
        Box::pin(async move {
            let (answer, done) = oneshot::channel();
            let order = ReloadOrder { only_look, answer };
            let stopping = || "the edge is stopping".to_owned();
            orders.send(order).await.map_err(|_| stopping())?;
            value(&done.await.map_err(|_| stopping())??)
        })
    })
}

fn value(said: &impl Serialize) -> Result<Value, String> {
    serde_json::to_value(said).map_err(|e| e.to_string())
}
