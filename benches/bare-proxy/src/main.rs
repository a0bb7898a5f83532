//! A Pingora proxy with no features: every request goes to the one origin.
//!
//! `benches/load/run.py` starts it as `bare-proxy LISTEN ORIGIN`, to know what part of Lakh's cost
//! per proxied request is Pingora's. It must never do more than `ProxyHttp` demands.

use std::{env, net::SocketAddr, process::ExitCode};

use async_trait::async_trait;
use pingora::{
    prelude::{HttpPeer, ProxyHttp, Result, Server, Session},
    proxy::http_proxy_service,
    server::configuration::ServerConf,
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

struct ToOrigin(SocketAddr);

#[async_trait]
impl ProxyHttp for ToOrigin {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn upstream_peer(&self, _: &mut Session, _: &mut ()) -> Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(self.0, false, String::new())))
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [listen, origin] = arguments.as_slice() else {
        return usage("two arguments are needed");
    };
    match (listen.parse(), origin.parse()) {
        (Ok(listen), Ok(origin)) => serve(listen, origin),
        _ => usage("both arguments are an IP address with a port"),
    }
}

fn usage(problem: &str) -> ExitCode {
    eprintln!("bare-proxy: {problem}\nusage: bare-proxy LISTEN ORIGIN");
    ExitCode::from(2)
}

fn serve(listen: SocketAddr, origin: SocketAddr) -> ! {
    let conf = ServerConf {
        threads: 1,
        // The bench stops it with SIGTERM and does not wait out the default 300 s.
        grace_period_seconds: Some(0),
        graceful_shutdown_timeout_seconds: Some(0),
        ..ServerConf::default()
    };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let mut service = http_proxy_service(&server.configuration, ToOrigin(origin));
    service.add_tcp(&listen.to_string());
    server.add_service(service);
    server.run_forever()
}
