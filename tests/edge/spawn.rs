//! Processes that the edge starts and watches itself.

use crate::harness::{Client, Edge, eventually, get};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const POOL: &str = "
process: {drain: 5s}
access_log: {to: none}
upstreams:
  app:
    spawn: {command: [$lakh_origin, --no-demo], instances: 3, first_port: $ports}
    health_check: {path: /health, interval: 200ms}
routes: [{name: all, match: {path: /*}, upstream: app}]
";

const REQUESTS: usize = 2000;
const CLIENTS: usize = 32;

fn start() -> Edge {
    let edge = Edge::start(POOL, &[]);
    edge.await_metric("lakh_spawn_running", 3.0);
    edge.await_metric("lakh_upstream_up", 3.0);
    edge
}

#[test]
fn each_process_gets_a_port_and_a_share_of_the_requests() {
    let edge = start();
    let mut client = edge.connect();

    for _ in 0..30 {
        get("/api/v1/listings").on(&mut client).expect(200);
    }

    let mut ports: Vec<_> = edge.children().into_iter().map(|(_, port)| port).collect();
    ports.sort();
    assert_eq!(ports.len(), 3);
    assert!(
        ports[0] > 0 && ports[0] + 1 == ports[1] && ports[1] + 1 == ports[2],
        "{ports:?}"
    );
    for port in ports {
        let series = format!("lakh_upstream_requests_total{{server=\"127.0.0.1:{port}\"}}");
        assert!(edge.metric(&series) >= 5.0, "{port} got its share");
    }
}

#[test]
fn no_request_fails_while_a_process_is_killed_and_it_is_started_again() {
    let edge = start();
    let before = edge.children();
    let (victim, port) = before[1];
    let answered = AtomicUsize::new(0);

    let ask_many = |client: usize| {
        let mut connection = Client::connect(edge.web);
        let share = REQUESTS / CLIENTS + usize::from(client < REQUESTS % CLIENTS);
        let failed = |_: &usize| {
            let reply = get("/api/v1/listings?limit=5").try_on(&mut connection);
            let failed = !reply.as_ref().is_ok_and(|reply| reply.status == 200);
            if answered.fetch_add(1, Ordering::SeqCst) == REQUESTS / 4 {
                kill(victim);
            }
            if failed {
                eprintln!("failed: {reply:?}");
                connection = Client::connect(edge.web);
            }
            failed
        };
        (0..share).filter(failed).count()
    };
    let failed: usize = crate::harness::at_once(CLIENTS, ask_many).into_iter().sum();

    assert_eq!((answered.into_inner(), failed), (REQUESTS, 0));
    edge.await_metric("lakh_spawn_restarts_total", 1.0);
    edge.await_metric("lakh_spawn_running", 3.0);
    edge.await_metric("lakh_upstream_up", 3.0);
    let replaced = |(id, its_port): &(u32, u16)| *id != victim && *its_port == port;
    eventually("another process has its port", || {
        edge.children().iter().any(replaced)
    });
}

#[test]
fn no_process_is_left_when_the_edge_stops() {
    let mut edge = start();
    let children = edge.children();
    assert_eq!(children.len(), 3);

    edge.sigterm();

    assert!(edge.await_exit().success());
    assert!(
        children.iter().all(|(id, _)| !runs(*id)),
        "all have ended before the edge does"
    );
}

#[test]
fn no_process_is_left_when_the_edge_is_killed() {
    let mut edge = start();
    let children = edge.children();
    assert_eq!(children.len(), 3);

    edge.sigkill();
    edge.await_exit();

    eventually("none of them runs", || {
        children.iter().all(|(id, _)| !runs(*id))
    });
}

#[test]
fn a_reload_leaves_processes_alone_and_stops_those_that_are_no_longer_wanted() {
    let edge = start();
    let before = edge.children();

    edge.reload(&POOL.replace("routes: [{name: all", "routes: [{name: renamed"));
    assert_eq!(edge.children(), before);

    edge.reload(&POOL.replace("instances: 3", "instances: 2"));
    eventually("the third has ended", || edge.children().len() == 2);
    assert!(
        edge.children().iter().all(|child| before.contains(child)),
        "the others are the same"
    );
    get("/health").send(&edge).expect(200);
}

const NEVER_UP: &str = "
upstreams: {app: {spawn: {command: [/bin/sh, -c, 'echo started >> $dir/starts; exit 1'], instances: 1, first_port: $ports}}}
routes: [{name: all, match: {path: /*}, upstream: app}]
";

#[test]
fn a_command_that_ends_at_once_is_not_started_in_a_hot_loop() {
    let started = Instant::now();
    let edge = Edge::launch(NEVER_UP, &[]);
    let starts = || {
        std::fs::read_to_string(edge.dir.join("starts"))
            .unwrap_or_default()
            .lines()
            .count()
    };

    eventually("it is started a fourth time", || starts() >= 4);

    // Without pauses that grow, a thousand starts take a second.
    assert!(
        started.elapsed() > Duration::from_millis(300),
        "{:?}",
        started.elapsed()
    );
    assert!(starts() <= 6, "{} starts", starts());
}

#[test]
fn until_its_processes_are_up_the_edge_says_that_it_is_not_ready() {
    let edge = Edge::launch(NEVER_UP, &[]);

    let mut answered = 0;
    eventually("operators get an answer", || {
        answered = edge
            .admin_within("/readyz", Duration::from_secs(1))
            .map_or(0, |reply| reply.status);
        answered != 0
    });
    assert_eq!(answered, 503);
    assert_eq!(
        edge.admin_within("/healthz", Duration::from_secs(1))
            .map(|reply| reply.status),
        Some(200)
    );
}

#[test]
fn processes_come_with_load_and_leave_without_it() {
    let edge = Edge::start(
        "
process: {drain: 5s}
access_log: {to: none}
upstreams:
  app:
    spawn:
      command: [$lakh_origin, --no-demo]
      first_port: $ports
      scale:
        min: 1
        max: 2
        up: {requests_per_second: 20, delay: 1s}
        down: {requests_per_second: 5, delay: 1s}
routes: [{name: all, match: {path: /*}, upstream: app}]
",
        &[],
    );
    assert_eq!(edge.children().len(), 1);
    let mut client = edge.connect();
    let before = edge.children();
    eventually("load brings a second one, which gets requests", || {
        (0..50).for_each(|_| drop(get("/health").on(&mut client).expect(200)));
        let mut ports = edge.children().into_iter().map(|(_, port)| port);
        let series = |port| format!("lakh_upstream_requests_total{{server=\"127.0.0.1:{port}\"}}");
        ports.len() == 2 && ports.all(|port| edge.metric(&series(port)) > 0.0)
    });

    eventually("without load it leaves", || edge.children().len() == 1);

    assert_eq!(
        edge.children(),
        before,
        "the last to come is the first to go"
    );
    get("/health").on(&mut client).expect(200);
}

fn kill(id: u32) {
    let id = i32::try_from(id).expect("a process id");
    // SAFETY: a process that the edge, our child, has started and not yet waited for.
    assert_eq!(unsafe { libc::kill(id, libc::SIGKILL) }, 0, "it runs");
}

/// A zombie has ended.
fn runs(id: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    stat.rsplit_once(") ")
        .is_some_and(|(_, state)| !state.starts_with('Z'))
}
