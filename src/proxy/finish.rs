//! A request's end: its counters, its line in the access log, its span.

use super::answer::Problem;
use super::context::{CacheStatus, Context, RequestId};
use super::request::Request;
use super::{balance, trace};
use crate::listen::Entry;
use crate::listen::tls::Secured;
use crate::observe::{Line, Phases, wall};
use crate::runtime::Runtime;
use crate::upstream::Journal;
use http::{HeaderMap, Version};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

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
    // A client that left before it was answered is nobody's failure.
    let status = if sent.status == 0 { 499 } else { sent.status };
    if let Some(route) = &ctx.route {
        balance::tell_side(ctx, status);
        route
            .metrics
            .answered(ctx.listener(), request.method, status);
        route.metrics.bytes.inc_by(sent.bytes as u64);
        route.metrics.duration.observe(took.as_secs_f64());
    } else {
        let unrouted = &ctx.runtime.unrouted;
        unrouted.count(ctx.listener(), Some(request.method), status);
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
        version: version(request.version),
        headers: request.headers,
        tls: ctx.secured().map(tls),
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

fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_3 => "HTTP/3",
        Version::HTTP_2 => "HTTP/2",
        Version::HTTP_10 => "HTTP/1.0",
        _ => "HTTP/1.1",
    }
}

fn tls(secured: &Secured) -> (&'static str, &'static str, Option<&str>) {
    let name = secured.server_name.as_deref();
    (secured.version, secured.cipher, name)
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

/// A head that was no request, or did not come in time.
pub struct NoRequest<'a> {
    pub entry: &'a Entry,
    pub peer: SocketAddr,
    pub version: Version,
    pub id: &'a RequestId,
    pub problem: &'a Problem,
    /// Of the answer's body; 0 where the stream was reset instead.
    pub bytes: usize,
    /// How long it was waited for, where that is why.
    pub took: Duration,
}

/// `finish` for those. Nothing that such a head says is taken for true: its line has neither a method nor
/// a host nor a path. A flood of them costs a line each where all lines are wanted, and is sampled where
/// others are.
pub fn refused(head: &NoRequest<'_>, runtime: &Runtime) {
    let NoRequest { entry, took, .. } = *head;
    let status = head.problem.status().as_u16();
    runtime.unrouted.count(&entry.listener, None, status);
    let (log, recent) = (&runtime.access_log, &runtime.recent);
    let is_logged = log.wants(false, took, fastrand::f64);
    if !is_logged && !recent.wants(status) {
        return;
    }
    let detail = head.problem.detail();
    let line = Line {
        time: wall(Instant::now()).saturating_sub(took),
        request_id: head.id.as_bytes(),
        client: head.peer.ip().to_canonical(),
        method: "-",
        host: "-",
        path: b"-",
        query: None,
        version: version(head.version),
        headers: &HeaderMap::new(),
        tls: entry.secured().map(tls),
        status,
        bytes: head.bytes,
        received: 0,
        duration: took,
        phases: Phases::default(),
        route: "-",
        upstream: None,
        server: None,
        attempts: 0,
        cache: None,
        limit: None,
        dry_limit: None,
        trace: None,
        error: Some(&detail),
    };
    if is_logged {
        log.write(&line);
    }
    recent.tell(&line, log);
}
