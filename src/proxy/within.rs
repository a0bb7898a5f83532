//! Requests over HTTP/2 and HTTP/3, and the connection that they come on: Pingora takes nothing of ours
//! along with their sessions.

use super::Service;
use crate::listen::{Entry, Waits};
use pingora::apps::HttpServerApp;
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::custom::server::Session;
use pingora::proxy::HttpProxy;
use pingora::server::ShutdownWatch;
use std::sync::Arc;

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
