//! Serving connections: a task for each, until its client leaves or the process is to stop.

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::http::Request;
use axum::serve::Listener;
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::{select, task::JoinSet, time};
use tower_service::Service;

/// For a whole head, and between two requests: longer than an edge keeps a connection that it does not use, so that
/// none is closed while a request is on its way.
const HEAD_TIME: Duration = Duration::from_secs(75);

/// When the process is to stop, for a head that is on its way, and for what an answer still has in buffers.
const REST_TIME: Duration = Duration::from_secs(5);

/// Until `stopping` says so, and then until the last connection has ended.
pub async fn serve(
    mut listener: impl Listener<Io = TcpStream>,
    router: Router,
    stopping: watch::Receiver<bool>,
) {
    let (mut connections, mut told) = (JoinSet::new(), stopping.clone());
    loop {
        select! {
            (stream, _) = listener.accept() => {
                connections.spawn(converse(stream, router.clone(), stopping.clone()));
            }
            Some(_) = connections.join_next() => {}
            () = stop(&mut told) => break,
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn converse(stream: TcpStream, router: Router, mut stopping: watch::Receiver<bool>) {
    let turn = Arc::new(Semaphore::new(1));
    let turns = turn.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        let (turns, mut router) = (turns.clone(), router.clone());
        async move {
            let turn = turns.acquire_owned().await;
            let turn = turn.expect("the semaphore is never closed");
            let answer = router.call(request.map(Body::new)).await?;
            Ok::<_, Infallible>(answer.map(|body| Answering { body, _turn: turn }))
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = pin!(connection);
    select! {
        // Who breaks off is told nothing.
        _ = connection.as_mut() => return,
        () = stop(&mut stopping) => {}
    }
    connection.as_mut().graceful_shutdown();
    select! {
        _ = connection => {}
        () = nothing_asked(&turn) => {}
    }
}

async fn stop(stopping: &mut watch::Receiver<bool>) {
    // Whose other end has gone is stopping too.
    let _ = stopping.wait_for(|stopping| *stopping).await;
}

/// Until no request has been there for a while: then what is open has asked half at most.
async fn nothing_asked(turn: &Semaphore) {
    loop {
        drop(turn.acquire().await);
        time::sleep(REST_TIME).await;
        if turn.available_permits() == 1 {
            return;
        }
    }
}

/// A body that is an answer's until all of it is sent.
struct Answering {
    body: Body,
    _turn: OwnedSemaphorePermit,
}

impl HttpBody for Answering {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    /// Less than `HEAD_TIME`.
    const PATIENCE: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn who_is_in_the_middle_of_a_head_does_not_hold_up_the_end() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let stopping = watch::Sender::new(false);
        let router = Router::new().route("/", get(async || "whole"));
        let serving = tokio::spawn(serve(listener, router, stopping.subscribe()));
        let ask = async |head: &[u8]| {
            let mut stream = TcpStream::connect(address).await.expect("it listens");
            stream.write_all(head).await.expect("it is there");
            stream
        };
        let half = ask(b"GET / HTTP/1.1\r\nho").await;
        let mut whole = ask(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
        let mut answer = [0; 12];
        whole.read_exact(&mut answer).await.expect("it is answered");
        assert_eq!(&answer, b"HTTP/1.1 200");
        stopping.send_replace(true);
        let ended = time::timeout(PATIENCE, serving).await;
        ended.expect("it ends").expect("nothing panics");
        drop((half, whole));
    }
}
