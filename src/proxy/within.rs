//! Requests over HTTP/2, and the connection that they come on.

use super::Service;
use crate::listen::Entry;
use async_trait::async_trait;
use pingora::apps::{HttpServerApp, HttpServerOptions, ReusedHttpStream};
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::v2::server::H2Options;
use pingora::proxy::HttpProxy;
use pingora::server::ShutdownWatch;
use std::sync::Arc;

/// The proxy for requests that come over HTTP/2 on one connection, and know how that came in:
/// Pingora makes their sessions, and nothing of ours can be put into one.
pub struct Within {
    pub proxy: Arc<HttpProxy<Service>>,
    pub entry: Arc<Entry>,
}

tokio::task_local! {
    static ENTRY: Arc<Entry>;
}

#[async_trait]
impl HttpServerApp for Within {
    async fn process_new_http(
        self: &Arc<Self>,
        session: ServerSession,
        shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        answer(&self.proxy, self.entry.clone(), session, shutdown).await
    }

    fn h2_options(&self) -> Option<H2Options> {
        self.proxy.h2_options()
    }

    fn server_options(&self) -> Option<&HttpServerOptions> {
        self.proxy.server_options()
    }
}

/// One request, by Pingora.
pub async fn answer(
    proxy: &Arc<HttpProxy<Service>>,
    entry: Arc<Entry>,
    session: ServerSession,
    shutdown: &ShutdownWatch,
) -> Option<ReusedHttpStream> {
    let answered = proxy.process_new_http(session, shutdown);
    ENTRY.scope(entry, answered).await
}

/// That of the request which this task answers.
pub fn entry() -> Option<Arc<Entry>> {
    ENTRY.try_with(Arc::clone).ok()
}
