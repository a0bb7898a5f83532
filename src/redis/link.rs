//! The way to Redis: every command has a timeout, and a breaker stops asking one that is dead.
//!
//! Connections are made in the background and made anew when they break. Nothing here waits for
//! one: without a connection a command fails at once.

use super::outage::Outage;
use super::settings::RedisSettings;
use crate::breaker::{Breaker, Down};
use crate::observe::LinkMetrics;
use bytes::Bytes;
use fred::prelude::*;
use fred::types::config::{Config, ConnectionConfig, Options, PerformanceConfig, ReconnectPolicy};
use fred::types::config::{TcpConfig, UnresponsiveConfig};
use fred::types::streams::XReadResponse;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::task::AbortHandle;

/// Between two tries to connect.
const RECONNECT: Duration = Duration::from_millis(200);
/// A connection that has not answered for so long is closed and made anew.
const UNRESPONSIVE: Duration = Duration::from_secs(1);
/// How long a connection may take to be made and greeted.
const CONNECT: Duration = Duration::from_secs(1);

/// A place in a log that outlives the process. Of a Redis stream: milliseconds and a count within
/// one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark(pub u64, pub u64);

pub struct Link {
    settings: RedisSettings,
    client: Client,
    breaker: Mutex<Breaker>,
    metrics: LinkMetrics,
    outage: Arc<Outage>,
    connecting: Mutex<Option<AbortOnDrop>>,
}

impl Link {
    /// Does nothing until `connect`. `meanwhile`: what is done without Redis, in words.
    pub fn new(settings: RedisSettings, metrics: LinkMetrics, meanwhile: &'static str) -> Link {
        Link {
            client: client(&settings, settings.timeout, true),
            breaker: Mutex::default(),
            connecting: Mutex::default(),
            settings,
            outage: Arc::new(Outage::new(metrics.what, meanwhile)),
            metrics,
        }
    }

    /// Starts connecting, and goes on for as long as this lives.
    pub fn connect(&self) {
        let (client, outage) = (self.client.clone(), self.outage.clone());
        let connect = async move {
            loop {
                // Ends when there is no server at the start; later on it reconnects by itself, which
                // begins with a pause.
                let task = client.connect();
                let _abort = AbortOnDrop(task.abort_handle());
                if let Ok(Err(e)) = task.await {
                    outage.goes_on(&e);
                }
                tokio::time::sleep(RECONNECT).await;
            }
        };
        let task = tokio::spawn(connect).abort_handle();
        let task = Some(AbortOnDrop(task));
        *self.connecting.lock().expect("no code panics with it") = task;
    }

    /// Waits a moment for the connection.
    pub async fn ready(&self) -> Result<(), Down> {
        let ready = tokio::time::timeout(CONNECT, self.client.wait_for_connect()).await;
        ready.map_err(|_| Down)?.map_err(|_| Down)
    }

    pub async fn get(&self, key: &str) -> Result<Option<Bytes>, Down> {
        self.ask(self.quick().get(key)).await
    }

    /// Kept for `seconds`.
    pub async fn set(&self, key: &str, record: Bytes, seconds: u64) -> Result<(), Down> {
        let expires = Expiration::EX(i64::try_from(seconds).unwrap_or(i64::MAX));
        self.ask(self.quick().set(key, record, Some(expires), None, false))
            .await
    }

    /// Kept until it is deleted.
    pub async fn keep(&self, key: &str, record: Bytes) -> Result<(), Down> {
        self.ask(self.quick().set(key, record, None, None, false))
            .await
    }

    pub async fn delete(&self, keys: Vec<String>) -> Result<(), Down> {
        self.ask(self.quick().del(keys)).await
    }

    /// Adds an entry to a stream, whose length stays about `most`. `make`: also when there is no
    /// such stream yet; without it, and without a stream, the answer is None.
    pub async fn add(
        &self,
        stream: &str,
        most: i64,
        make: bool,
        fields: Vec<(&'static str, Bytes)>,
    ) -> Result<Option<Mark>, Down> {
        let cap = ("MAXLEN", "~", most);
        let id: Option<String> = self
            .ask(self.quick().xadd(stream, !make, cap, "*", fields))
            .await?;
        id.map(|id| mark(&id).ok_or(Down)).transpose()
    }

    pub(super) fn quick(&self) -> fred::clients::WithOptions<Client> {
        self.client.with_options(&Options {
            fail_fast: true,
            max_attempts: Some(1),
            timeout: Some(self.settings.timeout),
            ..Options::default()
        })
    }

    pub(super) async fn ask<T>(
        &self,
        command: impl Future<Output = FredResult<T>>,
    ) -> Result<T, Down> {
        if !self.breaker().admits(Instant::now()) {
            return Err(Down);
        }
        let started = Instant::now();
        // The client's own timeout doesn't cover the time before a command is on its way.
        let answer = tokio::time::timeout(self.settings.timeout, command).await;
        self.metrics
            .duration
            .observe(started.elapsed().as_secs_f64());
        let mut breaker = self.breaker();
        let answer = match answer {
            Ok(Ok(answer)) => {
                breaker.succeeded();
                self.outage.is_over();
                Ok(answer)
            }
            failed => {
                breaker.failed(Instant::now());
                self.metrics.failures.inc();
                // One that fails now and then is no outage.
                if breaker.is_open() {
                    match failed {
                        Ok(Err(e)) => self.outage.goes_on(&e),
                        _ => self.outage.goes_on(&"no answer within redis.timeout"),
                    }
                }
                Err(Down)
            }
        };
        self.metrics.breaker_open.set(breaker.is_open().into());
        answer
    }

    fn breaker(&self) -> std::sync::MutexGuard<'_, Breaker> {
        self.breaker.lock().expect("no code panics with it")
    }

    /// A connection of its own for reading streams: such a read occupies it.
    pub async fn listen(&self) -> Result<Ear, Down> {
        let client = client(&self.settings, CONNECT, false);
        let _task = AbortOnDrop(client.connect().abort_handle());
        let ear = Ear { client, _task };
        let connected = tokio::time::timeout(CONNECT, ear.client.wait_for_connect()).await;
        match connected {
            Ok(Ok(())) => Ok(ear),
            _ => Err(Down),
        }
    }
}

/// A connection that reads streams. After the first failure it is of no more use.
pub struct Ear {
    client: Client,
    _task: AbortOnDrop,
}

struct AbortOnDrop(AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// An entry of a stream.
pub struct Heard {
    pub mark: Mark,
    pub fields: HashMap<String, Bytes>,
}

impl Ear {
    /// Entries of each stream after the mark beside it, `count` of each at most. Waits `patience`
    /// for the first one, or not at all.
    pub async fn read(
        &self,
        streams: [(&str, Mark); 2],
        count: u64,
        patience: Option<Duration>,
    ) -> Result<[Vec<Heard>; 2], Down> {
        let keys = streams.map(|(stream, _)| stream).to_vec();
        let ids = streams.map(|(_, mark)| text(mark)).to_vec();
        let block = patience.map(|p| p.as_millis() as u64);
        let limit = CONNECT + patience.unwrap_or_default();
        let options = Options {
            timeout: Some(limit),
            ..Options::default()
        };
        let client = self.client.with_options(&options);
        let read = client.xread::<Value, _, _>(Some(count), block, keys, ids);
        let answer = tokio::time::timeout(limit, read).await;
        let Ok(Ok(answer)) = answer else {
            return Err(Down);
        };
        if answer.is_null() {
            return Ok(Default::default());
        }
        type Read = XReadResponse<String, String, String, Bytes>;
        let mut read: Read = answer.into_xread_response().map_err(|_| Down)?;
        let mut heard = <[Vec<Heard>; 2]>::default();
        for (entries, (stream, _)) in heard.iter_mut().zip(streams) {
            *entries = entries_of(read.remove(stream).unwrap_or_default())?;
        }
        Ok(heard)
    }

    /// The first entry from `from` on.
    pub async fn first(&self, stream: &str, from: Mark) -> Result<Option<Heard>, Down> {
        let range = self.client.xrange_values(stream, text(from), "+", Some(1));
        Ok(entries_of(range.await.map_err(|_| Down)?)?.pop())
    }

    pub async fn last(&self, stream: &str) -> Result<Option<Mark>, Down> {
        let range = self.client.xrevrange_values(stream, "+", "-", Some(1));
        Ok(entries_of(range.await.map_err(|_| Down)?)?
            .pop()
            .map(|e| e.mark))
    }
}

fn entries_of(entries: Vec<(String, HashMap<String, Bytes>)>) -> Result<Vec<Heard>, Down> {
    let entry = |(id, fields): (String, _)| {
        let mark = mark(&id).ok_or(Down)?;
        Ok(Heard { mark, fields })
    };
    entries.into_iter().map(entry).collect()
}

fn client(settings: &RedisSettings, timeout: Duration, reconnect: bool) -> Client {
    let mut config = Config::from_url(settings.url.as_str()).expect("checked when it was read");
    config.fail_fast = true;
    let performance = PerformanceConfig {
        default_command_timeout: timeout,
        ..PerformanceConfig::default()
    };
    let connection = ConnectionConfig {
        connection_timeout: CONNECT,
        internal_command_timeout: CONNECT,
        max_command_attempts: 1,
        unresponsive: UnresponsiveConfig {
            max_timeout: reconnect.then_some(UNRESPONSIVE),
            interval: UNRESPONSIVE / 4,
        },
        tcp: TcpConfig {
            nodelay: Some(true),
            ..TcpConfig::default()
        },
        ..ConnectionConfig::default()
    };
    let policy = reconnect.then(|| ReconnectPolicy::new_constant(0, RECONNECT.as_millis() as u32));
    Client::new(config, Some(performance), Some(connection), policy)
}

fn mark(id: &str) -> Option<Mark> {
    let (millis, count) = id.split_once('-')?;
    Some(Mark(millis.parse().ok()?, count.parse().ok()?))
}

fn text(mark: Mark) -> String {
    format!("{}-{}", mark.0, mark.1)
}
