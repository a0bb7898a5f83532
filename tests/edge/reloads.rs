//! A thousand reloads under load: nobody notices, and nothing is left behind.

use crate::harness::{Answer, Client, Edge, Origin, PATIENCE, free_address, get, order_to, post};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

const RELOADS: usize = 1000;
/// After so many everything has been made once.
const SETTLED: usize = 100;

/// Two configurations that differ in everything that a reload makes anew: a listener comes and goes, and
/// so do a route, an upstream with probes, a limit, a log file, a tracer. What stays is asked for.
fn config(more: bool, second: SocketAddr) -> String {
    let (listener, upstream, route, tail) = match more {
        false => (String::new(), "", "", "access_log: {to: $dir/one.log}"),
        true => (
            format!(", second: {{address: '{second}'}}"),
            "\n  new: {servers: [$0], health_check: {interval: 1s, path: /}, ejection: {max_ejected: 100%}}",
            "- {name: new, match: {path: /new/*}, upstream: new, rate_limits: [many], cache: {in: pages, ttl: 1h}}",
            "rate_limits: {many: {key: client_address, rate: 1000/s}}
access_log: {to: $dir/two.log, format: combined}
tracing: {otlp: 'http://$1', sample: 10%}",
        ),
    };
    format!(
        "
listeners: {{web: {{address: $web}}{listener}}}
upstreams:
  app: {{servers: [$0], timeouts: {{read: {}s}}}}{upstream}
caches: {{pages: {{memory: 64MiB}}}}
routes:
- {{name: all, match: {{path: /*}}, upstream: app}}
- {{name: pages, match: {{path: /pages/*}}, upstream: app, cache: {{in: pages, ttl: 1h}}}}
{route}
{tail}
",
        if more { 5 } else { 30 }
    )
}

/// What the process holds, as its own page says.
#[derive(Debug)]
struct Held {
    files: f64,
    threads: f64,
    tasks: f64,
    memory: f64,
}

impl Held {
    fn by(edge: &Edge) -> Held {
        Held {
            files: edge.metric("lakh_process_open_fds"),
            threads: edge.metric("lakh_process_threads"),
            tasks: edge.metric("lakh_process_tasks"),
            memory: edge.metric("lakh_process_resident_memory_bytes"),
        }
    }

    /// No more than before, but for what comes and goes by itself.
    fn is_no_more_than(&self, before: &Held) -> bool {
        self.files <= before.files + 8.0
            && self.threads <= before.threads + 4.0
            && self.tasks <= before.tasks + 8.0
            && self.memory <= before.memory + f64::from(24 << 20)
    }
}

fn reload(edge: &Edge, admin: &mut Client, turn: usize, second: SocketAddr) {
    edge.write_config(&config(turn % 2 == 1, second));
    let reply = order_to("/api/v1/reload", "{}")
        .on(admin)
        .expect(200)
        .json();
    let changes = reply["changes"].as_array().map_or(0, Vec::len);
    assert!(changes > 3, "it changes something each time: {reply}");
}

/// Stops the load however the test ends.
struct Stopping<'a>(&'a AtomicBool);

impl Drop for Stopping<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

/// Asks in every way until told to stop; gives how many were answered.
fn load(edge: &Edge, stop: &AtomicBool, asked: &AtomicUsize) {
    let mut kept = edge.connect();
    while !stop.load(Relaxed) {
        get("/pages/1").on(&mut kept).expect(200);
        get("/a").on(&mut kept).expect(200);
        post("/b", "body").send(edge).expect(200);
        asked.fetch_add(3, Relaxed);
    }
}

#[test]
fn a_thousand_reloads_under_load_fail_nobody_and_leave_nothing() {
    let origin = Origin::start(|_| Answer::ok("hello"));
    let collector = Origin::saying("{}");
    let second = free_address();
    let edge = Edge::start(&config(false, second), &[&origin, &collector]);
    let (stop, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    let begun = Instant::now();
    let settled = std::thread::scope(|scope| {
        scope.spawn(|| load(&edge, &stop, &asked));
        let stopping = Stopping(&stop);
        let mut admin = Client::connect(edge.admin);
        let mut settled = None;
        for turn in 1..=RELOADS {
            reload(&edge, &mut admin, turn, second);
            if turn == SETTLED {
                settled = Some(Held::by(&edge));
            }
        }
        drop(stopping);
        settled.expect("it was passed")
    });
    let (took, asked) = (begun.elapsed(), asked.into_inner());
    println!("{RELOADS} reloads and {asked} requests in {took:?}");
    assert!(asked > 500, "{asked} requests, none of which failed");
    assert_eq!(edge.metric("lakh_config_loads_total"), RELOADS as f64 + 1.0);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let held = Held::by(&edge);
        if held.is_no_more_than(&settled) {
            println!("{settled:?}, then {held:?}");
            break;
        }
        assert!(
            Instant::now() < deadline,
            "{settled:?}, and in the end {held:?}"
        );
        std::thread::park_timeout(Duration::from_millis(20));
    }
}
