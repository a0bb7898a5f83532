//! The pass way of a request without a body: our own client sends it to a server, and the answer
//! goes to the client as it comes. What has a body takes Pingora's proxy.

use super::answer::Problem;
use super::cached::Answered;
use super::client::Client;
use super::context::Context;
use super::relay::{left, relay, send_interim};
use super::{Edge, balance, fill, headers};
use crate::cache::Interim;
use crate::error::Error;
use crate::upstream::{Fetch, Response};
use http::Version;
use pingora::http::RequestHeader;
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Mutex, MutexGuard};
use std::task::Poll;

pub async fn answer(
    edge: &Edge,
    client: &mut impl Client,
    ctx: &mut Context,
) -> pingora::Result<Answered> {
    match open(edge, client, ctx).await? {
        Ok(response) => {
            relay(client, ctx, response, None).await?;
            Ok(Answered::Yes)
        }
        Err(problem) => Ok(Answered::Refused(problem)),
    }
}

/// Sends the request and waits for its answer's head, or finds out why there is none.
pub async fn open(
    edge: &Edge,
    client: &mut impl Client,
    ctx: &mut Context,
) -> pingora::Result<Result<Response, Problem>> {
    let mut request = client.request().clone();
    // What came over HTTP/2 goes over HTTP/1.1 here.
    request.set_version(Version::HTTP_11);
    headers::to_server(&mut request, ctx)?;
    match ask(edge, client, ctx, &request).await? {
        Ok(mut response) => {
            let server = response.lease().server().id;
            if let Some(cookie) = balance::stick(&client.request().headers, server, ctx) {
                response.set_cookie(cookie)?;
            }
            Ok(Ok(response))
        }
        Err(e) => {
            ctx.error = Some(e.to_string());
            Ok(Err(Problem::Upstream(e.kind)))
        }
    }
}

/// Sends the request, and waits for its answer as long as the client does. Answers before the
/// answer are passed on as they come.
async fn ask(
    edge: &Edge,
    client: &mut impl Client,
    ctx: &mut Context,
    request: &RequestHeader,
) -> pingora::Result<Result<Response, Error>> {
    let pool = ctx.pool().clone();
    let asked = client.request();
    ctx.preferred = balance::preferred(&asked.headers, &pool);
    let fetch = Fetch {
        request,
        key: balance::key(&asked.headers, asked.raw_path(), ctx),
        preferred: ctx.preferred,
        upgrade: ctx.upgrade,
        priority: ctx.routed().priority,
        deadline: ctx.routed().timeout.map(|limit| ctx.started + limit),
        ends: Some(balance::ends(ctx)),
        trace: ctx.trace.map(|trace| trace.id),
    };
    let interims = Interims::default();
    let tell = |interim: &_| interims.lock().push_back(fill::to_all(interim));
    let journal = &mut ctx.journal;
    let mut answer = pin!(edge.foundation.client.fetch(&pool, &fetch, journal, &tell));
    loop {
        let event = poll_fn(|cx| match answer.as_mut().poll(cx) {
            Poll::Pending if interims.lock().is_empty() => Poll::Pending,
            Poll::Pending => Poll::Ready(None),
            Poll::Ready(answer) => Poll::Ready(Some(answer)),
        });
        let answer = tokio::select! {
            biased;
            answer = event => answer,
            () = client.rest() => return Err(left()),
        };
        while let Some(interim) = interims.next() {
            send_interim(client, &interim).await?;
        }
        if let Some(answer) = answer {
            return Ok(answer);
        }
    }
}

/// What came before the answer and was not passed on yet.
#[derive(Default)]
struct Interims(Mutex<VecDeque<Interim>>);

impl Interims {
    fn next(&self) -> Option<Interim> {
        self.lock().pop_front()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Interim>> {
        self.0
            .lock()
            .expect("no code panics while it holds this lock")
    }
}
