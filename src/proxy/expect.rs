//! Clients that wait before they send a body: RFC 9110 §10.1.1.

use super::client::Client;
use super::reply;
use http::header::EXPECT;
use http::{HeaderMap, StatusCode, Version};
use pingora::http::RequestHeader;
use pingora::proxy::Session;

/// What a server over HTTP/1.1 says to that is passed on. One over HTTP/2 is not heard before its answer, so
/// the edge tells the client itself to go on, and asks that server nothing.
pub async fn go_on(session: &mut Session, request: &mut RequestHeader) -> pingora::Result<()> {
    if request.version != Version::HTTP_2 || !is_waiting(&request.headers) {
        return Ok(());
    }
    request.remove_header(&EXPECT);
    // Told once, however often a server is tried.
    session.req_header_mut().remove_header(&EXPECT);
    match session.req_header().version {
        Version::HTTP_10 => Ok(()),
        _ => {
            let head = reply::head(StatusCode::CONTINUE, HeaderMap::new());
            session.send_interim(head).await
        }
    }
}

fn is_waiting(fields: &HeaderMap) -> bool {
    let expects = fields.get(EXPECT).map(|value| value.as_bytes());
    expects.is_some_and(|expects| expects.eq_ignore_ascii_case(b"100-continue"))
}
