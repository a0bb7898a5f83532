//! What those see who run it: health, numbers, names of requests, the document.

use crate::harness::Origin;

#[test]
fn a_request_has_a_name_which_its_answer_and_its_problem_carry() {
    let origin = Origin::start();
    let named = origin.call("GET", "/nowhere", &[("x-request-id", "abc-1")], b"");
    assert_eq!(named.header("x-request-id"), "abc-1");
    assert_eq!(
        named.expect_status(404).json()["instance"],
        "urn:request:abc-1"
    );

    let forged = origin.call("GET", "/health", &[("x-request-id", "a b\"c")], b"");
    let made = forged.header("x-request-id").to_owned();
    assert_eq!((made.len(), made.contains(' ')), (16, false));
}

#[test]
fn numbers_are_for_who_asks_directly_and_name_routes_only() {
    let origin = Origin::start();
    origin.get("/ready").expect_status(200);
    origin.get("/api/v1/listings/123456").expect_status(404);
    origin.get("/some/secret/path").expect_status(404);
    let metrics = origin.get("/metrics").expect_status(200).text();
    let counted = "lakh_origin_request_seconds_count{method=\"GET\",\
                   route=\"/api/v1/listings/{id}\",status=\"404\"} 1";
    assert!(metrics.contains(counted), "{metrics}");
    assert!(metrics.contains("lakh_origin_uploads{state=\"running\"} 0"));
    assert!(metrics.contains("lakh_origin_database_connections{pool=\"write\",state=\"idle\"}"));
    assert!(!metrics.contains("123456") && !metrics.contains("secret"));

    let through_an_edge = [("x-forwarded-for", "192.0.2.1")];
    origin
        .call("GET", "/metrics", &through_an_edge, b"")
        .expect_status(404);
    origin
        .call("GET", "/health", &through_an_edge, b"")
        .expect_status(200);
}

#[test]
fn the_document_is_served_and_can_be_tried_on_a_page() {
    let origin = Origin::start();
    let document = origin.get("/api/v1/openapi.json").expect_status(200).json();
    assert_eq!(document["openapi"], "3.1.0");
    let page = origin.get("/api/v1/docs").expect_status(200);
    assert!(page.text().contains("docs.js"));
    assert!(
        page.header("content-security-policy")
            .contains("script-src 'self'")
    );
    origin.get("/api/v1/docs.js").expect_status(200);
}
