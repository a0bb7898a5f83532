//! A request's end: its counters, its line in the access log, its span.

use super::context::{CacheStatus, Context};
use super::request::Request;
use super::{balance, trace};
use crate::observe::{Line, Phases, wall};
use crate::upstream::Journal;
use http::Version;
use std::time::Duration;

/// What the client got.
pub struct Sent {
    /// 0: nothing.
    pub status: u16,
    /// Of the body.
    pub bytes: usize,
}

/// Always the last that is done for a request. `error` is asked only where somebody wants it.
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
    let failed = sent.status >= 500 || ctx.error.is_some();
    let (log, recent) = (&ctx.runtime.access_log, &ctx.runtime.recent);
    let is_logged = log.wants(failed, took, fastrand::f64);
    let is_told = is_logged || recent.wants(sent.status);
    if !is_told && ctx.trace.is_none() {
        return;
    }
    let error = error();
    let error = ctx.error.as_deref().or(error.as_deref());
    if is_told {
        let line = line(request, ctx, sent, took, error);
        if is_logged {
            log.write(&line);
        }
        recent.tell(&line, log);
    }
    trace::finished(request, ctx, sent, took, error);
}

fn line<'a>(
    request: &'a Request<'_>,
    ctx: &'a Context,
    sent: &Sent,
    took: Duration,
    error: Option<&'a str>,
) -> Line<'a> {
    let (path, query) = request.path_and_query();
    // Where a fill was led, what became of it.
    let journal = ctx.filled.get().and_then(|told| told.get());
    let journal = journal.unwrap_or(&ctx.journal);
    let last = journal.last();
    Line {
        time: wall(ctx.started),
        request_id: ctx.id.as_bytes(),
        client: ctx.client,
        method: request.method.as_str(),
        host: request.host,
        path,
        query,
        version: match request.version {
            Version::HTTP_3 => "HTTP/3",
            Version::HTTP_2 => "HTTP/2",
            Version::HTTP_10 => "HTTP/1.0",
            _ => "HTTP/1.1",
        },
        headers: request.headers,
        tls: ctx
            .secured()
            .map(|tls| (tls.version, tls.cipher, tls.server_name.as_deref())),
        status: sent.status,
        bytes: sent.bytes,
        received: ctx.body_bytes,
        duration: took,
        phases: phases(journal),
        route: ctx.route.as_ref().map_or("-", |route| &route.name),
        upstream: last.map(|attempt| &*attempt.upstream),
        server: last.map(|attempt| &attempt.server),
        attempts: journal.attempts().len(),
        cache: ctx.cache.map(CacheStatus::label),
        limit: ctx.limit(false),
        dry_limit: ctx.limit(true),
        trace: ctx.trace.map(|trace| trace.id.to_bits()),
        error,
    }
}

fn phases(journal: &Journal) -> Phases {
    let last = journal.last();
    Phases {
        wait: journal.waited,
        connect: last.and_then(|attempt| attempt.connect),
        first_byte: last
            .filter(|attempt| attempt.answered().is_some())
            .and_then(|attempt| attempt.took),
    }
}
