//! gRPC-web: calls of pages, over any HTTP, to a server that speaks gRPC.

use crate::harness::{
    Ask, Authority, Client, Edge, GrpcServer, Http2, Http3, Trust, ask, eventually, framed,
    free_address, get,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::net::SocketAddr;

const FORMS: [&str; 2] = [
    "application/grpc-web+test",
    "application/grpc-web-text+test",
];
const PAGE: &str = "https://shop.example";

/// An edge that speaks everything, a listener without TLS, and the server behind it.
struct World {
    edge: Edge,
    plain: SocketAddr,
    trust: Trust,
    server: GrpcServer,
}

fn world() -> World {
    let (authority, plain, server) = (Authority::new(), free_address(), GrpcServer::start());
    let yaml = format!(
        "
listeners:
  web: {{address: $web, http3: true, tls: {{certificates: [{{cert_file: $dir/site.pem, key_file: $dir/site.key}}]}}}}
  plain: {{address: {plain}}}
upstreams:
  app: {{servers: [{}], protocol: h2c}}
  gone: {{servers: [{}], protocol: h2c}}
rate_limits: {{one: {{rate: 1/h, burst: 1, key: client_address}}}}
routes:
  - {{name: calls, match: {{path: /test.Test/*}}, upstream: app, grpc_web: true, cors: {{origins: [\"{PAGE}\"]}}}}
  - {{name: gone, match: {{path: /gone/*}}, upstream: gone, grpc_web: true}}
  - {{name: limited, match: {{path: /limited/*}}, upstream: app, grpc_web: true, rate_limits: [one]}}
  - {{name: plain, match: {{path: /plain/*}}, upstream: app}}
",
        server.address,
        free_address()
    );
    let edge = Edge::start_with(&yaml, &[], |dir| {
        authority.sign("edge.test").write(dir, "site");
        authority.write(dir);
    });
    World {
        edge,
        plain,
        trust: Trust::of(&authority),
        server,
    }
}

/// A call as a page sends it.
fn call(target: &str, form: &str, messages: &[&[u8]]) -> Ask {
    let mut body = messages
        .iter()
        .map(|m| framed(m))
        .collect::<Vec<_>>()
        .concat();
    if form.contains("text") {
        body = STANDARD.encode(body).into_bytes();
    }
    let mut call = ask("POST", target);
    call.body = body;
    let length = call.body.len();
    call.with("content-type", form)
        .with("accept", form)
        .with("x-grpc-web", 1)
        .with("content-length", length)
}

/// What a page makes of a body: its messages, and what its last frame says.
#[track_caller]
fn read(form: &str, body: &[u8]) -> (Vec<Vec<u8>>, String) {
    let body = match form.contains("text") {
        true => decoded(body),
        false => body.to_vec(),
    };
    let (mut messages, mut rest) = (Vec::new(), &body[..]);
    loop {
        let (head, after) = rest.split_first_chunk::<5>().expect("a frame's head");
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
        let (content, after) = after.split_at(length);
        if head[0] == 0x80 {
            assert!(after.is_empty(), "trailers are last");
            return (messages, String::from_utf8(content.to_vec()).expect("text"));
        }
        assert_eq!(head[0], 0);
        messages.push(content.to_vec());
        rest = after;
    }
}

/// Four letters at a time, as pages do it: each part is padded by itself.
fn decoded(body: &[u8]) -> Vec<u8> {
    assert_eq!(body.len() % 4, 0);
    let four = |letters: &[u8]| STANDARD.decode(letters).expect("base64");
    body.chunks(4).flat_map(four).collect()
}

#[test]
fn calls_come_through_over_every_http() {
    let World {
        edge,
        plain,
        trust,
        server,
    } = world();
    for form in FORMS {
        let unary = call("/test.Test/Echo", form, &[b"one"]);
        let joined = call(
            "/test.Test/Join",
            form,
            &[b"one, ", b"two, ", &[b'x'; 50_000]],
        );
        let counted = call("/test.Test/Count", form, &[b"50 1000"]);
        let replies = |send: &mut dyn FnMut(&Ask) -> crate::harness::Reply| {
            for (ask, is) in [(&unary, 1), (&joined, 1), (&counted, 50)] {
                let reply = send(ask).expect(200);
                assert_eq!(reply.the("content-type"), form);
                assert_eq!(reply.the("x-head"), "was here");
                let (messages, trailers) = read(form, &reply.body);
                assert_eq!(messages.len(), is);
                let lines: Vec<_> = trailers.split_terminator("\r\n").collect();
                assert_eq!(lines, ["grpc-status:0", "x-trailer:was here"]);
            }
        };
        replies(&mut |ask| ask.on(&mut Client::connect(plain)));
        replies(&mut |ask| crate::harness::h2c(plain, ask));
        replies(&mut |ask| ask.on(&mut trust.connect(&edge, "edge.test")));
        let mut http3 = Http3::connect(edge.web, &trust, "edge.test");
        replies(&mut |ask| http3.send(ask));
    }
    let heads = server.heads();
    assert_eq!(heads.len(), 24);
    for head in heads {
        assert_eq!(head["content-type"], "application/grpc+test");
        assert_eq!(head["te"], "trailers");
        assert!(!head.contains_key("x-grpc-web"));
        assert!(!head.contains_key("content-length"));
    }
}

/// The page says the next word only when the one before was answered.
#[test]
fn each_message_arrives_before_the_next_is_sent() {
    let world = world();
    let client = Http2::connect(world.plain);
    for form in FORMS {
        let is_text = form.contains("text");
        let mut asked = client.begin(&ask("POST", "/test.Test/Echo").with("content-type", form));
        asked.head().expect("a head").expect(200);
        for i in 0..20 {
            // Of a length that leaves base64 with padding, mostly.
            let frame = framed(&vec![b'x'; i]);
            let sent = match is_text {
                true => STANDARD.encode(&frame).into_bytes(),
                false => frame.to_vec(),
            };
            asked.send(&sent).expect("it is open");
            let mut heard = Vec::new();
            while heard.len() < frame.len() {
                let part = asked.part().expect("an answer").expect("an echo");
                heard.extend(match is_text {
                    true => decoded(&part),
                    false => part.to_vec(),
                });
            }
            assert_eq!(heard, frame);
        }
        asked.end().expect("it is open");
        let last = asked.part().expect("an answer").expect("trailers");
        let (none, trailers) = read(form, &last);
        assert!(
            none.is_empty() && trailers.starts_with("grpc-status:0\r\n"),
            "{trailers}"
        );
        assert_eq!(asked.part().expect("an end"), None);
    }
}

/// Pages see 200 and what is among the fields, if they may read that.
#[test]
fn a_refusal_is_one_whoever_it_is_from() {
    let world = world();
    // Each on its own: what a server left unread of a call can end its connection.
    let connect = || Client::connect(world.plain);
    for form in FORMS {
        let refused = call("/test.Test/Refuse", form, &[b"one"]).with("origin", PAGE);
        let refused = refused.on(&mut connect()).expect(200);
        assert_eq!(refused.the("content-type"), form);
        assert_eq!(refused.the("grpc-status"), "5");
        assert_eq!(refused.the("access-control-allow-origin"), PAGE);
        let exposed = refused.the("access-control-expose-headers");
        assert_eq!(
            exposed,
            "grpc-status, grpc-message, grpc-status-details-bin"
        );
        assert!(refused.body.is_empty());

        let gone = call("/gone/Echo", form, &[b"one"])
            .on(&mut connect())
            .expect(200);
        assert_eq!(gone.the("grpc-status"), "14");
        let media = form.strip_suffix("+test").expect("it ends with that");
        assert_eq!(gone.the("content-type"), media);
        assert!(gone.body.is_empty());
    }
    call("/limited/Echo", FORMS[0], &[b"one"])
        .on(&mut connect())
        .expect(200);
    let limited = call("/limited/Echo", FORMS[0], &[b"one"])
        .on(&mut connect())
        .expect(200);
    assert_eq!(limited.the("grpc-status"), "8");

    let mut miscoded = call("/test.Test/Echo", FORMS[1], &[b"one"]);
    miscoded.body[3] = b'*';
    let refused = miscoded.on(&mut connect()).expect(200);
    assert_eq!(refused.the("grpc-status"), "13");
}

/// A preflight is answered by what is known of the route; where there is no bridge, there is none.
#[test]
fn what_is_no_call_of_a_page_passes_as_it_is() {
    let world = world();
    let mut client = Client::connect(world.plain);
    let preflight = ask("OPTIONS", "/test.Test/Echo")
        .with("origin", PAGE)
        .with("access-control-request-method", "POST")
        .with("access-control-request-headers", "content-type,x-grpc-web");
    let permit = preflight.on(&mut client).expect(204);
    assert_eq!(
        permit.the("access-control-allow-headers"),
        "content-type,x-grpc-web"
    );

    let unbridged = call("/plain/Echo", FORMS[0], &[b"one"]);
    unbridged.on(&mut client).expect(200);
    eventually("it came", || world.server.heads().len() == 1);
    assert_eq!(world.server.heads()[0]["content-type"], FORMS[0]);
    get("/nowhere").on(&mut client).expect(404);
    assert_eq!(world.server.heads().len(), 1);
    drop(world.edge);
}
