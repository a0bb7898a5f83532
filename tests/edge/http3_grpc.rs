//! gRPC over HTTP/3, to servers over HTTP/2.

use crate::harness::{Asked, Authority, Calls, Edge, GrpcServer, Http3, ask, framed};
use crate::http3::{connect, with_http3};
use std::path::Path;

fn start(server: &GrpcServer, authority: &Authority, more: &str) -> Edge {
    let servers = format!("[{}], protocol: h2c", server.address);
    let yaml = with_http3("", more).replace("[$0]", &servers);
    Edge::start_with(&yaml, &[], |dir: &Path| {
        authority.sign("edge.test").write(dir, "site");
        authority.write(dir);
    })
}

/// Begins a call, as its clients do.
fn call<'a>(client: &'a mut Http3, method: &str) -> Asked<'a> {
    client.begin(&Calls::to(method))
}

fn say(call: &mut Asked<'_>, message: &[u8]) {
    call.send(&framed(message)).expect("taken");
}

/// Reads until one message of this length is whole.
fn message(call: &mut Asked<'_>, length: usize) -> Vec<u8> {
    let mut came = Vec::new();
    while came.len() < 5 + length {
        let part = call.part().expect("it goes on").expect("a message");
        came.extend_from_slice(&part);
    }
    assert_eq!(came, framed(&came[5..]), "one message, and no more");
    came.split_off(5)
}

#[test]
fn calls_pass_with_their_trailers() {
    let (server, authority) = (GrpcServer::start(), Authority::new());
    let edge = start(&server, &authority, "");
    let mut client = connect(&edge, &authority);

    let mut talking = call(&mut client, "Echo");
    let head = talking.head().expect("a head").expect(200);
    assert_eq!(head.the("x-head"), "was here");
    for i in 0..20 {
        // The next is said only when this one was answered.
        let word = format!("word {i}").into_bytes();
        say(&mut talking, &word);
        assert_eq!(message(&mut talking, word.len()), word);
    }
    talking.finish().expect("it is open");
    assert_eq!(talking.part().expect("an end"), None);
    let trailers = talking.trailers().expect("an end").expect("trailers");
    assert_eq!(trailers["grpc-status"], "0");
    assert_eq!(trailers["x-trailer"], "was here");
    drop(talking);

    let mut refused = call(&mut client, "Refuse");
    refused.finish().expect("it is open");
    let head = refused.head().expect("a head").expect(200);
    assert_eq!(head.the("grpc-status"), "5");
    assert_eq!(refused.part().expect("an end"), None);
    assert!(server.heads().iter().all(|head| head["te"] == "trailers"));
}

/// As over HTTP/2.
#[test]
fn a_call_may_be_silent_for_longer_than_a_body() {
    let (server, authority) = (GrpcServer::start(), Authority::new());
    let edge = start(&server, &authority, "limits: {body_timeout: 300ms}");
    let (mut silent, mut other) = (connect(&edge, &authority), connect(&edge, &authority));
    let mut talking = call(&mut silent, "Echo");
    talking.head().expect("a head").expect(200);
    for _ in 0..3 {
        let mut stalled = other.begin(&ask("POST", "/test.Test/Hang"));
        stalled.send(b"the beginning").expect("it is open");
        assert_eq!(stalled.head().expect("an answer").status, 408);
    }
    // It has been silent for three times as long.
    say(&mut talking, b"still here");
    assert_eq!(message(&mut talking, 10), b"still here");
}
