//! A request's end: its counters, and its line in the access log.

use super::balance;
use super::context::{CacheStatus, Context};
use super::request::Request;
use crate::observe::Line;
use http::Version;
use std::time::{Duration, SystemTime};

/// What the client got.
pub struct Sent {
    /// 0: nothing.
    pub status: u16,
    /// Of the body.
    pub bytes: usize,
}

/// Always the last that is done for a request. `error` is asked only where the log wants it.
pub fn finish(
    request: &Request<'_>,
    ctx: &Context,
    sent: &Sent,
    error: impl FnOnce() -> Option<String>,
) {
    let took = ctx.started.elapsed();
    if let Some(route) = &ctx.route {
        // A client that left before it was answered is nobody's failure.
        let status = if sent.status == 0 { 499 } else { sent.status };
        balance::tell_side(ctx, status);
        route
            .metrics
            .answered(ctx.listener(), request.method, status);
        route.metrics.bytes.inc_by(sent.bytes as u64);
        route.metrics.duration.observe(took.as_secs_f64());
    }
    let (log, recent) = (&ctx.runtime.access_log, &ctx.runtime.recent);
    let is_logged = log.wants(sent.status, fastrand::f64);
    if is_logged || recent.wants(sent.status) {
        tell(request, ctx, sent, took, error().as_deref(), is_logged);
    }
}

fn tell(
    request: &Request<'_>,
    ctx: &Context,
    sent: &Sent,
    took: Duration,
    error: Option<&str>,
    is_logged: bool,
) {
    let (path, _) = request.path_and_query();
    let server = ctx.server.map(|address| address.to_string());
    let line = Line {
        time: SystemTime::now() - took,
        request_id: ctx.id.as_str(),
        client: ctx.client,
        method: request.method.as_str(),
        host: request.host,
        path: &String::from_utf8_lossy(path),
        version: match request.version {
            Version::HTTP_3 => "HTTP/3",
            Version::HTTP_2 => "HTTP/2",
            Version::HTTP_10 => "HTTP/1.0",
            _ => "HTTP/1.1",
        },
        tls: ctx
            .secured()
            .map(|tls| (tls.version, tls.cipher, tls.server_name.as_deref())),
        status: sent.status,
        bytes: sent.bytes,
        duration: took,
        route: ctx.route.as_ref().map_or("-", |route| &route.name),
        server: server.as_deref(),
        cache: ctx.cache.map(CacheStatus::label),
        limit: ctx.limit(false),
        dry_limit: ctx.limit(true),
        error: ctx.error.as_deref().or(error),
    };
    if is_logged {
        ctx.runtime.access_log.write(&line);
    }
    ctx.runtime.recent.tell(&line);
}
