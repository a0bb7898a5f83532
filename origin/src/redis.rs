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

/// Connecting ends when there is no server at the start; later on it reconnects by itself.
pub async fn stay_connected(client: impl ClientLike) {
    loop {
        if let Ok(Err(error)) = client.connect().await {
            log::error("redis", json!({ "reason": error.to_string() }));
        }
        time::sleep(RECONNECT).await;
    }
}
