//! Wakes the hubs of all processes when something was said: by Redis where there is one. A word that gets
//! lost, or Redis itself, costs time and nothing else: hubs look by themselves, too.

use crate::redis::{RECONNECT, builder, stay_connected};
use fred::clients::SubscriberClient;
use fred::prelude::*;
use std::sync::Arc;
use tokio::sync::watch;
use tokio::{task::JoinSet, time};

const CHANNEL: &str = "lakh-origin:said";

pub struct Bus {
    /// Changes when there is something to read.
    pub woken: Arc<watch::Sender<()>>,
    redis: Option<Client>,
    _tasks: JoinSet<()>,
}

impl Bus {
    pub fn join(redis: Option<&str>) -> Result<Self, Error> {
        let (woken, mut tasks) = (Arc::new(watch::Sender::new(())), JoinSet::new());
        let redis = match redis {
            Some(url) => {
                let builder = builder(url)?;
                let (client, subscriber) = (builder.build()?, builder.build_subscriber_client()?);
                tasks.spawn(stay_connected(client.clone()));
                tasks.spawn(stay_connected(subscriber.clone()));
                tasks.spawn(listen(subscriber, woken.clone()));
                Some(client)
            }
            None => None,
        };
        Ok(Self {
            woken,
            redis,
            _tasks: tasks,
        })
    }

    pub fn wake_all(&self) {
        self.woken.send_replace(());
        if let Some(redis) = self.redis.clone() {
            tokio::spawn(async move {
                // Who isn't woken looks soon anyway.
                let _: Result<(), Error> = redis.publish(CHANNEL, "").await;
            });
        }
    }
}

async fn listen(subscriber: SubscriberClient, woken: Arc<watch::Sender<()>>) {
    let mut said = subscriber.message_rx();
    let _again = subscriber.manage_subscriptions();
    while subscriber.wait_for_connect().await.is_err()
        || subscriber.subscribe(CHANNEL).await.is_err()
    {
        time::sleep(RECONNECT).await;
    }
    while said.recv().await.is_ok() {
        woken.send_replace(());
    }
}
