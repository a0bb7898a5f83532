//! Small documents from and to somewhere that is no upstream, such as an issuer's keys, or traces for a
//! collector.

use super::client::{Client, send_without_body};
use bytes::Bytes;
use http::header::{ACCEPT, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, USER_AGENT};
use http::{Method, StatusCode, Uri};
use pingora::http::RequestHeader;
use pingora::protocols::http::client::HttpSession;
use pingora::upstreams::peer::HttpPeer;
use std::fmt::Display;
use std::time::Duration;
use tokio::net::lookup_host;
use tokio::time::timeout;

/// Of what is said to a document that was sent.
const MOST_IN_REPLY: usize = 64 << 10;

impl Client {
    /// What is at an `http://` or `https://` URL: of `most` bytes at most, and within `limit` for
    /// all of it. Redirects are not followed: who names a URL means that one.
    pub async fn download(&self, url: &str, most: usize, limit: Duration) -> Result<Bytes, String> {
        timeout(limit, self.exchange(url, None, most))
            .await
            .unwrap_or_else(|_| Err(format!("it did not come within {limit:?}")))
    }

    /// Sends a document there. Whatever is said to it is not read, but for success or failure.
    pub async fn post_json(&self, url: &str, json: Vec<u8>, limit: Duration) -> Result<(), String> {
        timeout(limit, self.exchange(url, Some(json.into()), MOST_IN_REPLY))
            .await
            .unwrap_or_else(|_| Err(format!("there is no answer within {limit:?}")))
            .map(drop)
    }

    async fn exchange(&self, url: &str, body: Option<Bytes>, most: usize) -> Result<Bytes, String> {
        let url: Uri = url.parse().map_err(failed("the URL"))?;
        let secure = url.scheme_str() == Some("https");
        let host = url.host().ok_or("the URL has no host")?;
        let port = url.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let name = host.trim_matches(['[', ']']);
        let found = lookup_host((name, port)).await.map_err(failed(host))?;
        let mut last = format!("{host} has no address");
        // An address that does not answer may have one beside it that does.
        for address in found.take(4) {
            let peer = HttpPeer::new(address, secure, name.to_owned());
            match self.exchange_with(&peer, &url, &body, most).await {
                Ok(document) => return Ok(document),
                Err(why) => last = why,
            }
        }
        Err(last)
    }

    async fn exchange_with(
        &self,
        peer: &HttpPeer,
        url: &Uri,
        body: &Option<Bytes>,
        most: usize,
    ) -> Result<Bytes, String> {
        let connected = self.connector().get_http_session(peer).await;
        let (mut session, _) = connected.map_err(failed("connecting"))?;
        let request = request(url, body.as_ref()).map_err(failed("the request"))?;
        let sent = send(&mut session, Box::new(request), body.clone()).await;
        sent.map_err(failed("sending"))?;
        let read = session.read_response_header().await;
        read.map_err(failed("its answer"))?;
        let status = session.response_header().map(|head| head.status);
        if status != Some(StatusCode::OK) {
            return Err(format!("its answer is {}", status.unwrap_or_default()));
        }
        let mut document = Vec::new();
        while let Some(chunk) = session
            .read_response_body()
            .await
            .map_err(failed("its body"))?
        {
            if document.len() + chunk.len() > most {
                return Err(format!("it has more than {most} bytes"));
            }
            document.extend_from_slice(&chunk);
        }
        Ok(document.into())
    }
}

async fn send(
    session: &mut HttpSession,
    request: Box<RequestHeader>,
    body: Option<Bytes>,
) -> pingora::Result<()> {
    let Some(body) = body else {
        return send_without_body(session, request).await;
    };
    session.write_request_header(request).await?;
    session.write_request_body(body, true).await?;
    session.finish_request_body().await
}

fn request(url: &Uri, body: Option<&Bytes>) -> pingora::Result<RequestHeader> {
    let target = url.path_and_query().map_or("/", |target| target.as_str());
    let method = if body.is_some() {
        Method::POST
    } else {
        Method::GET
    };
    let mut request = RequestHeader::build(method, target.as_bytes(), Some(6))?;
    if let Some(body) = body {
        request.insert_header(CONTENT_TYPE, "application/json")?;
        request.insert_header(CONTENT_LENGTH, body.len())?;
    }
    let authority = url.authority().map_or("", |authority| authority.as_str());
    request.insert_header(HOST, authority)?;
    request.insert_header(ACCEPT, "application/json")?;
    request.insert_header(USER_AGENT, "lakh")?;
    request.insert_header(CONNECTION, "close")?;
    Ok(request)
}

fn failed<E: Display>(what: &str) -> impl Fn(E) -> String {
    move |why| format!("{what}: {why}")
}
