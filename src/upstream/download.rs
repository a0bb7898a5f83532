//! Small documents from and to somewhere that is no upstream, such as an issuer's keys, traces for a
//! collector, or an authority that signs certificates.

use super::client::{Client, send_without_body};
use super::transport::{Tls, Transport};
use crate::endpoint::Endpoint;
use bytes::Bytes;
use http::header::{ACCEPT, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, USER_AGENT};
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri};
use pingora::http::RequestHeader;
use pingora::protocols::http::client::HttpSession;
use pingora::upstreams::peer::HttpPeer;
use std::fmt::Display;
use std::time::Duration;
use tokio::net::lookup_host;
use tokio::time::timeout;

/// Of what is said to a document that was sent.
const MOST_IN_REPLY: usize = 64 << 10;
const JSON: &str = "application/json";

impl Client {
    /// What is at an `http://` or `https://` URL: of `most` bytes at most, and within `limit` for
    /// all of it. Redirects are not followed: who names a URL means that one.
    pub async fn download(&self, url: &str, most: usize, limit: Duration) -> Result<Bytes, String> {
        let request = Request::get(url).header(ACCEPT, JSON).body(Bytes::new());
        let request = request.map_err(failed("the URL"))?;
        document(self.exchange(request, &Tls::new(None), most, limit).await?)
    }

    /// Sends a document there. Whatever is said to it is not read, but for success or failure.
    pub async fn post_json(&self, url: &str, json: Vec<u8>, limit: Duration) -> Result<(), String> {
        let request = Request::post(url).header(CONTENT_TYPE, JSON);
        let request = request.header(ACCEPT, JSON).body(json.into());
        let request = request.map_err(failed("the URL"))?;
        let trust = Tls::new(None);
        let reply = self.exchange(request, &trust, MOST_IN_REPLY, limit);
        document(reply.await?).map(drop)
    }

    /// One request, and its answer, whatever that says: of `most` bytes at most, and within `limit` for
    /// all of it. `trust`: whose certificates are good, for `https://`.
    pub async fn exchange(
        &self,
        request: Request<Bytes>,
        trust: &Tls,
        most: usize,
        limit: Duration,
    ) -> Result<Response<Bytes>, String> {
        timeout(limit, self.exchange_anywhere(&request, trust, most))
            .await
            .unwrap_or_else(|_| Err(format!("there is no answer within {limit:?}")))
    }

    async fn exchange_anywhere(
        &self,
        request: &Request<Bytes>,
        trust: &Tls,
        most: usize,
    ) -> Result<Response<Bytes>, String> {
        let url = request.uri();
        let secure = url.scheme_str() == Some("https");
        let host = url.host().ok_or("the URL has no host")?;
        let port = url.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let name = host.trim_matches(['[', ']']);
        let transport = Transport {
            tls: secure.then(|| trust.named(name)),
            ..Transport::default()
        };
        let found = lookup_host((name, port)).await.map_err(failed(host))?;
        let mut last = format!("{host} has no address");
        // An address that does not answer may have one beside it that does.
        for address in found.take(4) {
            let peer = transport.peer(&Endpoint::Tcp(address), None);
            match self.exchange_with(&peer, request, most).await {
                Ok(answer) => return Ok(answer),
                Err(why) => last = why,
            }
        }
        Err(last)
    }

    async fn exchange_with(
        &self,
        peer: &HttpPeer,
        request: &Request<Bytes>,
        most: usize,
    ) -> Result<Response<Bytes>, String> {
        let connected = self.connector().get_http_session(peer).await;
        let (mut session, _) = connected.map_err(failed("connecting"))?;
        let head = head(request).map_err(failed("the request"))?;
        let sent = send(&mut session, Box::new(head), request.body().clone()).await;
        sent.map_err(failed("sending"))?;
        let read = session.read_response_header().await;
        read.map_err(failed("its answer"))?;
        let said = session.response_header().ok_or("its answer has no head")?;
        let (status, fields) = (said.status, said.headers.clone());
        let mut document = Vec::new();
        while request.method() != Method::HEAD
            && let Some(chunk) = session
                .read_response_body()
                .await
                .map_err(failed("its body"))?
        {
            if document.len() + chunk.len() > most {
                return Err(format!("it has more than {most} bytes"));
            }
            document.extend_from_slice(&chunk);
        }
        let mut answer = Response::new(document.into());
        (*answer.status_mut(), *answer.headers_mut()) = (status, fields);
        Ok(answer)
    }
}

fn document(answer: Response<Bytes>) -> Result<Bytes, String> {
    match answer.status() {
        StatusCode::OK => Ok(answer.into_body()),
        status => Err(format!("its answer is {status}")),
    }
}

async fn send(
    session: &mut HttpSession,
    request: Box<RequestHeader>,
    body: Bytes,
) -> pingora::Result<()> {
    if body.is_empty() {
        return send_without_body(session, request).await;
    }
    session.write_request_header(request).await?;
    session.write_request_body(body, true).await?;
    session.finish_request_body().await
}

fn head(request: &Request<Bytes>) -> pingora::Result<RequestHeader> {
    let url: &Uri = request.uri();
    let target = url.path_and_query().map_or("/", |target| target.as_str());
    let method = request.method().clone();
    let mut head = RequestHeader::build(method, target.as_bytes(), Some(8))?;
    for (name, value) in request.headers() {
        head.append_header(name, value)?;
    }
    if !request.body().is_empty() {
        head.insert_header(CONTENT_LENGTH, request.body().len())?;
    }
    let authority = url.authority().map_or("", |authority| authority.as_str());
    head.insert_header(HOST, authority)?;
    if !head.headers.contains_key(USER_AGENT) {
        head.insert_header(USER_AGENT, HeaderValue::from_static("lakh"))?;
    }
    head.insert_header(CONNECTION, "close")?;
    Ok(head)
}

fn failed<E: Display>(what: &str) -> impl Fn(E) -> String {
    move |why| format!("{what}: {why}")
}
