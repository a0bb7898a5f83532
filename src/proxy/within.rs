//! Requests over HTTP/2 and HTTP/3, and the connection that they come on: Pingora takes nothing of ours
//! along with their sessions.

use super::Service;
use crate::listen::{Entry, Waits};
use pingora::apps::HttpServerApp;
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::custom::server::Session;
use pingora::proxy::HttpProxy;
use pingora::server::ShutdownWatch;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// How long an answer that nobody wants may take to end by itself.
const NOTICE: Duration = Duration::from_millis(250);

tokio::task_local! {
    static WITHIN: (Arc<Entry>, Waits);
}

/// One request, by Pingora.
pub async fn answer(
    proxy: &Arc<HttpProxy<Service>>,
    entry: Arc<Entry>,
    session: impl Session,
    waits: Waits,
    shutdown: &ShutdownWatch,
) {
    let session = ServerSession::new_custom(Box::new(session));
    let answered = proxy.process_new_http(session, shutdown);
    // No stream is given back to be used again.
    WITHIN.scope((entry, waits), answered).await;
}

/// Mostly an answer notices by itself that it is not wanted. But Pingora's proxy does not look while a part of the
/// request's body waits for its server; then it is dropped, and with it what was asked of that server. See
/// `Context::unfinished`.
pub async fn until(cancelled: impl Future<Output = ()>, answer: impl Future<Output = ()>) {
    let mut answer = pin!(answer);
    tokio::select! {
        biased;
        () = &mut answer => return,
        () = cancelled => {}
    }
    // Dropped here, where it has not ended.
    let _ = timeout(NOTICE, answer).await;
}

/// That of the request which this task answers.
pub fn entry() -> Option<Arc<Entry>> {
    WITHIN.try_with(|(entry, _)| entry.clone()).ok()
}

/// Whether that one's body is being waited for.
pub fn waits() -> bool {
    WITHIN
        .try_with(|(_, waits)| waits.are_on())
        .unwrap_or(false)
}
