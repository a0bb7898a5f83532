//! What the tests of more than one of these modules are written with.

use super::{Asked, Freshness, Refused, RouteTtl, storable};
use http::{HeaderMap, Method, StatusCode};

pub fn fields(lines: &[(&'static str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in lines {
        map.append(*name, value.parse().expect("a value"));
    }
    map
}

pub fn store(
    request: &[(&'static str, &str)],
    answer: &[(&'static str, &str)],
) -> Result<Freshness, Refused> {
    store_with(200, request, answer, RouteTtl::default())
}

pub fn store_with(
    status: u16,
    request: &[(&'static str, &str)],
    answer: &[(&'static str, &str)],
    route: RouteTtl,
) -> Result<Freshness, Refused> {
    let (request, answer) = (fields(request), fields(answer));
    let asked = Asked {
        method: &Method::GET,
        headers: &request,
        authorized: false,
    };
    let status = StatusCode::from_u16(status).expect("a status");
    storable(&asked, status, &answer, &route, 1000, 1000)
}

pub fn kept(lifetime: u64, swr: u64, sie: u64) -> Freshness {
    Freshness {
        stored_at: 1000,
        initial_age: 0,
        lifetime,
        stale_while_revalidate: swr,
        stale_if_error: sie,
        always_revalidate: false,
    }
}
