//! The way to Redis, which may be away for a while.

use crate::observe::log;
use fred::prelude::*;
use fred::types::config::Config;
use serde_json::json;
use std::time::Duration;
use tokio::time;
use url::Url;

pub const RECONNECT: Duration = Duration::from_millis(500);

/// Longer than anybody waits for what is written or read there.
const PATIENCE: Duration = Duration::from_secs(1);

/// After which a connection is taken for dead.
const SILENT_PINGS: u32 = 2;

/// The URL itself, where it leads to a Redis, alone, in a cluster or behind sentinels.
pub fn checked(url: &str) -> Result<String, String> {
    let scheme = |url: Url| url.scheme().split('-').next().map(str::to_owned);
    let scheme = Url::parse(url).ok().and_then(scheme);
    match (scheme.as_deref(), Config::from_url(url)) {
        (Some("redis" | "valkey"), Ok(_)) => Ok(url.into()),
        _ => Err("write it as redis://host:6379, without TLS".into()),
    }
}

pub fn builder(url: &str) -> Result<Builder, Error> {
    let mut builder = Builder::from_config(Config::from_url(url)?);
    let every = u32::try_from(RECONNECT.as_millis()).expect("half a second");
    builder.set_policy(ReconnectPolicy::new_constant(0, every));
    builder.with_performance_config(|options| {
        options.default_command_timeout = PATIENCE;
    });
    Ok(builder)
}

/// For as long as the client is wanted.
pub async fn stay_connected(client: impl ClientLike) {
    tokio::join!(connect(&client), replace_silent(&client));
}

/// Connecting ends when there is no server at the start; later on it reconnects by itself.
async fn connect(client: &impl ClientLike) {
    loop {
        if let Ok(Err(error)) = client.connect().await {
            log::error("redis", json!({ "reason": error.to_string() }));
        }
        time::sleep(RECONNECT).await;
    }
}

/// A connection may pass nothing any more without a word: a firewall has forgotten it, or the host is gone.
async fn replace_silent(client: &impl ClientLike) {
    let mut silent = 0;
    loop {
        time::sleep(RECONNECT).await;
        let answer: Result<Value, Error> = client.ping(None).await;
        let is_silent = answer.is_err_and(|error| *error.kind() == ErrorKind::Timeout);
        silent = if is_silent { silent + 1 } else { 0 };
        if silent == SILENT_PINGS {
            silent = 0;
            log::error(
                "redis",
                json!({ "reason": "it says nothing: connected anew" }),
            );
            // Where that fails, the next pings do.
            let _ = client.force_reconnection().await;
        }
    }
}
